//! [`QuorumAcks`]: since when, at least, a quorum has followed this leader.
//!
//! What a read may be answered from hangs on it: by the lease, which is counted from when messages were *sent* that a
//! quorum has answered, and by ReadIndex; see [`crate::lease`]. openraft keeps such a count, but takes an answer for one to
//! every message that claims no more of the log, also to those sent after the one it answers. A replica that stood still
//! between an answer's arrival and its reading would take it for one to what it has just sent, long after another leader was
//! elected. So each answer is counted here for the message it belongs to, and for no other.

use std::collections::BTreeSet;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{ReplicaId, Term};

/// See the module. Of one term: what was sent in an earlier one is forgotten.
#[derive(Clone, Debug, Default)]
pub struct QuorumAcks {
    term: Term,
    /// When the newest message was sent that each replica has answered.
    asked_at: Vec<(ReplicaId, Tick)>,
}

impl QuorumAcks {
    /// `from` has answered a message that was sent at `asked_at` by the leader of `term`, as one that follows it.
    pub fn answered(&mut self, term: Term, from: ReplicaId, asked_at: Tick) {
        if term < self.term {
            return;
        }
        if term > self.term {
            self.term = term;
            self.asked_at.clear();
        }
        match self.asked_at.iter_mut().find(|(id, _)| *id == from) {
            Some((_, newest)) => *newest = asked_at.max(*newest),
            None => self.asked_at.push((from, asked_at)),
        }
    }

    /// When the newest message of the leader of `term` was sent that `replica` has answered.
    pub fn of(&self, term: Term, replica: ReplicaId) -> Option<Tick> {
        let known = self.asked_at.iter().find(|(id, _)| *id == replica);
        known.filter(|_| term == self.term).map(|(_, asked_at)| *asked_at)
    }

    /// A quorum, `me` included, has answered messages that `me` sent in `term` at this moment or later. `sets`: the voters; two
    /// sets while they change, of which each must have a majority. `None`: no quorum has, or none but `me` is needed.
    pub fn quorum(&self, term: Term, me: ReplicaId, sets: &[BTreeSet<u64>]) -> Option<Tick> {
        let mut oldest = None;
        for set in sets {
            let others_needed = (set.len() / 2 + 1) - usize::from(set.contains(&me.0));
            if others_needed == 0 {
                continue;
            }
            let others = || {
                let ids = set.iter().map(|id| ReplicaId(*id)).filter(|id| *id != me);
                ids.filter_map(|id| self.of(term, id))
            };
            // Sets are small: nothing is sorted, and nothing allocated.
            let at_least = |then: &Tick| others().filter(|asked_at| asked_at >= then).count() >= others_needed;
            let newest = others().filter(at_least).max()?;
            oldest = Some(oldest.map_or(newest, |oldest: Tick| oldest.min(newest)));
        }
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotcore_rt::rng::SeededRng;

    const ME: ReplicaId = ReplicaId(1);

    fn set<const N: usize>(ids: [u64; N]) -> BTreeSet<u64> {
        ids.into()
    }

    fn acks(term: u64, answers: &[(u64, u64)]) -> QuorumAcks {
        let mut acks = QuorumAcks::default();
        for (from, at) in answers {
            acks.answered(Term(term), ReplicaId(*from), Tick(*at));
        }
        acks
    }

    #[test]
    fn a_majority_of_each_set_counts_with_the_leader_where_it_votes() {
        let some = acks(7, &[(2, 20), (3, 30), (4, 40), (9, 90)]);
        let quorum = |sets: &[BTreeSet<u64>]| some.quorum(Term(7), ME, sets).map(|at| at.0);
        assert_eq!(quorum(&[set([1, 2, 3])]), Some(30));
        assert_eq!(quorum(&[set([1, 2, 3, 4, 5])]), Some(30));
        assert_eq!(quorum(&[set([1, 2, 5])]), Some(20));
        assert_eq!(quorum(&[set([1, 5, 6])]), None);
        assert_eq!(quorum(&[set([1])]), None, "nobody else is needed");
        assert_eq!(quorum(&[set([1]), set([1, 2])]), Some(20));
        assert_eq!(
            quorum(&[set([2, 3, 4])]),
            Some(30),
            "a leader that is leaving does not count"
        );
        assert_eq!(quorum(&[set([1, 4]), set([1, 2])]), Some(20));
        assert_eq!(quorum(&[set([1, 4]), set([1, 5])]), None);
    }

    #[test]
    fn only_the_term_it_was_sent_in_counts_and_nothing_gets_older() {
        let mut acks = acks(7, &[(2, 20), (2, 10)]);
        let voters = [set([1, 2, 3])];
        assert_eq!(acks.quorum(Term(7), ME, &voters), Some(Tick(20)));
        assert_eq!(acks.quorum(Term(8), ME, &voters), None);
        acks.answered(Term(8), ReplicaId(3), Tick(5));
        acks.answered(Term(7), ReplicaId(2), Tick(90));
        assert_eq!(acks.quorum(Term(7), ME, &voters), None);
        assert_eq!(acks.quorum(Term(8), ME, &voters), Some(Tick(5)));
        assert_eq!(acks.of(Term(8), ReplicaId(2)), None);
    }

    /// Said another way: the newest moment such that so many have answered what was sent then or later.
    #[test]
    fn it_is_what_counting_says() {
        let mut rng = SeededRng::new(5);
        for _ in 0..2_000 {
            let answers: Vec<_> = (0..rng.below(6)).map(|_| (1 + rng.below(6), rng.below(8))).collect();
            let some = acks(1, &answers);
            let sets: Vec<_> = (0..rng.range(1..3))
                .map(|_| {
                    (0..rng.range(1..6))
                        .map(|_| 1 + rng.below(6))
                        .collect::<BTreeSet<u64>>()
                })
                .collect();
            let holds = |then: u64| {
                sets.iter().all(|set| {
                    let follows = |id: &u64| *id == ME.0 || answers.iter().any(|(from, at)| from == id && *at >= then);
                    2 * set.iter().filter(|id| follows(id)).count() > set.len()
                })
            };
            let alone = sets.iter().all(|set| set.iter().eq([&ME.0]));
            let expected = (0..8).rev().find(|then| holds(*then)).filter(|_| !alone);
            assert_eq!(
                some.quorum(Term(1), ME, &sets).map(|at| at.0),
                expected,
                "{answers:?} {sets:?}"
            );
        }
    }
}
