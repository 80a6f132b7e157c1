//! What the command tests share: replies as wire bytes and as text, a machine that executes commands, scripts, and a
//! real redis-server to compare with.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod collections;
pub mod families;
pub mod machine;
pub mod random;
pub mod redis;
pub mod script;
pub mod seeds;
pub mod wire;
