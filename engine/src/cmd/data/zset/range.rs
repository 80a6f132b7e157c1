//! Ranges of members: ZRANGE by rank.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{index_range, integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;

/// ZRANGE key start stop [REV] [WITHSCORES], by rank.
pub(in crate::cmd) fn zrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (mut reverse, mut scores) = (false, false);
        for option in x.args.iter_from(4) {
            match () {
                () if is(option, "REV") => reverse = true,
                () if is(option, "WITHSCORES") => scores = true,
                () => return Err(CmdError::Syntax),
            }
        }
        let (start, end) = (integer(x.args.get(2))?, integer(x.args.get(3))?);
        let Some(zset) = x.ks.zset(x.args.get(1))? else {
            reply.array(0);
            return Ok(());
        };
        let (first, len) = index_range(start, end, zset.len());
        let nested = scores && reply.proto() == 3;
        reply.array(if scores && !nested { 2 * len } else { len });
        zset.range(first, len, reverse, |member, score| {
            if nested {
                reply.array(2);
            }
            reply.bulk(member);
            if scores {
                reply.double(score);
            }
        });
        Ok(())
    });
}
