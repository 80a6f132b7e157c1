//! Keys of any type: DEL, EXISTS, RENAME, COPY, MOVE, FLUSHALL and the like.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::is;
use crate::cmd::stored::{selected, swapped, without_mark};
use crate::cmd::{Args, Exec, Reply};
use crate::database::users_key;
use crate::keyspace::{EventClasses, Keyspace};

const NO_SUCH_KEY: CmdError = CmdError::Other("ERR no such key");
const SAME_OBJECT: CmdError = CmdError::Other("ERR source and destination objects are the same");

pub(in crate::cmd) fn del(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let mut deleted = 0;
    for key in x.args.iter_from(1) {
        if x.ks.del(key) {
            deleted += 1;
            x.ks.note(EventClasses::GENERIC, "del", key);
        }
    }
    reply.int(deleted);
}

pub(in crate::cmd) fn exists(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.int(x.args.iter_from(1).filter(|key| x.ks.kind(key).is_some()).count() as i64);
}

pub(in crate::cmd) fn touch(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.int(x.args.iter_from(1).filter(|key| x.ks.touch(key)).count() as i64);
}

/// What the leader of a group has decided on because the data set has reached its limit: these keys go.
pub(in crate::cmd) fn evict(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    x.args.iter_from(1).for_each(|key| x.ks.give_up(key));
    reply.ok();
}

/// Nothing is changed. What was seen, whoever leads compares with what others have seen.
pub(in crate::cmd) fn compare(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let number = |at| x.args.get(at).try_into().map_or(0, u64::from_le_bytes);
    let (from, weight) = (number(1), number(2));
    x.ks.compare_slice(from, weight.try_into().unwrap_or(usize::MAX));
    reply.ok();
}

pub(in crate::cmd) fn type_of(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.simple(x.ks.kind(x.args.get(1)).map_or("none", |kind| kind.name()));
}

pub(in crate::cmd) fn randomkey(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (database, _) = without_mark(&x.args);
    match x.ks.random_key(database, x.seed) {
        Some(key) => reply.bulk(users_key(&key)),
        None => reply.null(),
    }
}

pub(in crate::cmd) fn dbsize(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (database, _) = without_mark(&x.args);
    reply.int(x.ks.len_of(database) as i64);
}

/// ASYNC and SYNC are both what we do anyway: the keys are gone at once, and their memory comes back in slices.
fn is_flush_mode(args: &Args<'_>) -> bool {
    match args.try_get(1) {
        None => true,
        Some(mode) => args.len() == 2 && (is(mode, "SYNC") || is(mode, "ASYNC")),
    }
}

/// FLUSHALL [ASYNC|SYNC]
pub(in crate::cmd) fn flushall(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    if !is_flush_mode(&x.args) {
        return CmdError::Syntax.reply(reply);
    }
    x.ks.clear();
    reply.ok();
}

/// FLUSHDB [ASYNC|SYNC]
pub(in crate::cmd) fn flushdb(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (database, args) = without_mark(&x.args);
    if !is_flush_mode(&args) {
        return CmdError::Syntax.reply(reply);
    }
    x.ks.clear_database(database);
    reply.ok();
}

/// SWAPDB index1 index2
pub(in crate::cmd) fn swapdb(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (one, other) = swapped(&x.args).map_err(CmdError::Other)?;
        x.ks.swap_databases(one, other);
        reply.ok();
        Ok(())
    });
}

/// MOVE key db, where that is no other database: a request of another one has become [`moved`].
pub(in crate::cmd) fn move_nowhere(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |_| {
        selected(x.args.get(2)).map_err(CmdError::Other)?;
        Err(SAME_OBJECT)
    });
}

/// MOVE key db, as an operation on the key and the same key in the other database.
pub(in crate::cmd) fn moved(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (from, to) = (x.args.get(1), x.args.get(2));
    let moves = x.ks.exists(from) && !x.ks.exists(to) && x.ks.rename(from, to);
    if moves {
        x.ks.note(EventClasses::GENERIC, "move_from", from);
        x.ks.note(EventClasses::GENERIC, "move_to", to);
    }
    reply.int(i64::from(moves));
}

/// Moves a value, and tells so; false when there is none.
fn move_value(ks: &mut Keyspace, from: &[u8], to: &[u8]) -> bool {
    let moved = ks.rename(from, to);
    if moved {
        ks.note(EventClasses::GENERIC, "rename_from", from);
        ks.note(EventClasses::GENERIC, "rename_to", to);
    }
    moved
}

pub(in crate::cmd) fn rename(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (from, to) = (x.args.get(1), x.args.get(2));
    // A key renamed to itself stays, once it is known to exist.
    let done = if from == to {
        x.ks.exists(from)
    } else {
        move_value(x.ks, from, to)
    };
    if done { reply.ok() } else { NO_SUCH_KEY.reply(reply) }
}

pub(in crate::cmd) fn renamenx(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (from, to) = (x.args.get(1), x.args.get(2));
    if !x.ks.exists(from) {
        NO_SUCH_KEY.reply(reply);
    } else {
        reply.int(i64::from(!x.ks.exists(to) && move_value(x.ks, from, to)));
    }
}

pub(in crate::cmd) fn copy(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (mut replace, mut i) = (false, 3);
        while let Some(arg) = x.args.try_get(i) {
            match x.args.try_get(i + 1) {
                _ if is(arg, "REPLACE") => replace = true,
                Some(db) if is(arg, "DB") => {
                    // Where the target is was settled when the request was stored.
                    selected(db).map_err(CmdError::Other)?;
                    i += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
            i += 1;
        }
        let (from, to) = (x.args.get(1), x.args.get(2));
        if from == to {
            return Err(SAME_OBJECT);
        }
        let copied = x.ks.copy(from, to, replace);
        if copied {
            x.ks.note(EventClasses::GENERIC, "copy_to", to);
        }
        reply.int(i64::from(copied));
        Ok(())
    });
}
