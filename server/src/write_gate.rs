//! [`WriteGate`]: holds writes back while more of them would come than can be flushed. Pure.

use std::time::Duration;

use slotcore_rt::clock::Tick;

/// Unused permission is kept for this long: a burst after a pause is not held back, a flood is.
const BURST: Duration = Duration::from_millis(10);

/// See the module's text. A bucket of bytes that fills at a rate and is emptied by writes, below zero by the last one.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteGate {
    /// Bytes a second; `None`: no limit.
    rate: Option<u64>,
    credit: i64,
    filled_at: Tick,
}

impl WriteGate {
    /// Sets the rate in force from `now` on, after filling at the one before.
    pub fn set_rate(&mut self, now: Tick, rate: Option<u64>) {
        let of = |rate: u64, time: Duration| (u128::from(rate) * time.as_nanos() / 1_000_000_000) as i64;
        self.credit = match (self.rate, rate) {
            (Some(before), Some(after)) => {
                let time = now.since(self.filled_at).min(BURST);
                let filled = of(before, time);
                if filled == 0 && time < BURST {
                    // A slow rate fills byte by byte: the time so far is not lost.
                    self.rate = rate;
                    return;
                }
                self.credit.saturating_add(filled).min(of(after, BURST))
            }
            // The limit begins with the burst it allows, and leaves nothing behind.
            (None, Some(after)) => of(after, BURST),
            (_, None) => 0,
        };
        (self.rate, self.filled_at) = (rate, now);
    }

    /// Whether writes may be taken now.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.rate.is_none() || self.credit > 0
    }

    /// So many bytes were written.
    #[inline]
    pub fn spend(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.credit = self.credit.saturating_sub(bytes as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_pass_at_the_rate_and_not_faster() {
        let (mut gate, mut now, mut passed) = (WriteGate::default(), Tick::ZERO, 0_u64);
        assert!(gate.is_open());
        for _ in 0..10_000 {
            now = now + Duration::from_micros(100);
            gate.set_rate(now, Some(1_000_000));
            while gate.is_open() {
                gate.spend(700);
                passed += 700;
            }
        }
        assert!((990_000..1_020_000).contains(&passed), "{passed} bytes in a second");
        gate.set_rate(now, None);
        assert!(gate.is_open());
        gate.set_rate(now, Some(0));
        assert!(!gate.is_open());
        gate.set_rate(now + Duration::from_secs(9), Some(0));
        assert!(!gate.is_open(), "nothing passes at rate 0");
    }
}
