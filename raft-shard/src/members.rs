//! Who a group's replicas are, and changing it: learners first, then voters by joint consensus.
//!
//! A change takes two entries when voters change: a joint configuration, which needs a majority of the old and of the new
//! voters, and then the new one alone. A leader that is lost in between leaves the group joint, which is safe and works,
//! but does not end by itself: whoever wanted the change goes on with the next leader.
//!
//! [`Members::step_towards`] says what to do next, given what is wanted. It is asked again and again, keeps nothing between
//! two times, and so goes on where another leader has stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use openraft::ChangeMembers;
use openraft::impls::EmptyNode;
use slotcore_rt::ids::ReplicaId;

use crate::options::REPLICATION_ENTRIES_MAX;
use crate::types::{LogId, Membership};

/// A learner may become a voter when it lacks no more entries than this: what one message brings. With more, commits
/// that need it would wait until it has caught up.
pub const VOTER_LAG_MAX: u64 = REPLICATION_ENTRIES_MAX;

/// The replicas of a group, as the newest configuration in this replica's log has them, committed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those that vote, after a change that is under way.
    pub voters: BTreeSet<ReplicaId>,
    /// Those that still vote, but will not when the change under way is through.
    pub leaving: BTreeSet<ReplicaId>,
    /// Those that get the log without voting.
    pub learners: BTreeSet<ReplicaId>,
    /// Two sets of voters: the change must be ended by the same one again if its leader is gone.
    pub joint: bool,
}

impl Members {
    pub(crate) fn of(membership: &Membership) -> Self {
        let sets = membership.get_joint_config();
        let voters: BTreeSet<_> = sets.last().into_iter().flatten().copied().map(ReplicaId).collect();
        let leaving = sets.iter().flatten().copied().map(ReplicaId);
        Self {
            leaving: leaving.filter(|id| !voters.contains(id)).collect(),
            learners: membership.learner_ids().map(ReplicaId).collect(),
            joint: sets.len() > 1,
            voters,
        }
    }

    /// Whether the log is sent to `replica`.
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.leaving.contains(&replica) || self.learners.contains(&replica)
    }

    /// How many replicas besides the one that counts have all that is committed: the smallest set of voters says.
    pub(crate) fn certain_copies(membership: &Membership) -> usize {
        let sets = membership.get_joint_config().iter();
        sets.map(|set| set.len() / 2).min().unwrap_or(0)
    }

    /// How many voters besides `me` have the log up to `wanted`. `held`: how far each replica's log goes. A learner's may be
    /// thrown away with its node, and what it has counts for no majority.
    pub(crate) fn voters_with(
        membership: &Membership,
        me: ReplicaId,
        held: &BTreeMap<u64, Option<LogId>>,
        wanted: Option<u64>,
    ) -> usize {
        let votes = |id: &u64| membership.get_joint_config().iter().any(|set| set.contains(id));
        let others = held.iter().filter(|(id, _)| **id != me.0 && votes(id));
        others.filter(|(_, held)| held.map(|held| held.index) >= wanted).count()
    }

    /// Whether `replica` is the only one there is.
    pub fn is_only(&self, replica: ReplicaId) -> bool {
        !self.joint && self.learners.is_empty() && self.voters.len() == 1 && self.voters.contains(&replica)
    }
}

/// What the leader of a group has to do next, so that the group gets the wanted voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberStep {
    /// Nothing: they are the voters, and the learners are those wanted.
    Done,
    /// A learner has to catch up first, or too many of those that are to vote are not heard from.
    Wait,
    /// This change.
    Change(MemberChange),
    /// The leader is to go: it hands over to this voter, which goes on.
    Transfer(ReplicaId),
}

impl Members {
    /// The next step of leader `me` towards voters `goal`, which is not empty, and these learners. `lag`: entries a replica lacks, if
    /// known. `hears`: whether a replica has answered lately. Without a majority of `goal` nothing would ever be decided again, not even
    /// the end of the change: it does not begin.
    pub fn step_towards(
        &self,
        me: ReplicaId,
        goal: &BTreeSet<ReplicaId>,
        learners: &BTreeSet<ReplicaId>,
        lag: impl Fn(ReplicaId) -> Option<u64>,
        hears: impl Fn(ReplicaId) -> bool,
    ) -> MemberStep {
        let heir = |among: &BTreeSet<ReplicaId>| {
            let others = among.iter().copied().filter(|id| *id != me && self.voters.contains(id));
            others.min_by_key(|id| (!hears(*id), lag(*id).unwrap_or(u64::MAX)))
        };
        if self.joint {
            // Whatever is wanted now, first what was begun.
            return match heir(&self.voters) {
                Some(heir) if !self.voters.contains(&me) => MemberStep::Transfer(heir),
                _ => MemberStep::Change(MemberChange::Voters(self.voters.clone())),
            };
        }
        if let Some(&missing) = goal.iter().chain(learners).find(|id| !self.contains(**id)) {
            return MemberStep::Change(MemberChange::AddLearner(missing));
        }
        if self.voters == *goal {
            let left = self.learners.iter().find(|id| !learners.contains(id));
            return left.map_or(MemberStep::Done, |id| {
                MemberStep::Change(MemberChange::RemoveLearner(*id))
            });
        }
        let heard = goal.iter().filter(|id| **id == me || hears(**id)).count();
        if 2 * heard <= goal.len() || check_voters(self, goal, &lag).is_err() {
            return MemberStep::Wait;
        }
        if goal.contains(&me) {
            return MemberStep::Change(MemberChange::Voters(goal.clone()));
        }
        match heir(goal) {
            Some(heir) => MemberStep::Transfer(heir),
            None => MemberStep::Change(MemberChange::Voters(goal.iter().copied().chain([me]).collect())),
        }
    }
}

/// What can be changed, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// The log is sent to this replica too; it does not vote.
    AddLearner(ReplicaId),
    /// The log is not sent to this learner any more.
    RemoveLearner(ReplicaId),
    /// These vote and no others, the leader among them. Who is new must be a learner that has nearly caught up; who is left
    /// out is no replica any more.
    Voters(BTreeSet<ReplicaId>),
}

impl MemberChange {
    pub(crate) fn for_raft(self) -> ChangeMembers<u64, EmptyNode> {
        match self {
            Self::AddLearner(id) => ChangeMembers::AddNodes([(id.0, EmptyNode::new())].into()),
            Self::RemoveLearner(id) => ChangeMembers::RemoveNodes([id.0].into()),
            Self::Voters(ids) => ChangeMembers::ReplaceAllVoters(ids.into_iter().map(|id| id.0).collect()),
        }
    }
}

/// Why a change was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefused {
    /// This replica does not lead.
    NotLeader,
    /// The leader would be left out, or is about to be: it hands over first. openraft lets such a leader go on for a while,
    /// in which others elect another one and it would answer reads alone.
    LeaderLeaves,
    /// Voters were being changed when the former leader was lost: the same ones are to be asked for again.
    Joint,
    /// Another change, begun here, has not ended.
    UnderWay,
    /// A group without voters could never change again.
    NoVoters,
    /// It is no learner, so it cannot become a voter.
    NotALearner(ReplicaId),
    /// It lacks more than [`VOTER_LAG_MAX`] entries, or has not been heard from.
    Behind(ReplicaId),
}

impl fmt::Display for ChangeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader => f.write_str("this replica does not lead the group"),
            Self::LeaderLeaves => f.write_str("the leader hands over before it leaves"),
            Self::Joint => f.write_str("a change of voters has to be ended first"),
            Self::UnderWay => f.write_str("another change of the group's replicas is under way"),
            Self::NoVoters => f.write_str("a group needs a voter"),
            Self::NotALearner(id) => write!(f, "replica {} must be a learner first", id.0),
            Self::Behind(id) => write!(f, "replica {} has not caught up yet", id.0),
        }
    }
}

impl std::error::Error for ChangeRefused {}

/// Whether `voters` may become the voters of a group whose replicas are `members`. `lag`: entries a replica lacks, if known.
fn check_voters(
    members: &Members,
    voters: &BTreeSet<ReplicaId>,
    lag: impl Fn(ReplicaId) -> Option<u64>,
) -> Result<(), ChangeRefused> {
    if voters.is_empty() {
        return Err(ChangeRefused::NoVoters);
    }
    for &id in voters.difference(&members.voters) {
        // Whoever is on the way out holds the log as well as a voter does.
        if members.leaving.contains(&id) {
            continue;
        }
        if !members.learners.contains(&id) {
            return Err(ChangeRefused::NotALearner(id));
        }
        if lag(id).is_none_or(|lag| lag > VOTER_LAG_MAX) {
            return Err(ChangeRefused::Behind(id));
        }
    }
    Ok(())
}

/// Whether `change` may begin on leader `me`.
pub(crate) fn check(
    members: &Members,
    me: ReplicaId,
    change: &MemberChange,
    lag: impl Fn(ReplicaId) -> Option<u64>,
) -> Result<(), ChangeRefused> {
    match change {
        _ if !members.voters.contains(&me) => Err(ChangeRefused::LeaderLeaves),
        MemberChange::Voters(voters) if !voters.is_empty() && !voters.contains(&me) => Err(ChangeRefused::LeaderLeaves),
        MemberChange::Voters(voters) => check_voters(members, voters, lag),
        MemberChange::AddLearner(_) | MemberChange::RemoveLearner(_) if members.joint => Err(ChangeRefused::Joint),
        MemberChange::AddLearner(_) | MemberChange::RemoveLearner(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use slotcore_rt::ids::{LogIndex, Term};

    use super::*;
    use crate::types::{log_id, raft_index};

    fn ids(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    fn members(sets: &[&[u64]], learners: &[u64]) -> Members {
        let sets = sets.iter().map(|set| set.iter().copied().collect()).collect();
        Members::of(&Membership::new_with_defaults(sets, learners.iter().copied()))
    }

    #[test]
    fn a_joint_configuration_is_read_as_what_it_leads_to() {
        let joint = members(&[&[1, 2, 3], &[2, 3, 4]], &[5]);
        assert_eq!(joint.voters, ids(&[2, 3, 4]));
        assert_eq!((joint.leaving.clone(), joint.learners.clone()), (ids(&[1]), ids(&[5])));
        assert!(joint.joint && joint.contains(ReplicaId(1)) && !joint.contains(ReplicaId(6)));
        assert!(members(&[&[1]], &[]).is_only(ReplicaId(1)));
        assert!(!members(&[&[1]], &[2]).is_only(ReplicaId(1)));
        assert!(!members(&[&[1], &[1, 2]], &[]).is_only(ReplicaId(1)));
    }

    #[test]
    fn the_smallest_set_of_voters_says_how_many_copies_there_are_and_learners_are_none() {
        let of = |sets: &[&[u64]]| {
            let sets = sets.iter().map(|set| set.iter().copied().collect()).collect();
            Membership::new_with_defaults(sets, [9])
        };
        for (sets, copies) in [
            (&[][..], 0),
            (&[&[1][..]][..], 0),
            (&[&[1, 2]], 1),
            (&[&[1, 2, 3]], 1),
            (&[&[1, 2, 3, 4]], 2),
            (&[&[1, 2, 3], &[1]], 0),
            (&[&[1, 2], &[1, 2, 3, 4, 5]], 1),
        ] {
            assert_eq!(Members::certain_copies(&of(sets)), copies, "{sets:?}");
        }
        let held = |index: u64| log_id(LogIndex(index), Term(1));
        let held: BTreeMap<u64, Option<LogId>> =
            [(1, held(7)), (2, held(7)), (3, held(6)), (4, None), (9, held(7))].into();
        let with = |sets: &[&[u64]]| Members::voters_with(&of(sets), ReplicaId(1), &held, raft_index(LogIndex(7)));
        assert_eq!(with(&[&[1, 2, 3]]), 1);
        assert_eq!(with(&[&[1, 3, 4]]), 0, "2 and 9 do not vote");
        assert_eq!(with(&[&[1, 9], &[1, 2]]), 2);
    }

    #[test]
    fn only_learners_that_have_caught_up_become_voters() {
        let members = members(&[&[1, 2, 3], &[2, 3]], &[4, 5, 6]);
        let lag = |id: ReplicaId| [None, Some(0), Some(VOTER_LAG_MAX), Some(VOTER_LAG_MAX + 1)][id.0 as usize - 3];
        let ask = |me: u64, change: MemberChange| check(&members, ReplicaId(me), &change, lag);
        let voters = |voters: &[u64]| MemberChange::Voters(ids(voters));
        assert_eq!(ask(2, voters(&[2, 3, 4, 5])), Ok(()));
        assert_eq!(ask(2, voters(&[1, 2])), Ok(()), "back to what it was");
        assert_eq!(ask(2, voters(&[2, 3, 6])), Err(ChangeRefused::Behind(ReplicaId(6))));
        assert_eq!(ask(2, voters(&[2, 9])), Err(ChangeRefused::NotALearner(ReplicaId(9))));
        assert_eq!(ask(2, voters(&[])), Err(ChangeRefused::NoVoters));
        assert_eq!(ask(2, voters(&[3])), Err(ChangeRefused::LeaderLeaves));
        assert_eq!(ask(1, voters(&[1, 2, 3])), Err(ChangeRefused::LeaderLeaves));
        assert_eq!(
            ask(2, MemberChange::AddLearner(ReplicaId(9))),
            Err(ChangeRefused::Joint)
        );
    }

    #[test]
    fn the_next_step_is_told_from_what_is_there_alone() {
        let step = |sets: &[&[u64]], learners: &[u64], me: u64, goal: &[u64]| {
            let lag = |id: ReplicaId| Some(if id.0 < 9 { id.0 } else { 1000 });
            members(sets, learners).step_towards(ReplicaId(me), &ids(goal), &ids(&[]), lag, |_| true)
        };
        let voters = |voters: &[u64]| MemberStep::Change(MemberChange::Voters(ids(voters)));
        let add = |id| MemberStep::Change(MemberChange::AddLearner(ReplicaId(id)));
        assert_eq!(step(&[&[1]], &[], 1, &[1]), MemberStep::Done);
        assert_eq!(step(&[&[1]], &[], 1, &[1, 2, 3]), add(2));
        assert_eq!(step(&[&[1]], &[2], 1, &[1, 2, 3]), add(3));
        assert_eq!(step(&[&[1]], &[2, 3], 1, &[1, 2, 3]), voters(&[1, 2, 3]));
        assert_eq!(step(&[&[1]], &[2, 9], 1, &[1, 2, 9]), MemberStep::Wait);
        assert_eq!(
            step(&[&[1, 2, 3]], &[4], 1, &[2, 3, 4]),
            MemberStep::Transfer(ReplicaId(2))
        );
        assert_eq!(step(&[&[1, 2, 3]], &[4], 2, &[2, 3, 4]), voters(&[2, 3, 4]));
        assert_eq!(
            step(&[&[1]], &[2], 1, &[2]),
            voters(&[1, 2]),
            "nobody to hand over to yet"
        );
        assert_eq!(step(&[&[1, 2]], &[], 1, &[2]), MemberStep::Transfer(ReplicaId(2)));
        assert_eq!(
            step(&[&[1], &[1, 2]], &[], 1, &[1]),
            voters(&[1, 2]),
            "what was begun comes first"
        );
        assert_eq!(
            step(&[&[1, 2], &[2, 3]], &[], 1, &[9]),
            MemberStep::Transfer(ReplicaId(2))
        );
        let left = MemberStep::Change(MemberChange::RemoveLearner(ReplicaId(7)));
        assert_eq!(step(&[&[1, 2, 3]], &[7], 1, &[1, 2, 3]), left);
    }

    #[test]
    fn no_change_begins_that_too_few_could_end() {
        let step = |me: u64, goal: &[u64], lost: &[u64]| {
            let hears = |id: ReplicaId| !lost.contains(&id.0);
            members(&[&[1, 2, 3]], &[4]).step_towards(ReplicaId(me), &ids(goal), &ids(&[]), |_| Some(0), hears)
        };
        let voters = |voters: &[u64]| MemberStep::Change(MemberChange::Voters(ids(voters)));
        assert_eq!(step(2, &[2, 3], &[3]), MemberStep::Wait);
        assert_eq!(
            step(1, &[2, 3], &[3]),
            MemberStep::Wait,
            "nor is it handed over for that"
        );
        assert_eq!(step(2, &[2, 3], &[1]), voters(&[2, 3]));
        assert_eq!(step(2, &[2, 3, 4], &[3]), voters(&[2, 3, 4]));
        assert_eq!(step(2, &[2, 3, 4], &[3, 4]), MemberStep::Wait);
        assert_eq!(step(1, &[2, 3, 4], &[2]), MemberStep::Transfer(ReplicaId(3)));
        assert_eq!(step(1, &[1], &[2, 3]), voters(&[1]));
    }

    #[test]
    fn learners_that_are_wanted_come_and_stay() {
        let step = |sets: &[&[u64]], learners: &[u64], goal: &[u64], wanted: &[u64]| {
            members(sets, learners).step_towards(ReplicaId(1), &ids(goal), &ids(wanted), |_| Some(0), |_| true)
        };
        let add = |id| MemberStep::Change(MemberChange::AddLearner(ReplicaId(id)));
        assert_eq!(step(&[&[1, 2, 3]], &[], &[1, 2, 3], &[4, 5]), add(4));
        assert_eq!(step(&[&[1, 2, 3]], &[4], &[1, 2, 3], &[4, 5]), add(5));
        assert_eq!(step(&[&[1, 2, 3]], &[4, 5], &[1, 2, 3], &[4, 5]), MemberStep::Done);
        let swap = MemberStep::Change(MemberChange::Voters(ids(&[1, 2, 4])));
        assert_eq!(step(&[&[1, 2, 3]], &[4], &[1, 2, 4], &[3]), swap);
        assert_eq!(
            step(&[&[1, 2, 4]], &[], &[1, 2, 4], &[3]),
            add(3),
            "who votes no more listens on"
        );
    }
}
