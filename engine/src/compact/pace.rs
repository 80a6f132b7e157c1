//! [`pace`]: how many bytes a second merges may write, and whether writes have to slow down.
//!
//! A controller without memory: the further a tree is from rest, the faster the merges, and only when that is not enough
//! are writes delayed, gently at first. Nothing ever stops: at the worst, writes go at a small part of what the device can
//! sustain, so that there are no stalls, only a lower rate.

use super::pick::Pressure;

/// What is never exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceOptions {
    /// What the device writes in a second, in bytes, as measured.
    pub device_bytes_per_s: u64,
    /// Upper runs at which writes are slowed down in earnest: what lookups and filters can bear.
    pub upper_runs_max: usize,
    /// Garbage, in 1,000ths of the lowest level, at which writes are slowed down in earnest.
    pub garbage_permille_max: u64,
    /// Bytes that merges write for each byte that was flushed, as the choice of compactions costs in the long run.
    pub merge_bytes_per_byte: u64,
}

impl PaceOptions {
    /// For a device; the rest by default: 24 runs, garbage of half the lowest level, five bytes a byte.
    pub fn new(device_bytes_per_s: u64) -> Self {
        Self {
            device_bytes_per_s,
            upper_runs_max: 24,
            garbage_permille_max: 500,
            merge_bytes_per_byte: 5,
        }
    }
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceInput {
    /// How far the tree is from rest.
    pub pressure: Pressure,
    /// Bytes flushed in a second, averaged over a few flushes.
    pub flush_bytes_per_s: u64,
}

/// What is allowed until the next decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second that merges may write; 0 when there is nothing to merge.
    pub merge_bytes_per_s: u64,
    /// Bytes a second that writes may add; `None`: as many as come.
    pub write_bytes_per_s_max: Option<u64>,
}

/// Merges run at half the long-run rate when there is hardly any pressure, and rise by this many halves up to the limit.
const RISE_HALVES: u64 = 5;
/// Part of the device, in 8ths, that merges get while writes are not slowed down.
const DEVICE_EIGHTHS: u64 = 5;
/// Share of the device, as a divisor, that merges get at least when they have something to do: a tree comes to rest when
/// nobody writes.
const IDLE_DIVISOR: u64 = 16;
/// Pressure, in 1,000ths of the limit, from which writes slow down.
const SLOW_FROM_PERMILLE: u64 = 750;
/// Pressure at which writes are as slow as they get.
const SLOWEST_PERMILLE: u64 = 1_250;
/// The slowest rate, as a part of the sustainable one.
const SLOWEST_DIVISOR: u64 = 16;

/// Decides the rates. Pure.
pub fn pace(input: &PaceInput, options: &PaceOptions) -> Pace {
    let pressure = pressure_permille(&input.pressure, options);
    let device = options.device_bytes_per_s;
    let merge_bytes_per_s = if input.pressure.backlog_bytes == 0 {
        0
    } else {
        let long_run = input.flush_bytes_per_s.saturating_mul(options.merge_bytes_per_byte);
        let wanted = long_run / 2 + long_run.saturating_mul(RISE_HALVES * pressure.min(1_000)) / 2_000;
        wanted.clamp(device / IDLE_DIVISOR, device * DEVICE_EIGHTHS / 8)
    };
    // Each byte is written to the log, flushed, and then merged.
    let sustainable = device / (options.merge_bytes_per_byte + 2);
    let write_bytes_per_s_max = (pressure > SLOW_FROM_PERMILLE).then(|| {
        let left = SLOWEST_PERMILLE.saturating_sub(pressure);
        let share = sustainable * left / (SLOWEST_PERMILLE - SLOW_FROM_PERMILLE);
        share.max(sustainable / SLOWEST_DIVISOR).max(1)
    });
    Pace {
        merge_bytes_per_s,
        write_bytes_per_s_max,
    }
}

/// 1,000: the limit of runs or of garbage.
fn pressure_permille(pressure: &Pressure, options: &PaceOptions) -> u64 {
    let runs = pressure.upper_runs as u64 * 1_000 / options.upper_runs_max.max(1) as u64;
    let garbage = pressure.garbage_permille * 1_000 / options.garbage_permille_max.max(1);
    runs.max(garbage)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: u64 = 1_000_000_000;

    fn at(upper_runs: usize, garbage_permille: u64, flush_bytes_per_s: u64) -> Pace {
        let pressure = Pressure {
            upper_runs,
            garbage_permille,
            backlog_bytes: 1,
        };
        let input = PaceInput {
            pressure,
            flush_bytes_per_s,
        };
        pace(&input, &PaceOptions::new(DEVICE))
    }

    #[test]
    fn without_backlog_nothing_runs_and_nothing_waits() {
        let rest = Pace {
            merge_bytes_per_s: 0,
            write_bytes_per_s_max: None,
        };
        assert_eq!(pace(&PaceInput::default(), &PaceOptions::new(DEVICE)), rest);
    }

    #[test]
    fn pressure_never_makes_merges_slower_nor_writes_faster() {
        for flush in [0, 1_000_000, 50_000_000, DEVICE] {
            for by_runs in [true, false] {
                let mut last: Option<Pace> = None;
                for n in 0..1_000 {
                    let now = if by_runs {
                        at(n, 0, flush)
                    } else {
                        at(0, n as u64, flush)
                    };
                    assert!(now.merge_bytes_per_s >= DEVICE / 16 && now.merge_bytes_per_s < DEVICE);
                    assert_ne!(now.write_bytes_per_s_max, Some(0), "writes never stop");
                    if let Some(last) = last {
                        assert!(now.merge_bytes_per_s >= last.merge_bytes_per_s);
                        let limit = |p: Pace| p.write_bytes_per_s_max.unwrap_or(u64::MAX);
                        assert!(limit(now) <= limit(last));
                    }
                    last = Some(now);
                }
            }
        }
    }

    #[test]
    fn numbers_beyond_all_measure_do_not_overflow() {
        let pace = at(usize::MAX >> 12, u64::MAX >> 12, u64::MAX);
        assert!(pace.merge_bytes_per_s < DEVICE && pace.write_bytes_per_s_max.is_some());
    }
}
