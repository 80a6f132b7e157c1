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
/// While files are on their way a log may take so many times what it takes otherwise, or as much as the files: if it takes more, they
/// are sent again.
const LARGER: u64 = 8;

/// See the module's text.
#[derive(Debug)]
pub struct LogShortening {
    /// The last entry of the last flush, and of the one before.
    newest: LogIndex,
    before: LogIndex,
    /// There was one more flush, and the log still has what it should have forgotten by then.
    overdue: bool,
    /// Up to where the log was to forget.
    wanted: LogIndex,
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
            wanted: LogIndex(0),
            told: None,
            handed_over: Tick::ZERO,
        }
    }

    fn step(&mut self, seen: Seen) -> ToDo {
        if seen.flushed > self.newest {
            self.overdue = seen.purged < self.wanted;
            (self.before, self.newest) = (self.newest, seen.flushed);
            self.told = None;
        }
        // What was forgotten already is not waited for.
        let keep_behind = seen.keep_behind.filter(|kept| *kept >= seen.purged);
        self.wanted = keep_behind.map_or(self.before, |kept| kept.min(self.before));
        let late = seen.purged < self.wanted;
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
            purge: late.then_some(self.wanted),
            hand_over,
        }
    }
}

impl CoreLoop {
    /// Whether the log may keep what has to follow files.
    fn log_may_grow(&self) -> bool {
        let (log, state) = (self.log.borrow(), self.state.borrow());
        let files = state.store.borrow().stats().file_bytes;
        state.write_barrier.is_none()
            && log.stats().segments_live * log.segment_bytes() <= files.max(LARGER * log.bytes_target())
    }

    /// Lets the log forget what nobody needs.
    pub(crate) fn shorten_log<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>, now: Tick) {
        let keep_behind = group.state().keep_log_behind(now);
        let keep_behind = keep_behind.filter(|_| self.log_may_grow());
        let Some(work) = &mut self.shortening else { return };
        let purged = self.log.borrow().group(FIRST_GROUP).map(|group| group.purged().index);
        let todo = work.step(Seen {
            now,
            flushed: self.state.borrow().store.borrow().flushed().index,
            known: group.positions().snapshot,
            purged: purged.unwrap_or_default(),
            keep_behind,
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
    fn what_has_to_follow_files_is_kept_while_they_are_on_their_way() {
        let mut work = LogShortening::new(LogIndex(50));
        let now = Tick::ZERO + S;
        let seen = |flushed, purged, keep_behind: Option<u64>| Seen {
            keep_behind: keep_behind.map(LogIndex),
            ..seen(now, flushed, flushed, purged, true)
        };
        assert_eq!(work.step(seen(80, 0, Some(30))), purge(30));
        assert_eq!(work.step(seen(90, 30, Some(30))), ToDo::default());
        assert_eq!(work.step(seen(100, 30, Some(30))), ToDo::default(), "nobody is away");
        assert_eq!(work.step(seen(110, 30, None)), purge(100), "it has become too much");
        assert_eq!(work.step(seen(120, 100, None)), purge(110));
        assert_eq!(work.step(seen(130, 110, Some(120))), purge(120), "the next ones");
        assert_eq!(work.step(seen(140, 120, Some(120))), ToDo::default());
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
