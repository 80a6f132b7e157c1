//! [`Exec`]: one command being carried out on the keyspace.

use super::{Args, Reply};
use crate::keyspace::Keyspace;

/// What a command works with. Its result depends on this alone: the keyspace (whose clock is the entry's time), the
/// arguments, and the seed that came with the entry.
pub struct Exec<'a> {
    /// The group's keys and values.
    pub ks: &'a mut Keyspace,
    /// The command and its arguments; their number was checked against the arity.
    pub args: Args<'a>,
    /// Decides what SPOP and RANDOMKEY choose.
    pub seed: u64,
}

/// Carries out one command and writes exactly one reply value.
pub type DataFn = for<'a> fn(&mut Exec<'a>, &mut dyn Reply);
