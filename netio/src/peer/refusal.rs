//! [`Refusal`]: why a node opens no link with another one, as it says so.

use std::fmt;

/// Begins a refusal.
pub(super) const REFUSED: &[u8; 4] = b"SLNO";
/// Bytes of a whole one.
pub(super) const REFUSAL_BYTES: usize = 5;

/// Why a link is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// These are not the bytes of a peer.
    NotAPeer = 1,
    /// Another version of this protocol.
    Version = 2,
    /// Another cluster.
    Cluster = 3,
    /// It was meant for another core: the addresses are out of date.
    WrongCore = 4,
    /// The proof does not fit: the secrets differ.
    Proof = 5,
    /// The node has another data directory than before.
    Incarnation = 6,
    /// The node was removed from the cluster.
    Removed = 7,
    /// Too many ask at once.
    Busy = 8,
    /// One side uses TLS, the other does not.
    Tls = 9,
}

impl Refusal {
    pub(super) fn from_byte(byte: u8) -> Self {
        match byte {
            2 => Self::Version,
            3 => Self::Cluster,
            4 => Self::WrongCore,
            5 => Self::Proof,
            6 => Self::Incarnation,
            7 => Self::Removed,
            8 => Self::Busy,
            9 => Self::Tls,
            _ => Self::NotAPeer,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAPeer => "what answers there is not a peer",
            Self::Version => "the other node speaks another version of the peer protocol",
            Self::Cluster => "the other node belongs to another cluster",
            Self::WrongCore => "the address is that of another core",
            Self::Proof => "the other node has another cluster secret",
            Self::Incarnation => "the node has lost its data directory, and what it had promised with it",
            Self::Removed => "the node was removed from the cluster",
            Self::Busy => "too many nodes ask to join at once",
            Self::Tls => "one of the two nodes uses TLS between nodes (certificates), the other does not",
        })
    }
}

/// What is said in place of the next thing to say.
pub(super) fn refuse(why: Refusal, out: &mut Vec<u8>) {
    out.extend_from_slice(REFUSED);
    out.push(why as u8);
}
