//! [`Change`]: one entry of the metadata group. Format: `docs/formats/metadata.md`.

use std::collections::BTreeSet;

use bytes::Bytes;
use slotcore_rt::ids::{CoreId, LogIndex};

use super::bytes::{put_node, put_nodes, take_node, take_nodes};
use super::read::{Malformed, Reader, put_id, put_number};
use crate::nodes::{Node, NodeNumber};

/// First byte of an entry; changes with the layout.
const VERSION: u8 = 2;

/// Kinds of changes; never used again for anything else.
mod kind {
    pub const FOUND: u8 = 1;
    pub const JOIN: u8 = 2;
    pub const DRAIN: u8 = 3;
    pub const REMOVE: u8 = 4;
    pub const SET_WANTED: u8 = 5;
    pub const REPORT: u8 = 6;
    pub const SET_REPLICAS: u8 = 7;
}

/// What can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The cluster begins with these nodes, all of which replicate all groups. The first entry, and the only one of its kind
    /// that counts.
    Found {
        /// The cluster's name, not 0.
        cluster: u128,
        /// Cores of every node.
        cores: u16,
        /// The first nodes.
        nodes: Vec<Node>,
    },
    /// A node joins and is given a number, or tells that it is reached elsewhere now: its incarnation says which.
    Join {
        /// Its number and state do not matter.
        node: Node,
        /// How many cores it runs.
        cores: u16,
    },
    /// A node is to replicate nothing any more.
    Drain {
        /// Which.
        node: NodeNumber,
        /// Replicas that a group shall have from now on; 0: as many as before.
        replicas: u8,
    },
    /// A node that replicates nothing leaves for ever.
    Remove {
        /// Which.
        node: NodeNumber,
    },
    /// These nodes are to vote in a group.
    SetWanted {
        /// Which group.
        group: CoreId,
        /// The nodes.
        nodes: BTreeSet<NodeNumber>,
    },
    /// Its leader says who replicates a group.
    Report {
        /// Which group.
        group: CoreId,
        /// Where in the group's log that was agreed upon: an older report changes nothing.
        at: LogIndex,
        /// [`GroupRecord::decision`](super::GroupRecord::decision) that the leader knew; 0: it says only who is a replica, not who is none.
        decision: u64,
        /// All that get its log, voting or not.
        holders: BTreeSet<NodeNumber>,
        /// The leader.
        leader: NodeNumber,
    },
    /// So many replicas a group shall have.
    SetReplicas {
        /// At least 1.
        replicas: u8,
    },
}

impl Change {
    /// The payload of its entry.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Self::Found { cluster, cores, nodes } => {
                out.push(kind::FOUND);
                put_id(&mut out, *cluster);
                put_number(&mut out, *cores);
                put_number(&mut out, nodes.len() as u64);
                nodes.iter().for_each(|node| put_node(&mut out, node));
            }
            Self::Join { node, cores } => {
                out.push(kind::JOIN);
                put_number(&mut out, *cores);
                put_node(&mut out, node);
            }
            Self::Drain { node, replicas } => {
                out.push(kind::DRAIN);
                put_number(&mut out, node.0);
                out.push(*replicas);
            }
            Self::Remove { node } => {
                out.push(kind::REMOVE);
                put_number(&mut out, node.0);
            }
            Self::SetWanted { group, nodes } => {
                out.push(kind::SET_WANTED);
                put_number(&mut out, group.0);
                put_nodes(&mut out, nodes);
            }
            Self::Report {
                group,
                at,
                decision,
                holders,
                leader,
            } => {
                out.push(kind::REPORT);
                put_number(&mut out, group.0);
                put_number(&mut out, at.0);
                put_number(&mut out, *decision);
                put_nodes(&mut out, holders);
                put_number(&mut out, leader.0);
            }
            Self::SetReplicas { replicas } => {
                out.push(kind::SET_REPLICAS);
                out.push(*replicas);
            }
        }
        out.into()
    }

    /// Reads what [`Change::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`]: it is something else, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let r = &mut Reader::new(bytes);
        if r.byte()? != VERSION {
            return Err(Malformed);
        }
        let change = match r.byte()? {
            kind::FOUND => Self::Found {
                cluster: r.id()?,
                cores: r.number()?,
                nodes: (0..r.count()?).map(|_| take_node(r)).collect::<Result<_, _>>()?,
            },
            kind::JOIN => Self::Join {
                cores: r.number()?,
                node: take_node(r)?,
            },
            kind::DRAIN => Self::Drain {
                node: NodeNumber(r.number()?),
                replicas: r.byte()?,
            },
            kind::REMOVE => Self::Remove {
                node: NodeNumber(r.number()?),
            },
            kind::SET_WANTED => Self::SetWanted {
                group: CoreId(r.number()?),
                nodes: take_nodes(r)?,
            },
            kind::REPORT => Self::Report {
                group: CoreId(r.number()?),
                at: LogIndex(r.number()?),
                decision: r.number()?,
                holders: take_nodes(r)?,
                leader: NodeNumber(r.number()?),
            },
            kind::SET_REPLICAS => Self::SetReplicas { replicas: r.byte()? },
            _ => return Err(Malformed),
        };
        r.end()?;
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::record;
    use super::*;

    #[test]
    fn every_change_comes_back_and_no_prefix_passes() {
        let nodes: BTreeSet<_> = [NodeNumber(1), NodeNumber(300)].into();
        for change in [
            Change::Found {
                cluster: u128::MAX,
                cores: 64,
                nodes: vec![record(1), record(2)],
            },
            Change::Join {
                node: record(7),
                cores: 2,
            },
            Change::Drain {
                node: NodeNumber(3),
                replicas: 2,
            },
            Change::Remove {
                node: NodeNumber(70_000),
            },
            Change::SetWanted {
                group: CoreId(9),
                nodes: nodes.clone(),
            },
            Change::Report {
                group: CoreId(0),
                at: LogIndex(1 << 40),
                decision: 300,
                holders: nodes,
                leader: NodeNumber(300),
            },
            Change::SetReplicas { replicas: 5 },
        ] {
            let bytes = change.encode();
            assert!(bytes[0] < slotcore_raft_shard::consensus::PAYLOAD_TAGS_FROM);
            assert_eq!(Change::decode(&bytes), Ok(change.clone()));
            for end in 0..bytes.len() {
                assert_eq!(Change::decode(&bytes[..end]), Err(Malformed), "{change:?} cut at {end}");
            }
        }
    }
}
