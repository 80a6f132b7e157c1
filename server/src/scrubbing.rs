//! [`ScrubPace`]: when the scrubber reads, and how much. Pure. And what is told of what it finds.

use std::time::Duration;

use slotcore_engine::ord::SLOT_SHIFT;
use slotcore_engine::store::{ScrubError, ScrubFinding, Store};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;

use crate::logging::Event;
use crate::metrics::StoreFacts;

/// Bytes of one read: large enough for the device, small enough to be checked in less than 100 us.
const READ_BYTES: usize = 128 << 10;
/// A round begins this long after the one before began, at the earliest: what fits in less is read once a day.
const ROUND_EVERY: Duration = Duration::from_secs(24 * 3600);

/// See the module's text. A bucket of bytes that fills at the rate and is emptied by reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScrubPace {
    filled_at: Tick,
    /// Bytes that may be read.
    credit: u64,
    /// When the present round began, or the last one.
    round_began: Option<Tick>,
    /// It has come to its end.
    rests: bool,
}

impl ScrubPace {
    /// How many bytes may be read now; `None`: nothing. `rate`: bytes a second, 0 = never.
    pub fn step(&mut self, now: Tick, rate: u64) -> Option<usize> {
        let since = now.since(self.filled_at).min(Duration::from_secs(1));
        self.filled_at = now;
        if self.rests && self.round_began.is_some_and(|began| now.since(began) < ROUND_EVERY) {
            return None;
        }
        let filled = (u128::from(rate) * since.as_nanos() / 1_000_000_000) as u64;
        // Permission that was not used does not pile up.
        self.credit = (self.credit + filled).min(2 * READ_BYTES as u64);
        if rate == 0 || self.credit < READ_BYTES as u64 {
            return None;
        }
        if self.rests || self.round_began.is_none() {
            (self.round_began, self.rests) = (Some(now), false);
        }
        Some(READ_BYTES)
    }

    /// So many bytes are being read.
    pub fn spend(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes as u64);
    }

    /// The round has come to its end.
    pub fn round_ended(&mut self) {
        self.rests = true;
    }

    /// A turn of the scrubber over `store`: reads if it may, and tells what was found.
    pub fn turn(&mut self, store: &mut Store, now: Tick, rate: u64, core: CoreId, facts: &mut StoreFacts) {
        if let Some(bytes) = self.step(now, rate) {
            match store.scrub(bytes) {
                Some(bytes) => self.spend(bytes),
                // Where there are no files yet, it was no round.
                None if store.scrub_stats().rounds > 0 => self.round_ended(),
                None => {}
            }
        }
        facts.scrub = store.scrub_stats();
        for finding in store.take_scrub_findings() {
            facts.scrub_last_damage = Some((finding.file, finding.offset));
            tell(&finding, core);
        }
    }
}

/// Which slots the keys of these orders are in.
pub fn slots_of(ords: (u64, u64)) -> (u64, u64) {
    (ords.0 >> SLOT_SHIFT, ords.1 >> SLOT_SHIFT)
}

fn tell(finding: &ScrubFinding, core: CoreId) {
    let what = match &finding.error {
        ScrubError::Damaged(error) => error.to_string(),
        ScrubError::Unreadable(errno) => format!("it cannot be read: {}", std::io::Error::from_raw_os_error(*errno)),
    };
    let keys = match finding.ords.map(slots_of) {
        Some((first, last)) => format!("keys of slots {first} to {last}"),
        None => "keys of any slot that the file has".to_string(),
    };
    Event::ScrubDamage {
        core,
        file: finding.file,
        offset: finding.offset,
        keys: &keys,
        what: &what,
    }
    .log();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_at_its_rate_and_rests_after_a_round() {
        let (mut pace, mut now, mut read) = (ScrubPace::default(), Tick::ZERO, 0_u64);
        for _ in 0..1_000 {
            now = now + Duration::from_millis(10);
            if let Some(bytes) = pace.step(now, 4 << 20) {
                pace.spend(bytes);
                read += bytes as u64;
            }
        }
        let expected = 10 * (4 << 20);
        assert!(
            (expected - (1 << 20)..=expected).contains(&read),
            "{read} bytes in ten seconds"
        );
        pace.round_ended();
        assert_eq!(pace.step(now + Duration::from_secs(3600), 4 << 20), None);
        assert_eq!(pace.step(now + ROUND_EVERY, 4 << 20), Some(READ_BYTES));
        assert_eq!(pace.step(now + ROUND_EVERY + Duration::from_secs(9), 0), None, "off");
    }
}
