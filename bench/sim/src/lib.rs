//! The whole core on a simulated disk: random commands, power cuts at every kind of point, recovery, and oracles.
//!
//! The engine and the consensus that run here are the real ones, byte for byte; only sockets and the disks below are not.
//! Two ways lead through it:
//! - the log alone: [`episode`] holds the scenario and its checks, [`machine`] the loop a core runs, [`history`] what was
//!   promised;
//! - groups of one and of three replicas: [`group_episode`] holds the scenarios, [`world`] the nodes, [`core_disk`] the
//!   loop, [`witness`] and [`log_witness`] what must hold. [`cluster_episode`]: the long lives of clusters.
//!
//! [`model`] says what commands mean. See `docs/testing.md`.

pub mod answer;
pub mod cluster_episode;
pub mod core_disk;
pub mod episode;
pub mod group_episode;
pub mod history;
pub mod log_witness;
pub mod machine;
pub mod model;
pub mod replica;
pub mod segments;
pub mod witness;
pub mod workload;
pub mod world;
