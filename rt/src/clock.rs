//! Time: a monotonic tick that counts suspend, and the wall clock in milliseconds.

use std::ops::Add;
use std::time::Duration;

/// A moment on this machine's monotonic clock, in nanoseconds. The clock goes on while the machine is suspended
/// (`CLOCK_BOOTTIME`): a lease must not survive a nap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The earliest moment.
    pub const ZERO: Tick = Tick(0);

    /// Time since `earlier`; zero when `earlier` lies in the future.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;
    fn add(self, rhs: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where time comes from.
pub trait Clock {
    /// Monotonic, counts suspend.
    fn tick(&self) -> Tick;
    /// Microseconds since 1970-01-01 UTC; may jump.
    fn wall_us(&self) -> u64;
    /// Milliseconds since 1970-01-01 UTC; may jump.
    fn wall_ms(&self) -> u64 {
        self.wall_us() / 1000
    }
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

fn clock_ns(id: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, exclusively borrowed timespec for the duration of the call.
    let rc = unsafe { libc::clock_gettime(id, &mut ts) };
    assert_eq!(rc, 0, "clock_gettime of a standard clock cannot fail");
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

impl Clock for SystemClock {
    fn tick(&self) -> Tick {
        Tick(clock_ns(libc::CLOCK_BOOTTIME))
    }

    fn wall_us(&self) -> u64 {
        clock_ns(libc::CLOCK_REALTIME) / 1000
    }
}
