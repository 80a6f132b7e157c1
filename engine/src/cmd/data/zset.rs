//! Sorted sets: ZADD, ZPOPMIN, ZRANGE by rank.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{count, float, index_range, integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, ZSet};

#[derive(Clone, Copy, Default)]
struct AddOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    changed: bool,
    incr: bool,
}

/// What became of one pair of ZADD.
enum Outcome {
    /// The options forbade it.
    Refused,
    Added(f64),
    Updated(f64),
    Same(f64),
}

impl AddOptions {
    /// The options, and the number of the first score's argument.
    fn parse(x: &Exec<'_>) -> Result<(Self, usize), CmdError> {
        let (mut o, mut at) = (AddOptions::default(), 2);
        while let Some(arg) = x.args.try_get(at) {
            match () {
                () if is(arg, "NX") => o.nx = true,
                () if is(arg, "XX") => o.xx = true,
                () if is(arg, "CH") => o.changed = true,
                () if is(arg, "INCR") => o.incr = true,
                () if is(arg, "GT") => o.gt = true,
                () if is(arg, "LT") => o.lt = true,
                () => break,
            }
            at += 1;
        }
        let pairs = x.args.len() - at;
        if pairs == 0 || pairs % 2 == 1 {
            return Err(CmdError::Syntax);
        }
        if o.nx && o.xx {
            return Err(CmdError::Other(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if (o.gt && (o.nx || o.lt)) || (o.lt && o.nx) {
            return Err(CmdError::Other(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if o.incr && pairs > 2 {
            return Err(CmdError::Other(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok((o, at))
    }

    fn apply(self, zset: &mut ZSet, member: &[u8], score: f64) -> Result<Outcome, CmdError> {
        let Some(old) = zset.score(member) else {
            if self.xx {
                return Ok(Outcome::Refused);
            }
            zset.insert(member, score);
            return Ok(Outcome::Added(score));
        };
        if self.nx {
            return Ok(Outcome::Refused);
        }
        let new = if self.incr { old + score } else { score };
        if new.is_nan() {
            return Err(CmdError::Other("ERR resulting score is not a number (NaN)"));
        }
        if (self.lt && new >= old) || (self.gt && new <= old) {
            return Ok(Outcome::Refused);
        }
        if new == old {
            return Ok(Outcome::Same(new));
        }
        zset.insert(member, new);
        Ok(Outcome::Updated(new))
    }
}

pub(in crate::cmd) fn zadd(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (o, first) = AddOptions::parse(x)?;
        // Nothing may change before every score is known to be a number.
        for i in (first..x.args.len()).step_by(2) {
            float(x.args.get(i))?;
        }
        let key = x.args.get(1);
        let zset = if o.xx {
            x.ks.zset_mut(key)?
        } else {
            Some(x.ks.zset_or_create(key)?)
        };
        let (mut added, mut updated, mut score) = (0, 0, None);
        if let Some(zset) = zset {
            for i in (first..x.args.len()).step_by(2) {
                match o.apply(zset, x.args.get(i + 1), float(x.args.get(i))?)? {
                    Outcome::Refused => {}
                    Outcome::Same(s) => score = Some(s),
                    Outcome::Added(s) => (added, score) = (added + 1, Some(s)),
                    Outcome::Updated(s) => (updated, score) = (updated + 1, Some(s)),
                }
            }
        }
        match score {
            Some(score) if o.incr => reply.double(score),
            None if o.incr => reply.null(),
            _ => reply.int(if o.changed { added + updated } else { added }),
        }
        Ok(())
    });
}

pub(in crate::cmd) fn zpopmin(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        if x.args.len() > 3 {
            return Err(CmdError::Syntax);
        }
        let wanted = x.args.try_get(2).map(count).transpose()?;
        let key = x.args.get(1);
        let Some(zset) = x.ks.zset_mut(key)? else {
            reply.array(0);
            return Ok(());
        };
        let taken = wanted.unwrap_or(1).min(zset.len());
        // RESP3 pairs members with scores when a count was asked for.
        let nested = reply.proto() == 3 && wanted.is_some();
        reply.array(if nested { taken } else { 2 * taken });
        for _ in 0..taken {
            zset.take_first(|member, score| {
                if nested {
                    reply.array(2);
                }
                reply.bulk(member);
                reply.double(score);
            });
        }
        if zset.is_empty() {
            x.ks.drop_if_empty(key);
        }
        Ok(())
    });
}

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
