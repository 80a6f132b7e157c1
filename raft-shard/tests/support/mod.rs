//! What several test files of this crate share.

pub mod memory_log;
