//! How a node that has no number yet becomes one of the cluster, or asks whether it still is one: what it says ([`Question`]) and is
//! answered ([`JoinAnswer`]), once both sides have proved the secret. Decision: `docs/decisions/0013-growing-a-cluster.md`.

pub mod ask;
pub mod inquiry;
mod wire;

use std::fmt;
use std::net::IpAddr;

use slotcore_netio::peer::PeerPlace;

use crate::nodes::{NodeList, Zone};

/// A node that asks to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Names its data directory: asked again by the same one, the answer is the same number.
    pub incarnation: u128,
    /// What clients are told to connect to.
    pub host: String,
    /// Where the other nodes reach it.
    pub address: IpAddr,
    /// The port that answers for every key; core `i` has the `i + 1`-th after it.
    pub port: u16,
    /// Where its core 0 listens for other nodes; core `i` has the `i`-th after it.
    pub peer_port_base: u16,
    /// How many it runs.
    pub cores: u16,
    /// Where it is, if it was told.
    pub zone: Option<Zone>,
}

/// What somebody asks who is answered a [`JoinAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// It wants to become a node.
    Join(JoinRequest),
    /// The node with this data directory asks whether it is still one. Whatever the answer, it does not become one by asking: its
    /// directory may be another than that of the node whose place it was given.
    AmIMember(u128),
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinAnswer {
    /// It is the node [`NodeList::me`] of this list. On the wire the list has no secret: both sides know it.
    Accepted(Box<NodeList>),
    /// It cannot become one.
    Refused(JoinRefusal),
    /// The core 0 that listens here for other nodes knows more.
    AskThere(PeerPlace),
    /// Nobody can say now: it is to ask again, anybody.
    AskAgain,
}

/// Why a node cannot join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinRefusal {
    /// It was a node of this cluster, and was removed.
    Removed,
    /// All nodes run the same number of cores, which is this one.
    Cores(u16),
    /// Another node is reached at one of its addresses.
    AddressTaken,
    /// Anything else, as people read it.
    Other(String),
}

impl fmt::Display for JoinRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("this node was removed from the cluster"),
            Self::Cores(cores) => write!(f, "all nodes of the cluster run {cores} cores"),
            Self::AddressTaken => f.write_str("another node of the cluster has the same address"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// Who waits for a [`JoinAnswer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker(pub u64);
