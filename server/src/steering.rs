//! [`Steering`]: what is wanted of each group, between the metadata group on core 0 and the cores whose groups it concerns.
//!
//! Core 0 writes down what was decided; the core that leads a group takes steps towards it and writes down who replicates its group,
//! which core 0 reports. Looked at a few times a second, so a lock will do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, Members, Role, StateMachine};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{CoreId, LogIndex};

use crate::core_loop::CoreLoop;
use crate::metadata::{Change, ClusterState};
use crate::nodes::NodeNumber;

/// What a core does for the group of its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The nodes that are to vote; empty: nothing has been decided.
    pub wanted: BTreeSet<NodeNumber>,
    /// [`GroupRecord::decision`](crate::metadata::GroupRecord::decision); 0: nothing has been decided.
    pub decision: u64,
    /// The nodes that have replicas, as was last reported.
    pub holders: BTreeSet<NodeNumber>,
    /// Who led it then.
    pub leader: Option<NodeNumber>,
}

/// What the leader of a group says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The nodes that have replicas, voting or not.
    pub holders: BTreeSet<NodeNumber>,
    /// The [`Order::decision`] that it follows; 0: a change is under way, so there may soon be others.
    pub decision: u64,
    /// Where in its log that was agreed upon.
    pub at: LogIndex,
}

/// See the module's text. One for all cores of a node.
#[derive(Debug, Default)]
pub struct Steering(Mutex<Desk>);

#[derive(Debug, Default)]
struct Desk {
    /// What was decided, as far as this node knows.
    state: ClusterState,
    /// Who decides.
    council: Council,
    /// Of each core of this node that leads its group.
    told: BTreeMap<CoreId, Told>,
    /// What somebody wants to be changed.
    asked: Vec<Asked>,
}

/// Who decides: the metadata group, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Council {
    /// The nodes that vote, those included that soon will not.
    pub voters: BTreeSet<NodeNumber>,
    /// Which of them leads, if one is known to.
    pub leader: Option<NodeNumber>,
}

/// Something that is to be proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub change: Change,
    /// Another node has asked for it: it is not passed on once more.
    pub from_afar: bool,
}

/// Most changes that wait for core 0: whoever asked for more asks again.
const ASKED_MAX: usize = 1000;

impl Steering {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done for the group of `core`.
    pub fn order(&self, core: CoreId) -> Order {
        let desk = self.lock();
        let group = desk.state.groups.get(&core);
        group.map_or_else(Order::default, |group| Order {
            wanted: group.wanted.clone(),
            decision: group.decision,
            holders: group.holders.clone(),
            leader: group.leader,
        })
    }

    /// What is decided.
    pub fn decide(&self, state: &ClusterState) {
        self.lock().state.clone_from(state);
    }

    /// What was decided, as far as this node knows.
    pub fn state(&self) -> ClusterState {
        self.lock().state.clone()
    }

    /// These decide.
    pub fn set_council(&self, council: Council) {
        self.lock().council = council;
    }

    /// Who decides, as far as this node knows.
    pub fn council(&self) -> Council {
        self.lock().council.clone()
    }

    /// The leader of the group of `core` on this node says this of it; `None`: it does not lead.
    pub fn tell(&self, core: CoreId, told: Option<Told>) {
        let mut desk = self.lock();
        match told {
            Some(told) => _ = desk.told.insert(core, told),
            None => _ = desk.told.remove(&core),
        }
    }

    /// What the leaders on this node have told.
    pub fn told(&self) -> BTreeMap<CoreId, Told> {
        self.lock().told.clone()
    }

    /// Asks for a change. Nobody answers: whoever asks looks at the state, and asks again.
    pub fn ask(&self, asked: Asked) {
        let mut desk = self.lock();
        if desk.asked.len() < ASKED_MAX && !desk.asked.contains(&asked) {
            desk.asked.push(asked);
        }
    }

    /// Takes what was asked for.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.lock().asked)
    }
}

impl CoreLoop {
    /// Takes the next step towards what is wanted of this core's group, if this core leads it, and tells who replicates it; finds out
    /// where to send clients if this core has no replica.
    pub(crate) fn follow_orders<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>, now: Tick) {
        let Some(peers) = &mut self.peers else { return };
        let (core, steering, me) = {
            let state = self.state.borrow();
            let Some(view) = &state.server.view else { return };
            (state.server.core, view.steering.clone(), view.nodes.me)
        };
        let order = steering.order(core);
        let belongs = order.holders.contains(&me) || order.wanted.contains(&me) || order.wanted.is_empty();
        // It may not have been told yet that it has none any more.
        let has_replica = belongs && group.members().contains(group.id());
        peers.has_replica = has_replica;
        peers.elsewhere = order.leader.filter(|&leader| !has_replica && leader != me);
        if group.role() != Role::Leader || !group.takes_proposals(now) {
            steering.tell(core, None);
            return;
        }
        // Executed, so agreed upon; and those that a leader has in its log alone, as that may not come to nothing.
        let (at, executed) = group.state().stands_for().members();
        let sets = |members: Members| [members.voters, members.leaving, members.learners];
        let all = [sets(executed), sets(group.members())].into_iter().flatten().flatten();
        let holders = all.map(NodeNumber::of).collect();
        let decision = if group.state().is_changing() { 0 } else { order.decision };
        steering.tell(core, Some(Told { holders, decision, at }));
        if !order.wanted.is_empty() {
            let goal = order.wanted.iter().map(|node| node.replica(core)).collect();
            group.take_step(&goal, &BTreeSet::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_one_group_stands_beside_what_is_wanted_of_all() {
        let steering = Steering::default();
        assert_eq!(steering.order(CoreId(1)), Order::default());
        let holders: BTreeSet<_> = [NodeNumber(1), NodeNumber(2)].into();
        let told = Told {
            holders: holders.clone(),
            decision: 1,
            at: LogIndex(7),
        };
        steering.tell(CoreId(1), Some(told.clone()));
        let mut state = ClusterState::default();
        for core in 0..2 {
            let group = state.groups.entry(CoreId(core)).or_default();
            group.wanted = holders.clone();
        }
        steering.decide(&state);
        assert_eq!(steering.order(CoreId(0)).wanted, holders);
        assert_eq!(steering.told(), [(CoreId(1), told)].into());
        steering.tell(CoreId(1), None);
        assert!(steering.told().is_empty());
    }

    #[test]
    fn what_is_asked_twice_waits_once() {
        let steering = Steering::default();
        let asked = Asked {
            change: Change::SetReplicas { replicas: 3 },
            from_afar: false,
        };
        steering.ask(asked.clone());
        steering.ask(asked.clone());
        assert_eq!(steering.take_asked(), [asked]);
        assert_eq!(steering.take_asked(), []);
    }
}
