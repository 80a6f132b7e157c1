//! Entries by their ids: XRANGE, XREVRANGE.

use super::ids::{range_end, range_start};
use super::reply::{limit, put_range};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};

fn range(x: &mut Exec<'_>, reverse: bool, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (first, last) = if reverse { (3, 2) } else { (2, 3) };
        let range = (range_start(x.args.get(first))?, range_end(x.args.get(last))?);
        let mut count = None;
        for at in (4..x.args.len()).step_by(2) {
            match x.args.try_get(at + 1) {
                Some(number) if is(x.args.get(at), "COUNT") => count = Some(integer(number)?.max(0) as u64),
                _ => return Err(CmdError::Syntax),
            }
        }
        match x.ks.stream(x.args.get(1))? {
            None => reply.array(0),
            Some(_) if count == Some(0) => reply.null_array(),
            Some(stream) => put_range(stream.entries(), range, reverse, limit(count.unwrap_or(0)), reply),
        }
        Ok(())
    });
}

/// XRANGE key start end [COUNT count]
pub(in crate::cmd) fn xrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    range(x, false, reply);
}

/// XREVRANGE key end start [COUNT count]
pub(in crate::cmd) fn xrevrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    range(x, true, reply);
}
