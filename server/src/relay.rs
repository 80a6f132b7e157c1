//! [`Relay`]: every node answers every key. A core whose group is led elsewhere sends what it is asked to the same core of
//! the leading node, and passes on what that answers.
//!
//! A node is one more destination beside the cores of this one ([`crate::mesh::Mesh::far`]): commands go there in parcels,
//! and come from there in parcels, with a node in place of a core as the one who asks. So commands in parts, transactions
//! and commands that block need nothing of their own. [`RelayTable`] keeps what is not answered, and sends it again when a
//! link or a leader is lost; while nobody leads it holds it. A core that has become the leader itself sends what it still
//! has in the table to itself, so that what was asked twice counts once there, too.
//!
//! Watched keys are known to the leader they were named to, and to no other. So a connection's EXEC fails, as if a key had
//! been changed, when there was another leader in between: [`Relay::watching`] knows with which one it began.

mod answering;
mod asking;
mod table;
mod wire;

use std::collections::BTreeMap;

use slotcore_engine::sessions::SessionId;
use slotcore_rt::clock::Tick;

use crate::metadata::Change;
use crate::nodes::NodeNumber;
use table::{Lane, RelayTable};
pub use wire::BadMessage;

/// The message by which a node asks the leader of a core's group to hand over to it.
pub(crate) fn ask_to_hand_over() -> Vec<u8> {
    wire::message(wire::Body::HandOver, &[])
}

/// The message by which a node asks the leader of the metadata group for a change.
pub(crate) fn metadata_message(change: &Change) -> Vec<u8> {
    wire::message(wire::Body::Metadata, &change.encode())
}

/// A node as a destination.
pub(crate) fn short(node: NodeNumber) -> u16 {
    u16::try_from(node.0).expect("a cluster has few nodes")
}

/// When what waits for too long is looked for again.
const EXPIRE_EVERY_MS: u64 = 100;

/// See the module's text.
pub struct Relay {
    /// This node; 0: it is on its own.
    me: u16,
    /// The highest number that a node has had.
    nodes: u16,
    /// Who leads this core's group; this node, too, can.
    leader: Option<u16>,
    /// Nodes that can be sent to.
    linked: Vec<bool>,
    table: RelayTable,
    /// Counts leaders.
    epoch: u64,
    /// Connections that watch keys, with the leader that knows of it, by [`Relay::epoch`]; 0: it was this core, which leads
    /// no more.
    watching: BTreeMap<Lane, u64>,
    next_expire: Tick,
}

impl Relay {
    /// A node on its own. `session`: a name that nobody else has.
    pub fn new(session: SessionId) -> Self {
        Self {
            me: 0,
            nodes: 0,
            leader: None,
            linked: Vec::new(),
            table: RelayTable::new(session),
            epoch: 1,
            watching: BTreeMap::new(),
            next_expire: Tick::ZERO,
        }
    }

    /// True in a cluster.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.me != 0
    }

    /// True while no more should be asked for.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.table.is_full()
    }

    /// Commands that wait for another node, or for a leader.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn leads(&self) -> bool {
        self.leader == Some(self.me)
    }

    /// Whether commands may have to go elsewhere.
    fn is_needed(&self) -> bool {
        self.is_on() && !(self.leads() && self.table.is_empty() && self.watching.is_empty())
    }

    /// Where commands go now.
    fn target(&self) -> Option<u16> {
        self.leader.filter(|&node| node == self.me || self.is_linked(node))
    }

    fn is_linked(&self, node: u16) -> bool {
        self.linked.get(usize::from(node)).copied().unwrap_or(false)
    }
}
