//! [`GroupFacts`]: what a core knows of its group at one moment, gathered when somebody asks for it.

use std::collections::BTreeSet;
use std::time::Duration;

use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, LogPositions, Role, StateMachine};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, ReplicaId, Term};

use crate::core_loop::CoreLoop;
use crate::leadership::Standing;
use crate::nodes::NodeNumber;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct GroupFacts {
    /// What this core is in it.
    pub role: Role,
    /// Who leads, as far as is known: it was heard from lately, and takes commands if it is this core.
    pub leader: Option<NodeNumber>,
    /// Raft's election counter.
    pub term: Term,
    /// How far this core's log and state are.
    pub positions: LogPositions,
    /// All replicas, this one among them, by node.
    pub replicas: Vec<ReplicaFacts>,
    /// Nodes to whose core there is a link, with replicas or without.
    pub linked: BTreeSet<NodeNumber>,
}

/// A replica as another one, or itself, knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaFacts {
    /// Where it is.
    pub node: NodeNumber,
    /// Whether it counts towards a quorum.
    pub vote: Vote,
    /// There is a link to it; a core has one to itself.
    pub linked: bool,
    /// Since it was last heard from; `None`: it has not been, or it is this core.
    pub silent: Option<Duration>,
    /// Entries it lacks of this core's log; `None`: this core does not lead, or has not been told.
    pub lag: Option<u64>,
}

/// Whether a replica counts towards a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// It does.
    Voter,
    /// It does until the change of replicas under way is through.
    Leaving,
    /// It gets the log, and does not.
    Learner,
}

impl CoreLoop {
    /// Those that follow this core, if it leads, and are heard from: up to where each has the log.
    pub(crate) fn gather_followers<S: StateMachine>(
        &self,
        group: &Group<GlommioRuntime, S>,
        followers: &mut Vec<(NodeNumber, LogIndex)>,
    ) {
        followers.clear();
        let Some(peers) = &self.peers else { return };
        let last = group.positions().last;
        for id in group.members().voters {
            let node = NodeNumber::of(id);
            if peers.driver.is_linked(node)
                && let Some(lag) = group.lag_of(id)
            {
                followers.push((node, LogIndex(last.0.saturating_sub(lag))));
            }
        }
    }

    /// What this core knows of its group.
    pub(crate) fn group_facts<S: StateMachine>(&self, group: &Group<GlommioRuntime, S>, now: Tick) -> GroupFacts {
        let (core, standing) = {
            let state = self.state.borrow();
            let standing = state.replication.as_ref().map(|replication| replication.standing);
            (state.server.core, standing)
        };
        let me = NodeNumber::of(group.id());
        let leader = match standing {
            None | Some(Standing::Leads) => Some(me),
            Some(Standing::Follows(node)) => Some(node),
            Some(Standing::Unknown) => None,
        };
        let members = group.members();
        let of_vote = |ids: &BTreeSet<ReplicaId>, vote| -> Vec<(NodeNumber, Vote)> {
            ids.iter().map(|&id| (NodeNumber::of(id), vote)).collect()
        };
        let mut votes = of_vote(&members.voters, Vote::Voter);
        votes.extend(of_vote(&members.leaving, Vote::Leaving));
        votes.extend(of_vote(&members.learners, Vote::Learner));
        votes.sort_by_key(|(node, _)| *node);
        let replica = |(node, vote): (NodeNumber, Vote)| {
            let driver = self.peers.as_ref().filter(|_| node != me).map(|peers| &peers.driver);
            ReplicaFacts {
                node,
                vote,
                linked: driver.is_none_or(|driver| driver.is_linked(node)),
                silent: driver.and_then(|driver| driver.silent_for(node, now)),
                lag: group.lag_of(node.replica(core)).filter(|_| leader == Some(me)),
            }
        };
        GroupFacts {
            role: group.role(),
            leader,
            term: group.term(),
            positions: group.positions(),
            replicas: votes.into_iter().map(replica).collect(),
            linked: self.peers.iter().flat_map(|peers| peers.driver.linked()).collect(),
        }
    }
}
