//! Both ends of a list: LPUSH, RPOP and the like; LMPOP.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{at_least_one, count, is};
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, End, List};
use crate::keyspace::EventClasses;

/// What happens to a list when elements are put to an end, and when they are taken from it.
pub(super) fn push_event(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

pub(super) fn pop_event(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

fn push(x: &mut Exec<'_>, reply: &mut dyn Reply, end: End) {
    answer(reply, |reply| {
        let list = x.ks.list_or_create(x.args.get(1))?;
        x.args.iter_from(2).for_each(|element| list.push(element, end));
        reply.int(list.len() as i64);
        x.ks.note(EventClasses::LIST, push_event(end), x.args.get(1));
        Ok(())
    });
}

pub(in crate::cmd) fn lpush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    push(x, reply, End::Front);
}

pub(in crate::cmd) fn rpush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    push(x, reply, End::Back);
}

/// LPUSHX and RPUSHX: only onto a list that is there.
fn push_if_there(x: &mut Exec<'_>, reply: &mut dyn Reply, end: End) {
    answer(reply, |reply| {
        let Some(list) = x.ks.list_mut(x.args.get(1))? else {
            reply.int(0);
            return Ok(());
        };
        x.args.iter_from(2).for_each(|element| list.push(element, end));
        reply.int(list.len() as i64);
        x.ks.note(EventClasses::LIST, push_event(end), x.args.get(1));
        Ok(())
    });
}

pub(in crate::cmd) fn lpushx(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    push_if_there(x, reply, End::Front);
}

pub(in crate::cmd) fn rpushx(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    push_if_there(x, reply, End::Back);
}

/// Answers with `taken` elements, without a header, and removes them; there are at least so many.
fn take(list: &mut List, taken: usize, end: End, reply: &mut dyn Reply) {
    for _ in 0..taken {
        reply.bulk(list.peek(end).expect("no more are taken than there are"));
        list.drop_end(end);
    }
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
        take(list, taken, end, reply);
        let is_empty = list.is_empty();
        if taken > 0 {
            x.ks.note(EventClasses::LIST, pop_event(end), key);
        }
        if is_empty {
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

/// The end that LEFT or RIGHT means.
pub(super) fn side(word: &[u8]) -> Result<End, CmdError> {
    match word {
        _ if is(word, "LEFT") => Ok(End::Front),
        _ if is(word, "RIGHT") => Ok(End::Back),
        _ => Err(CmdError::Syntax),
    }
}

/// LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count]: from the first list that is there.
pub(in crate::cmd) fn lmpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let keys = at_least_one(x.args.get(1), "ERR numkeys should be greater than 0")?;
        let keys_end = keys.saturating_add(2);
        let end = side(x.args.try_get(keys_end).ok_or(CmdError::Syntax)?)?;
        let wanted = match (x.args.try_get(keys_end + 1), x.args.try_get(keys_end + 2)) {
            (None, _) => 1,
            (Some(word), Some(number)) if is(word, "COUNT") => {
                at_least_one(number, "ERR count should be greater than 0")?
            }
            _ => return Err(CmdError::Syntax),
        };
        if x.args.len() > keys_end + 3 {
            return Err(CmdError::Syntax);
        }
        for i in 2..keys_end {
            let key = x.args.get(i);
            let Some(list) = x.ks.list_mut(key)? else { continue };
            let taken = wanted.min(list.len());
            reply.array(2);
            reply.bulk(key);
            reply.array(taken);
            take(list, taken, end, reply);
            let is_empty = list.is_empty();
            x.ks.note(EventClasses::LIST, pop_event(end), key);
            if is_empty {
                x.ks.drop_if_empty(key);
            }
            return Ok(());
        }
        reply.null_array();
        Ok(())
    });
}
