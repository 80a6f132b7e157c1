//! Members taken away from either end: ZPOPMIN, ZPOPMAX, ZMPOP.

use std::ops::Range;

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{at_least_one, count, is};
use crate::cmd::{Args, Exec, Reply};
use crate::collections::{Elements, ZSet};
use crate::database::users_key;
use crate::keyspace::EventClasses;

/// Answers with up to `count` members and scores from one end, and removes them; pair by pair if `nested`.
fn take(zset: &mut ZSet, highest: bool, count: usize, nested: bool, reply: &mut dyn Reply) {
    let taken = count.min(zset.len());
    reply.array(if nested { taken } else { 2 * taken });
    for _ in 0..taken {
        zset.take_end(highest, |member, score| {
            if nested {
                reply.array(2);
            }
            reply.bulk(member);
            reply.double(score);
        });
    }
}

fn event(highest: bool) -> &'static str {
    if highest { "zpopmax" } else { "zpopmin" }
}

fn pop(x: &mut Exec<'_>, highest: bool, reply: &mut dyn Reply) -> Result<(), CmdError> {
    if x.args.len() > 3 {
        return Err(CmdError::Syntax);
    }
    let wanted = x.args.try_get(2).map(count).transpose()?;
    let key = x.args.get(1);
    let Some(zset) = x.ks.zset_mut(key)? else {
        reply.array(0);
        return Ok(());
    };
    // RESP3 pairs members with scores when a count was asked for.
    let nested = reply.proto() == 3 && wanted.is_some();
    take(zset, highest, wanted.unwrap_or(1), nested, reply);
    let is_empty = zset.is_empty();
    if wanted != Some(0) {
        x.ks.note(EventClasses::ZSET, event(highest), key);
    }
    if is_empty {
        x.ks.drop_if_empty(key);
    }
    Ok(())
}

pub(in crate::cmd) fn zpopmin(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| pop(x, false, reply));
}

pub(in crate::cmd) fn zpopmax(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| pop(x, true, reply));
}

/// What ZMPOP is asked for, from argument `first` on: numkeys key [key ...] MIN|MAX [COUNT count].
pub(super) struct PopOfMany {
    /// The arguments that are keys.
    pub keys: Range<usize>,
    highest: bool,
    count: usize,
}

impl PopOfMany {
    pub(super) fn parse(args: &Args<'_>, first: usize) -> Result<Self, CmdError> {
        let keys = at_least_one(args.get(first), "ERR numkeys should be greater than 0")?;
        let end = keys.saturating_add(first + 1);
        let highest = match args.try_get(end) {
            Some(word) if is(word, "MIN") => false,
            Some(word) if is(word, "MAX") => true,
            _ => return Err(CmdError::Syntax),
        };
        let count = match (args.try_get(end + 1), args.try_get(end + 2)) {
            (None, _) => 1,
            (Some(word), Some(number)) if is(word, "COUNT") => {
                at_least_one(number, "ERR count should be greater than 0")?
            }
            _ => return Err(CmdError::Syntax),
        };
        if args.len() > end + 3 {
            return Err(CmdError::Syntax);
        }
        Ok(Self {
            keys: first + 1..end,
            highest,
            count,
        })
    }

    /// Answers from the first sorted set that is there; false when there is none.
    pub(super) fn pop(&self, x: &mut Exec<'_>, reply: &mut dyn Reply) -> Result<bool, CmdError> {
        for i in self.keys.clone() {
            let key = x.args.get(i);
            let Some(zset) = zset_to_pop(x, key)? else { continue };
            reply.array(2);
            reply.bulk(users_key(key));
            take(zset, self.highest, self.count, true, reply);
            let is_empty = zset.is_empty();
            x.ks.note(EventClasses::ZSET, event(self.highest), key);
            if is_empty {
                x.ks.drop_if_empty(key);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// The sorted set at `key`. Once a command has waited, whatever else is there does not concern it.
pub(super) fn zset_to_pop<'a>(x: &'a mut Exec<'_>, key: &[u8]) -> Result<Option<&'a mut ZSet>, CmdError> {
    let has_waited = x.has_waited();
    match x.ks.zset_mut(key) {
        Err(_) if has_waited => Ok(None),
        found => Ok(found?),
    }
}

/// ZMPOP
pub(in crate::cmd) fn zmpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let asked = PopOfMany::parse(&x.args, 1)?;
        if !asked.pop(x, reply)? {
            reply.null_array();
        }
        Ok(())
    });
}
