//! From one list to another: LMOVE, RPOPLPUSH.

use super::ends::{pop_event, push_event, side};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, End};
use crate::keyspace::EventClasses;

/// Moves an element, and answers with it. Nothing moves if either key is no list.
pub(super) fn transfer(x: &mut Exec<'_>, reply: &mut dyn Reply, from: End, to: End) -> Result<(), CmdError> {
    let (source, target) = (x.args.get(1), x.args.get(2));
    let Some(list) = x.ks.list_mut(source)? else {
        reply.null();
        return Ok(());
    };
    let element = list.peek(from).expect("no list is empty").to_vec();
    if source == target {
        list.drop_end(from);
        list.push(&element, to);
        x.ks.note(EventClasses::LIST, push_event(to), target);
        x.ks.note(EventClasses::LIST, pop_event(from), source);
    } else {
        x.ks.list_or_create(target)?.push(&element, to);
        x.ks.note(EventClasses::LIST, push_event(to), target);
        let list = x.ks.list_mut(source)?.expect("it was there, and nothing removed it");
        list.drop_end(from);
        let is_empty = list.is_empty();
        x.ks.note(EventClasses::LIST, pop_event(from), source);
        if is_empty {
            x.ks.drop_if_empty(source);
        }
    }
    reply.bulk(&element);
    Ok(())
}

/// LMOVE source destination LEFT|RIGHT LEFT|RIGHT
pub(in crate::cmd) fn lmove(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (from, to) = (side(x.args.get(3))?, side(x.args.get(4))?);
        transfer(x, reply, from, to)
    });
}

pub(in crate::cmd) fn rpoplpush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| transfer(x, reply, End::Back, End::Front));
}
