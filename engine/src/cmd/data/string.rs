//! Whole strings: SET, GET and their relatives.

use super::condition::Condition;
use super::expiry::{Unit, expire_moment};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::is;
use crate::cmd::{Exec, Reply};
use crate::keyspace::{EventClasses, Expire, Keyspace};

/// What stands behind key and value of SET, or behind the key of GETEX.
#[derive(Clone, Copy, Default)]
struct Options<'a> {
    condition: Option<Condition<'a>>,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    /// Unit and number, not checked yet.
    expire: Option<(Unit, &'a [u8])>,
}

impl<'a> Options<'a> {
    fn parse(x: &Exec<'a>, from: usize, is_set: bool) -> Result<Self, CmdError> {
        let (mut o, mut i) = (Options::default(), from);
        while let Some(arg) = x.args.try_get(i) {
            i += 1;
            let unit = Unit::OPTIONS
                .iter()
                .find(|(name, _)| is(arg, name))
                .map(|(_, unit)| *unit);
            if let Some(unit) = unit {
                // The same unit twice is fine, the last one counts; another one is not.
                let clash = o.keep_ttl || o.persist || o.expire.is_some_and(|(other, _)| other != unit);
                let Some(number) = x.args.try_get(i).filter(|_| !clash) else {
                    return Err(CmdError::Syntax);
                };
                o.expire = Some((unit, number));
                i += 1;
            } else if is_set && is(arg, "NX") && matches!(o.condition, None | Some(Condition::Absent)) {
                o.condition = Some(Condition::Absent);
            } else if is_set && is(arg, "XX") && matches!(o.condition, None | Some(Condition::Present)) {
                o.condition = Some(Condition::Present);
            } else if is_set && is(arg, "GET") {
                o.get = true;
            } else if is_set && is(arg, "KEEPTTL") && o.expire.is_none() {
                o.keep_ttl = true;
            } else if !is_set && is(arg, "PERSIST") && o.expire.is_none() {
                o.persist = true;
            } else {
                // A comparison excludes every other condition.
                let argument = x.args.try_get(i).filter(|_| is_set && o.condition.is_none());
                o.condition = Condition::comparison(arg, argument.ok_or(CmdError::Syntax)?)?;
                o.condition.ok_or(CmdError::Syntax)?;
                i += 1;
            }
        }
        Ok(o)
    }
}

/// Stores a string that expires at `at`, which may have passed already.
fn store(ks: &mut Keyspace, key: &[u8], value: &[u8], at: u64) {
    if at > ks.now_ms() {
        ks.set_str(key, value, Expire::At(at));
        ks.note(EventClasses::STRING, "set", key);
        ks.note(EventClasses::GENERIC, "expire", key);
    } else if ks.del(key) {
        ks.note(EventClasses::GENERIC, "del", key);
    }
}

/// Answers with the string at the key, or null.
fn reply_value(ks: &mut Keyspace, key: &[u8], reply: &mut dyn Reply) -> Result<bool, CmdError> {
    let value = ks.get_str(key)?;
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
    Ok(value.is_some())
}

pub(in crate::cmd) fn get(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    match x.ks.get_str(x.args.get(1)) {
        Ok(Some(value)) => reply.bulk(value),
        Ok(None) => reply.null(),
        Err(error) => CmdError::from(error).reply(reply),
    }
}

pub(in crate::cmd) fn set(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    if x.args.len() == 3 {
        let key = x.args.get(1);
        x.ks.set_str(key, x.args.get(2), Expire::Clear);
        x.ks.note(EventClasses::STRING, "set", key);
        return reply.ok();
    }
    answer(reply, |reply| set_with_options(x, reply));
}

fn set_with_options(x: &mut Exec<'_>, reply: &mut dyn Reply) -> Result<(), CmdError> {
    let o = Options::parse(x, 3, true)?;
    let at = o
        .expire
        .map(|(unit, number)| expire_moment(x.ks.now_ms(), unit, number, "set"))
        .transpose()?;
    let (key, value) = (x.args.get(1), x.args.get(2));
    let holds = match o.condition {
        // With GET a value of another type is an error, whatever the condition.
        Some(_) if o.get && x.ks.get_str(key).is_err() => return Err(CmdError::WrongType),
        Some(condition) => condition.holds(x.ks, key)?,
        None => true,
    };
    if o.get {
        reply_value(x.ks, key, reply)?;
    }
    if !holds {
        if !o.get {
            reply.null();
        }
        return Ok(());
    }
    match at {
        Some(at) => store(x.ks, key, value, at),
        None => {
            x.ks.set_str(key, value, if o.keep_ttl { Expire::Keep } else { Expire::Clear });
            x.ks.note(EventClasses::STRING, "set", key);
        }
    }
    if !o.get {
        reply.ok();
    }
    Ok(())
}

fn set_expiring(x: &mut Exec<'_>, reply: &mut dyn Reply, unit: Unit, command: &'static str) {
    answer(reply, |reply| {
        let at = expire_moment(x.ks.now_ms(), unit, x.args.get(2), command)?;
        store(x.ks, x.args.get(1), x.args.get(3), at);
        reply.ok();
        Ok(())
    });
}

pub(in crate::cmd) fn setex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    set_expiring(x, reply, Unit::Seconds, "setex");
}

pub(in crate::cmd) fn psetex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    set_expiring(x, reply, Unit::Millis, "psetex");
}

pub(in crate::cmd) fn setnx(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let key = x.args.get(1);
    let absent = !x.ks.exists(key);
    if absent {
        x.ks.set_str(key, x.args.get(2), Expire::Clear);
        x.ks.note(EventClasses::STRING, "set", key);
    }
    reply.int(i64::from(absent));
}

pub(in crate::cmd) fn getset(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        reply_value(x.ks, key, reply)?;
        x.ks.set_str(key, x.args.get(2), Expire::Clear);
        x.ks.note(EventClasses::STRING, "set", key);
        Ok(())
    });
}

pub(in crate::cmd) fn getdel(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        if reply_value(x.ks, key, reply)? {
            x.ks.del(key);
            x.ks.note(EventClasses::GENERIC, "del", key);
        }
        Ok(())
    });
}

pub(in crate::cmd) fn getex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let o = Options::parse(x, 2, false)?;
        let key = x.args.get(1);
        // A missing key is answered before the number is looked at.
        if x.ks.get_str(key)?.is_none() {
            reply.null();
            return Ok(());
        }
        let at = o
            .expire
            .map(|(unit, number)| expire_moment(x.ks.now_ms(), unit, number, "getex"))
            .transpose()?;
        reply_value(x.ks, key, reply)?;
        match at {
            Some(at) if at <= x.ks.now_ms() => {
                x.ks.del(key);
                x.ks.note(EventClasses::GENERIC, "del", key);
            }
            Some(at) => {
                x.ks.set_expire(key, Some(at));
                x.ks.note(EventClasses::GENERIC, "expire", key);
            }
            None if o.persist && x.ks.expire_at(key).flatten().is_some() => {
                x.ks.set_expire(key, None);
                x.ks.note(EventClasses::GENERIC, "persist", key);
            }
            None => {}
        }
        Ok(())
    });
}

pub(in crate::cmd) fn mget(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.array(x.args.len() - 1);
    for key in x.args.iter_from(1) {
        match x.ks.get_str(key) {
            Ok(Some(value)) => reply.bulk(value),
            _ => reply.null(),
        }
    }
}

fn set_all(x: &mut Exec<'_>) {
    for i in (1..x.args.len()).step_by(2) {
        x.ks.set_str(x.args.get(i), x.args.get(i + 1), Expire::Clear);
        x.ks.note(EventClasses::STRING, "set", x.args.get(i));
    }
}

pub(in crate::cmd) fn mset(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    if x.args.len().is_multiple_of(2) {
        return CmdError::Arity("mset").reply(reply);
    }
    set_all(x);
    reply.ok();
}

pub(in crate::cmd) fn msetnx(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    if x.args.len().is_multiple_of(2) {
        return CmdError::Arity("msetnx").reply(reply);
    }
    let none_exists = (1..x.args.len()).step_by(2).all(|i| !x.ks.exists(x.args.get(i)));
    if none_exists {
        set_all(x);
    }
    reply.int(i64::from(none_exists));
}
