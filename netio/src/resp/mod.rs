//! The Redis serialization protocol: requests in, replies out.

pub mod decode;
pub mod encode;
pub mod inline;
