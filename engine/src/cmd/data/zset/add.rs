//! Members added, changed and removed: ZADD, ZINCRBY, ZREM.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{float, is};
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, ZSet};
use crate::keyspace::{EventClasses, Keyspace};

/// What ZADD was told about members that exist, or do not.
#[derive(Clone, Copy, Default)]
pub(in crate::cmd::data) struct AddOptions {
    pub(in crate::cmd::data) nx: bool,
    pub(in crate::cmd::data) xx: bool,
    gt: bool,
    lt: bool,
    /// Changed scores count, too.
    pub(in crate::cmd::data) changed: bool,
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

    /// Adds all of them and answers as ZADD does.
    pub(in crate::cmd::data) fn add_all<'a>(
        self,
        ks: &mut Keyspace,
        key: &[u8],
        pairs: impl Iterator<Item = (f64, &'a [u8])>,
        reply: &mut dyn Reply,
    ) -> Result<(), CmdError> {
        let zset = if self.xx {
            ks.zset_mut(key)?
        } else {
            Some(ks.zset_or_create(key)?)
        };
        let (mut added, mut updated, mut last) = (0, 0, None);
        if let Some(zset) = zset {
            for (score, member) in pairs {
                match self.apply(zset, member, score)? {
                    Outcome::Refused => {}
                    Outcome::Same(s) => last = Some(s),
                    Outcome::Added(s) => (added, last) = (added + 1, Some(s)),
                    Outcome::Updated(s) => (updated, last) = (updated + 1, Some(s)),
                }
            }
        }
        if added + updated > 0 {
            let event = if self.incr { "zincr" } else { "zadd" };
            ks.note(EventClasses::ZSET, event, key);
        }
        match last {
            Some(score) if self.incr => reply.double(score),
            None if self.incr => reply.null(),
            _ => reply.int(if self.changed { added + updated } else { added }),
        }
        Ok(())
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
        let args = x.args;
        let pairs = (first..args.len()).step_by(2);
        let pairs = pairs.map(|i| {
            let score = float(args.get(i)).unwrap_or_else(|_| unreachable!("it was a number above"));
            (score, args.get(i + 1))
        });
        o.add_all(x.ks, args.get(1), pairs, reply)
    });
}

pub(in crate::cmd) fn zincrby(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let increment = float(x.args.get(2))?;
        let zset = x.ks.zset_or_create(x.args.get(1))?;
        let options = AddOptions {
            incr: true,
            ..AddOptions::default()
        };
        match options.apply(zset, x.args.get(3), increment)? {
            Outcome::Added(score) | Outcome::Updated(score) => {
                x.ks.note(EventClasses::ZSET, "zincr", x.args.get(1));
                reply.double(score);
            }
            Outcome::Same(score) => reply.double(score),
            Outcome::Refused => unreachable!("only options refuse a pair"),
        }
        Ok(())
    });
}

pub(in crate::cmd) fn zrem(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let Some(zset) = x.ks.zset_mut(key)? else {
            reply.int(0);
            return Ok(());
        };
        let removed = x.args.iter_from(2).filter(|member| zset.remove(member)).count();
        let is_empty = zset.is_empty();
        if removed > 0 {
            x.ks.note(EventClasses::ZSET, "zrem", key);
        }
        if is_empty {
            x.ks.drop_if_empty(key);
        }
        reply.int(removed as i64);
        Ok(())
    });
}
