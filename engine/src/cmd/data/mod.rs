//! How the commands that touch keys are carried out: one file a family, plain functions on [`super::Exec`].

pub(super) mod bitmap;
pub(super) mod condition;
pub(super) mod counter;
pub(super) mod debug_protocol;
pub(super) mod dump;
pub(crate) mod encoding;
pub(super) mod expiry;
pub(super) mod geo;
pub(super) mod hash;
pub(super) mod hyperloglog;
pub(super) mod keyspace;
pub(super) mod lcs;
pub(super) mod list;
pub(crate) mod object;
mod sample;
pub(super) mod scan;
pub(super) mod scripting;
pub(super) mod set;
pub(super) mod sort;
pub(super) mod stream;
pub(super) mod string;
pub(super) mod substring;
pub(super) mod zset;
