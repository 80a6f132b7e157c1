//! Looking into a hash: HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN; HSCAN, HRANDFIELD.

use crate::cmd::data::sample::{draw, sample};
use crate::cmd::data::scan::ElementScan;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{is, symmetric_integer};
use crate::cmd::{Exec, Reply};
use crate::collections::HashObj;

pub(super) fn reply_value(value: Option<&[u8]>, reply: &mut dyn Reply) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

pub(in crate::cmd) fn hget(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let value = x.ks.hash(x.args.get(1))?.and_then(|hash| hash.get(x.args.get(2)));
        reply_value(value, reply);
        Ok(())
    });
}

pub(in crate::cmd) fn hmget(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let hash = x.ks.hash(x.args.get(1))?;
        reply.array(x.args.len() - 2);
        for field in x.args.iter_from(2) {
            reply_value(hash.and_then(|hash| hash.get(field)), reply);
        }
        Ok(())
    });
}

pub(in crate::cmd) fn hgetall(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        match x.ks.hash(x.args.get(1))? {
            Some(hash) => {
                reply.map(hash.visible_len());
                hash.for_each(|field, value| {
                    reply.bulk(field);
                    reply.bulk(value);
                });
            }
            None => reply.map(0),
        }
        Ok(())
    });
}

pub(in crate::cmd) fn hkeys(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let hash = x.ks.hash(x.args.get(1))?;
        reply.array(hash.map_or(0, HashObj::visible_len));
        if let Some(hash) = hash {
            hash.for_each(|field, _| reply.bulk(field));
        }
        Ok(())
    });
}

pub(in crate::cmd) fn hvals(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let hash = x.ks.hash(x.args.get(1))?;
        reply.array(hash.map_or(0, HashObj::visible_len));
        if let Some(hash) = hash {
            hash.for_each(|_, value| reply.bulk(value));
        }
        Ok(())
    });
}

pub(in crate::cmd) fn hlen(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.hash(x.args.get(1))?.map_or(0, HashObj::visible_len) as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn hexists(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let value = x.ks.hash(x.args.get(1))?.and_then(|hash| hash.get(x.args.get(2)));
        reply.int(i64::from(value.is_some()));
        Ok(())
    });
}

pub(in crate::cmd) fn hstrlen(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let value = x.ks.hash(x.args.get(1))?.and_then(|hash| hash.get(x.args.get(2)));
        reply.int(value.map_or(0, <[u8]>::len) as i64);
        Ok(())
    });
}

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES], the last since Redis 7.4.
pub(in crate::cmd) fn hscan(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let mut scan = ElementScan::parse(&x.args)?;
        let mut next = 0;
        if let Some(hash) = x.ks.hash(x.args.get(1))? {
            let values = scan.parse_hash_options(&x.args)?;
            next = hash.scan(scan.cursor, scan.count, |field, value| {
                if scan.wants(field) {
                    scan.found.push(field);
                    if values {
                        scan.found.push(value);
                    }
                }
            });
        }
        scan.reply(next, reply);
        Ok(())
    });
}

/// Fields that HRANDFIELD gives at most when it may repeat them: what they take must stay small beside the memory.
const REPEATED_MAX: u64 = 1024 * 1024;

/// Answers with the fields at these positions, RESP3 pairing them with their values.
fn reply_fields(hash: &HashObj, positions: impl ExactSizeIterator<Item = usize>, values: bool, reply: &mut dyn Reply) {
    let nested = values && reply.proto() == 3;
    reply.array(positions.len() * if values && !nested { 2 } else { 1 });
    positions.for_each(|n| {
        let (field, value) = hash.nth(n);
        if nested {
            reply.array(2);
        }
        reply.bulk(field);
        if values {
            reply.bulk(value);
        }
    });
}

/// HRANDFIELD key [count [WITHVALUES]]: different fields; with a negative count fields that may be the same.
pub(in crate::cmd) fn hrandfield(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(count) = x.args.try_get(2) else {
            match x.ks.hash(x.args.get(1))? {
                Some(hash) => {
                    let n = draw(x.seed, 0, hash.visible_len());
                    let position = hash.visible_positions().map_or(n, |positions| positions[n]);
                    reply.bulk(hash.nth(position).0);
                }
                None => reply.null(),
            }
            return Ok(());
        };
        let count = symmetric_integer(count)?;
        let values = match x.args.try_get(3) {
            None => false,
            Some(word) if x.args.len() == 4 && is(word, "WITHVALUES") => true,
            Some(_) => return Err(CmdError::Syntax),
        };
        // A reply has two values per field, and their number must fit.
        let out_of_range = values && count.unsigned_abs() > i64::MAX as u64 / 2;
        if out_of_range || (count < 0 && count.unsigned_abs() > REPEATED_MAX) {
            return Err(CmdError::Other("ERR value is out of range"));
        }
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let Some(hash) = x.ks.hash(x.args.get(1))? else {
            reply.array(0);
            return Ok(());
        };
        let len = hash.visible_len();
        let positions = hash.visible_positions();
        let position = |n: usize| positions.as_ref().map_or(n, |positions| positions[n]);
        if count < 0 {
            let chosen = (0..wanted).map(|i| position(draw(x.seed, i as u64, len)));
            reply_fields(hash, chosen, values, reply);
        } else if wanted >= len {
            reply_fields(hash, (0..len).map(position), values, reply);
        } else {
            let chosen = sample(x.seed, wanted, len).into_iter().map(position);
            reply_fields(hash, chosen, values, reply);
        }
        Ok(())
    });
}
