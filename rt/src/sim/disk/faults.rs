//! What may go wrong with a [`SimDisk`](super::SimDisk), and how often.

use std::time::Duration;

use crate::rng::SeededRng;

/// How often something happens: so many times out of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    times: u32,
    out_of: u32,
}

impl Rate {
    /// Not once.
    pub const NEVER: Rate = Rate { times: 0, out_of: 1 };
    /// Each time.
    pub const ALWAYS: Rate = Rate { times: 1, out_of: 1 };

    /// `times` out of `out_of` (> 0).
    pub const fn new(times: u32, out_of: u32) -> Self {
        assert!(out_of > 0, "a rate out of nothing");
        Self { times, out_of }
    }

    /// Draws: does it happen this time? Rates of [`Rate::NEVER`] and [`Rate::ALWAYS`] draw nothing.
    pub(crate) fn strikes(self, rng: &mut SeededRng) -> bool {
        match self.times {
            0 => false,
            times if times >= self.out_of => true,
            times => rng.chance(u64::from(times), u64::from(self.out_of)),
        }
    }
}

/// A disk's faults and pace. The default is a healthy disk with the pace of a cloud volume.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// Room for all files, in bytes.
    pub capacity_bytes: u64,
    /// Shortest time an operation takes.
    pub delay_min: Duration,
    /// Longest time an operation takes, spikes aside.
    pub delay_max: Duration,
    /// Operations that take [`DiskFaults::spike`] longer.
    pub spikes: Rate,
    /// Length of a spike.
    pub spike: Duration,
    /// Writes that end with EIO; any part of them may have reached the disk.
    pub write_error: Rate,
    /// Syncs that end with EIO.
    pub sync_error: Rate,
    /// Reads that end with EIO.
    pub read_error: Rate,
    /// Writes that go to another place of the same file, and report success.
    pub misdirect: Rate,
    /// Writes in flight at a power cut that leave one of their sectors with neither old nor new bytes.
    pub shorn: Rate,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self {
            capacity_bytes: u64::MAX,
            delay_min: Duration::from_micros(50),
            delay_max: Duration::from_micros(300),
            spikes: Rate::NEVER,
            spike: Duration::from_millis(20),
            write_error: Rate::NEVER,
            sync_error: Rate::NEVER,
            read_error: Rate::NEVER,
            misdirect: Rate::NEVER,
            shorn: Rate::NEVER,
        }
    }
}

impl DiskFaults {
    pub(crate) fn delay(&self, rng: &mut SeededRng) -> Duration {
        let nanos = |duration: Duration| duration.as_nanos() as u64;
        let spread = nanos(self.delay_max.saturating_sub(self.delay_min));
        let spike = if self.spikes.strikes(rng) {
            self.spike
        } else {
            Duration::ZERO
        };
        self.delay_min + Duration::from_nanos(rng.below(spread + 1)) + spike
    }
}
