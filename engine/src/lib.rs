//! One core's durable key-value store: the log, the object table, the keyspace of each group, and the commands.
//!
//! Everything here is pure or sans-I/O: it is handed time and completed I/O, and says what to write. It knows no rule of
//! Raft (it stores what it is handed), no RESP and no socket.

pub mod audit;
pub mod cmd;
pub mod collections;
pub mod compact;
pub mod database;
pub mod digest;
pub mod eviction;
pub mod expiry;
pub mod keyspace;
pub mod log;
mod long_double;
pub mod manifest;
pub mod number;
pub mod ord;
pub mod rdb;
pub mod script;
pub mod sessions;
pub mod snapshot;
pub mod sst;
pub mod store;
pub mod table;
pub mod varint;
pub mod waiters;
