//! [`Dialing`]: when a lost link is tried again. Pure.

use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::rng::SeededRng;

/// A lost link is dialed again after this time at first,
pub const DIAL_FIRST: Duration = Duration::from_millis(20);
/// and after no more than this.
pub const DIAL_LONGEST: Duration = Duration::from_secs(1);
/// Only a link that has lasted this long makes the next wait short again: a peer that accepts and closes at once is not
/// dialed in a tight loop.
const LASTED: Duration = Duration::from_secs(5);

/// The tries of one link.
#[derive(Debug)]
pub(super) struct Dialing {
    wait: Duration,
    due: Option<Tick>,
}

impl Dialing {
    /// To be dialed at once.
    pub fn new(now: Tick) -> Self {
        Self {
            wait: DIAL_FIRST,
            due: Some(now),
        }
    }

    /// True once when it is time to dial.
    pub fn is_due(&mut self, now: Tick) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
        }
        due
    }

    /// When it is to be dialed, if it waits for that.
    pub fn due(&self) -> Option<Tick> {
        self.due
    }

    /// A try has failed, or a link was lost that was open for `lasted`. Waits differ by up to a half, so that all cores of
    /// a node that comes back are not dialed at the same moment.
    pub fn lost(&mut self, now: Tick, lasted: Duration, rng: &mut SeededRng) {
        if lasted >= LASTED {
            self.wait = DIAL_FIRST;
        }
        let half = self.wait / 2;
        self.due = Some(now + half + Duration::from_nanos(rng.below(half.as_nanos() as u64 + 1)));
        self.wait = (self.wait * 2).min(DIAL_LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew_after_a_good_link() {
        let (mut rng, mut now) = (SeededRng::new(1), Tick(0));
        let mut dialing = Dialing::new(now);
        assert!(dialing.is_due(now) && !dialing.is_due(now), "once");
        let mut longest = DIAL_FIRST;
        for _ in 0..12 {
            dialing.lost(now, Duration::ZERO, &mut rng);
            assert!(!dialing.is_due(now + (longest / 2 - Duration::from_nanos(1))));
            now = now + longest;
            assert!(dialing.is_due(now));
            longest = (longest * 2).min(DIAL_LONGEST);
        }
        assert_eq!(longest, DIAL_LONGEST);
        dialing.lost(now, LASTED, &mut rng);
        assert!(dialing.is_due(now + DIAL_FIRST));
    }
}
