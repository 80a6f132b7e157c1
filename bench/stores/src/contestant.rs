//! [`Contestant`]: a store as the comparison sees it.

use std::error::Error;

/// Whatever went wrong: the comparison ends.
pub type Failure = Box<dyn Error + Send + Sync>;

/// One store, opened on an empty directory.
pub trait Contestant {
    /// Name and version, with how it is set up.
    fn name(&self) -> String;

    /// Sets keys; durable on return when `durable`.
    fn set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<(), Failure>;

    /// Whether `key` is there; its value goes into `value`.
    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Failure>;

    /// Walks all keys with their values, in the store's own order. Returns how many.
    fn walk(&mut self) -> Result<u64, Failure>;

    /// Writes out what is in memory, and waits until nothing is left to be done in the background.
    fn settle(&mut self) -> Result<(), Failure>;
}
