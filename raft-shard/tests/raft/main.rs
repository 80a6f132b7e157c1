//! The crate's tests. One program, because each that contains openraft takes long to build.

mod classics;
mod cluster;
mod comparison;
mod core_log;
mod lease;
mod log_contract;
mod membership;
mod peer_messages;
mod planted_bugs;
mod runtime;
mod sharp_edges;
mod single_voter;
mod storage_suite;
mod support;
