//! The commands: their table, and how each that touches keys is carried out.

pub mod args;
pub mod reply;

pub use args::Args;
pub use reply::{NoReply, Reply};
