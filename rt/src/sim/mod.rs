//! The simulated twin of the real back end: one thread, virtual time, one seed.
//!
//! Everything random is drawn from streams of one [`SeededRng`](crate::rng::SeededRng), nothing reads a real clock, and
//! no order depends on a hash or an address: the same seed gives the same run, whatever the machine. [`exec`] runs tasks,
//! [`clock`] gives each node its own faulty clock, [`disk`] loses and tears what was not synced, [`net`] delays, resets
//! and partitions.

pub mod clock;
pub mod disk;
pub mod exec;
pub mod net;

pub use clock::SimClock;
pub use disk::SimDisk;
pub use exec::{NodeId, Sim};
pub use net::SimNet;
