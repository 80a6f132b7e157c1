//! Sets, one file for each way of using them.

pub(in crate::cmd) mod combine;
pub(in crate::cmd) mod members;
pub(in crate::cmd) mod random;
