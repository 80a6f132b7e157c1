//! Lists: LPUSH, LRANGE and the like.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{count, index_range, integer};
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, End};

fn push(x: &mut Exec<'_>, reply: &mut dyn Reply, end: End) {
    answer(reply, |reply| {
        let list = x.ks.list_or_create(x.args.get(1))?;
        x.args.iter_from(2).for_each(|element| list.push(element, end));
        reply.int(list.len() as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn lpush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    push(x, reply, End::Front);
}

pub(in crate::cmd) fn rpush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    push(x, reply, End::Back);
}

fn pop(x: &mut Exec<'_>, reply: &mut dyn Reply, end: End, command: &'static str) {
    answer(reply, |reply| {
        if x.args.len() > 3 {
            return Err(CmdError::Arity(command));
        }
        let wanted = x.args.try_get(2).map(count).transpose()?;
        let key = x.args.get(1);
        let Some(list) = x.ks.list_mut(key)? else {
            if wanted.is_some() {
                reply.null_array()
            } else {
                reply.null()
            }
            return Ok(());
        };
        let taken = wanted.unwrap_or(1).min(list.len());
        if wanted.is_some() {
            reply.array(taken);
        }
        for _ in 0..taken {
            reply.bulk(list.peek(end).expect("no more are taken than there are"));
            list.drop_end(end);
        }
        if list.is_empty() {
            x.ks.drop_if_empty(key);
        }
        Ok(())
    });
}

pub(in crate::cmd) fn lpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    pop(x, reply, End::Front, "lpop");
}

pub(in crate::cmd) fn rpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    pop(x, reply, End::Back, "rpop");
}

pub(in crate::cmd) fn lrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (start, end) = (integer(x.args.get(2))?, integer(x.args.get(3))?);
        let Some(list) = x.ks.list(x.args.get(1))? else {
            reply.array(0);
            return Ok(());
        };
        let (first, len) = index_range(start, end, list.len());
        reply.array(len);
        list.range(first, len).for_each(|element| reply.bulk(element));
        Ok(())
    });
}

pub(in crate::cmd) fn llen(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.list(x.args.get(1))?.map_or(0, |list| list.len()) as i64);
        Ok(())
    });
}
