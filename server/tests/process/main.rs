//! The whole server as its operator and its clients meet it: each test starts the real binary on a free port with a
//! directory of its own, talks to it over TCP, stops or kills it, and starts it again.
//!
//! Nothing here sleeps: tests wait for a line of the log, a reply, the end of the process, or a number of acknowledged
//! commands, each with [`PATIENCE`].
#![allow(
    clippy::disallowed_methods,
    reason = "tests start processes and use files, sockets and threads of their own"
)]

#[path = "../../../netio/tests/authority/mod.rs"]
#[allow(dead_code, reason = "what the tests of links need more of it")]
mod authority;
mod client;
#[allow(dead_code, reason = "what the consistency tests need more of it")]
mod cluster;
mod load;
mod scratch;
mod server;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "what the consistency tests need more of it")]
mod support;

mod acl;
mod backup;
mod blocking;
mod cluster_again;
mod cluster_snapshots;
mod comparison;
mod copies;
mod cores;
mod ctl;
mod damaged_copies;
mod damaged_log;
mod databases;
mod dataset_limit;
mod durability;
mod ending;
mod failover;
mod growing;
mod joining;
mod landed_snapshots;
mod larger_than_memory;
mod linearizability;
mod malformed;
mod metrics;
mod monitor;
mod notifications;
mod pause;
mod peer_tls;
mod pubsub;
mod read_index;
mod read_modes;
mod redis_rs;
mod redis_rs_cluster;
mod refused_starts;
mod relay;
mod repair;
mod replication;
mod scripts;
mod scrub;
mod small_disk;
mod spanning;
mod spanning_scripts;
mod spanning_waits;
mod succession;
mod swapdb;
mod together;
mod tracking;
mod transactions;
mod zones;

use std::time::Duration;

/// How long anything may take that is waited for: far more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
