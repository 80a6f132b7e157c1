//! Three real nodes under faults, and many clients that write down what they asked and what they were told: is there one order
//! of all of it, key by key, and is everything there in the end that was acknowledged?
//!
//! `cargo test --test consistency` does it for some seconds with a fixed and a fresh seed. `SLOTCORE_FAULTS` says how many
//! faults instead, `SLOTCORE_SEED` which; [`namespaces`] needs root, and is run by `.ci/cluster-faults`. A failure prints the
//! line that repeats it: the same faults and calls, though not the same microseconds.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start processes and use files, sockets and threads of their own"
)]

#[path = "../process/client.rs"]
#[allow(dead_code, reason = "what the tests of the whole server need more of it")]
mod client;
#[path = "../process/cluster.rs"]
#[allow(dead_code, reason = "what the tests of the whole server need more of it")]
mod cluster;
#[path = "../process/scratch.rs"]
#[allow(dead_code, reason = "what the tests of the whole server need more of it")]
mod scratch;
#[path = "../process/server.rs"]
#[allow(dead_code, reason = "what the tests of the whole server need more of it")]
mod server;
#[path = "../support/mod.rs"]
mod support;

mod bad_histories;
mod clients;
mod faults;
mod history;
mod loopback;
mod namespaces;
mod run;

use std::time::Duration;

/// How long anything may take that is waited for: far more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
