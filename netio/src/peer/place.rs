//! [`PeerPlace`]: where somebody listens for peers.

use std::net::SocketAddr;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPlace {
    /// To be dialed.
    pub address: SocketAddr,
    /// The name or address that it was found by. With TLS the certificate there has to be good for it.
    pub host: String,
}

impl From<SocketAddr> for PeerPlace {
    fn from(address: SocketAddr) -> Self {
        let host = address.ip().to_string();
        Self { address, host }
    }
}
