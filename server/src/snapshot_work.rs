//! [`SnapshotWork`]: when a core of a cluster makes a snapshot of its group, and how much of its log it forgets then.
//!
//! A replica follows while it makes one, as it executes nothing meanwhile: who leads hands over first. That also frees
//! its log, since a leader's log forgets nothing that it would send to a replica that is away. Whoever is elected while it
//! makes one gives it up: clients wait. The log is kept from the snapshot
//! before the newest on, so that a replica that is a little behind gets entries and no snapshot.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, Role, StateMachine};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::LogIndex;

use crate::boot::FIRST_GROUP;
use crate::core_loop::CoreLoop;
use crate::nodes::NodeNumber;
use crate::snapshot_files::{Kept, SnapshotFiles};

/// Snapshots are made so often that so many times what comes between two of them may be in the log: from the one before the
/// last to the next, which a leader makes last.
const PER_LOG_TARGET: u64 = 4;
/// Replicas wait for so many eighths of what comes between two snapshots before they make theirs, each another number: a group
/// whose followers all do that at once commits nothing meanwhile.
const EIGHTHS_APART: u64 = 4;
/// A snapshot that was asked for is asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Who leads tries this often to hand over.
const HAND_OVER_EVERY: Duration = Duration::from_secs(1);

/// See the module's text.
pub struct SnapshotWork {
    newest: Rc<Cell<Kept>>,
    unwanted: Rc<Cell<bool>>,
    /// What it was when last seen, and the end of the one before.
    seen: Kept,
    before: LogIndex,
    /// Bytes of log between two snapshots, at least.
    every: u64,
    /// In eighths of that: waits longer than others.
    later: u64,
    /// Bytes of log when the newest was asked for; below zero: before this start.
    log_at_newest: i64,
    asked: Option<Asked>,
    handed_over: Tick,
    /// A backup is under way.
    held: bool,
}

/// A snapshot that is made, or was given up.
#[derive(Debug)]
struct Asked {
    /// Of log at that time.
    log_bytes: i64,
    at: Tick,
    /// By a leader, whom nobody else could have relieved.
    leading: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Take,
    HandOver,
}

impl SnapshotWork {
    /// Of those in `files`. `log_target`: what the log may take, in bytes; `tail_bytes`: what it has behind the newest.
    pub fn new(files: &SnapshotFiles, me: NodeNumber, log_target: u64, tail_bytes: u64) -> Self {
        Self::following(files.newest(), files.unwanted(), me, log_target, tail_bytes)
    }

    fn following(
        newest: Rc<Cell<Kept>>,
        unwanted: Rc<Cell<bool>>,
        me: NodeNumber,
        log_target: u64,
        tail_bytes: u64,
    ) -> Self {
        Self {
            seen: newest.get(),
            newest,
            unwanted,
            before: LogIndex(0),
            every: log_target / PER_LOG_TARGET,
            later: u64::from(me.0) % EIGHTHS_APART,
            log_at_newest: -i64::try_from(tail_bytes).unwrap_or(i64::MAX),
            asked: None,
            handed_over: Tick::ZERO,
            held: false,
        }
    }

    /// While `keep` holds, the newest one stays: a backup reads it.
    pub fn keep_files(&mut self, keep: bool) {
        self.held = keep;
    }

    /// `log_bytes`: written since the start. `needed`: another replica's state is wrong, and this one's as of that entry or later shall
    /// take its place.
    fn step(&mut self, now: Tick, log_bytes: u64, leads: bool, follows: bool, needed: Option<LogIndex>) -> Step {
        let log_bytes = i64::try_from(log_bytes).unwrap_or(i64::MAX);
        let newest = self.newest.get();
        if newest.index > self.seen.index {
            self.before = self.seen.index;
            self.seen = newest;
            self.log_at_newest = self.asked.take().map_or(log_bytes, |asked| asked.log_bytes);
        }
        if self.held {
            self.unwanted.set(true);
            return Step::Nothing;
        }
        if leads && self.asked.take_if(|asked| !asked.leading).is_some() {
            self.unwanted.set(true);
        }
        if self.asked.as_ref().is_some_and(|asked| now.since(asked.at) < ASK_AGAIN) {
            return Step::Nothing;
        }
        let since = u64::try_from(log_bytes - self.log_at_newest).unwrap_or(0);
        // More is written for snapshots than for the log otherwise.
        let every = self.every.max(self.seen.bytes);
        let take = leads && needed > Some(newest.index)
            || follows && since >= every + every / 8 * self.later
            || leads && since >= 3 * every;
        if take {
            self.unwanted.set(false);
            self.asked = Some(Asked {
                log_bytes,
                at: now,
                leading: leads,
            });
            return Step::Take;
        }
        if leads && since >= 2 * every && now.since(self.handed_over) >= HAND_OVER_EVERY {
            self.handed_over = now;
            return Step::HandOver;
        }
        Step::Nothing
    }

    /// How far the log should be purged, when it is not.
    fn to_be_purged(&self, purged: LogIndex) -> Option<LogIndex> {
        Some(self.before).filter(|&before| before > purged)
    }
}

/// Whether a replica may make one whenever its log has grown. One that only listens may, too: a group keeps it for as long as its
/// next voters cannot take over, and its log grows like theirs.
fn follows(role: Role, has_leader: bool) -> bool {
    matches!(role, Role::Follower | Role::Learner) && has_leader
}

impl CoreLoop {
    /// Makes a snapshot when it is time to, and lets the log forget what nobody needs.
    pub(crate) fn work_on_snapshots<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>, now: Tick) {
        let Some(work) = &mut self.snapshots else { return };
        let (log_bytes, purged) = {
            let log = self.log.borrow();
            let purged = log.group(FIRST_GROUP).map(|group| group.purged().index);
            (log.stats().bytes, purged.unwrap_or_default())
        };
        let role = group.role();
        let follows = follows(role, group.leader().is_some());
        // Busy or failed: it is tried again, or noticed elsewhere.
        let needed = group.state().snapshot_needed();
        match work.step(now, log_bytes, role == Role::Leader, follows, needed) {
            Step::Nothing => {}
            Step::Take => _ = group.take_snapshot(),
            Step::HandOver => {
                if let Some(heir) = self.heir(group, now) {
                    _ = group.transfer_leader(heir);
                }
            }
        }
        if let Some(upto) = self.snapshots.as_ref().and_then(|work| work.to_be_purged(purged)) {
            _ = group.purge_log(upto);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn kept(index: u64, bytes: u64) -> Kept {
        Kept {
            index: LogIndex(index),
            bytes,
        }
    }

    fn work_of(newest: Rc<Cell<Kept>>, me: NodeNumber, tail_bytes: u64) -> SnapshotWork {
        SnapshotWork::following(newest, Rc::default(), me, 4_000, tail_bytes)
    }

    #[test]
    fn a_follower_takes_one_when_the_log_has_grown_and_forgets_up_to_the_one_before() {
        let newest = Rc::new(Cell::new(kept(50, 10)));
        let mut work = work_of(newest.clone(), NodeNumber(1), 300);
        let mut now = Tick::ZERO;
        assert_eq!(
            work.step(now, 824, false, true, None),
            Step::Nothing,
            "an eighth more than 1000, with 300 before"
        );
        assert_eq!(work.step(now, 825, false, true, None), Step::Take);
        now = now + S;
        assert_eq!(
            work.step(now, 9_000, false, true, None),
            Step::Nothing,
            "it is under way"
        );
        newest.set(kept(80, 10));
        assert_eq!(work.step(now, 900, false, true, None), Step::Nothing);
        assert_eq!(work.to_be_purged(LogIndex(20)), Some(LogIndex(50)));
        assert_eq!(work.to_be_purged(LogIndex(50)), None);
        assert_eq!(work.step(now, 825 + 1_124, false, true, None), Step::Nothing);
        assert_eq!(work.step(now, 825 + 1_125, false, true, None), Step::Take);
    }

    #[test]
    fn who_only_listens_makes_snapshots_like_who_votes() {
        assert!(follows(Role::Follower, true) && follows(Role::Learner, true));
        assert!(!follows(Role::Follower, false) && !follows(Role::Learner, false));
        assert!(!follows(Role::Candidate, true) && !follows(Role::Leader, true));
    }

    #[test]
    fn whoever_is_elected_meanwhile_gives_it_up() {
        let unwanted = Rc::new(Cell::new(false));
        let mut work = SnapshotWork::following(Rc::default(), unwanted.clone(), NodeNumber(4), 4_000, 0);
        let now = Tick::ZERO + S;
        assert_eq!(work.step(now, 1_000, false, true, None), Step::Take);
        assert!(!unwanted.get());
        assert_eq!(work.step(now, 1_500, true, false, None), Step::Nothing);
        assert!(unwanted.get());
        assert_eq!(work.step(now, 2_000, true, false, None), Step::HandOver);
        assert_eq!(work.step(now + S, 2_100, false, true, None), Step::Take);
        assert!(!unwanted.get());
        assert_eq!(work.step(now + S, 2_100, false, true, None), Step::Nothing);
    }

    #[test]
    fn a_leader_takes_one_at_once_when_another_replica_is_wrong() {
        let newest = Rc::new(Cell::new(kept(50, 10)));
        let mut work = work_of(newest.clone(), NodeNumber(4), 0);
        let now = Tick::ZERO + S;
        assert_eq!(
            work.step(now, 1, true, false, Some(LogIndex(50))),
            Step::Nothing,
            "it is there"
        );
        assert_eq!(work.step(now, 1, true, false, Some(LogIndex(51))), Step::Take);
        assert_eq!(
            work.step(now, 1, true, false, Some(LogIndex(51))),
            Step::Nothing,
            "it is under way"
        );
        newest.set(kept(60, 10));
        assert_eq!(work.step(now, 1, true, false, Some(LogIndex(51))), Step::Nothing);
    }

    #[test]
    fn a_large_snapshot_is_not_written_more_often_than_the_log() {
        let newest = Rc::new(Cell::new(kept(50, 5_000)));
        let mut work = work_of(newest, NodeNumber(4), 0);
        assert_eq!(work.step(Tick::ZERO, 4_999, false, true, None), Step::Nothing);
        assert_eq!(work.step(Tick::ZERO, 5_000, false, true, None), Step::Take);
    }

    #[test]
    fn a_leader_hands_over_first_and_takes_one_only_if_nobody_follows_it() {
        let mut work = work_of(Rc::default(), NodeNumber(4), 0);
        let now = Tick::ZERO + S;
        assert_eq!(work.step(now, 1_999, true, false, None), Step::Nothing);
        assert_eq!(work.step(now, 2_000, true, false, None), Step::HandOver);
        assert_eq!(work.step(now, 2_500, true, false, None), Step::Nothing, "just tried");
        assert_eq!(work.step(now + S, 2_500, true, false, None), Step::HandOver);
        assert_eq!(work.step(now + S, 3_000, true, false, None), Step::Take);
        assert_eq!(work.step(now + S, 9_000, false, false, None), Step::Nothing);
    }
}
