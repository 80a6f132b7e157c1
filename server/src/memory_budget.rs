//! [`MemoryBudget`]: how a core divides its share of `--memory`. Pure.
//!
//! ```text
//! share of a core | buffers of sockets and ring | frames of the log | filters, indexes of files | slack | keys: clean, dirty, frozen
//! ```
//! What does not fit is not refused: dirty keys are flushed to files and become clean, clean ones are evicted and come back
//! when they are asked for.

/// What a core needs besides its keys and files, in bytes: receive buffers, the ring, frames of the log, the allocator; as
/// measured in an idle server.
pub const CORE_BUFFERS_BYTES: u64 = 64 << 20;
/// Part of a core's share, as a divisor, that the log may take twice: once for entries that are not executed yet, once for
/// frames that are not durable yet.
const LOG_DIVISOR: u64 = 8;
/// The log takes no more than this, twice, however large the share is: what its own defaults say.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// Part of a core's share, as a divisor, that nobody is given: what the allocator keeps between values that were freed and others
/// of other sizes that come. Without it 256 MiB were exceeded by a seventh for seconds while every key was set again.
const SLACK_DIVISOR: u64 = 16;
/// Part of a core's share, as a divisor, for a table of how keys are used, where a policy of eviction wants one: an entry of 8
/// bytes for each key of 256.
const USES_DIVISOR: u64 = 32;
/// Such a table takes no more than this, however large the share is: enough for 128 million keys.
const USES_BYTES_MAX: usize = 1 << 30;
/// Share of the machine's memory that is used when nobody says how much, in hundredths: the rest is for the kernel, the
/// buffers of clients and other programs.
const MACHINE_SHARE_PERCENT: u64 = 70;
/// Part of a core's share, as a divisor, that keys get whatever else there is: with less nothing would ever be in memory.
const KEYS_DIVISOR_MIN: u64 = 4;
/// Part of the keys' memory, as a divisor, at which a flush begins: room is left for what comes while it runs.
const FLUSH_DIVISOR: u64 = 4;
/// Dirty bytes, in eighths of the keys' memory, from which writes are slowed down, and at which they wait.
const SLOW_EIGHTHS: u64 = 4;
const STOP_EIGHTHS: u64 = 6;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// The core's share, in bytes.
    share: u64,
}

/// What follows from a budget at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of keys, values and their index above which clean ones are evicted.
    pub keys_max: u64,
    /// Dirty bytes from which a flush begins.
    pub flush_from: u64,
    /// Dirty bytes from which writes are slowed down.
    pub slow_from: u64,
    /// Dirty bytes at which writes wait until some are flushed.
    pub stop_at: u64,
}

impl MemoryBudget {
    /// `memory`: of the process, in bytes, 0 = a share of the machine's `machine` bytes, divided over `cores`.
    pub fn new(memory: u64, machine: u64, cores: u64) -> Self {
        let whole = match memory {
            0 => machine / 100 * MACHINE_SHARE_PERCENT,
            bytes => bytes,
        };
        Self {
            share: whole / cores.max(1),
        }
    }

    /// What entries of the log that are not executed yet may take, and as much again frames that are not durable yet, in
    /// bytes.
    pub fn log_bytes(&self) -> u64 {
        (self.share / LOG_DIVISOR).min(LOG_BYTES_MAX)
    }

    /// What a table of how keys are used may take, in bytes.
    pub fn uses_bytes(&self) -> usize {
        usize::try_from(self.share / USES_DIVISOR)
            .unwrap_or(usize::MAX)
            .min(USES_BYTES_MAX)
    }

    /// The limits while filters, indexes and buffers of files take `files` bytes.
    pub fn limits(&self, files: u64) -> MemoryLimits {
        let others = CORE_BUFFERS_BYTES + 2 * self.log_bytes() + self.share / SLACK_DIVISOR + files;
        let left = self.share.saturating_sub(others);
        let keys_max = left.max(self.share / KEYS_DIVISOR_MIN);
        MemoryLimits {
            keys_max,
            flush_from: keys_max / FLUSH_DIVISOR,
            slow_from: keys_max / 8 * SLOW_EIGHTHS,
            stop_at: keys_max / 8 * STOP_EIGHTHS,
        }
    }
}

/// How fast writes may come while `dirty` bytes are in memory, in bytes a second; `None`: as fast as they like. Falls from
/// `full`, what the device can flush, to nothing.
pub fn write_rate(limits: &MemoryLimits, dirty: u64, full: u64) -> Option<u64> {
    let over = dirty.checked_sub(limits.slow_from)?;
    let room = limits.stop_at.saturating_sub(limits.slow_from).max(1);
    let left = room.saturating_sub(over);
    Some((u128::from(full) * u128::from(left) / u128::from(room)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn shares_add_up_to_what_was_given() {
        assert_eq!(MemoryBudget::new(8 * GIB, GIB, 4).share, 2 * GIB);
        assert_eq!(MemoryBudget::new(0, 100 * GIB, 1).share, 70 * GIB);
        for share in [GIB / 4, GIB] {
            let budget = MemoryBudget::new(share, 0, 1);
            let limits = budget.limits(10 << 20);
            let others = (10 << 20) + CORE_BUFFERS_BYTES + 2 * budget.log_bytes() + share / 16;
            assert_eq!(limits.keys_max + others, share);
        }
    }

    #[test]
    fn a_small_budget_leaves_keys_their_part() {
        let limits = MemoryBudget::new(16 << 20, 0, 1).limits(1 << 20);
        assert_eq!(limits.keys_max, 4 << 20);
        assert!(limits.flush_from < limits.slow_from && limits.slow_from < limits.stop_at);
        assert!(limits.stop_at < limits.keys_max);
    }

    #[test]
    fn writes_slow_down_gradually_and_then_wait() {
        let limits = MemoryBudget::new(GIB, 0, 1).limits(0);
        assert_eq!(write_rate(&limits, limits.slow_from - 1, 1000), None);
        let mut last = 1001;
        for eighth in 0..=8 {
            let dirty = limits.slow_from + (limits.stop_at - limits.slow_from) / 8 * eighth;
            let rate = write_rate(&limits, dirty, 1000).unwrap();
            assert!(rate < last, "{eighth}: {rate}");
            last = rate;
        }
        assert_eq!(write_rate(&limits, limits.stop_at, 1000), Some(0));
        assert_eq!(write_rate(&limits, u64::MAX, 1000), Some(0));
    }
}
