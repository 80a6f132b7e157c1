//! The seam between Slotcore and the world.
//!
//! Only this crate touches clock, disk, network ring, randomness and threads. Everything above it either is pure (takes
//! time and input, returns what to do) or runs on both back ends found here: the real one ([`ring`], [`clock`], glommio)
//! and the simulated twin ([`sim`]: virtual time, seeded order, a disk and a network with faults).
#![allow(clippy::disallowed_methods)]

pub mod admin_socket;
pub mod buf;
pub mod chunk;
pub mod clock;
pub mod config_file;
pub mod dial;
pub mod disk;
pub mod ids;
pub mod kernel;
pub mod mem;
pub mod process;
pub mod ring;
pub mod rng;
pub mod signal;
pub mod sim;
pub mod thread;
pub mod wake;
