//! When keys expire: EXPIRE, TTL and their relatives.
//!
//! All moments are milliseconds since 1970 on the group's clock, so a relative lifetime means the same on every replica
//! and at every replay.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::keyspace::EventClasses;

/// How a number says when a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// From now, in seconds.
    Seconds,
    /// From now, in milliseconds.
    Millis,
    /// Since 1970, in seconds.
    AtSeconds,
    /// Since 1970, in milliseconds.
    AtMillis,
}

impl Unit {
    /// The options of SET and GETEX.
    pub(super) const OPTIONS: [(&'static str, Unit); 4] = [
        ("EX", Unit::Seconds),
        ("PX", Unit::Millis),
        ("EXAT", Unit::AtSeconds),
        ("PXAT", Unit::AtMillis),
    ];

    pub(super) fn in_seconds(self) -> bool {
        matches!(self, Unit::Seconds | Unit::AtSeconds)
    }

    pub(super) fn is_relative(self) -> bool {
        matches!(self, Unit::Seconds | Unit::Millis)
    }

    /// The moment that `number` means, which may lie before 1970; `None` beyond 64 bits.
    fn moment(self, now_ms: u64, number: i64) -> Option<i64> {
        let ms = if self.in_seconds() {
            number.checked_mul(1000)?
        } else {
            number
        };
        if self.is_relative() {
            ms.checked_add(i64::try_from(now_ms).ok()?)
        } else {
            Some(ms)
        }
    }
}

/// The moment a positive number means, for commands that set a value together with its expiry.
pub(super) fn expire_moment(now_ms: u64, unit: Unit, number: &[u8], command: &'static str) -> Result<u64, CmdError> {
    let number = integer(number)?;
    let moment = if number > 0 { unit.moment(now_ms, number) } else { None };
    moment.map(|ms| ms as u64).ok_or(CmdError::InvalidExpire(command))
}

#[derive(Clone, Copy, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(x: &Exec<'_>, reply: &mut dyn Reply) -> Option<Self> {
        let mut c = Conditions::default();
        for arg in x.args.iter_from(3) {
            match () {
                () if is(arg, "NX") => c.nx = true,
                () if is(arg, "XX") => c.xx = true,
                () if is(arg, "GT") => c.gt = true,
                () if is(arg, "LT") => c.lt = true,
                () => {
                    let option = String::from_utf8_lossy(arg).replace(['\r', '\n'], " ");
                    reply.error(&format!("ERR Unsupported option {option}"));
                    return None;
                }
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            reply.error("ERR NX and XX, GT or LT options at the same time are not compatible");
            return None;
        }
        if c.gt && c.lt {
            reply.error("ERR GT and LT options at the same time are not compatible");
            return None;
        }
        Some(c)
    }

    /// Whether the expiry may change from `old` to `new`. A key that lives until deleted counts as expiring never.
    fn allow(self, old: Option<u64>, new: i64) -> bool {
        let old = old.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

fn set_expiry(x: &mut Exec<'_>, reply: &mut dyn Reply, unit: Unit, command: &'static str) {
    let Some(conditions) = Conditions::parse(x, reply) else {
        return;
    };
    answer(reply, |reply| {
        let number = integer(x.args.get(2))?;
        let moment = unit
            .moment(x.ks.now_ms(), number)
            .ok_or(CmdError::InvalidExpire(command))?;
        let key = x.args.get(1);
        let done = match x.ks.expire_at(key) {
            Some(old) if conditions.allow(old, moment) => match u64::try_from(moment) {
                Ok(at) if at > x.ks.now_ms() => {
                    x.ks.set_expire(key, Some(at));
                    x.ks.note(EventClasses::GENERIC, "expire", key);
                    true
                }
                _ => {
                    x.ks.del(key);
                    x.ks.note(EventClasses::GENERIC, "del", key);
                    true
                }
            },
            _ => false,
        };
        reply.int(i64::from(done));
        Ok(())
    });
}

pub(in crate::cmd) fn expire(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    set_expiry(x, reply, Unit::Seconds, "expire");
}

pub(in crate::cmd) fn pexpire(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    set_expiry(x, reply, Unit::Millis, "pexpire");
}

pub(in crate::cmd) fn expireat(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    set_expiry(x, reply, Unit::AtSeconds, "expireat");
}

pub(in crate::cmd) fn pexpireat(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    set_expiry(x, reply, Unit::AtMillis, "pexpireat");
}

/// -2 without key, -1 without expiry, else the expiry as `f` puts it.
fn reply_expiry(x: &mut Exec<'_>, reply: &mut dyn Reply, f: impl FnOnce(u64, u64) -> u64) {
    // The group's clock stands still while nothing is written.
    let (key, now) = (x.args.get(1), x.ks.wall_ms());
    reply.int(match x.ks.expire_at(key) {
        None => {
            x.ks.note(EventClasses::MISS, "keymiss", key);
            -2
        }
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(f(at, now)).unwrap_or(i64::MAX),
    });
}

/// Milliseconds as seconds, to the nearest.
fn rounded(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

pub(in crate::cmd) fn ttl(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |at, now| rounded(at.saturating_sub(now)));
}

pub(in crate::cmd) fn pttl(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |at, now| at.saturating_sub(now));
}

pub(in crate::cmd) fn expiretime(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |at, _| rounded(at));
}

pub(in crate::cmd) fn pexpiretime(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply_expiry(x, reply, |at, _| at);
}

pub(in crate::cmd) fn persist(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let key = x.args.get(1);
    let volatile = x.ks.expire_at(key).flatten().is_some();
    if volatile {
        x.ks.set_expire(key, None);
        x.ks.note(EventClasses::GENERIC, "persist", key);
    }
    reply.int(i64::from(volatile));
}
