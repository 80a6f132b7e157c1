//! Keys of any type: DEL, EXISTS, RENAME, COPY, FLUSHALL and the like.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::keyspace::{EventClasses, Keyspace};

const NO_SUCH_KEY: CmdError = CmdError::Other("ERR no such key");

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

pub(in crate::cmd) fn type_of(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.simple(x.ks.kind(x.args.get(1)).map_or("none", |kind| kind.name()));
}

pub(in crate::cmd) fn randomkey(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    match x.ks.random_key(x.seed) {
        Some(key) => reply.bulk(&key),
        None => reply.null(),
    }
}

pub(in crate::cmd) fn dbsize(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.int(x.ks.len() as i64);
}

/// FLUSHALL and FLUSHDB. ASYNC and SYNC are both what we do anyway: the keys are gone at once, and their memory comes
/// back in slices.
pub(in crate::cmd) fn flush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let understood = match x.args.try_get(1) {
        None => true,
        Some(mode) => x.args.len() == 2 && (is(mode, "SYNC") || is(mode, "ASYNC")),
    };
    if !understood {
        return CmdError::Syntax.reply(reply);
    }
    x.ks.clear();
    reply.ok();
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
                    if integer(db)? != 0 {
                        return Err(CmdError::Other("ERR DB index is out of range"));
                    }
                    i += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
            i += 1;
        }
        let (from, to) = (x.args.get(1), x.args.get(2));
        if from == to {
            return Err(CmdError::Other("ERR source and destination objects are the same"));
        }
        let copied = x.ks.copy(from, to, replace);
        if copied {
            x.ks.note(EventClasses::GENERIC, "copy_to", to);
        }
        reply.int(i64::from(copied));
        Ok(())
    });
}
