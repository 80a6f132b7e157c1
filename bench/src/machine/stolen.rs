//! [`Stolen`]: how much of the processors' time others had while figures were taken, where this machine is a guest.
//!
//! Figures of a disturbed machine look like those of a slow server: latencies first, by orders of magnitude.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The host's other guests' part of the processors' time, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stolen {
    /// Over all of the time.
    pub percent: f64,
    /// In the worst second.
    pub worst_percent: f64,
}

impl Stolen {
    /// Half a sentence about it.
    pub fn line(&self) -> String {
        format!(
            "others took {:.1} % of the processors' time, {:.0} % in the worst second",
            self.percent, self.worst_percent
        )
    }
}

/// Looks every second, from its begin to its end.
pub struct Watch {
    looks: JoinHandle<Stolen>,
    end: Sender<()>,
}

impl Watch {
    /// From now on.
    pub fn begin() -> Self {
        let (end, ended) = channel();
        let looks = thread::spawn(move || {
            let first = Ticks::now();
            let (mut last, mut worst_percent) = (first, 0.0);
            loop {
                let woken = ended.recv_timeout(Duration::from_secs(1));
                let now = Ticks::now();
                if woken == Err(RecvTimeoutError::Timeout) {
                    worst_percent = now.stolen_since(last).max(worst_percent);
                    last = now;
                    continue;
                }
                let percent = now.stolen_since(first);
                return Stolen {
                    percent,
                    worst_percent: worst_percent.max(percent),
                };
            }
        });
        Self { looks, end }
    }

    /// What was taken since the begin.
    pub fn end(self) -> Stolen {
        drop(self.end);
        self.looks.join().expect("reading a file does not panic")
    }
}

/// Time of all processors so far, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    fn now() -> Self {
        Self::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Format of `stat`: proc_stat(5). The first line's numbers are user, nice, system, idle, iowait, irq, softirq, steal, and two
    /// that are in the first ones already.
    fn of(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .map_while(|n| n.parse().ok())
            .take(8)
            .collect();
        Self {
            all: ticks.iter().sum(),
            stolen: ticks.get(7).copied().unwrap_or(0),
        }
    }

    /// In percent.
    fn stolen_since(self, earlier: Self) -> f64 {
        let of = |now: u64, then: u64| now.saturating_sub(then) as f64;
        100.0 * of(self.stolen, earlier.stolen) / of(self.all, earlier.all).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stolen_is_told_from_what_was_used() {
        let before = Ticks::of("cpu  100 0 50 800 10 0 20 20 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
        assert_eq!(before, Ticks { all: 1000, stolen: 20 });
        let after = Ticks::of("cpu  150 0 70 850 10 0 20 100 7 0\n");
        assert_eq!(after.stolen_since(before), 40.0);
        assert_eq!(before.stolen_since(before), 0.0);
        assert_eq!(
            Ticks::of("").stolen_since(before),
            0.0,
            "no such file: nothing is known to be stolen"
        );
    }

    #[test]
    fn a_watch_ends_at_once() {
        let stolen = Watch::begin().end();
        assert!((0.0..=100.0).contains(&stolen.percent) && stolen.worst_percent >= stolen.percent);
    }
}
