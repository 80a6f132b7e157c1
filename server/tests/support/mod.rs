//! What several test programs share: whether histories of clients are linearizable.

pub mod linearizable;
pub mod models;

pub use linearizable::{Op, check};
