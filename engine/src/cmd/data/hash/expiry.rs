//! When fields expire: HEXPIRE, HTTL and their relatives, HPERSIST, of Redis 7.4.

use super::field_args::{COUNT_ERROR, expire_field, first_field, moment, settle};
use crate::cmd::data::expiry::Unit;
use crate::cmd::error::answer;
use crate::cmd::parse::is;
use crate::cmd::{Exec, Reply};
use crate::collections::HashObj;
use crate::keyspace::EventClasses;

/// The answer for a field that is not there.
const NO_FIELD: i64 = -2;
/// The answer for a field without expiry.
const NO_EXPIRY: i64 = -1;
/// HEXPIRE's answer where the condition forbade it.
const REFUSED: i64 = 0;
/// HEXPIRE's and HPERSIST's answer where they did it.
const DONE: i64 = 1;
/// HEXPIRE's answer where the moment has passed, and the field is gone.
const DELETED: i64 = 2;

/// When HEXPIRE may change an expiry.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    /// The field has none.
    Nx,
    /// The field has one.
    Xx,
    /// The field has an earlier one.
    Gt,
    /// The field has a later one, or none.
    Lt,
}

impl Condition {
    fn parse(word: &[u8]) -> Self {
        match word {
            _ if is(word, "NX") => Condition::Nx,
            _ if is(word, "XX") => Condition::Xx,
            _ if is(word, "GT") => Condition::Gt,
            _ if is(word, "LT") => Condition::Lt,
            _ => Condition::Always,
        }
    }

    fn allows(self, old: Option<u64>, new: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::Nx => old.is_none(),
            Condition::Xx => old.is_some(),
            Condition::Gt => old.is_some_and(|old| old < new),
            Condition::Lt => old.is_none_or(|old| old > new),
        }
    }

    fn apply(self, hash: &mut HashObj, field: &[u8], new: u64, now_ms: u64) -> i64 {
        match hash.expire_at(field) {
            None => NO_FIELD,
            Some(old) if !self.allows(old, new) => REFUSED,
            Some(_) if expire_field(hash, field, new, now_ms) => DELETED,
            Some(_) => DONE,
        }
    }
}

/// `<command> key number [NX|XX|GT|LT] FIELDS numfields field [field ...]`
fn expire(x: &mut Exec<'_>, reply: &mut dyn Reply, unit: Unit, command: &'static str) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        x.ks.hash(key)?;
        let new = moment(x, unit, x.args.get(2), command)?;
        let condition = Condition::parse(x.args.get(3));
        let at = if matches!(condition, Condition::Always) { 3 } else { 4 };
        let first = first_field(&x.args, at, "ERR Parameter `numFields` should be greater than 0")?;
        let (now_ms, fields) = (x.ks.now_ms(), x.args.iter_from(first));
        reply.array(fields.len());
        match x.ks.hash_mut(key)? {
            None => fields.for_each(|_| reply.int(NO_FIELD)),
            Some(hash) => {
                let (mut changed, mut deleted) = (0, 0);
                for field in fields {
                    let done = condition.apply(hash, field, new, now_ms);
                    changed += usize::from(done == DONE);
                    deleted += usize::from(done == DELETED);
                    reply.int(done);
                }
                if deleted > 0 {
                    x.ks.note(EventClasses::HASH, "hdel", key);
                } else if changed > 0 {
                    x.ks.note(EventClasses::HASH, "hexpire", key);
                }
                settle(x, key);
            }
        }
        Ok(())
    });
}

pub(in crate::cmd) fn hexpire(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    expire(x, reply, Unit::Seconds, "hexpire");
}

pub(in crate::cmd) fn hpexpire(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    expire(x, reply, Unit::Millis, "hpexpire");
}

pub(in crate::cmd) fn hexpireat(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    expire(x, reply, Unit::AtSeconds, "hexpireat");
}

pub(in crate::cmd) fn hpexpireat(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    expire(x, reply, Unit::AtMillis, "hpexpireat");
}

/// `<command> key FIELDS numfields field [field ...]`: of each field what `f` makes of its moment, in milliseconds.
fn reply_expiry(x: &mut Exec<'_>, reply: &mut dyn Reply, f: impl Fn(u64, u64) -> u64) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        x.ks.hash(key)?;
        let fields = x.args.iter_from(first_field(&x.args, 2, COUNT_ERROR)?);
        // The group's clock stands still while nothing is written.
        let now_ms = x.ks.wall_ms();
        let hash = x.ks.hash(key)?;
        reply.array(fields.len());
        fields.for_each(|field| {
            reply.int(match hash.and_then(|hash| hash.expire_at(field)) {
                None => NO_FIELD,
                Some(None) => NO_EXPIRY,
                // At most 46 bits.
                Some(Some(moment)) => f(moment, now_ms) as i64,
            });
        });
        Ok(())
    });
}

pub(in crate::cmd) fn httl(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |moment, now_ms| moment.saturating_sub(now_ms).div_ceil(1000));
}

pub(in crate::cmd) fn hpttl(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |moment, now_ms| moment.saturating_sub(now_ms));
}

pub(in crate::cmd) fn hexpiretime(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |moment, _| moment.div_ceil(1000));
}

pub(in crate::cmd) fn hpexpiretime(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |moment, _| moment);
}

/// HPERSIST key FIELDS numfields field [field ...]
pub(in crate::cmd) fn hpersist(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        x.ks.hash(key)?;
        let fields = x.args.iter_from(first_field(&x.args, 2, COUNT_ERROR)?);
        let now_ms = x.ks.now_ms();
        let mut hash = x.ks.hash_mut(key)?;
        let mut changed = false;
        reply.array(fields.len());
        fields.for_each(|field| {
            let expiry = hash.as_ref().and_then(|hash| hash.expire_at(field));
            reply.int(match (&mut hash, expiry) {
                (Some(hash), Some(Some(_))) => {
                    hash.set_expire(field, None, now_ms);
                    changed = true;
                    DONE
                }
                (_, Some(None)) => NO_EXPIRY,
                _ => NO_FIELD,
            });
        });
        if changed {
            x.ks.note(EventClasses::HASH, "hpersist", key);
        }
        Ok(())
    });
}
