//! Which arguments of a command are keys.

use super::{Args, CommandSpec};
use crate::cmd::spec::KeySpec;

/// Calls `f` with the argument number of every key, key spec by key spec.
///
/// The argument count must have been checked against the arity: then every number is below `args.len()`.
#[inline]
pub fn for_each_key(spec: &CommandSpec, args: &Args<'_>, mut f: impl FnMut(&'static KeySpec, usize)) {
    for keys in spec.key_specs {
        let first = keys.index as usize;
        let last = if keys.last >= 0 {
            first + keys.last as usize
        } else {
            args.len() - keys.last.unsigned_abs() as usize
        };
        let mut at = first;
        while at <= last && at < args.len() {
            f(keys, at);
            at += keys.step as usize;
        }
    }
}

/// Appends the argument numbers of all keys to `out`.
pub fn keys(spec: &CommandSpec, args: &Args<'_>, out: &mut Vec<u32>) {
    for_each_key(spec, args, |_, at| out.push(at as u32));
}
