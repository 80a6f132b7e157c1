//! Links to cores of other nodes: one TCP connection each, opened by the one with the smaller number, proved by a shared
//! secret, within TLS if there are certificates, and opened again when it is lost. What the frames say is not known here, only how long they are.

mod dialing;
mod event;
mod handshake;
mod link;
mod net;
mod place;
mod refusal;
mod tls;

pub use dialing::{DIAL_FIRST, DIAL_LONGEST};
pub use event::{AskerId, LinkEnd, PeerEvent, PeerOptions};
pub use handshake::{Identity, PeerId};
pub use net::PeerNet;
pub use place::PeerPlace;
pub use refusal::Refusal;
pub use tls::{PeerTls, TlsEnd, TlsPart, TlsUnusable};
