//! Changes inside a list: LINSERT, LSET, LREM, LTRIM.

use super::read::element_index;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{index_range, integer, is, symmetric_integer};
use crate::cmd::{Exec, Reply};
use crate::collections::{Collection, Elements, End};
use crate::keyspace::EventClasses;

/// LINSERT key BEFORE|AFTER pivot element
pub(in crate::cmd) fn linsert(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let behind = match x.args.get(2) {
            word if is(word, "AFTER") => 1,
            word if is(word, "BEFORE") => 0,
            _ => return Err(CmdError::Syntax),
        };
        let pivot = x.args.get(3);
        let key = x.args.get(1);
        let Some(list) = x.ks.list_mut(key)? else {
            reply.int(0);
            return Ok(());
        };
        let found = list.range(0, usize::MAX).position(|element| element == pivot);
        let Some(n) = found else {
            reply.int(-1);
            return Ok(());
        };
        list.insert(n + behind, x.args.get(4));
        reply.int(list.len() as i64);
        x.ks.note(EventClasses::LIST, "linsert", key);
        Ok(())
    });
}

pub(in crate::cmd) fn lset(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(list) = x.ks.list_mut(x.args.get(1))? else {
            return Err(CmdError::Other("ERR no such key"));
        };
        let index = element_index(integer(x.args.get(2))?, list.len());
        let index = index.ok_or(CmdError::Other("ERR index out of range"))?;
        list.set(index, x.args.get(3));
        x.ks.note(EventClasses::LIST, "lset", x.args.get(1));
        reply.ok();
        Ok(())
    });
}

/// LREM key count element: a negative count begins at the end, 0 means all.
pub(in crate::cmd) fn lrem(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let count = symmetric_integer(x.args.get(2))?;
        let key = x.args.get(1);
        let Some(list) = x.ks.list_mut(key)? else {
            reply.int(0);
            return Ok(());
        };
        let (limit, end) = match count {
            0 => (usize::MAX, End::Front),
            n => (n.unsigned_abs() as usize, if n < 0 { End::Back } else { End::Front }),
        };
        let removed = list.remove_equal(x.args.get(3), limit, end);
        let is_empty = list.is_empty();
        if removed > 0 {
            x.ks.note(EventClasses::LIST, "lrem", key);
        }
        if is_empty {
            x.ks.drop_if_empty(key);
        }
        reply.int(removed as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn ltrim(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (start, end) = (integer(x.args.get(2))?, integer(x.args.get(3))?);
        let key = x.args.get(1);
        if let Some(list) = x.ks.list_mut(key)? {
            let (first, len) = index_range(start, end, list.len());
            if len == 0 {
                x.ks.del(key);
                x.ks.note(EventClasses::LIST, "ltrim", key);
                x.ks.note(EventClasses::GENERIC, "del", key);
            } else {
                let cut = list.trim(first, len);
                x.ks.discard(Collection::List(cut.into()));
                x.ks.note(EventClasses::LIST, "ltrim", key);
            }
        }
        reply.ok();
        Ok(())
    });
}
