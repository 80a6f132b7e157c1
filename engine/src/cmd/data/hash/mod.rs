//! Hashes, one file for each way of using them.

pub(in crate::cmd) mod expiry;
mod field_args;
pub(in crate::cmd) mod fields;
pub(in crate::cmd) mod numbers;
pub(in crate::cmd) mod read;
pub(in crate::cmd) mod with_expiry;
