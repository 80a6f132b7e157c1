//! [`Doorbell`]: whether a core sleeps, so that who leaves it a message knows when to wake it.
//!
//! Waking costs a system call and is needed only by a core that sleeps; a message must never lie in the ring of a core
//! that sleeps on. Both sides write, fence, then read what the other one writes (Dekker): the sender leaves the message
//! and then looks at the bell, the receiver hangs out the bell and then looks at its messages once more. One of them
//! sees the other. `netio/tests/doorbell.rs` runs every interleaving.

use super::sync::{AtomicBool, Ordering, fence};

/// See the module's text.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
}

impl Doorbell {
    /// Of a core that is awake.
    pub fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
        }
    }

    /// For a sender, after it has left its message: true when it must wake the receiver. Of several senders one is told.
    #[inline]
    pub fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// For the receiver, before it looks at its messages for the last time and, if there are none, sleeps.
    #[inline]
    pub fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// For the receiver: it is awake, whatever woke it.
    #[inline]
    pub fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
