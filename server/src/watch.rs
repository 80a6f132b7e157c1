//! [`CoreWatch`]: notices a core that does not turn any more, and tells when it does again.
//!
//! A core counts its turns where the main thread can see it, and says when it rests in its ring, which is never for long.
//! Pure: the caller brings time and counts.

use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;

/// How often to look: what a core loses that is asleep by mistake.
pub const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A core that has not turned for so long is worth a line in the log: beyond any slice of work that is planned.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug)]
pub struct CoreWatch {
    cores: Vec<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    turns: u64,
    at: Tick,
    told: bool,
}

/// What is to be done about a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It neither turned nor rested since the last look: it works on something long, or its executor sleeps by mistake
    /// and must be woken.
    Nudge,
    /// To be told: it has not turned for this long. It is to be nudged, too.
    Stuck(Duration),
    /// To be told: it turns again, after this long.
    Back(Duration),
}

impl CoreWatch {
    /// Of `cores` cores that all turn now.
    pub fn new(cores: usize, now: Tick) -> Self {
        let seen = Seen {
            turns: 0,
            at: now,
            told: false,
        };
        Self {
            cores: vec![seen; cores],
        }
    }

    /// Takes in how often a core has turned so far, and whether it rests.
    pub fn look(&mut self, core: CoreId, turns: u64, resting: bool, now: Tick) -> Option<Finding> {
        let seen = &mut self.cores[usize::from(core.0)];
        let still = now.since(seen.at);
        if turns != seen.turns {
            let back = seen.told.then_some(Finding::Back(still));
            *seen = Seen {
                turns,
                at: now,
                told: false,
            };
            return back;
        }
        if still >= STUCK_AFTER && !seen.told {
            seen.told = true;
            return Some(Finding::Stuck(still));
        }
        (!resting).then_some(Finding::Nudge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_stands_still_is_nudged_and_told_once_and_so_is_its_return() {
        let at = |ms: u64| Tick(ms * 1_000_000);
        let ms = Duration::from_millis;
        let mut watch = CoreWatch::new(2, at(0));
        let core = CoreId(1);
        assert_eq!(watch.look(core, 5, false, at(500)), None);
        assert_eq!(watch.look(core, 5, true, at(510)), None, "it rests");
        assert_eq!(watch.look(core, 5, false, at(1000)), Some(Finding::Nudge));
        assert_eq!(watch.look(core, 5, false, at(1500)), Some(Finding::Stuck(ms(1000))));
        assert_eq!(watch.look(core, 5, false, at(2000)), Some(Finding::Nudge));
        assert_eq!(watch.look(CoreId(0), 9, false, at(2000)), None, "the other one turns");
        assert_eq!(watch.look(core, 6, false, at(2500)), Some(Finding::Back(ms(2000))));
        assert_eq!(watch.look(core, 7, false, at(3000)), None);
    }
}
