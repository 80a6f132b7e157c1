//! A [`ClusterState`] as bytes, and the parts that entries have in common with it. Format: `docs/formats/metadata.md`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use slotcore_rt::ids::{CoreId, LogIndex};

use super::read::{Malformed, Reader, put_id, put_number, put_text};
use super::{ClusterState, GroupRecord};
use crate::nodes::{Node, NodeNumber, NodeState};

/// First byte of a state; changes with its layout.
const VERSION: u8 = 2;

impl ClusterState {
    /// The state as bytes; equal states give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_number(&mut out, self.epoch);
        put_id(&mut out, self.cluster);
        put_number(&mut out, self.cores);
        out.push(self.replicas);
        put_number(&mut out, self.first);
        put_number(&mut out, self.next_number);
        put_number(&mut out, self.nodes.len() as u64);
        self.nodes.values().for_each(|node| put_node(&mut out, node));
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
        if r.byte()? != VERSION {
            return Err(Malformed);
        }
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
            let node = take_node(r)?;
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

pub(super) fn put_node(out: &mut Vec<u8>, node: &Node) {
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
}

pub(super) fn take_node(r: &mut Reader<'_>) -> Result<Node, Malformed> {
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
    })
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
    use super::super::state::tests::{drain, founded, holders, join};
    use super::*;

    #[test]
    fn a_state_comes_back_and_no_prefix_passes() {
        let mut state = founded(3, 4);
        state.apply(&join(9, 4)).unwrap();
        state.apply(&drain(4)).unwrap();
        state.apply(&Change::Remove { node: NodeNumber(4) }).unwrap();
        state.apply(&join(10, 4)).unwrap();
        state.apply(&drain(1)).unwrap();
        state.apply(&holders(1, 1 << 50, 1, &[2, 3])).unwrap();
        let bytes = state.encode();
        assert_eq!(ClusterState::decode(&bytes), Ok(state));
        for end in 0..bytes.len() {
            assert_eq!(ClusterState::decode(&bytes[..end]), Err(Malformed), "cut at {end}");
        }
    }
}
