//! What a sorted set says of its members: ZCARD, ZSCORE.

use crate::cmd::error::answer;
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;

pub(in crate::cmd) fn zcard(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.zset(x.args.get(1))?.map_or(0, |zset| zset.len()) as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn zscore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        match x.ks.zset(x.args.get(1))?.and_then(|zset| zset.score(x.args.get(2))) {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
        Ok(())
    });
}
