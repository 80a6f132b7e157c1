//! Hashes: HSET, HGET and the like.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;

pub(in crate::cmd) fn hset(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        if x.args.len() % 2 == 1 {
            return Err(CmdError::Arity("hset"));
        }
        let hash = x.ks.hash_or_create(x.args.get(1))?;
        x.args.iter_from(2).for_each(|arg| hash.note_length(arg.len()));
        let mut added = 0;
        for i in (2..x.args.len()).step_by(2) {
            added += i64::from(hash.insert(x.args.get(i), x.args.get(i + 1)));
        }
        reply.int(added);
        Ok(())
    });
}

pub(in crate::cmd) fn hget(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        match x.ks.hash(x.args.get(1))?.and_then(|hash| hash.get(x.args.get(2))) {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
        Ok(())
    });
}

pub(in crate::cmd) fn hgetall(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        match x.ks.hash(x.args.get(1))? {
            Some(hash) => {
                reply.map(hash.len());
                hash.for_each(|field, value| {
                    reply.bulk(field);
                    reply.bulk(value);
                });
            }
            None => reply.map(0),
        }
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
        reply.int(x.args.iter_from(2).filter(|field| hash.remove(field)).count() as i64);
        if hash.is_empty() {
            x.ks.drop_if_empty(key);
        }
        Ok(())
    });
}

pub(in crate::cmd) fn hlen(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.hash(x.args.get(1))?.map_or(0, |hash| hash.len()) as i64);
        Ok(())
    });
}
