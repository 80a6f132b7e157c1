//! Bytes in, bytes out: connections on the core's ring, and the Redis protocol. Knows nothing of storage, Raft or what
//! a command means.

pub mod buffers;
pub mod conn;
pub mod mesh;
pub mod net;
pub mod peer;
pub mod resp;
mod socket;

pub use conn::{Conn, ConnId};
pub use net::{Net, NetEvent, NetOptions, NetStats, Released, UnsentLimit};
pub use socket::bind;
