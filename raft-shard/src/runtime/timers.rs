//! Timers of a core whose loop waits in a ring of its own: the loop asks when the next one is due, and ends those that are.
//!
//! The executor looks at its own timers only when a task queue gives way, which for a loop that sleeps in its ring is up to
//! an idle wait late: heartbeats would come late, and elections with them. A thread that has called [`drive_here`] has its
//! timers here; on all others (tests of the runtime) they are the executor's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

use slotcore_rt::clock::Tick;

thread_local! {
    static DRIVEN: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting { wakers: BTreeMap::new(), next: 0 }) };
    static POLLS: Cell<u64> = const { Cell::new(0) };
}

struct Waiting {
    wakers: BTreeMap<(Tick, u64), Waker>,
    next: u64,
}

/// From now on timers of this thread are ended by [`end_due`] only.
pub fn drive_here() {
    DRIVEN.set(true);
}

/// True when they are.
pub(super) fn are_driven() -> bool {
    DRIVEN.get()
}

/// When the next timer of this thread is due.
pub fn next_due() -> Option<Tick> {
    WAITING.with_borrow(|waiting| waiting.wakers.keys().next().map(|(at, _)| *at))
}

/// Wakes the tasks whose timers are due. True when there was one.
pub fn end_due(now: Tick) -> bool {
    let mut any = false;
    // One at a time: a waker may run code that makes or drops timers.
    while let Some(waker) = WAITING.with_borrow_mut(|waiting| {
        let first = waiting.wakers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }) {
        any = true;
        waker.wake();
    }
    any
}

/// How often tasks spawned by this thread's runtime have been polled. When a yield leaves it unchanged, none of them is
/// ready: only time, a completion or a message can bring more.
pub fn polls() -> u64 {
    POLLS.get()
}

/// A task is about to be polled.
pub(super) fn note_poll() {
    POLLS.set(POLLS.get() + 1);
}

/// A timer under way; whoever drops it is not woken any more.
#[derive(Debug)]
pub struct Timer {
    at: Tick,
    number: Option<u64>,
}

impl Timer {
    /// Ends at `at`.
    pub(super) fn new(at: Tick) -> Self {
        Self { at, number: None }
    }

    /// True when it has ended; otherwise `waker` is woken then.
    pub(super) fn poll(&mut self, now: Tick, waker: &Waker) -> bool {
        if now >= self.at {
            return true;
        }
        WAITING.with_borrow_mut(|waiting| {
            let number = *self.number.get_or_insert_with(|| {
                waiting.next += 1;
                waiting.next
            });
            waiting.wakers.insert((self.at, number), waker.clone());
        });
        false
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The thread may be ending, its timers gone already.
            let dropped = WAITING.try_with(|waiting| waiting.borrow_mut().wakers.remove(&(self.at, number)));
            drop(dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn timers_end_in_order_once_and_not_when_dropped() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let count = || woken.0.load(Ordering::Relaxed);
        let (mut first, mut second, mut same) = (Timer::new(Tick(10)), Timer::new(Tick(20)), Timer::new(Tick(10)));
        for timer in [&mut first, &mut second, &mut same] {
            assert!(!timer.poll(Tick(1), &waker));
        }
        assert!(!first.poll(Tick(2), &waker), "asked twice, woken once");
        assert_eq!(next_due(), Some(Tick(10)));
        assert!(!end_due(Tick(9)));
        drop(same);
        assert!(end_due(Tick(10)) && !end_due(Tick(10)));
        assert_eq!((count(), next_due()), (1, Some(Tick(20))));
        assert!(first.poll(Tick(10), &waker));
        drop((first, second));
        assert_eq!(next_due(), None);
        assert!(!end_due(Tick(99)));
    }
}
