//! Fields set and deleted: HSET, HMSET, HSETNX, HDEL.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::{Exec, Reply};
use crate::keyspace::EventClasses;

/// Sets the fields that argument 2 and the following name, each with its value. Returns how many are new.
fn set_all(x: &mut Exec<'_>, command: &'static str) -> Result<i64, CmdError> {
    if x.args.len() % 2 == 1 {
        return Err(CmdError::Arity(command));
    }
    let hash = x.ks.hash_or_create(x.args.get(1))?;
    let mut bytes = 0;
    for arg in x.args.iter_from(2) {
        hash.note_length(arg.len());
        bytes += arg.len();
    }
    hash.expect(x.args.len() / 2 - 1, bytes);
    let mut added = 0;
    for i in (2..x.args.len()).step_by(2) {
        added += i64::from(hash.insert(x.args.get(i), x.args.get(i + 1)));
    }
    x.ks.note(EventClasses::HASH, "hset", x.args.get(1));
    Ok(added)
}

pub(in crate::cmd) fn hset(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(set_all(x, "hset")?);
        Ok(())
    });
}

pub(in crate::cmd) fn hmset(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        set_all(x, "hmset")?;
        reply.ok();
        Ok(())
    });
}

pub(in crate::cmd) fn hsetnx(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (field, value) = (x.args.get(2), x.args.get(3));
        let hash = x.ks.hash_or_create(x.args.get(1))?;
        let absent = hash.get(field).is_none();
        if absent {
            hash.note_length(field.len().max(value.len()));
            hash.insert(field, value);
            x.ks.note(EventClasses::HASH, "hset", x.args.get(1));
        }
        reply.int(i64::from(absent));
        Ok(())
    });
}

pub(in crate::cmd) fn hdel(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let Some(hash) = x.ks.hash_mut(key)? else {
            reply.int(0);
            return Ok(());
        };
        let removed = x.args.iter_from(2).filter(|field| hash.remove(field)).count();
        let is_empty = hash.visible_len() == 0;
        if removed > 0 {
            x.ks.note(EventClasses::HASH, "hdel", key);
        }
        reply.int(removed as i64);
        if is_empty {
            x.ks.drop_if_empty(key);
        }
        Ok(())
    });
}
