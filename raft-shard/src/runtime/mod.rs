//! openraft's `AsyncRuntime` on our executors.
//!
//! The channels are ours and single-threaded (`Rc`, no atomics, nothing preallocated): openraft asks for queues of
//! 65,536 messages, which other runtimes allocate at once, and that is where megabytes per group went. [`glommio`] is
//! the real back end, [`sim`] the simulated twin; both share everything but time, tasks and randomness.

pub mod glommio;
pub mod instant;
pub mod mpsc;
pub mod mutex;
pub mod oneshot;
pub mod sim;
pub mod timeout;
pub mod timers;
pub mod watch;

use openraft_rt::{AsyncRuntime, Instant};
use slotcore_rt::clock::Tick;

/// An openraft runtime whose time is ours: a marker without fields, so that it can name a type configuration.
pub trait Runtime: AsyncRuntime + Clone + Copy + Default + Eq + Ord {
    /// The tick of an instant.
    fn tick(instant: Self::Instant) -> Tick;

    /// The current tick.
    fn now() -> Tick {
        Self::tick(Self::Instant::now())
    }
}
