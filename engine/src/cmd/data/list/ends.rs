//! Both ends of a list: LPUSH, RPOP and the like; LMPOP.

use std::ops::Range;

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{at_least_one, count, is};
use crate::cmd::{Args, Exec, Reply};
use crate::collections::{Elements, End, List};
use crate::database::users_key;
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
pub(super) fn take(list: &mut List, taken: usize, end: End, reply: &mut dyn Reply) {
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

/// What LMPOP is asked for, from argument `first` on: numkeys key [key ...] LEFT|RIGHT [COUNT count].
pub(super) struct PopOfMany {
    /// The arguments that are keys.
    pub keys: Range<usize>,
    end: End,
    wanted: usize,
}

impl PopOfMany {
    pub(super) fn parse(args: &Args<'_>, first: usize) -> Result<Self, CmdError> {
        let keys = at_least_one(args.get(first), "ERR numkeys should be greater than 0")?;
        let keys_end = keys.saturating_add(first + 1);
        let end = side(args.try_get(keys_end).ok_or(CmdError::Syntax)?)?;
        let wanted = match (args.try_get(keys_end + 1), args.try_get(keys_end + 2)) {
            (None, _) => 1,
            (Some(word), Some(number)) if is(word, "COUNT") => {
                at_least_one(number, "ERR count should be greater than 0")?
            }
            _ => return Err(CmdError::Syntax),
        };
        if args.len() > keys_end + 3 {
            return Err(CmdError::Syntax);
        }
        Ok(Self {
            keys: first + 1..keys_end,
            end,
            wanted,
        })
    }

    /// Answers from the first list that is there; false when there is none.
    pub(super) fn pop(&self, x: &mut Exec<'_>, reply: &mut dyn Reply) -> Result<bool, CmdError> {
        for i in self.keys.clone() {
            let key = x.args.get(i);
            let Some(list) = list_to_pop(x, key)? else { continue };
            let taken = self.wanted.min(list.len());
            reply.array(2);
            reply.bulk(users_key(key));
            reply.array(taken);
            take(list, taken, self.end, reply);
            let is_empty = list.is_empty();
            x.ks.note(EventClasses::LIST, pop_event(self.end), key);
            if is_empty {
                x.ks.drop_if_empty(key);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// The list at `key`. Once a command has waited, whatever else is there does not concern it.
pub(super) fn list_to_pop<'a>(x: &'a mut Exec<'_>, key: &[u8]) -> Result<Option<&'a mut List>, CmdError> {
    let has_waited = x.has_waited();
    match x.ks.list_mut(key) {
        Err(_) if has_waited => Ok(None),
        found => Ok(found?),
    }
}

/// LMPOP
pub(in crate::cmd) fn lmpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let asked = PopOfMany::parse(&x.args, 1)?;
        if !asked.pop(x, reply)? {
            reply.null_array();
        }
        Ok(())
    });
}
