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
    /// False inside a transaction or a script: a command that would wait answers at once, as if its time were up.
    pub may_block: bool,
}

impl<'a> Exec<'a> {
    /// A command by itself, for a client that can wait.
    #[inline]
    pub fn new(ks: &'a mut Keyspace, args: Args<'a>, seed: u64) -> Self {
        Self {
            ks,
            args,
            seed,
            may_block: true,
        }
    }

    /// A command inside another one: a transaction, a script.
    #[inline]
    pub fn nested(ks: &'a mut Keyspace, args: Args<'a>, seed: u64) -> Self {
        Self {
            may_block: false,
            ..Self::new(ks, args, seed)
        }
    }
}

/// Carries out one command and writes exactly one reply value.
pub type DataFn = for<'a> fn(&mut Exec<'a>, &mut dyn Reply);
