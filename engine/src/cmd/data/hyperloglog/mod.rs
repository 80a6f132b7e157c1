//! HyperLogLogs: estimates of how many different things were counted, in strings of Redis's very format.

pub(in crate::cmd) mod count;
pub(in crate::cmd) mod debug;
mod estimate;
mod format;
mod sparse;
