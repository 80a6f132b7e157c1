//! [`ClusterState`]: what the metadata group has decided so far. A function of its log alone.
//!
//! Its bytes, of which the group's snapshots consist, are those of [`super::bytes`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use slotcore_rt::ids::{CoreId, LogIndex};

use super::change::Change;
use crate::nodes::{Node, NodeList, NodeNumber, NodeState, Zone};

/// Most replicas of a group: a quorum of more costs more and survives hardly more.
pub const REPLICAS_MAX: u8 = 5;
/// Most nodes there may be: a core has a link to each of them.
pub const NODES_MAX: usize = 100;
/// Highest number of a node: as the destination of commands it has 16 bits ([`crate::relay`]).
pub const NUMBER_MAX: u32 = u16::MAX as u32;

/// A group, the one of core `i` on each of its replicas' nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupRecord {
    /// The nodes that are to vote.
    pub wanted: BTreeSet<NodeNumber>,
    /// Counts what was wanted: 1 is what the group was founded with.
    pub decision: u64,
    /// The nodes that have replicas, voting or not, as the group's leader has reported last; and those that may have, being wanted
    /// before and not reported since.
    pub holders: BTreeSet<NodeNumber>,
    /// Where in the group's log that was agreed upon.
    pub reported_at: LogIndex,
    /// The leader that has reported it.
    pub leader: Option<NodeNumber>,
}

impl GroupRecord {
    fn report(
        &mut self,
        at: LogIndex,
        decision: u64,
        holders: &BTreeSet<NodeNumber>,
        leader: NodeNumber,
    ) -> Result<(), Refused> {
        if at < self.reported_at {
            return Err(Refused::Nothing);
        }
        (self.reported_at, self.leader) = (at, Some(leader));
        // A leader that did not know what is wanted now may yet give a replica to whoever was wanted before.
        if decision == self.decision {
            self.holders.clone_from(holders);
        } else {
            self.holders.extend(holders);
        }
        Ok(())
    }

    /// Whether a report would change anything.
    pub fn is_changed_by(
        &self,
        at: LogIndex,
        decision: u64,
        holders: &BTreeSet<NodeNumber>,
        leader: NodeNumber,
    ) -> bool {
        let mut after = self.clone();
        after.report(at, decision, holders, leader).is_ok() && after != *self
    }
}

/// Why a change was not made. The state is the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The cluster exists already, or does not exist yet.
    Founded,
    /// There is no such node.
    UnknownNode,
    /// There is no such group.
    UnknownGroup,
    /// It replicates groups, or is to.
    HoldsReplicas,
    /// It has not been drained.
    NotDrained,
    /// All nodes run the same number of cores, and this one has another one.
    Cores,
    /// Another node is reached there.
    AddressTaken,
    /// It was removed.
    Removed,
    /// There would be fewer nodes than replicas of a group.
    TooFewNodes,
    /// Not 1 to [`REPLICAS_MAX`].
    Replicas,
    /// There are [`NODES_MAX`] already.
    TooManyNodes,
    /// All numbers up to [`NUMBER_MAX`] were given.
    NoNumber,
    /// A value that is not possible.
    Value,
    /// Nothing is new.
    Nothing,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Founded => "the cluster exists already, or does not exist yet",
            Self::UnknownNode => "there is no such node",
            Self::UnknownGroup => "there is no such group",
            Self::HoldsReplicas => "the node still holds replicas",
            Self::NotDrained => "the node has to be drained first",
            Self::Cores => "all nodes of a cluster run the same number of cores",
            Self::AddressTaken => "another node of the cluster has this address",
            Self::Removed => "the node was removed from the cluster: it can join again with an empty directory",
            Self::TooFewNodes => "fewer nodes would be left than a group shall have replicas: join another node first, or say how many replicas are enough",
            Self::Replicas => "a group has 1 to 5 replicas",
            Self::TooManyNodes => "a cluster has at most 100 nodes",
            Self::NoNumber => "65535 nodes have been in this cluster, and none is given the number of another: found a new cluster",
            Self::Value => "the value is not possible",
            Self::Nothing => "it is so already",
        })
    }
}

impl std::error::Error for Refused {}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// Counts the changes of the list: nodes that join, drain, leave, are reached elsewhere or are in another zone. 0: there is no list yet.
    pub epoch: u64,
    /// The cluster's name; 0 before it is founded.
    pub cluster: u128,
    /// Cores of every node, and so the number of groups.
    pub cores: u16,
    /// Nodes that shall replicate each group.
    pub replicas: u8,
    /// Nodes 1 to this one founded the cluster; all others have joined.
    pub first: u32,
    /// The number of the next node that joins: none is used twice.
    pub next_number: u32,
    /// By number.
    pub nodes: BTreeMap<NodeNumber, Node>,
    /// By core.
    pub groups: BTreeMap<CoreId, GroupRecord>,
    /// Data directories of nodes that were removed: they never come back.
    pub removed: BTreeSet<u128>,
}

impl ClusterState {
    /// Executes one entry.
    ///
    /// # Errors
    /// [`Refused`]: nothing has changed.
    pub fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        if matches!(change, Change::Found { .. }) == (self.cluster != 0) {
            return Err(Refused::Founded);
        }
        match change {
            Change::Found { cluster, cores, nodes } => self.found(*cluster, *cores, nodes),
            Change::Join { node, cores } => self.join(node, *cores),
            Change::Drain { node, replicas } => self.drain(*node, *replicas),
            Change::Remove { node } => self.remove(*node),
            Change::SetWanted { group, nodes } => {
                let up = nodes.iter().all(|node| self.nodes.contains_key(node));
                if !up || nodes.is_empty() || nodes.len() > usize::from(REPLICAS_MAX) {
                    return Err(Refused::Value);
                }
                let record = self.group(*group)?;
                // Whoever was wanted may have got a replica since the last report, or may get one from a leader that has not heard.
                let left = std::mem::replace(&mut record.wanted, nodes.clone());
                record.holders.extend(left.difference(nodes));
                record.decision += 1;
                Ok(())
            }
            Change::Report {
                group,
                at,
                decision,
                holders,
                leader,
            } => self.group(*group)?.report(*at, *decision, holders, *leader),
            Change::SetReplicas { replicas } => self.set_replicas(*replicas),
            Change::SetZone { node, zone } => self.set_zone(*node, zone),
        }
    }

    /// Whether `change` would be made now.
    ///
    /// # Errors
    /// As [`ClusterState::apply`].
    pub fn check(&self, change: &Change) -> Result<(), Refused> {
        self.clone().apply(change)
    }

    fn group(&mut self, group: CoreId) -> Result<&mut GroupRecord, Refused> {
        self.groups.get_mut(&group).ok_or(Refused::UnknownGroup)
    }

    fn found(&mut self, cluster: u128, cores: u16, nodes: &[Node]) -> Result<(), Refused> {
        let replicas = u8::try_from(nodes.len()).map_err(|_| Refused::Value)?;
        if cluster == 0 || cores == 0 || replicas == 0 || replicas > REPLICAS_MAX {
            return Err(Refused::Value);
        }
        if !nodes.iter().map(|node| node.number.0).eq(1..=u32::from(replicas)) {
            return Err(Refused::Value);
        }
        (self.cluster, self.cores, self.replicas) = (cluster, cores, replicas);
        self.nodes = nodes.iter().map(|node| (node.number, node.clone())).collect();
        self.first = u32::from(replicas);
        self.next_number = self.first + 1;
        let all: BTreeSet<NodeNumber> = self.nodes.keys().copied().collect();
        let group = GroupRecord {
            wanted: all.clone(),
            decision: 1,
            holders: all,
            ..GroupRecord::default()
        };
        self.groups = (0..cores).map(|core| (CoreId(core), group.clone())).collect();
        self.epoch = 1;
        Ok(())
    }

    /// A node joins, or tells its new addresses: it is known by its incarnation.
    fn join(&mut self, node: &Node, cores: u16) -> Result<(), Refused> {
        if cores != self.cores {
            return Err(Refused::Cores);
        }
        let incarnation = node.incarnation.ok_or(Refused::Value)?;
        if self.removed.contains(&incarnation) {
            return Err(Refused::Removed);
        }
        let number = self.number_of(incarnation);
        // Who drains may be a machine that is lost, and this one may have been given its address.
        let taken = self.nodes.values().any(|other| {
            Some(other.number) != number
                && other.state == NodeState::Up
                && ((other.address, other.peer_port_base) == (node.address, node.peer_port_base)
                    || (&other.host, other.port) == (&node.host, node.port))
        });
        if taken {
            return Err(Refused::AddressTaken);
        }
        let known = number.and_then(|number| self.nodes.get(&number));
        if known.is_none() && self.nodes.len() >= NODES_MAX {
            return Err(Refused::TooManyNodes);
        }
        if known.is_none() && self.next_number > NUMBER_MAX {
            return Err(Refused::NoNumber);
        }
        let mut record = node.clone();
        record.state = known.map_or(NodeState::Up, |known| known.state);
        // Who does not say where it is is where it was.
        record.zone = record.zone.or_else(|| known?.zone.clone());
        record.number = number.unwrap_or(NodeNumber(self.next_number));
        if known == Some(&record) {
            return Err(Refused::Nothing);
        }
        if number.is_none() {
            self.next_number += 1;
        }
        self.nodes.insert(record.number, record);
        self.epoch += 1;
        Ok(())
    }

    fn drain(&mut self, node: NodeNumber, replicas: u8) -> Result<(), Refused> {
        if !self.nodes.contains_key(&node) {
            return Err(Refused::UnknownNode);
        }
        let replicas = if replicas == 0 { self.replicas } else { replicas };
        let left = self.up().filter(|up| *up != node).count();
        if !(1..=REPLICAS_MAX).contains(&replicas) {
            return Err(Refused::Replicas);
        }
        if left < usize::from(replicas) {
            return Err(Refused::TooFewNodes);
        }
        let record = self.nodes.get_mut(&node).ok_or(Refused::UnknownNode)?;
        if record.state == NodeState::Draining && replicas == self.replicas {
            return Err(Refused::Nothing);
        }
        record.state = NodeState::Draining;
        self.replicas = replicas;
        self.epoch += 1;
        Ok(())
    }

    fn set_replicas(&mut self, replicas: u8) -> Result<(), Refused> {
        if !(1..=REPLICAS_MAX).contains(&replicas) {
            return Err(Refused::Replicas);
        }
        if self.up().count() < usize::from(replicas) {
            return Err(Refused::TooFewNodes);
        }
        if self.replicas == replicas {
            return Err(Refused::Nothing);
        }
        self.replicas = replicas;
        Ok(())
    }

    fn set_zone(&mut self, node: NodeNumber, zone: &Zone) -> Result<(), Refused> {
        let record = self.nodes.get_mut(&node).ok_or(Refused::UnknownNode)?;
        if record.zone.as_ref() == Some(zone) {
            return Err(Refused::Nothing);
        }
        record.zone = Some(zone.clone());
        self.epoch += 1;
        Ok(())
    }

    fn remove(&mut self, node: NodeNumber) -> Result<(), Refused> {
        let record = self.nodes.get(&node).ok_or(Refused::UnknownNode)?;
        if record.state != NodeState::Draining {
            return Err(Refused::NotDrained);
        }
        if self.groups_of(node).next().is_some() {
            return Err(Refused::HoldsReplicas);
        }
        self.removed.extend(record.incarnation);
        self.nodes.remove(&node);
        for group in self.groups.values_mut() {
            group.leader.take_if(|leader| *leader == node);
        }
        self.epoch += 1;
        Ok(())
    }

    /// The node of this data directory.
    pub fn number_of(&self, incarnation: u128) -> Option<NodeNumber> {
        let mut nodes = self.nodes.values();
        Some(nodes.find(|node| node.incarnation == Some(incarnation))?.number)
    }

    /// Nodes that may hold replicas.
    pub fn up(&self) -> impl Iterator<Item = NodeNumber> + '_ {
        let up = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Up);
        up.map(|(node, _)| *node)
    }

    /// The groups that a node replicates, or is to replicate.
    pub fn groups_of(&self, node: NodeNumber) -> impl Iterator<Item = CoreId> + '_ {
        let on = move |group: &GroupRecord| group.wanted.contains(&node) || group.holders.contains(&node);
        let found = self.groups.iter().filter(move |(_, group)| on(group));
        found.map(|(core, _)| *core)
    }

    /// The list of nodes as node `me` has it; `None`: there is none yet, or the node is not in it.
    pub fn list_of(&self, me: NodeNumber, secret: Vec<u8>) -> Option<NodeList> {
        self.nodes.contains_key(&me).then(|| NodeList {
            cluster: self.cluster,
            secret,
            me,
            cores: self.cores,
            epoch: self.epoch,
            first: self.first,
            nodes: self.nodes.values().cloned().collect(),
            removed: self.removed.clone(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn record(number: u32) -> Node {
        Node {
            number: NodeNumber(number),
            host: format!("n{number}"),
            address: [10, 0, (number >> 8) as u8, number as u8].into(),
            port: 7000,
            core_port_base: 7001,
            peer_port_base: 17000,
            incarnation: Some(u128::from(number) << 70 | 5),
            state: NodeState::Up,
            zone: None,
        }
    }

    /// A cluster of nodes 1 to `nodes` with `cores` groups, all on all nodes.
    pub fn founded(nodes: u32, cores: u16) -> ClusterState {
        let mut state = ClusterState::default();
        let nodes = (1..=nodes).map(record).collect();
        state
            .apply(&Change::Found {
                cluster: 77,
                cores,
                nodes,
            })
            .unwrap();
        state
    }

    pub fn join(number: u32, cores: u16) -> Change {
        Change::Join {
            node: record(number),
            cores,
        }
    }

    pub fn drain(number: u32) -> Change {
        Change::Drain {
            node: NodeNumber(number),
            replicas: 0,
        }
    }

    pub fn in_zone(number: u32, zone: &str) -> Change {
        Change::SetZone {
            node: NodeNumber(number),
            zone: Zone::parse(zone).unwrap(),
        }
    }

    pub fn holders(core: u16, at: u64, decision: u64, nodes: &[u32]) -> Change {
        Change::Report {
            group: CoreId(core),
            at: LogIndex(at),
            decision,
            holders: nodes.iter().copied().map(NodeNumber).collect(),
            leader: NodeNumber(nodes[0]),
        }
    }

    fn wanted(core: u16, nodes: &[u32]) -> Change {
        Change::SetWanted {
            group: CoreId(core),
            nodes: nodes.iter().copied().map(NodeNumber).collect(),
        }
    }

    #[test]
    fn a_node_is_known_by_its_directory_and_numbers_are_not_used_twice() {
        let mut state = founded(3, 2);
        state.apply(&join(4, 2)).unwrap();
        assert_eq!(state.apply(&join(4, 2)), Err(Refused::Nothing), "it has asked again");
        let mut moved = record(4);
        (moved.number, moved.port) = (NodeNumber(0), 9000);
        state.apply(&Change::Join { node: moved, cores: 2 }).unwrap();
        assert_eq!((state.nodes.len(), state.nodes[&NodeNumber(4)].port), (4, 9000));
        state.apply(&drain(4)).unwrap();
        state.apply(&Change::Remove { node: NodeNumber(4) }).unwrap();
        assert_eq!(state.apply(&join(4, 2)), Err(Refused::Removed));
        let mut stranger = record(4);
        stranger.incarnation = Some(1);
        let change = Change::Join {
            node: stranger,
            cores: 2,
        };
        state.apply(&change).unwrap();
        assert_eq!(state.number_of(1), Some(NodeNumber(5)));
    }

    #[test]
    fn a_node_is_in_the_zone_that_it_told_last() {
        let mut state = founded(3, 2);
        let of = |state: &ClusterState, node| {
            state.nodes[&NodeNumber(node)]
                .zone
                .as_ref()
                .map(|zone| zone.name().to_owned())
        };
        state.apply(&in_zone(1, "a")).unwrap();
        assert_eq!((state.epoch, of(&state, 1), of(&state, 2)), (2, Some("a".into()), None));
        assert_eq!(state.apply(&in_zone(1, "a")), Err(Refused::Nothing));
        state.apply(&in_zone(1, "b")).unwrap();
        assert_eq!((state.epoch, of(&state, 1)), (3, Some("b".into())));
        let mut node = record(4);
        node.zone = Zone::parse("c").ok();
        state.apply(&Change::Join { node, cores: 2 }).unwrap();
        assert_eq!(of(&state, 4), Some("c".into()));
        assert_eq!(
            state.apply(&join(4, 2)),
            Err(Refused::Nothing),
            "it keeps what it does not say"
        );
        let mut moved = record(4);
        moved.port = 9000;
        state.apply(&Change::Join { node: moved, cores: 2 }).unwrap();
        assert_eq!(of(&state, 4), Some("c".into()));
    }

    #[test]
    fn no_node_is_given_a_number_that_is_too_large_to_be_sent_to() {
        let mut state = founded(3, 2);
        state.next_number = NUMBER_MAX;
        state.apply(&join(NUMBER_MAX, 2)).unwrap();
        crate::relay::short(NodeNumber(NUMBER_MAX));
        let before = state.clone();
        assert_eq!(state.apply(&join(7, 2)), Err(Refused::NoNumber));
        assert_eq!(state, before);
    }

    #[test]
    fn a_lost_machine_is_replaced_by_one_with_its_address() {
        let mut state = founded(3, 1);
        let mut other = record(3);
        other.incarnation = Some(99);
        let change = Change::Join { node: other, cores: 1 };
        assert_eq!(state.apply(&change), Err(Refused::AddressTaken));
        assert_eq!(state.apply(&drain(3)), Err(Refused::TooFewNodes));
        let fewer = Change::Drain {
            node: NodeNumber(3),
            replicas: 2,
        };
        state.apply(&fewer).unwrap();
        assert_eq!(
            state.apply(&Change::Remove { node: NodeNumber(3) }),
            Err(Refused::HoldsReplicas)
        );
        state.apply(&change).unwrap();
        assert_eq!(state.number_of(99), Some(NodeNumber(4)));
        state.apply(&Change::SetReplicas { replicas: 3 }).unwrap();
        state.apply(&wanted(0, &[1, 2, 4])).unwrap();
        assert_eq!(
            state.apply(&Change::Remove { node: NodeNumber(3) }),
            Err(Refused::HoldsReplicas),
            "until its group has left it"
        );
        state.apply(&holders(0, 90, 2, &[1, 2, 4])).unwrap();
        assert_eq!(
            state.apply(&holders(0, 80, 2, &[1, 2, 3, 4])),
            Err(Refused::Nothing),
            "an older report comes late"
        );
        state.apply(&Change::Remove { node: NodeNumber(3) }).unwrap();
        assert_eq!(state.up().map(|node| node.0).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn who_was_wanted_may_hold_a_replica_until_a_leader_that_knows_better_says_no() {
        let mut state = founded(3, 1);
        state.apply(&join(4, 1)).unwrap();
        state.apply(&wanted(0, &[1, 2, 4])).unwrap();
        state.apply(&holders(0, 50, 2, &[1, 2, 3])).unwrap();
        // Its leader may be making it a replica at this moment.
        state.apply(&drain(4)).unwrap();
        state.apply(&wanted(0, &[1, 2, 3])).unwrap();
        let remove = Change::Remove { node: NodeNumber(4) };
        assert_eq!(state.check(&remove), Err(Refused::HoldsReplicas), "it was wanted");
        for decision in [0, 2] {
            state.apply(&holders(0, 50, decision, &[1, 2, 3])).unwrap();
            assert_eq!(state.check(&remove), Err(Refused::HoldsReplicas), "an old report");
        }
        state.apply(&holders(0, 60, 3, &[1, 2, 3])).unwrap();
        assert_eq!(state.check(&remove), Ok(()));
        state.apply(&holders(0, 70, 2, &[1, 2, 3, 4])).unwrap();
        assert_eq!(state.check(&remove), Err(Refused::HoldsReplicas), "an old leader adds");
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let mut state = founded(3, 2);
        let before = state.clone();
        let mut there = record(2);
        there.incarnation = Some(99);
        for (change, why) in [
            (
                Change::Found {
                    cluster: 1,
                    cores: 1,
                    nodes: vec![record(1)],
                },
                Refused::Founded,
            ),
            (join(4, 3), Refused::Cores),
            (Change::Join { node: there, cores: 2 }, Refused::AddressTaken),
            (Change::Remove { node: NodeNumber(1) }, Refused::NotDrained),
            (Change::Remove { node: NodeNumber(9) }, Refused::UnknownNode),
            (drain(9), Refused::UnknownNode),
            (in_zone(9, "a"), Refused::UnknownNode),
            (drain(1), Refused::TooFewNodes),
            (
                Change::Drain {
                    node: NodeNumber(1),
                    replicas: 9,
                },
                Refused::Replicas,
            ),
            (wanted(0, &[1, 9]), Refused::Value),
            (wanted(2, &[1]), Refused::UnknownGroup),
            (holders(7, 1, 1, &[1]), Refused::UnknownGroup),
            (Change::SetReplicas { replicas: 0 }, Refused::Replicas),
            (Change::SetReplicas { replicas: 4 }, Refused::TooFewNodes),
            (Change::SetReplicas { replicas: 3 }, Refused::Nothing),
        ] {
            assert_eq!(state.check(&change), Err(why), "{change:?}");
            assert_eq!(state.apply(&change), Err(why), "{change:?}");
            assert_eq!(state, before, "{change:?}");
        }
        assert_eq!(
            ClusterState::default().apply(&Change::Remove { node: NodeNumber(1) }),
            Err(Refused::Founded)
        );
    }
}
