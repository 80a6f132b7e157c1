//! Sorted sets.

pub(in crate::cmd) mod add;
pub(in crate::cmd) mod pop;
pub(in crate::cmd) mod range;
pub(in crate::cmd) mod read;
