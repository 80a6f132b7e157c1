//! The memory's floor: how fast one thread reads and copies what no cache holds.

use std::hint::black_box;
use std::time::Duration;

use slotcore_rt::clock::{Clock, SystemClock};

/// Gigabytes (1e9 bytes) of payload a second.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Bandwidth {
    /// Read and added up.
    pub read_gb_s: f64,
    /// Copied: each byte read once and written once, and counted once.
    pub copy_gb_s: f64,
}

/// Measures each for `time`, at least one pass over areas of `bytes`.
pub fn bandwidth(bytes: usize, time: Duration) -> Bandwidth {
    let from = vec![1_u64; bytes / 8];
    let mut to = vec![0_u64; bytes / 8];
    let read_gb_s = rate(bytes, time, || {
        black_box(black_box(&from).iter().fold(0_u64, |sum, n| sum.wrapping_add(*n)));
    });
    let copy_gb_s = rate(bytes, time, || {
        black_box(&mut to).copy_from_slice(black_box(&from));
    });
    Bandwidth { read_gb_s, copy_gb_s }
}

fn rate(bytes: usize, time: Duration, mut pass: impl FnMut()) -> f64 {
    let start = SystemClock.tick();
    let mut passes = 0_u64;
    loop {
        pass();
        passes += 1;
        let took = SystemClock.tick().since(start);
        if took >= time {
            return (passes * bytes as u64) as f64 / took.as_secs_f64() / 1e9;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_move() {
        let found = bandwidth(1 << 20, Duration::from_millis(1));
        assert!(found.read_gb_s > 0.0 && found.copy_gb_s > 0.0, "{found:?}");
    }
}
