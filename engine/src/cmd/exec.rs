//! [`Exec`]: one command being carried out on the keyspace.

use super::waiting::Waiting;
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
    /// What becomes of a command that finds nothing and would wait.
    pub waiting: Waiting,
}

impl<'a> Exec<'a> {
    /// A command by itself, outside the log: it changes nothing.
    #[inline]
    pub fn new(ks: &'a mut Keyspace, args: Args<'a>, seed: u64) -> Self {
        Self {
            ks,
            args,
            seed,
            waiting: Waiting::Unlogged,
        }
    }

    /// Operation number `op` (from 0) of an entry.
    #[inline]
    pub fn logged(ks: &'a mut Keyspace, args: Args<'a>, seed: u64, op: u32) -> Self {
        Self {
            waiting: Waiting::May(op),
            ..Self::new(ks, args, seed)
        }
    }

    /// A command inside another one: a transaction, a script. One that would wait answers at once, as if its time were up.
    #[inline]
    pub fn nested(ks: &'a mut Keyspace, args: Args<'a>, seed: u64) -> Self {
        Self {
            waiting: Waiting::Never,
            ..Self::new(ks, args, seed)
        }
    }
}

/// Carries out one command and writes exactly one reply value, or none if it waits ([`Exec::wait`]).
pub type DataFn = for<'a> fn(&mut Exec<'a>, &mut dyn Reply);
