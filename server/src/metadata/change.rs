//! [`Change`]: one entry of the metadata group. Format: `docs/formats/metadata.md`.

use std::collections::BTreeSet;

use bytes::Bytes;
use slotcore_rt::ids::{CoreId, LogIndex};

use super::bytes::{WITH_ZONES, WITHOUT_ZONES, put_node, put_nodes, take_node, take_nodes, take_version, version_for};
use super::read::{Malformed, Reader, put_id, put_number, put_text};
use crate::nodes::{Node, NodeNumber, Zone};

/// Kinds of changes; never used again for anything else.
mod kind {
    pub const FOUND: u8 = 1;
    pub const JOIN: u8 = 2;
    pub const DRAIN: u8 = 3;
    pub const REMOVE: u8 = 4;
    pub const SET_WANTED: u8 = 5;
    pub const REPORT: u8 = 6;
    pub const SET_REPLICAS: u8 = 7;
    pub const SET_ZONE: u8 = 8;
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
        /// Its number and state do not matter; without a zone it stays in the one that it has told before.
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
    /// A node tells in which zone it is.
    SetZone {
        /// Which node.
        node: NodeNumber,
        /// Which zone.
        zone: Zone,
    },
}

impl Change {
    /// The payload of its entry.
    pub fn encode(&self) -> Bytes {
        let version = self.version();
        let mut out = vec![version];
        match self {
            Self::Found { cluster, cores, nodes } => {
                out.push(kind::FOUND);
                put_id(&mut out, *cluster);
                put_number(&mut out, *cores);
                put_number(&mut out, nodes.len() as u64);
                nodes.iter().for_each(|node| put_node(&mut out, node, version));
            }
            Self::Join { node, cores } => {
                out.push(kind::JOIN);
                put_number(&mut out, *cores);
                put_node(&mut out, node, version);
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
            Self::SetZone { node, zone } => {
                out.push(kind::SET_ZONE);
                put_number(&mut out, node.0);
                put_text(&mut out, zone.name());
            }
        }
        out.into()
    }

    /// The oldest layout that can hold it.
    fn version(&self) -> u8 {
        match self {
            Self::Found { nodes, .. } => version_for(nodes.iter()),
            Self::Join { node, .. } => version_for(std::iter::once(node)),
            Self::SetZone { .. } => WITH_ZONES,
            _ => WITHOUT_ZONES,
        }
    }

    /// Reads what [`Change::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`]: it is something else, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let r = &mut Reader::new(bytes);
        let version = take_version(r)?;
        let change = match r.byte()? {
            kind::FOUND => Self::Found {
                cluster: r.id()?,
                cores: r.number()?,
                nodes: (0..r.count()?)
                    .map(|_| take_node(r, version))
                    .collect::<Result<_, _>>()?,
            },
            kind::JOIN => Self::Join {
                cores: r.number()?,
                node: take_node(r, version)?,
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
            kind::SET_ZONE if version == WITH_ZONES => Self::SetZone {
                node: NodeNumber(r.number()?),
                zone: Zone::parse(&r.text()?).map_err(|_| Malformed)?,
            },
            _ => return Err(Malformed),
        };
        r.end()?;
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{in_zone, record};
    use super::*;

    #[test]
    fn every_change_comes_back_and_no_prefix_passes() {
        let nodes: BTreeSet<_> = [NodeNumber(1), NodeNumber(300)].into();
        let mut zoned = record(8);
        zoned.zone = Zone::parse("rack-7").ok();
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
            Change::Join { node: zoned, cores: 2 },
            in_zone(3, "rack-7"),
        ] {
            let bytes = change.encode();
            let about_zones = format!("{change:?}").contains("rack-7");
            assert_eq!(bytes[0], if about_zones { 3 } else { 2 }, "{change:?}");
            assert!(bytes[0] < slotcore_raft_shard::consensus::PAYLOAD_TAGS_FROM);
            assert_eq!(Change::decode(&bytes), Ok(change.clone()));
            for end in 0..bytes.len() {
                assert_eq!(Change::decode(&bytes[..end]), Err(Malformed), "{change:?} cut at {end}");
            }
        }
    }
}
