//! [`LogShortening`]: when a core of a cluster lets its log forget what its files have.
//!
//! The log is kept from the flush before the last on, so that a replica that is a little behind gets entries and no files. A leader's log
//! forgets nothing that it would send to a replica that is away: it hands over when that has become too much. While files are on their
//! way to a replica it keeps what has to follow them, as long as that is not too much, either.

use std::time::Duration;

use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, Role, StateMachine};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::LogIndex;

use crate::boot::FIRST_GROUP;
use crate::core_loop::CoreLoop;

/// openraft is told so often of what it has not taken note of.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Who leads tries this often to hand over.
const HAND_OVER_EVERY: Duration = Duration::from_secs(1);
/// So many flushes are kept while files are on their way: some times what a log has otherwise.
const KEPT_FLUSHES_MAX: u32 = 32;

/// See the module's text.
#[derive(Debug)]
pub struct LogShortening {
    /// The last entry of the last flush, and of the one before.
    newest: LogIndex,
    before: LogIndex,
    /// There was one more flush, and the log still has what it should have forgotten by then.
    overdue: bool,
    /// Flushes since files are on their way.
    kept_flushes: u32,
    told: Option<Tick>,
    handed_over: Tick,
}

/// How things stand.
#[derive(Clone, Copy, Debug)]
struct Seen {
    now: Tick,
    /// The last entry that files have.
    flushed: LogIndex,
    /// The same as openraft knows it.
    known: LogIndex,
    /// Up to where the log has forgotten.
    purged: LogIndex,
    /// What is behind this entry has to follow files that are on their way.
    keep_behind: Option<LogIndex>,
    leads: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ToDo {
    /// openraft is to look at the files.
    tell: bool,
    /// The log is to forget entries up to this one.
    purge: Option<LogIndex>,
    hand_over: bool,
}

impl LogShortening {
    /// Of a core whose files had this entry as their last at its start.
    pub fn new(flushed: LogIndex) -> Self {
        Self {
            newest: flushed,
            before: LogIndex(0),
            overdue: false,
            kept_flushes: 0,
            told: None,
            handed_over: Tick::ZERO,
        }
    }

    fn step(&mut self, seen: Seen) -> ToDo {
        let is_newer = seen.flushed > self.newest;
        self.kept_flushes = match seen.keep_behind {
            Some(_) => self.kept_flushes + u32::from(is_newer),
            None => 0,
        };
        let keep_behind = seen.keep_behind.filter(|_| self.kept_flushes <= KEPT_FLUSHES_MAX);
        let upto = |before: LogIndex| keep_behind.map_or(before, |kept| kept.min(before));
        if is_newer {
            self.overdue = seen.purged < upto(self.before);
            (self.before, self.newest) = (self.newest, seen.flushed);
            self.told = None;
        }
        let upto = upto(self.before);
        let late = seen.purged < upto;
        self.overdue &= late;
        let due = |last: Tick, every| seen.now.since(last) >= every;
        let tell = seen.known < self.newest && self.told.is_none_or(|told| due(told, TELL_EVERY));
        if tell {
            self.told = Some(seen.now);
        }
        let hand_over = self.overdue && seen.leads && due(self.handed_over, HAND_OVER_EVERY);
        if hand_over {
            self.handed_over = seen.now;
        }
        ToDo {
            tell,
            purge: late.then_some(upto),
            hand_over,
        }
    }
}

impl CoreLoop {
    /// Lets the log forget what nobody needs.
    pub(crate) fn shorten_log<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>, now: Tick) {
        let Some(work) = &mut self.shortening else { return };
        let purged = self.log.borrow().group(FIRST_GROUP).map(|group| group.purged().index);
        let todo = work.step(Seen {
            now,
            flushed: self.state.borrow().store.borrow().flushed().index,
            known: group.positions().snapshot,
            purged: purged.unwrap_or_default(),
            keep_behind: group.state().keep_log_behind(now),
            leads: group.role() == Role::Leader,
        });
        // Busy or failed: it is tried again, or noticed elsewhere.
        if todo.tell {
            _ = group.take_snapshot();
        }
        if let Some(upto) = todo.purge {
            _ = group.purge_log(upto);
        }
        if todo.hand_over
            && let Some(heir) = self.heir(group, now)
        {
            _ = group.transfer_leader(heir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn seen(now: Tick, flushed: u64, known: u64, purged: u64, leads: bool) -> Seen {
        Seen {
            now,
            flushed: LogIndex(flushed),
            known: LogIndex(known),
            purged: LogIndex(purged),
            keep_behind: None,
            leads,
        }
    }

    fn purge(upto: u64) -> ToDo {
        ToDo {
            purge: Some(LogIndex(upto)),
            ..ToDo::default()
        }
    }

    #[test]
    fn the_log_is_kept_from_the_flush_before_the_last_on() {
        let mut work = LogShortening::new(LogIndex(50));
        let now = Tick::ZERO + S;
        let tell = ToDo {
            tell: true,
            ..ToDo::default()
        };
        assert_eq!(work.step(seen(now, 50, 0, 0, false)), tell, "as found at the start");
        assert_eq!(work.step(seen(now, 50, 0, 0, false)), ToDo::default(), "just told");
        assert_eq!(work.step(seen(now + S, 50, 0, 0, false)), tell);
        assert_eq!(work.step(seen(now + S, 50, 50, 0, false)), ToDo::default());
        let told = ToDo {
            tell: true,
            ..purge(50)
        };
        assert_eq!(work.step(seen(now + S, 80, 50, 0, false)), told);
        assert_eq!(
            work.step(seen(now + S, 80, 80, 0, false)),
            purge(50),
            "until it is done"
        );
        assert_eq!(work.step(seen(now + S, 80, 80, 50, false)), ToDo::default());
        assert_eq!(work.step(seen(now + S, 90, 90, 50, false)), purge(80));
    }

    #[test]
    fn what_has_to_follow_files_is_kept_while_they_are_on_their_way_but_not_without_end() {
        let mut work = LogShortening::new(LogIndex(50));
        let now = Tick::ZERO + S;
        let seen = |flushed, purged, keep_behind: Option<u64>| Seen {
            keep_behind: keep_behind.map(LogIndex),
            ..seen(now, flushed, flushed, purged, true)
        };
        assert_eq!(work.step(seen(80, 0, Some(30))), purge(30));
        assert_eq!(work.step(seen(90, 30, Some(30))), ToDo::default());
        assert_eq!(work.step(seen(100, 30, Some(30))), ToDo::default(), "nobody is away");
        assert_eq!(work.step(seen(100, 30, None)), purge(90), "they have come");
        assert_eq!(work.step(seen(100, 90, Some(90))), ToDo::default());
        for flush in 1..=u64::from(KEPT_FLUSHES_MAX) {
            assert_eq!(work.step(seen(100 + flush, 90, Some(90))), ToDo::default());
        }
        let newest = 100 + u64::from(KEPT_FLUSHES_MAX);
        let too_much = work.step(seen(newest + 1, 90, Some(90)));
        assert_eq!(too_much.purge, Some(LogIndex(newest)));
    }

    #[test]
    fn a_leader_hands_over_when_the_next_flush_has_ended_and_its_log_has_forgotten_nothing() {
        let mut work = LogShortening::new(LogIndex(50));
        let now = Tick::ZERO + S;
        assert_eq!(work.step(seen(now, 80, 80, 0, true)), purge(50));
        let hand_over = ToDo {
            hand_over: true,
            ..purge(80)
        };
        assert_eq!(work.step(seen(now, 90, 90, 0, true)), hand_over);
        assert_eq!(work.step(seen(now, 90, 90, 0, true)), purge(80), "just tried");
        assert_eq!(work.step(seen(now + S, 90, 90, 60, true)), hand_over, "not enough");
        assert_eq!(
            work.step(seen(now + S + S, 90, 90, 60, false)),
            purge(80),
            "who follows waits"
        );
        assert_eq!(work.step(seen(now + S + S, 90, 90, 80, true)), ToDo::default());
        assert_eq!(work.step(seen(now + S + S, 95, 95, 80, true)), purge(90));
    }
}
