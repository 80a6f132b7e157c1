//! Which keys have to be in memory before a command is executed.
//!
//! When some keys are only in files, what a command wants to know of them is fetched first. Most commands say by their key
//! specs what that is; a few overwrite whatever there is, and SORT finds out while it runs. A transaction needs what its
//! operations do.

use super::args::Args;
use super::data::scripting::open_called_as;
use super::data::sort;
use super::exec::Exec;
use super::keys::for_each_key;
use super::op::decode_op;
use super::parse::is;
use super::spec::{CommandId, CommandSpec};
use super::table::by_id;
use super::transaction::for_each_operation;
use crate::keyspace::Keyspace;

const EVICT: CommandId = CommandId(99);
const MSET: CommandId = CommandId(14);
const PSETEX: CommandId = CommandId(16);
const SET: CommandId = CommandId(17);
const SETEX: CommandId = CommandId(18);
/// The only command with a write whose keys the contents of others name.
const SORT: CommandId = CommandId(95);

/// Whether the command overwrites its keys without looking at them: neither its reply nor its effect depends on what they
/// hold.
pub fn is_blind(spec: &CommandSpec, args: &Args<'_>) -> bool {
    match spec.id {
        EVICT | MSET | PSETEX | SETEX => true,
        // An expiry that has passed would make it a deletion, so only those count that begin now.
        SET => args.len() == 3 || (args.len() == 5 && (is(args.get(3), "EX") || is(args.get(3), "PX"))),
        _ => false,
    }
}

/// Calls `f` with the argument number of every key that must be known before the command is executed.
pub fn for_each_needed_key(spec: &CommandSpec, args: &Args<'_>, mut f: impl FnMut(usize)) {
    if !is_blind(spec, args) {
        for_each_key(spec, args, |_, at| f(at));
    }
}

/// [`for_each_needed_key`] with the keys themselves; for a transaction those of all its operations, and for a script with its
/// caller's rights those of the script.
pub fn for_each_needed(spec: &CommandSpec, args: &Args<'_>, f: &mut dyn FnMut(&[u8])) {
    if spec.run.is_carrier() {
        for_each_operation(args, 0, |spec, args, _| for_each_needed(spec, &args, f));
    } else if let Some((_, operation)) = open_called_as(spec, args) {
        let mut spans = Vec::new();
        let inner = decode_op(operation, &mut spans).ok().and_then(|(id, _)| by_id(id));
        if let Some(inner) = inner {
            for_each_needed(inner, &Args::new(operation, &spans), f);
        }
    } else {
        for_each_needed_key(spec, args, |at| f(args.get(at)));
    }
}

/// Whether [`rehearse`] has anything to do.
pub fn is_rehearsed(spec: &CommandSpec) -> bool {
    spec.id == SORT
}

/// Does what a command does before it changes anything, for those whose keys the contents of others name: what it looks
/// for and only files know is then to be had from [`Keyspace::take_missed`](crate::keyspace::Keyspace::take_missed). To be
/// repeated until that is nothing.
pub fn rehearse(spec: &CommandSpec, x: &mut Exec<'_>) {
    if is_rehearsed(spec) {
        sort::rehearse(x);
    }
}

/// Makes known what a command needs that is executed next, by reading it at once
/// ([`Keyspace::read_with`](crate::keyspace::Keyspace::read_with)). What a transaction or a script needs is made known when
/// each of its operations comes.
#[cold]
pub fn prepare(ks: &mut Keyspace, spec: &CommandSpec, args: &Args<'_>, seed: u64) {
    if ks.is_complete() || spec.run.is_carrier() {
        return;
    }
    if is_blind(spec, args) {
        for_each_key(spec, args, |_, at| ks.foresee(args.get(at)));
    }
    for_each_needed_key(spec, args, |at| ks.make_known(args.get(at)));
    while is_rehearsed(spec) {
        rehearse(spec, &mut Exec::new(ks, *args, seed));
        if !ks.supply_missed() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::by_id;

    #[test]
    fn the_numbers_are_those_of_the_names() {
        let named = [
            (EVICT, "evict"),
            (MSET, "mset"),
            (PSETEX, "psetex"),
            (SET, "set"),
            (SETEX, "setex"),
            (SORT, "sort"),
        ];
        for (id, name) in named {
            assert_eq!(by_id(id).map(|spec| spec.name), Some(name));
        }
    }
}
