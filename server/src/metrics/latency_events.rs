//! [`LatencyEvents`]: moments that took longer than `latency-monitor-threshold` (`LATENCY LATEST`, `HISTORY`, ...).

use std::collections::BTreeMap;

/// Samples kept per kind of event; as in Redis.
pub const SAMPLES_MAX: usize = 160;

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LatencyKind {
    /// A command that is not of constant or logarithmic cost.
    Command,
    /// A command of constant or logarithmic cost.
    FastCommand,
    /// One turn of physical removal of expired keys.
    ExpireCycle,
    /// One write to the log, until durable.
    LogWrite,
}

impl LatencyKind {
    /// Every kind.
    pub const ALL: [LatencyKind; 4] = [Self::Command, Self::FastCommand, Self::ExpireCycle, Self::LogWrite];

    /// As `LATENCY` names it; where Redis has such an event, by Redis's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
            Self::ExpireCycle => "expire-cycle",
            Self::LogWrite => "aof-write",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }
}

/// One moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// How long, in milliseconds.
    pub ms: u32,
}

/// The moments of one kind.
#[derive(Clone, Debug, Default)]
pub struct Series {
    samples: Vec<Sample>,
    max_ms: u32,
}

impl Series {
    /// The samples kept, oldest first; one a second at most, the longest of that second.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The longest of all times.
    pub fn max_ms(&self) -> u32 {
        self.max_ms
    }
}

/// The moments of every kind.
#[derive(Clone, Debug, Default)]
pub struct LatencyEvents {
    series: BTreeMap<LatencyKind, Series>,
}

impl LatencyEvents {
    /// Notes a moment of `ms` milliseconds when it reaches the threshold (0 = monitoring is off).
    #[inline]
    pub fn note(&mut self, kind: LatencyKind, at_s: u64, ms: u32, threshold_ms: u32) {
        if threshold_ms > 0 && ms >= threshold_ms {
            self.keep(kind, Sample { at_s, ms });
        }
    }

    fn keep(&mut self, kind: LatencyKind, sample: Sample) {
        let series = self.series.entry(kind).or_default();
        series.max_ms = series.max_ms.max(sample.ms);
        if let Some(last) = series.samples.last_mut().filter(|last| last.at_s == sample.at_s) {
            last.ms = last.ms.max(sample.ms);
            return;
        }
        if series.samples.len() == SAMPLES_MAX {
            series.samples.remove(0);
        }
        series.samples.push(sample);
    }

    /// Adds the moments of another core: of each second the longest, and the newest of all.
    pub fn merge(&mut self, other: &Self) {
        for (&kind, theirs) in &other.series {
            let ours = self.series.entry(kind).or_default();
            ours.max_ms = ours.max_ms.max(theirs.max_ms);
            let mut longest: BTreeMap<u64, u32> = BTreeMap::new();
            for sample in ours.samples.iter().chain(&theirs.samples) {
                let ms = longest.entry(sample.at_s).or_default();
                *ms = sample.ms.max(*ms);
            }
            let too_old = longest.len().saturating_sub(SAMPLES_MAX);
            let kept = longest.into_iter().skip(too_old);
            ours.samples = kept.map(|(at_s, ms)| Sample { at_s, ms }).collect();
        }
    }

    /// Every kind that was seen, with its moments.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (LatencyKind, &Series)> {
        self.series.iter().map(|(&kind, series)| (kind, series))
    }

    /// The moments of one kind; `None` when it was never seen.
    pub fn get(&self, kind: LatencyKind) -> Option<&Series> {
        self.series.get(&kind)
    }

    /// Forgets one kind. Returns whether it was there.
    pub fn reset(&mut self, kind: LatencyKind) -> bool {
        self.series.remove(&kind).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_a_second_and_a_bounded_number_of_them() {
        let mut events = LatencyEvents::default();
        events.note(LatencyKind::Command, 1, 99, 100);
        events.note(LatencyKind::Command, 1, 99, 0);
        assert!(events.get(LatencyKind::Command).is_none());
        for (at, ms) in [(1, 100), (1, 300), (1, 200), (2, 150)] {
            events.note(LatencyKind::Command, at, ms, 100);
        }
        let series = events.get(LatencyKind::Command).unwrap();
        assert_eq!(
            series.samples(),
            [Sample { at_s: 1, ms: 300 }, Sample { at_s: 2, ms: 150 }]
        );
        assert_eq!(series.max_ms(), 300);
        for at in 10..10 + SAMPLES_MAX as u64 {
            events.note(LatencyKind::Command, at, 100, 100);
        }
        let series = events.get(LatencyKind::Command).unwrap();
        assert_eq!(
            (series.samples().len(), series.samples()[0].at_s, series.max_ms()),
            (SAMPLES_MAX, 10, 300)
        );
        let mut merged = LatencyEvents::default();
        for (at, ms) in [(9, 400), (10, 90), (11, 500)] {
            merged.note(LatencyKind::Command, at, ms, 1);
        }
        merged.note(LatencyKind::LogWrite, 5, 7, 1);
        merged.merge(&events);
        let both = merged.get(LatencyKind::Command).unwrap();
        assert_eq!(
            both.samples()[..2],
            [Sample { at_s: 10, ms: 100 }, Sample { at_s: 11, ms: 500 }]
        );
        assert_eq!((both.samples().len(), both.max_ms()), (SAMPLES_MAX, 500));
        assert_eq!(merged.get(LatencyKind::LogWrite).unwrap().max_ms(), 7);
        assert!(events.reset(LatencyKind::Command) && !events.reset(LatencyKind::Command));
    }
}
