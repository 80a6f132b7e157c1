//! What several of the tests share.

pub mod cluster;
pub mod machine;
pub mod oracle;
pub mod puppet;
