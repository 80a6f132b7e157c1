//! Links to cores of other nodes: one TCP connection each, opened by the one with the smaller number, proved by a shared
//! secret, and opened again when it is lost. What the frames say is not known here, only how long they are.

mod dialing;
mod handshake;
mod link;
mod net;

pub use dialing::{DIAL_FIRST, DIAL_LONGEST};
pub use handshake::{Identity, PeerId, Refusal};
pub use net::{AskerId, LinkEnd, PeerEvent, PeerNet, PeerOptions};
