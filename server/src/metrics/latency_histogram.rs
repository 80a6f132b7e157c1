//! [`LatencyHistogram`]: how long something took, with a relative error below one percent, in a bounded amount of memory.

use hdrhistogram::Histogram;

/// Longest time told apart, in nanoseconds; longer ones count as this. A minute is far beyond any client's patience.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits: with two, a histogram takes about 15 KiB.
const DIGITS: u8 = 2;

/// A distribution of times in nanoseconds.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    counts: Histogram<u32>,
    sum_ns: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        let counts = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("constant bounds that fit together");
        Self { counts, sum_ns: 0 }
    }
}

impl LatencyHistogram {
    /// Counts `times` events that took `ns` nanoseconds each.
    #[inline]
    pub fn record(&mut self, ns: u64, times: u32) {
        self.counts.saturating_record_n(ns.max(1), times);
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(u64::from(times)));
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        self.counts
            .add(&other.counts)
            .expect("all histograms have the same bounds");
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// How many events were counted.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// All their times together, in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The time that `percent` of the events did not exceed, in nanoseconds; 0 when there were none.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        self.counts.value_at_percentile(percent)
    }

    /// The longest time, in nanoseconds.
    pub fn max_ns(&self) -> u64 {
        self.counts.max()
    }

    /// How many events took at most `ns` nanoseconds (within the histogram's precision).
    pub fn count_up_to(&self, ns: u64) -> u64 {
        let steps = self
            .counts
            .iter_recorded()
            .take_while(|step| step.value_iterated_to() <= ns);
        steps.map(|step| u64::from(step.count_at_value())).sum()
    }

    /// Calls `visit` with a bound in microseconds and the number of events up to it: bounds double from 1 µs on and only
    /// those are shown where the number grew, as Redis's `LATENCY HISTOGRAM` shows them.
    pub fn doubling(&self, visit: &mut dyn FnMut(u64, u64)) {
        let mut bound_us = 1u64;
        let mut sum = 0u64;
        let mut shown = 0u64;
        for step in self.counts.iter_recorded() {
            while step.value_iterated_to() > bound_us * 1000 {
                if sum > shown {
                    visit(bound_us, sum);
                    shown = sum;
                }
                bound_us *= 2;
            }
            sum += u64::from(step.count_at_value());
        }
        if sum > shown {
            visit(bound_us, sum);
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.counts.reset();
        self.sum_ns = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_sums_and_bounds() {
        let mut times = LatencyHistogram::default();
        assert_eq!((times.count(), times.percentile_ns(99.0)), (0, 0));
        times.record(800, 98);
        times.record(3_000, 1);
        times.record(LATENCY_NS_MAX * 2, 1);
        assert_eq!(
            (times.count(), times.sum_ns()),
            (100, 98 * 800 + 3_000 + 2 * LATENCY_NS_MAX)
        );
        assert!((800..=808).contains(&times.percentile_ns(50.0)));
        assert!(times.max_ns() >= LATENCY_NS_MAX);
        assert_eq!(
            (
                times.count_up_to(1_000),
                times.count_up_to(10_000),
                times.count_up_to(500)
            ),
            (98, 99, 0)
        );
        let mut seen = Vec::new();
        times.doubling(&mut |bound, count| seen.push((bound, count)));
        assert_eq!(seen[..2], [(1, 98), (4, 99)]);
        assert_eq!(seen.last().unwrap().1, 100);
    }
}
