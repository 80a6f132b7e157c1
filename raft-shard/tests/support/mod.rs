//! What several test files of this crate share; each uses its part.
#![allow(dead_code)]

pub mod cluster;
pub mod machine;
pub mod oracle;
pub mod puppet;
