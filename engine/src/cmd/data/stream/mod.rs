//! The commands about streams.
//!
//! Times stored in a stream are the group's clock, which is the time of the entry of the log that carries the command: ids
//! made from `*`, when something was delivered, when a consumer was seen. Reads say how long ago that was by the wall clock.

pub(in crate::cmd) mod add;
pub(in crate::cmd) mod claim;
pub(in crate::cmd) mod groups;
mod ids;
pub(in crate::cmd) mod info;
pub(in crate::cmd) mod pending;
pub(in crate::cmd) mod range;
pub(in crate::cmd) mod read;
mod reply;
pub(in crate::cmd) mod trim;
