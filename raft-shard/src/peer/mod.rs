//! Raft's messages between replicas on other nodes: their bytes, and who waits for which answer.
//!
//! One link joins two cores of different nodes, however many groups they share. What all groups have to say to a peer in
//! a turn of the core (entries, acknowledgements, votes, heartbeats) goes into one [`frame`]; the core loop takes finished
//! frames from the [`PeerHub`] at the turn's end and hands it those that have arrived. The hub knows no sockets: the
//! simulated network and TCP carry the same bytes. Layout: `docs/formats/peer.md`.

pub mod codec;
pub mod compare;
pub mod frame;
pub mod hub;
pub mod landing;
pub mod links;
pub mod message;
pub mod read_index;
mod send_snapshot;
mod serve;
mod take_snapshot;

pub use frame::{BadFrame, FrameBuilder};
pub use hub::PeerHub;
pub use landing::{InMemory, Landed, Landing};
pub use links::Links;
pub use message::{Answer, CallId, Message, Request, SnapshotAnswer, SnapshotPart};
