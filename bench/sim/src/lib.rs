//! The whole core on a simulated disk: random commands, power cuts at every kind of point, recovery, and oracles.
//!
//! The engine that runs here is the real one, byte for byte; only sockets, consensus and the disk below are not.
//! [`episode`] holds the scenario and its checks, [`machine`] the loop a core runs, [`history`] what was promised,
//! [`model`] what commands mean. See `docs/testing.md`.

pub mod answer;
pub mod episode;
pub mod history;
pub mod machine;
pub mod model;
pub mod replica;
pub mod segments;
pub mod workload;
