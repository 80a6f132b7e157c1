//! Whether replicas have the same state: what each has seen at the same entry of the log, who is wrong where they differ, and
//! what becomes of whoever is. Pure: [`crate::peer::compare`] carries messages, the state machine's adaptor exchanges the state.
//!
//! Some entries have every replica look at a part of its state ([`crate::StateMachine::take_digest`]). The leader asks the others
//! what they have seen, and what more than half of the voters have seen is right. A replica that has seen something else is
//! *diverged*: it answers no reads, neither campaigns nor leads, executes nothing, and takes the place of its state by a snapshot of
//! its leader's that is at least as new. Its log and its votes are as good as anyone's, so it goes on acknowledging.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, ReplicaId};

use crate::types::Snapshot;

/// Digests kept: a leader asks for them soon after they were made.
const KEPT_MAX: usize = 32;
/// Findings that nobody has taken yet.
const FINDINGS_MAX: usize = 64;

/// What a replica has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// So many replicas, this one counted, have seen the same at this entry.
    Same(LogIndex, usize),
    /// This replica has not seen there what most have.
    Differs(LogIndex, ReplicaId),
    /// Replicas have not seen the same there, and too few have answered to tell who is right.
    Undecided(LogIndex),
    /// This replica's own state is not what it should be, as was seen there.
    Diverged(LogIndex),
    /// It is again: that of another replica as of this entry.
    Rebuilt(LogIndex),
}

/// What replicas have seen at one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same.
    Same,
    /// These have not seen what more than half of the voters have.
    Differ(Vec<ReplicaId>),
    /// Not the same, and nothing was seen by more than half of the voters.
    Undecided,
}

/// Judges what replicas have seen. `seen`: of those that have answered; `voters`: whose word counts.
pub fn judge(seen: &BTreeMap<ReplicaId, u128>, voters: &BTreeSet<ReplicaId>) -> Verdict {
    let mut counts: BTreeMap<u128, usize> = BTreeMap::new();
    for (_, digest) in seen.iter().filter(|(id, _)| voters.contains(id)) {
        *counts.entry(*digest).or_default() += 1;
    }
    let right = counts.iter().find(|(_, count)| 2 * **count > voters.len());
    let first = seen.values().next();
    if seen.values().all(|digest| Some(digest) == first) {
        return Verdict::Same;
    }
    match right {
        Some((right, _)) => Verdict::Differ(seen.iter().filter(|(_, d)| *d != right).map(|(id, _)| *id).collect()),
        None => Verdict::Undecided,
    }
}

/// What a replica keeps of all this.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What it has seen, in order.
    own: VecDeque<(LogIndex, u128)>,
    /// As leader, up to which entry others were asked.
    asked_upto: LogIndex,
    diverged_at: Option<LogIndex>,
    /// When it last asked for another state.
    wished_at: Option<Tick>,
    /// The state that is to take the place of its own.
    came: Option<Snapshot>,
    /// Replicas that need this one's state, each as of this entry at least.
    needs: BTreeMap<ReplicaId, LogIndex>,
    findings: VecDeque<Finding>,
}

impl Comparison {
    /// At the entry `index` this replica has seen `digest`.
    pub fn saw(&mut self, index: LogIndex, digest: u128) {
        if self.own.len() == KEPT_MAX {
            self.own.pop_front();
        }
        self.own.push_back((index, digest));
    }

    /// What it has seen at the entry `index`, if it knows.
    pub fn seen(&self, index: LogIndex) -> Option<u128> {
        let at = self.own.iter().find(|(at, _)| *at == index);
        at.map(|(_, digest)| *digest)
    }

    /// The newest entry that others have not been asked about; it is taken for asked about.
    pub fn next_question(&mut self) -> Option<(LogIndex, u128)> {
        let &(index, digest) = self.own.back()?;
        let is_new = index > self.asked_upto;
        self.asked_upto = self.asked_upto.max(index);
        is_new.then_some((index, digest))
    }

    /// Notes it, for whoever tells people.
    pub fn found(&mut self, finding: Finding) {
        if self.findings.len() == FINDINGS_MAX {
            self.findings.pop_front();
        }
        self.findings.push_back(finding);
    }

    /// The oldest finding that was not taken.
    pub fn take_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// This replica is wrong, as was seen at the entry `index`. What it does not remember to have seen is no reason: its state may be
    /// another one by now.
    pub fn diverge(&mut self, index: LogIndex) {
        if self.diverged_at.is_none() && self.seen(index).is_some() {
            self.diverged_at = Some(index);
            self.found(Finding::Diverged(index));
        }
    }

    /// Whether this replica's state is known to be wrong.
    pub fn is_diverged(&self) -> bool {
        self.diverged_at.is_some()
    }

    /// It is to ask for another state, which it does `every` so often.
    pub fn wish(&mut self, now: Tick, every: Duration) -> bool {
        let is_time = self.wished_at.is_none_or(|at| now.since(at) >= every);
        if is_time {
            self.wished_at = Some(now);
        }
        is_time
    }

    /// A state has come in place of its own, if that is wrong. What executes entries takes it up.
    pub fn came(&mut self, snapshot: Snapshot) {
        self.came = self.is_diverged().then_some(snapshot);
    }

    /// That state, given out once.
    pub fn take_came(&mut self) -> Option<Snapshot> {
        self.came.take()
    }

    /// This replica's state is that of another one, as of the entry `index`.
    pub fn replaced(&mut self, index: LogIndex) {
        self.own.clear();
        // Another one that has come meanwhile is of no use any more.
        self.came = None;
        if self.diverged_at.take().is_some() {
            self.found(Finding::Rebuilt(index));
        }
    }

    /// `replica` needs this one's state as of the entry `index` or later. False: it was known.
    pub fn need(&mut self, replica: ReplicaId, index: LogIndex) -> bool {
        self.needs.insert(replica, index).is_none()
    }

    /// As of which entry it needs it.
    pub fn needed_by(&self, replica: ReplicaId) -> Option<LogIndex> {
        self.needs.get(&replica).copied()
    }

    /// It was sent, or is not needed any more.
    pub fn served(&mut self, replica: ReplicaId) {
        self.needs.remove(&replica);
    }

    /// As of which entry this replica's state must be kept for others to have, if they need it.
    pub fn newest_need(&self) -> Option<LogIndex> {
        self.needs.values().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    fn seen(digests: &[(u64, u128)]) -> BTreeMap<ReplicaId, u128> {
        digests.iter().map(|(id, digest)| (ReplicaId(*id), *digest)).collect()
    }

    #[test]
    fn what_most_voters_have_seen_is_right() {
        let voters = ids(&[1, 2, 3]);
        let judged = |digests: &[_]| judge(&seen(digests), &voters);
        let differ = |list: &[u64]| Verdict::Differ(ids(list).into_iter().collect());
        assert_eq!(judged(&[(1, 7), (2, 7), (3, 7)]), Verdict::Same);
        assert_eq!(judged(&[(1, 7)]), Verdict::Same, "nobody has said anything else");
        assert_eq!(judged(&[(1, 7), (2, 8), (3, 7)]), differ(&[2]));
        assert_eq!(judged(&[(1, 9), (2, 8), (3, 8)]), differ(&[1]));
        assert_eq!(
            judged(&[(1, 7), (2, 8)]),
            Verdict::Undecided,
            "the third one is not there"
        );
        assert_eq!(judged(&[(1, 7), (2, 8), (3, 9)]), Verdict::Undecided);
        // One that only listens is judged, and judges nobody.
        assert_eq!(judged(&[(1, 7), (2, 7), (4, 8)]), differ(&[4]));
        assert_eq!(judged(&[(1, 7), (4, 8), (5, 8)]), Verdict::Undecided);
        let five = ids(&[1, 2, 3, 4, 5]);
        let of_five = |digests: &[_]| judge(&seen(digests), &five);
        assert_eq!(of_five(&[(1, 7), (2, 7), (3, 8)]), Verdict::Undecided);
        assert_eq!(of_five(&[(1, 7), (2, 7), (3, 8), (4, 9), (5, 7)]), differ(&[3, 4]));
    }

    #[test]
    fn a_question_is_asked_once_and_about_the_newest() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.next_question(), None);
        comparison.saw(LogIndex(5), 1);
        comparison.saw(LogIndex(9), 2);
        assert_eq!(comparison.next_question(), Some((LogIndex(9), 2)));
        assert_eq!(comparison.next_question(), None);
        assert_eq!(comparison.seen(LogIndex(5)), Some(1));
        (10..10 + KEPT_MAX as u64).for_each(|n| comparison.saw(LogIndex(n), 3));
        assert_eq!(comparison.seen(LogIndex(9)), None, "only so many are kept");
    }

    #[test]
    fn who_is_wrong_stays_so_until_its_state_is_replaced() {
        let mut comparison = Comparison::default();
        comparison.diverge(LogIndex(5));
        assert!(!comparison.is_diverged(), "it has seen nothing there");
        comparison.saw(LogIndex(5), 1);
        comparison.diverge(LogIndex(5));
        comparison.diverge(LogIndex(5));
        assert!(comparison.is_diverged());
        let every = Duration::from_nanos(100);
        let wishes = [0, 99, 100, 150, 200].map(|at| comparison.wish(Tick(at), every));
        assert_eq!(wishes, [true, false, true, false, true]);
        comparison.replaced(LogIndex(8));
        assert!(!comparison.is_diverged());
        let findings: Vec<_> = std::iter::from_fn(|| comparison.take_finding()).collect();
        let expected = [Finding::Diverged(LogIndex(5)), Finding::Rebuilt(LogIndex(8))];
        assert_eq!(findings, expected);
        comparison.diverge(LogIndex(5));
        assert!(!comparison.is_diverged(), "that was another state");
    }
}
