//! [`NodeList`]: the nodes of the cluster, and where each of their cores is reached. Immutable; a change is another list, which
//! the cores get by [`NodeLists`].
//!
//! All nodes run the same number of cores, and core `i` of each of them holds a replica of group `i`
//! (`docs/decisions/0010-aligned-groups.md`), so a core has business with the cores of its own number only.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};
use slotcore_netio::peer::{PeerId, PeerPlace};
use slotcore_rt::ids::{CoreId, GroupId, ReplicaId};

use crate::config::CORES_MAX;

pub mod lines;
mod lists;
mod zone;

pub use lists::NodeLists;
pub use zone::Zone;

/// A node of the cluster, from 1. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u32);

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl NodeNumber {
    /// A node that belongs to no cluster.
    pub const ALONE: NodeNumber = NodeNumber(0);

    /// Its core `core` as a replica of that core's group.
    pub fn replica(self, core: CoreId) -> ReplicaId {
        ReplicaId(u64::from(self.0) << 16 | u64::from(core.0))
    }

    /// Its core `core` as the other end of a link.
    pub fn peer(self, core: CoreId) -> PeerId {
        PeerId(self.replica(core).0)
    }

    /// The node of a replica.
    pub fn of(replica: ReplicaId) -> Self {
        Self(u32::try_from(replica.0 >> 16).expect("made by `replica`"))
    }
}

/// What a node is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It holds replicas.
    Up,
    /// It is to hold none, and can be removed then.
    Draining,
}

impl NodeState {
    /// As people and the file `cluster` call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub number: NodeNumber,
    /// What clients are told to connect to.
    pub host: String,
    /// Where the other nodes reach it.
    pub address: IpAddr,
    /// The port that answers for every key.
    pub port: u16,
    /// The port of its core 0 as a node of a Redis Cluster; core `i` has the `i`-th after it.
    pub core_port_base: u16,
    /// Where its core 0 listens for other nodes; core `i` has the `i`-th after it.
    pub peer_port_base: u16,
    /// What it is used for.
    pub state: NodeState,
    /// Names its data directory. Always known of a node that has joined: whoever knows such a node refuses any other that passes for
    /// it. Of the first nodes the metadata group knows it.
    pub incarnation: Option<u128>,
    /// What it may fail together with, if it was told.
    pub zone: Option<Zone>,
}

impl Node {
    /// Where core `core` is a node of a Redis Cluster.
    pub fn core_port(&self, core: CoreId) -> u16 {
        self.core_port_base + core.0
    }

    /// Where core `core` listens for other nodes.
    pub fn peer_address(&self, core: CoreId) -> SocketAddr {
        SocketAddr::new(self.address, self.peer_port_base + core.0)
    }

    /// The same with the host it was found by.
    pub fn peer_place(&self, core: CoreId) -> PeerPlace {
        PeerPlace {
            address: self.peer_address(core),
            host: self.host.clone(),
        }
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeList {
    /// The cluster's name.
    pub cluster: u128,
    /// What all nodes of the cluster know, and nobody else; may be empty.
    pub secret: Vec<u8>,
    /// This node.
    pub me: NodeNumber,
    /// Cores of every node.
    pub cores: u16,
    /// Counts the changes of the list; 0: it is that of `--initial-cluster`.
    pub epoch: u64,
    /// Nodes 1 to this one are those of `--initial-cluster`; all others have joined.
    pub first: u32,
    /// All nodes, by number.
    pub nodes: Vec<Node>,
    /// The incarnations of those that were removed: none of them is taken again.
    pub removed: BTreeSet<u128>,
}

impl NodeList {
    /// The node of this number.
    pub fn node(&self, number: NodeNumber) -> Option<&Node> {
        let at = self.nodes.binary_search_by_key(&number, |node| node.number).ok()?;
        Some(&self.nodes[at])
    }

    /// The group of a core: the same on all nodes. Its number seeds the hashes of its keys, so that it should not be known
    /// to clients.
    pub fn group_of(&self, core: CoreId) -> GroupId {
        let mut hash = Sha256::new();
        hash.update(b"slotcore data group");
        hash.update(self.cluster.to_le_bytes());
        hash.update(core.0.to_le_bytes());
        hash.update(&self.secret);
        GroupId(u64::from_le_bytes(
            hash.finalize()[..8].try_into().expect("eight bytes were cut"),
        ))
    }

    /// The first replicas of a core's group, as one of them opens it. A node that has joined names none: it is told.
    pub fn first_replicas_of(&self, core: CoreId) -> impl Iterator<Item = ReplicaId> {
        let first = if self.me.0 <= self.first { self.first } else { 0 };
        (1..=first).map(move |number| NodeNumber(number).replica(core))
    }

    /// The node with this data directory.
    pub fn of_incarnation(&self, incarnation: u128) -> Option<&Node> {
        self.nodes.iter().find(|node| node.incarnation == Some(incarnation))
    }

    /// Nodes that `old` has, too, under the same name are where this node has found them: names may stand for other addresses
    /// elsewhere.
    pub fn keep_addresses_of(&mut self, old: &NodeList) {
        for node in &mut self.nodes {
            if let Some(known) = old.node(node.number).filter(|known| known.host == node.host) {
                node.address = known.address;
            }
        }
    }

    /// The other nodes' cores of this number, and where they are.
    pub fn peers_of(&self, core: CoreId) -> impl Iterator<Item = (PeerId, PeerPlace)> {
        let others = self.nodes.iter().filter(|node| node.number != self.me);
        others.map(move |node| (node.number.peer(core), node.peer_place(core)))
    }

    /// A core as a node of a Redis Cluster: 40 hexadecimal digits, the same on all nodes and for ever. The first eight
    /// differ between all cores of the cluster, since tools show, and accept, a name by its first digits.
    pub fn endpoint_id(&self, node: NodeNumber, core: CoreId) -> String {
        let number = node
            .0
            .wrapping_mul(u32::from(CORES_MAX))
            .wrapping_add(u32::from(core.0));
        // An odd factor: no two numbers give the same digits.
        let first = ((self.cluster >> 96) as u32).wrapping_add(number.wrapping_mul(0x9e37_79b1));
        let rest = self.cluster.wrapping_add(u128::from(node.0));
        format!("{first:08x}{rest:032x}")
    }

    /// The number of the node, of this list or not, that [`NodeList::endpoint_id`] gives this name to one of the cores of.
    pub fn node_of_id(&self, id: &str) -> Option<NodeNumber> {
        let rest = u128::from_str_radix(id.get(8..)?, 16).ok()?;
        let node = NodeNumber(u32::try_from(rest.wrapping_sub(self.cluster)).ok()?);
        (0..self.cores)
            .any(|core| self.endpoint_id(node, CoreId(core)) == id)
            .then_some(node)
    }
}

/// The name of a cluster whose first nodes were all told the same list.
pub fn cluster_of_list(list: &[String]) -> u128 {
    let mut hash = Sha256::new();
    hash.update(b"slotcore initial cluster");
    for entry in list {
        hash.update((entry.len() as u64).to_le_bytes());
        hash.update(entry.as_bytes());
    }
    u128::from_le_bytes(hash.finalize()[..16].try_into().expect("sixteen bytes were cut"))
}

/// Node `me` of a cluster of the nodes 1 to `nodes`, of two cores each.
#[cfg(test)]
pub(crate) fn list_for_tests(me: u32, nodes: u32) -> NodeList {
    NodeList {
        cluster: 9 << 100 | 7,
        secret: b"s".to_vec(),
        me: NodeNumber(me),
        cores: 2,
        epoch: 0,
        first: nodes,
        nodes: (1..=nodes)
            .map(|number| Node {
                number: NodeNumber(number),
                host: format!("n{number}"),
                address: "127.0.0.1".parse().expect("an address"),
                port: 7000 + 100 * number as u16,
                core_port_base: 7001 + 100 * number as u16,
                peer_port_base: 17000 + 100 * number as u16,
                state: NodeState::Up,
                incarnation: None,
                zone: None,
            })
            .collect(),
        removed: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(nodes: u32) -> NodeList {
        list_for_tests(2, nodes)
    }

    #[test]
    fn a_core_has_links_to_the_cores_of_its_number_on_other_nodes() {
        let list = list(3);
        let peers = list.peers_of(CoreId(1)).map(|(peer, place)| (peer, place.address));
        let peers: Vec<_> = peers.collect();
        assert_eq!(
            peers,
            [
                (PeerId(1 << 16 | 1), "127.0.0.1:17101".parse().unwrap()),
                (PeerId(3 << 16 | 1), "127.0.0.1:17301".parse().unwrap()),
            ]
        );
        assert_eq!(NodeNumber::of(ReplicaId(3 << 16 | 1)), NodeNumber(3));
        assert_eq!(list.node(NodeNumber(3)).unwrap().core_port(CoreId(1)), 7302);
        assert!(list.node(NodeNumber(4)).is_none());
    }

    #[test]
    fn groups_and_names_are_the_same_on_all_nodes_and_differ_between_cores() {
        let (mut other, list) = (list(3), list(3));
        other.me = NodeNumber(1);
        assert_eq!(list.group_of(CoreId(1)), other.group_of(CoreId(1)));
        assert_ne!(list.group_of(CoreId(0)), list.group_of(CoreId(1)));
        other.secret.push(b'x');
        assert_ne!(list.group_of(CoreId(1)), other.group_of(CoreId(1)));
        let cores = (1..=30).flat_map(|node| (0..40).map(move |core| (NodeNumber(node), CoreId(core))));
        let names: Vec<String> = cores.map(|(node, core)| list.endpoint_id(node, core)).collect();
        assert!(names.iter().all(|name| name.len() == 40));
        let starts: BTreeSet<&str> = names.iter().map(|name| &name[..8]).collect();
        assert_eq!(starts.len(), names.len());
        for (at, name) in names.iter().enumerate() {
            let (node, core) = (NodeNumber(at as u32 / 40 + 1), at as u16 % 40);
            let known = (core < list.cores).then_some(node);
            assert_eq!(list.node_of_id(name), known, "{name}");
            assert_eq!(list.node_of_id(&name[1..]), None);
        }
        assert!(
            ["", "x", "0123456é", &"+".repeat(40)]
                .iter()
                .all(|id| list.node_of_id(id).is_none())
        );
    }

    #[test]
    fn a_list_in_another_order_is_another_cluster() {
        let of = |list: &[&str]| cluster_of_list(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&["a:1", "b:2"]), of(&["a:1", "b:2"]));
        assert_ne!(of(&["a:1", "b:2"]), of(&["b:2", "a:1"]));
        assert_ne!(of(&["a:1", "b:2"]), of(&["a:1b:2"]));
    }
}
