//! Transactions: several operations that are one.
//!
//! In the log a transaction is a single operation. Its number says whether anything in it writes ([`carrier`]); its
//! arguments are the operations in it, each encoded as [`super::op`] encodes any. So it is applied as a whole or not at
//! all, after a crash as well as before, and nothing of another client comes between: all of it happens at one moment of
//! the group's clock. Every operation in it has a seed of its own, drawn from that of the whole, and none may block.
//!
//! An operation that fails answers with its error in its place, and the others are carried out, as in Redis.

use super::needs::prepare;
use super::op::{decode_op, op_seed};
use super::{Args, CommandSpec, Exec, NoReply, Reply, Run, by_id};
use crate::keyspace::Keyspace;

/// The steps of a transaction: commands of a client, and what its EXEC becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `MULTI`
    Multi,
    /// `EXEC`
    Exec,
    /// `DISCARD`
    Discard,
    /// `WATCH key [key ...]`
    Watch,
    /// `UNWATCH`
    Unwatch,
    /// The operations that were kept, carried out where their keys are.
    Carry,
    /// The same, as one core's part of a transaction that spans several ([`super::spanning`]).
    CarryPart,
}

/// Numbers of the operations a transaction becomes, in the log and between cores. On disk: never renumbered.
const CARRIES_READS: u16 = 965;
const CARRIES_WRITES: u16 = 966;
const CARRIES_GROWTH: u16 = 967;

/// The operation for a transaction. `writes`: something in it does; `grows`: something in it must be refused when memory
/// is exhausted.
pub fn carrier(writes: bool, grows: bool) -> &'static CommandSpec {
    let id = match (writes, grows) {
        (false, _) => CARRIES_READS,
        (true, false) => CARRIES_WRITES,
        (true, true) => CARRIES_GROWTH,
    };
    by_id(super::CommandId(id)).expect("the table has it")
}

/// Calls `f` with every operation of a transaction in order: what it is, its arguments, its seed. `args`: those of the
/// carrier; `seed`: the carrier's.
///
/// # Panics
/// When an argument is no operation: it was encoded by this process, or read from a checksummed log.
pub fn for_each_operation(args: &Args<'_>, seed: u64, mut f: impl FnMut(&'static CommandSpec, Args<'_>, u64)) {
    let mut spans = Vec::new();
    for (number, operation) in args.iter_from(1).enumerate() {
        let id = match decode_op(operation, &mut spans) {
            Ok((id, _)) => id,
            Err(error) => panic!("an operation of a transaction cannot be read: {error}"),
        };
        let spec = by_id(id).unwrap_or_else(|| panic!("a transaction holds command {}, which is unknown here", id.0));
        f(spec, Args::new(operation, &spans), op_seed(seed, number as u64));
    }
}

/// Carries out a transaction for which nobody here waits: another's, or one met when the log is read at start. `reply` gets
/// one answer for each operation in it.
pub fn replay(ks: &mut Keyspace, args: &Args<'_>, seed: u64, reply: &mut dyn Reply) {
    for_each_operation(args, seed, |spec, args, seed| match spec.run {
        Run::Data(f) => {
            if !ks.is_complete() {
                prepare(ks, spec, &args, seed);
                // One that only reads may look at more than it names.
                while !spec.is_write() {
                    f(&mut Exec::nested(ks, args, seed), &mut NoReply);
                    if !ks.supply_missed() {
                        break;
                    }
                }
            }
            f(&mut Exec::nested(ks, args, seed), reply);
            ks.lend_keys(None);
        }
        _ => reply.ok(),
    });
}
