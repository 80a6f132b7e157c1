//! EVAL, EVALSHA, FCALL, and those of them that may not write.

use super::with_scripts;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::integer;
use crate::cmd::stored::without_mark;
use crate::cmd::{Args, Exec, Reply, Waiting};
use crate::database::{Database, users_key};
use crate::number::parse_i64;
use crate::script::{Call, NOSCRIPT};

const TOO_MANY_KEYS: CmdError = CmdError::Other("ERR Number of keys can't be greater than number of args");
const NEGATIVE_KEYS: CmdError = CmdError::Other("ERR Number of keys can't be negative");

/// How many of the arguments behind the third are keys.
fn key_count(args: &Args<'_>, count: i64) -> Result<usize, CmdError> {
    match usize::try_from(count) {
        Ok(count) if count <= args.len() - 3 => Ok(count),
        Ok(_) => Err(TOO_MANY_KEYS),
        Err(_) => Err(NEGATIVE_KEYS),
    }
}

/// How a script runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    /// The same, while memory is exhausted.
    Scarce,
    Read,
}

/// Keys and further arguments behind the third argument, the keys as the user wrote them.
fn words<'a>(args: &Args<'a>, keys: usize) -> Vec<&'a [u8]> {
    let mut words: Vec<&[u8]> = args.iter_from(3).collect();
    words[..keys].iter_mut().for_each(|key| *key = users_key(key));
    words
}

fn call<'a>(database: Database, seed: u64, mode: Mode, words: &'a [&'a [u8]], keys: usize) -> Call<'a> {
    let (keys, args) = words.split_at(keys);
    Call {
        keys,
        args,
        database,
        seed,
        read_only: mode == Mode::Read,
        scarce: mode == Mode::Scarce,
    }
}

fn run_script(x: &mut Exec<'_>, by_sha: bool, mode: Mode, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (database, args) = without_mark(&x.args);
        let keys = key_count(&args, integer(args.get(2))?)?;
        with_scripts(x, |scripts, x| {
            let named = x.args.get(1);
            let cached = if by_sha { scripts.by_sha(named).cloned() } else { None };
            let body = match &cached {
                Some(body) => body,
                None if by_sha => return Err(CmdError::Other(NOSCRIPT)),
                None => named,
            };
            let words = words(&args, keys);
            scripts.eval(x.ks, body, &call(database, x.seed, mode, &words, keys), reply);
            Ok(())
        })
    });
}

pub(in crate::cmd) fn eval(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    run_script(x, false, Mode::Write, reply);
}

pub(in crate::cmd) fn eval_ro(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    run_script(x, false, Mode::Read, reply);
}

/// EVAL as it is logged while memory is exhausted.
pub(in crate::cmd) fn eval_scarce(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    run_script(x, false, Mode::Scarce, reply);
}

/// FCALL as it is logged while memory is exhausted.
pub(in crate::cmd) fn fcall_scarce(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    run_function(x, Mode::Scarce, reply);
}

/// Only where nothing is logged: in the log the script itself takes the place of its SHA-1. One that stands in the log all
/// the same, in a transaction, named a script that the leader did not know, so none does.
pub(in crate::cmd) fn evalsha(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    if x.waiting == Waiting::Never {
        return reply.error(NOSCRIPT);
    }
    run_script(x, true, Mode::Write, reply);
}

pub(in crate::cmd) fn evalsha_ro(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    run_script(x, true, Mode::Read, reply);
}

fn run_function(x: &mut Exec<'_>, mode: Mode, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        with_scripts(x, |scripts, x| {
            let name = x.args.get(1);
            if scripts.libraries().function(name).is_none() {
                return Err(CmdError::Other("ERR Function not found"));
            }
            let (database, args) = without_mark(&x.args);
            let count = parse_i64(args.get(2));
            let keys = key_count(&args, count.ok_or(CmdError::Other("ERR Bad number of keys provided"))?)?;
            let words = words(&args, keys);
            scripts.call_function(x.ks, name, &call(database, x.seed, mode, &words, keys), reply);
            Ok(())
        })
    });
}

pub(in crate::cmd) fn fcall(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    run_function(x, Mode::Write, reply);
}

pub(in crate::cmd) fn fcall_ro(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    run_function(x, Mode::Read, reply);
}
