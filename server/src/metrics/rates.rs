//! [`Rate`]: how fast a counter grows right now, as INFO's `instantaneous_*` fields show it.

use std::time::Duration;

use slotcore_rt::clock::Tick;

/// Samples averaged; as in Redis, where 16 samples of 100 ms smooth over 1.6 seconds.
const SAMPLES: usize = 16;
/// Shortest time between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Growth of one counter per second.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    samples: [u64; SAMPLES],
    at: usize,
    last: u64,
    last_at: Tick,
}

impl Rate {
    /// Notes the counter's value. Calls within [`SAMPLE_EVERY`] of the last sample change nothing, so that the caller may
    /// come as often as it likes.
    pub fn sample(&mut self, now: Tick, value: u64) {
        let passed = now.since(self.last_at);
        if passed < SAMPLE_EVERY {
            return;
        }
        let grown = value.saturating_sub(self.last);
        // After a long sleep one division covers the whole pause; millis of an Duration here fit in 64 bits for ages.
        self.samples[self.at] = grown.saturating_mul(1000) / (passed.as_millis() as u64).max(1);
        self.at = (self.at + 1) % SAMPLES;
        (self.last, self.last_at) = (value, now);
    }

    /// Per second, averaged over the last samples.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / SAMPLES as u64
    }

    /// Adds the rate of another core's counter.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.samples.iter_mut().zip(other.samples) {
            *ours = ours.saturating_add(theirs);
        }
    }

    /// Forgets everything but the counter's last value.
    pub fn reset(&mut self) {
        self.samples = [0; SAMPLES];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_counter_has_its_rate() {
        let mut rate = Rate::default();
        for tenth in 1..=16u64 {
            let now = Tick::ZERO + SAMPLE_EVERY * tenth as u32;
            rate.sample(now, tenth * 50);
            rate.sample(now, tenth * 50 + 1000);
        }
        assert_eq!(rate.per_second(), 500);
        rate.sample(Tick::ZERO + Duration::from_secs(1000), 16 * 50);
        assert_eq!(rate.per_second(), 500 * 15 / 16);
    }
}
