//! Sorted sets.

pub(in crate::cmd) mod add;
pub(in crate::cmd) mod blocking;
mod bound;
pub(in crate::cmd) mod combine;
pub(in crate::cmd) mod pop;
pub(in crate::cmd) mod range;
pub(in crate::cmd) mod read;
