//! [`Topology`]: which node of a cluster owns which slot, as `CLUSTER SLOTS` tells.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use redis_protocol::resp2::types::OwnedFrame;
use slotcore_engine::ord::SLOTS;

use crate::ask::{Asker, text};

/// Password of the `default` user, where one is wanted.
pub type Password<'a> = Option<&'a str>;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    nodes: Vec<SocketAddr>,
    /// Index of the owner in `nodes`, by slot.
    owners: Vec<u16>,
}

impl Topology {
    /// From ranges of slots and their nodes.
    ///
    /// # Errors
    /// A text for the user: a slot has no node.
    pub fn new(ranges: &[(RangeInclusive<u16>, SocketAddr)]) -> Result<Self, String> {
        let mut nodes: Vec<SocketAddr> = ranges.iter().map(|(_, node)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut owners = vec![u16::MAX; usize::from(SLOTS)];
        for (slots, node) in ranges {
            let owner = nodes.binary_search(node).expect("the list was made from the ranges");
            for slot in slots.clone() {
                match owners.get_mut(usize::from(slot)) {
                    Some(place) => *place = owner as u16,
                    None => return Err(format!("there is no slot {slot}")),
                }
            }
        }
        match owners.iter().position(|&owner| owner == u16::MAX) {
            Some(slot) => Err(format!("slot {slot} belongs to no node: the cluster is not complete")),
            None => Ok(Self { nodes, owners }),
        }
    }

    /// As the server at `addr` tells.
    ///
    /// # Errors
    /// Nobody there, no cluster, or slots without a node.
    pub fn ask(addr: SocketAddr, password: Password<'_>) -> io::Result<Self> {
        let mut asker = Asker::connect(addr)?;
        if let Some(password) = password {
            asker.demand(&["AUTH", password])?;
        }
        let reply = asker.demand(&["CLUSTER", "SLOTS"])?;
        let ranges = ranges(&reply, addr.ip())
            .ok_or_else(|| io::Error::other(format!("{addr} answered CLUSTER SLOTS with something else: {reply:?}")))?;
        Self::new(&ranges).map_err(|what| io::Error::other(format!("{addr}: {what}")))
    }

    /// Addresses of all nodes that own slots.
    pub fn nodes(&self) -> &[SocketAddr] {
        &self.nodes
    }

    /// Index in [`Topology::nodes`] of the owner of `slot`.
    #[inline]
    pub fn node_of(&self, slot: u16) -> usize {
        usize::from(self.owners[usize::from(slot)])
    }
}

/// `[[first, last, [host, port, ...], ...], ...]`; an empty host is the one that was asked.
fn ranges(reply: &OwnedFrame, asked: IpAddr) -> Option<Vec<(RangeInclusive<u16>, SocketAddr)>> {
    let array = |frame: &OwnedFrame| match frame {
        OwnedFrame::Array(items) => Some(items.clone()),
        _ => None,
    };
    let number = |frame: &OwnedFrame| text(frame).parse::<u16>().ok();
    let range = |item: &OwnedFrame| {
        let item = array(item)?;
        let leader = array(item.get(2)?)?;
        let host = text(leader.first()?);
        let ip = if host.is_empty() { asked } else { host.parse().ok()? };
        let slots = number(item.first()?)?..=number(item.get(1)?)?;
        Some((slots, SocketAddr::new(ip, number(leader.get(1)?)?)))
    };
    array(reply)?.iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use redis_protocol::resp2::decode::decode;

    use super::*;

    #[test]
    fn the_reply_of_a_cluster_is_read_and_gaps_are_told() {
        let asked: IpAddr = [10, 0, 0, 9].into();
        let read = |bytes: &[u8]| ranges(&decode(bytes).unwrap().unwrap().0, asked);
        let found = read(
            b"*2\r\n*3\r\n:0\r\n:99\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$1\r\nx\r\n\
              *3\r\n:100\r\n:16383\r\n*3\r\n$0\r\n\r\n:7002\r\n$1\r\ny\r\n",
        )
        .unwrap();
        let topology = Topology::new(&found).unwrap();
        let owner = |slot| topology.nodes()[topology.node_of(slot)].to_string();
        assert_eq!(
            (owner(99), owner(100)),
            ("127.0.0.1:7001".into(), "10.0.0.9:7002".into())
        );
        assert_eq!(read(b":1\r\n"), None);
        assert_eq!(read(b"*1\r\n*2\r\n:0\r\n:99\r\n"), None);
        assert!(
            Topology::new(&found[..1])
                .unwrap_err()
                .contains("slot 100 belongs to no node")
        );
        assert!(
            Topology::new(&[(0..=16384, found[0].1)])
                .unwrap_err()
                .contains("no slot 16384")
        );
    }
}
