//! Commands that wait for an element: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.

use super::ends::{PopOfMany, list_to_pop, side, take};
use super::transfer::transfer;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::timeout_ms;
use crate::cmd::waiting::WaitFor;
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, End};
use crate::database::users_key;
use crate::keyspace::Kind;

fn pop(x: &mut Exec<'_>, reply: &mut dyn Reply, end: End, command: &'static str) {
    answer(reply, |reply| {
        let last = x.args.len() - 1;
        let timeout_ms = timeout_ms(x.args.get(last))?;
        for i in 1..last {
            let key = x.args.get(i);
            let Some(list) = list_to_pop(x, key)? else { continue };
            reply.array(2);
            reply.bulk(users_key(key));
            take(list, 1, end, reply);
            if list.is_empty() {
                x.ks.drop_if_empty(key);
            }
            return Ok(());
        }
        let keys: Vec<&[u8]> = x.args.iter_from(1).take(last - 1).collect();
        if !x.wait(WaitFor::value(command, Kind::List, &keys, timeout_ms)) {
            reply.null_array();
        }
        Ok(())
    });
}

/// BLPOP key [key ...] timeout
pub(in crate::cmd) fn blpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    pop(x, reply, End::Front, "blpop");
}

/// BRPOP key [key ...] timeout
pub(in crate::cmd) fn brpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    pop(x, reply, End::Back, "brpop");
}

/// BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]
pub(in crate::cmd) fn blmpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let asked = PopOfMany::parse(&x.args, 2)?;
        let timeout_ms = timeout_ms(x.args.get(1))?;
        if asked.pop(x, reply)? {
            return Ok(());
        }
        let keys: Vec<&[u8]> = asked.keys.map(|i| x.args.get(i)).collect();
        if !x.wait(WaitFor::value("blmpop", Kind::List, &keys, timeout_ms)) {
            reply.null_array();
        }
        Ok(())
    });
}

/// Moves an element, or waits for one. Where it goes is looked at when there is one.
fn transfer_or_wait(
    x: &mut Exec<'_>,
    reply: &mut dyn Reply,
    (from, to): (End, End),
    (command, timeout): (&'static str, usize),
) -> Result<(), CmdError> {
    let timeout_ms = timeout_ms(x.args.get(timeout))?;
    if x.ks.list_mut(x.args.get(1))?.is_some() {
        return transfer(x, reply, from, to);
    }
    let source = x.args.get(1);
    if !x.wait(WaitFor::value(command, Kind::List, &[source], timeout_ms)) {
        reply.null();
    }
    Ok(())
}

/// BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout
pub(in crate::cmd) fn blmove(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let ends = (side(x.args.get(3))?, side(x.args.get(4))?);
        transfer_or_wait(x, reply, ends, ("blmove", 5))
    });
}

/// BRPOPLPUSH source destination timeout
pub(in crate::cmd) fn brpoplpush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        transfer_or_wait(x, reply, (End::Back, End::Front), ("brpoplpush", 3))
    });
}
