//! The sleeping protocol of the mesh, under every interleaving and every reordering that the memory model allows.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::thread;

/// What `doorbell.rs` takes its atomics from: here the model checker's.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/mesh/doorbell.rs"]
mod doorbell;

use doorbell::Doorbell;
use sync::Ordering;

/// Senders leave one message each while the receiver decides whether to sleep. If it lies down although not all have
/// come, somebody must have woken it by the time all senders are done. `bell_first`: the right order of its two steps.
fn whoever_sleeps_is_woken(senders: usize, bell_first: bool) {
    loom::model(move || {
        let bell = Arc::new(Doorbell::new());
        let came = Arc::new(AtomicUsize::new(0));
        let woken = Arc::new(AtomicBool::new(false));
        let sending: Vec<_> = (0..senders)
            .map(|_| {
                let (bell, came, woken) = (bell.clone(), came.clone(), woken.clone());
                thread::spawn(move || {
                    came.fetch_add(1, Ordering::Release);
                    if bell.must_wake() {
                        woken.store(true, Ordering::Release);
                    }
                })
            })
            .collect();
        let seen = if bell_first {
            bell.lie_down();
            came.load(Ordering::Acquire)
        } else {
            let seen = came.load(Ordering::Acquire);
            bell.lie_down();
            seen
        };
        sending.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(seen == senders || woken.load(Ordering::Acquire), "a wake-up was lost");
        bell.get_up();
        assert!(!bell.must_wake(), "nobody wakes a core that is up");
    });
}

#[test]
fn no_wake_up_is_lost() {
    whoever_sleeps_is_woken(1, true);
    whoever_sleeps_is_woken(2, true);
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn looking_before_lying_down_is_caught() {
    whoever_sleeps_is_woken(1, false);
}
