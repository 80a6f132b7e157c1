//! Lists, one file for each way of using them.

pub(in crate::cmd) mod blocking;
pub(in crate::cmd) mod edit;
pub(in crate::cmd) mod ends;
pub(in crate::cmd) mod read;
pub(in crate::cmd) mod transfer;
