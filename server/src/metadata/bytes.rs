//! A [`ClusterState`] as bytes, and the parts that entries have in common with it. Format: `docs/formats/metadata.md`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use slotcore_rt::ids::{CoreId, LogIndex};

use super::read::{Malformed, Reader, put_id, put_number, put_text};
use super::{ClusterState, GroupRecord};
use crate::nodes::{Node, NodeNumber, NodeState, Zone};

/// First byte of a state or an entry, its layout. Where no node has a zone the older one is written, which versions that know no
/// zones read: they get on in one cluster until a zone is told.
pub(super) const WITHOUT_ZONES: u8 = 2;
/// Each node ends with its zone; and there are entries about zones.
pub(super) const WITH_ZONES: u8 = 3;

impl ClusterState {
    /// The state as bytes; equal states give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let version = version_for(self.nodes.values());
        let mut out = vec![version];
        put_number(&mut out, self.epoch);
        put_id(&mut out, self.cluster);
        put_number(&mut out, self.cores);
        out.push(self.replicas);
        put_number(&mut out, self.first);
        put_number(&mut out, self.next_number);
        put_number(&mut out, self.nodes.len() as u64);
        self.nodes.values().for_each(|node| put_node(&mut out, node, version));
        put_number(&mut out, self.groups.len() as u64);
        for (core, group) in &self.groups {
            put_number(&mut out, core.0);
            put_nodes(&mut out, &group.wanted);
            put_number(&mut out, group.decision);
            put_nodes(&mut out, &group.holders);
            put_number(&mut out, group.reported_at.0);
            put_number(&mut out, group.leader.map_or(0, |node| node.0));
        }
        put_number(&mut out, self.removed.len() as u64);
        self.removed.iter().for_each(|id| put_id(&mut out, *id));
        out
    }

    /// Reads what [`ClusterState::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`]: it is something else, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let r = &mut Reader::new(bytes);
        let version = take_version(r)?;
        let mut state = Self {
            epoch: r.number()?,
            cluster: r.id()?,
            cores: r.number()?,
            replicas: r.byte()?,
            first: r.number()?,
            next_number: r.number()?,
            ..Self::default()
        };
        for _ in 0..r.count()? {
            let node = take_node(r, version)?;
            state.nodes.insert(node.number, node);
        }
        for _ in 0..r.count()? {
            let core = CoreId(r.number()?);
            let group = GroupRecord {
                wanted: take_nodes(r)?,
                decision: r.number()?,
                holders: take_nodes(r)?,
                reported_at: LogIndex(r.number()?),
                leader: Some(r.number()?).filter(|&number| number != 0).map(NodeNumber),
            };
            state.groups.insert(core, group);
        }
        state.removed = (0..r.count()?).map(|_| r.id()).collect::<Result<_, _>>()?;
        r.end()?;
        Ok(state)
    }
}

/// The layout in which these can be written.
pub(super) fn version_for<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> u8 {
    match nodes.any(|node| node.zone.is_some()) {
        true => WITH_ZONES,
        false => WITHOUT_ZONES,
    }
}

/// A layout that can be read.
pub(super) fn take_version(r: &mut Reader<'_>) -> Result<u8, Malformed> {
    match r.byte()? {
        version @ (WITHOUT_ZONES | WITH_ZONES) => Ok(version),
        _ => Err(Malformed),
    }
}

pub(super) fn put_node(out: &mut Vec<u8>, node: &Node, version: u8) {
    put_number(out, node.number.0);
    put_text(out, &node.host);
    put_text(out, &node.address.to_string());
    put_number(out, node.port);
    put_number(out, node.core_port_base);
    put_number(out, node.peer_port_base);
    put_id(out, node.incarnation.unwrap_or(0));
    out.push(match node.state {
        NodeState::Up => 0,
        NodeState::Draining => 1,
    });
    if version == WITH_ZONES {
        put_text(out, node.zone.as_ref().map_or("", Zone::name));
    }
}

pub(super) fn take_node(r: &mut Reader<'_>, version: u8) -> Result<Node, Malformed> {
    Ok(Node {
        number: NodeNumber(r.number()?),
        host: r.text()?,
        address: r.text()?.parse::<IpAddr>().map_err(|_| Malformed)?,
        port: r.number()?,
        core_port_base: r.number()?,
        peer_port_base: r.number()?,
        incarnation: Some(r.id()?).filter(|&incarnation| incarnation != 0),
        state: match r.byte()? {
            0 => NodeState::Up,
            1 => NodeState::Draining,
            _ => return Err(Malformed),
        },
        zone: match version {
            WITH_ZONES => zone(r.text()?)?,
            _ => None,
        },
    })
}

fn zone(text: String) -> Result<Option<Zone>, Malformed> {
    match text.is_empty() {
        true => Ok(None),
        false => Zone::parse(&text).map(Some).map_err(|_| Malformed),
    }
}

pub(super) fn put_nodes(out: &mut Vec<u8>, nodes: &BTreeSet<NodeNumber>) {
    put_number(out, nodes.len() as u64);
    nodes.iter().for_each(|node| put_number(out, node.0));
}

pub(super) fn take_nodes(r: &mut Reader<'_>) -> Result<BTreeSet<NodeNumber>, Malformed> {
    (0..r.count()?).map(|_| Ok(NodeNumber(r.number()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::super::state::tests::{drain, founded, holders, in_zone, join};
    use super::*;

    /// A state with all there can be, but zones.
    fn state() -> ClusterState {
        let mut state = founded(3, 4);
        state.apply(&join(9, 4)).unwrap();
        state.apply(&drain(4)).unwrap();
        state.apply(&Change::Remove { node: NodeNumber(4) }).unwrap();
        state.apply(&join(10, 4)).unwrap();
        state.apply(&drain(1)).unwrap();
        state.apply(&holders(1, 1 << 50, 1, &[2, 3])).unwrap();
        state
    }

    #[test]
    fn a_state_comes_back_and_no_prefix_passes() {
        let mut state = state();
        for version in [WITHOUT_ZONES, WITH_ZONES] {
            let bytes = state.encode();
            assert_eq!(bytes[0], version);
            assert_eq!(ClusterState::decode(&bytes), Ok(state.clone()));
            for end in 0..bytes.len() {
                assert_eq!(ClusterState::decode(&bytes[..end]), Err(Malformed), "cut at {end}");
            }
            // The other layout next.
            _ = state.apply(&in_zone(2, "rack-7"));
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        let mut state = state();
        state.apply(&in_zone(2, "rack-7")).unwrap();
        let mut bytes = state.encode();
        let at = bytes.windows(6).position(|six| six == b"rack-7").unwrap();
        bytes[at + 4] = b' ';
        assert_eq!(ClusterState::decode(&bytes), Err(Malformed));
        let mut older = state.encode();
        older[0] = WITHOUT_ZONES;
        assert_eq!(ClusterState::decode(&older), Err(Malformed));
    }

    #[test]
    fn a_state_of_a_version_that_knew_no_zones_is_read() {
        // As version 2 wrote it: nodes 1 and 2, one core.
        let mut bytes = vec![2, 1];
        put_id(&mut bytes, 77);
        bytes.extend([1, 2, 2, 3, 2]);
        for node in 1..=2 {
            bytes.extend([node, 2, b'n', b'0' + node, 8]);
            bytes.extend(format!("10.0.0.{node}").bytes());
            for port in [7000_u16, 7001, 17000] {
                put_number(&mut bytes, port);
            }
            put_id(&mut bytes, u128::from(node) << 70 | 5);
            bytes.push(0);
        }
        bytes.extend([1, 0, 2, 1, 2, 1, 2, 1, 2, 0, 0, 0]);
        assert_eq!(ClusterState::decode(&bytes), Ok(founded(2, 1)));
        assert_eq!(founded(2, 1).encode(), bytes, "it is written so that they can read it");
    }
}
