//! [`Recorder`]: latencies of a run, second by second and in total.
//!
//! A reply is recorded once, in the second's histogram, which is added to the total at the second's end.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use slotcore_rt::clock::Tick;

/// Latencies are kept between these bounds, in nanoseconds, to three digits.
const LATENCY_NS: std::ops::RangeInclusive<u64> = 100..=600_000_000_000;
/// Length of a step of the series.
const STEP: Duration = Duration::from_secs(1);

/// An empty histogram of nanoseconds, for whatever latency a run may have.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(*LATENCY_NS.start(), *LATENCY_NS.end(), 3).expect("the bounds are far enough apart")
}

/// One second of a run; the last may be shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Its end, in seconds from the start of the run.
    pub at_s: f64,
    /// Replies per second in it.
    pub rate: f64,
    /// Half of its latencies were below, in microseconds; 0 when there was no reply.
    pub p50_us: f64,
    /// 99 % were below.
    pub p99_us: f64,
    /// 99.9 % were below.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Error replies from the start of the run to its end.
    pub errors: u64,
}

/// See the module's text.
pub struct Recorder {
    second: Histogram<u64>,
    total: Histogram<u64>,
    seconds: Vec<Second>,
    start: Tick,
    began: Tick,
}

impl Recorder {
    /// Of a run that starts at `start`.
    pub fn new(start: Tick) -> Self {
        Self {
            second: histogram(),
            total: histogram(),
            seconds: Vec::new(),
            start,
            began: start,
        }
    }

    /// Records `replies` that took `latency` each.
    #[inline]
    pub fn record(&mut self, latency: Duration, replies: u64) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.second.saturating_record_n(ns, replies);
    }

    /// True when the second is over and [`Recorder::end_second`] is due.
    #[inline]
    pub fn is_due(&self, now: Tick) -> bool {
        now.since(self.began) >= STEP
    }

    /// Ends the second at `now`; `errors` as in [`Second`].
    pub fn end_second(&mut self, now: Tick, errors: u64) -> &Second {
        let us = |quantile| self.second.value_at_quantile(quantile) as f64 / 1e3;
        let second = Second {
            at_s: now.since(self.start).as_secs_f64(),
            rate: self.second.len() as f64 / now.since(self.began).as_secs_f64().max(1e-9),
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: self.second.max() as f64 / 1e3,
            errors,
        };
        self.total.add(&self.second).expect("both have the same bounds");
        self.second.reset();
        self.began = now;
        self.seconds.push(second);
        self.seconds.last().expect("one was just added")
    }

    /// All latencies, and the series; a last second of which nothing was seen is left out.
    pub fn finish(mut self, now: Tick, errors: u64) -> (Histogram<u64>, Vec<Second>) {
        if !self.second.is_empty() {
            self.end_second(now, errors);
        }
        (self.total, self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latency_is_in_one_second_and_in_the_total() {
        let at = |ms: u64| Tick(1_000_000 + ms * 1_000_000);
        let mut recorder = Recorder::new(at(0));
        recorder.record(Duration::from_micros(100), 3);
        assert!(!recorder.is_due(at(999)) && recorder.is_due(at(1000)));
        let second = *recorder.end_second(at(1000), 0);
        assert_eq!((second.at_s, second.rate, second.errors), (1.0, 3.0, 0));
        assert!((99.0..101.0).contains(&second.p50_us), "{second:?}");
        // A second in which the server was silent.
        assert_eq!(recorder.end_second(at(2000), 0).rate, 0.0);
        recorder.record(Duration::from_millis(5), 1);
        let (total, seconds) = recorder.finish(at(2500), 2);
        assert_eq!((total.len(), seconds.len(), seconds[2].errors), (4, 3, 2));
        assert_eq!(seconds[2].rate, 2.0);
        assert!((4_990.0..5_010.0).contains(&seconds[2].max_us));
    }
}
