//! Commands that wait for a member: BZPOPMIN, BZPOPMAX, BZMPOP.

use super::pop::{PopOfMany, zset_to_pop};
use crate::cmd::error::answer;
use crate::cmd::parse::timeout_ms;
use crate::cmd::waiting::WaitFor;
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;
use crate::database::users_key;
use crate::keyspace::Kind;

fn pop(x: &mut Exec<'_>, reply: &mut dyn Reply, highest: bool, command: &'static str) {
    answer(reply, |reply| {
        let last = x.args.len() - 1;
        let timeout_ms = timeout_ms(x.args.get(last))?;
        for i in 1..last {
            let key = x.args.get(i);
            let Some(zset) = zset_to_pop(x, key)? else { continue };
            reply.array(3);
            reply.bulk(users_key(key));
            zset.take_end(highest, |member, score| {
                reply.bulk(member);
                reply.double(score);
            });
            if zset.is_empty() {
                x.ks.drop_if_empty(key);
            }
            return Ok(());
        }
        let keys: Vec<&[u8]> = x.args.iter_from(1).take(last - 1).collect();
        if !x.wait(WaitFor::value(command, Kind::ZSet, &keys, timeout_ms)) {
            reply.null_array();
        }
        Ok(())
    });
}

/// BZPOPMIN key [key ...] timeout
pub(in crate::cmd) fn bzpopmin(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    pop(x, reply, false, "bzpopmin");
}

/// BZPOPMAX key [key ...] timeout
pub(in crate::cmd) fn bzpopmax(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    pop(x, reply, true, "bzpopmax");
}

/// BZMPOP timeout numkeys key [key ...] MIN|MAX [COUNT count]
pub(in crate::cmd) fn bzmpop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let asked = PopOfMany::parse(&x.args, 2)?;
        let timeout_ms = timeout_ms(x.args.get(1))?;
        if asked.pop(x, reply)? {
            return Ok(());
        }
        let keys: Vec<&[u8]> = asked.keys.map(|i| x.args.get(i)).collect();
        if !x.wait(WaitFor::value("bzmpop", Kind::ZSet, &keys, timeout_ms)) {
            reply.null_array();
        }
        Ok(())
    });
}
