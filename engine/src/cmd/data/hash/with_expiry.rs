//! Values and expiries in one step: HGETEX, HSETEX, HGETDEL, of Redis 8.0.

use super::field_args::{COUNT_ERROR, expire_field, first_field, moment, settle};
use super::read::reply_value;
use crate::cmd::data::expiry::Unit;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{at_least_one, is};
use crate::cmd::{Exec, Reply};
use crate::keyspace::EventClasses;

/// What happens to the expiry of the fields.
#[derive(Clone, Copy)]
enum NewExpiry {
    /// It stays.
    Keep,
    /// They live until deleted.
    Clear,
    /// They expire then; milliseconds since 1970.
    At(u64),
}

fn unit_of(word: &[u8]) -> Option<Unit> {
    Unit::OPTIONS
        .iter()
        .find(|(name, _)| is(word, name))
        .map(|(_, unit)| *unit)
}

/// HGETDEL key FIELDS numfields field [field ...]
pub(in crate::cmd) fn hgetdel(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        x.ks.hash(key)?;
        let fields = x.args.iter_from(first_field(&x.args, 2, COUNT_ERROR)?);
        let mut hash = x.ks.hash_mut(key)?;
        let mut removed = false;
        reply.array(fields.len());
        fields.for_each(|field| {
            reply_value(hash.as_ref().and_then(|hash| hash.get(field)), reply);
            if let Some(hash) = &mut hash {
                removed |= hash.remove(field);
            }
        });
        if removed {
            x.ks.note(EventClasses::HASH, "hdel", key);
        }
        x.ks.drop_if_empty(key);
        Ok(())
    });
}

/// HGETEX key [EX seconds|PX milliseconds|EXAT seconds|PXAT milliseconds|PERSIST] FIELDS numfields field [field ...]
pub(in crate::cmd) fn hgetex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        x.ks.hash(key)?;
        let option = x.args.get(2);
        let (expiry, at) = match unit_of(option) {
            Some(unit) => (NewExpiry::At(moment(x, unit, x.args.get(3), "hgetex")?), 4),
            None if is(option, "PERSIST") => (NewExpiry::Clear, 3),
            None => (NewExpiry::Keep, 2),
        };
        let fields = x.args.iter_from(first_field(&x.args, at, COUNT_ERROR)?);
        let now_ms = x.ks.now_ms();
        reply.array(fields.len());
        let Some(hash) = x.ks.hash_mut(key)? else {
            fields.for_each(|_| reply.null());
            return Ok(());
        };
        let mut event = None;
        for field in fields {
            let value = hash.get(field);
            reply_value(value, reply);
            match expiry {
                NewExpiry::At(moment) if value.is_some() => {
                    let deleted = expire_field(hash, field, moment, now_ms);
                    event = Some(if deleted { "hdel" } else { "hexpire" });
                }
                NewExpiry::Clear if hash.expire_at(field).flatten().is_some() => {
                    hash.set_expire(field, None, now_ms);
                    event = Some("hpersist");
                }
                _ => {}
            }
        }
        if let Some(event) = event {
            x.ks.note(EventClasses::HASH, event, key);
        }
        settle(x, key);
        Ok(())
    });
}

/// The arguments of HSETEX.
struct SetFields {
    expiry: NewExpiry,
    /// Some(true): only if all fields are there; Some(false): only if none is.
    wanted: Option<bool>,
    /// Argument number of the first field.
    first: usize,
}

impl SetFields {
    /// `None`: the command was refused, and has been answered.
    fn parse(x: &Exec<'_>, reply: &mut dyn Reply) -> Result<Option<Self>, CmdError> {
        let (mut expiry, mut wanted, mut at) = (None, None, 2);
        let expiry_once = |given: Option<NewExpiry>| match given {
            None => Ok(()),
            Some(_) => Err(CmdError::Other(
                "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
            )),
        };
        while let Some(word) = x.args.try_get(at) {
            at += 1;
            if is(word, "FIELDS") {
                let rest = x.args.len() - at;
                if rest < 3 {
                    return Err(CmdError::Arity("hsetex"));
                }
                let count = at_least_one(x.args.get(at), "ERR invalid number of fields")?;
                if i32::try_from(count).is_err() {
                    return Err(CmdError::Other("ERR invalid number of fields"));
                }
                if count * 2 != rest - 1 {
                    return Err(CmdError::Arity("hsetex"));
                }
                return Ok(Some(Self {
                    expiry: expiry.unwrap_or(NewExpiry::Clear),
                    wanted,
                    first: at + 1,
                }));
            } else if let Some(unit) = unit_of(word) {
                expiry_once(expiry)?;
                let number = x.args.try_get(at).ok_or(CmdError::Other("ERR missing expire time"))?;
                expiry = Some(NewExpiry::At(moment(x, unit, number, "hsetex")?));
                at += 1;
            } else if is(word, "KEEPTTL") {
                expiry_once(expiry)?;
                expiry = Some(NewExpiry::Keep);
            } else if is(word, "FXX") || is(word, "FNX") {
                if wanted.is_some() {
                    return Err(CmdError::Other("ERR Only one of FXX or FNX arguments can be specified"));
                }
                wanted = Some(is(word, "FXX"));
            } else {
                let word = String::from_utf8_lossy(word).replace(['\r', '\n'], " ");
                reply.error(&format!("ERR unknown argument: {word}"));
                return Ok(None);
            }
        }
        // Redis never gets here: what has no FIELDS is too short, or ends in an unknown argument.
        Err(CmdError::Arity("hsetex"))
    }
}

/// HSETEX key [FNX|FXX] [EX seconds|PX milliseconds|EXAT seconds|PXAT milliseconds|KEEPTTL] FIELDS numfields field value
/// [field value ...]
pub(in crate::cmd) fn hsetex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(call) = SetFields::parse(x, reply)? else {
            return Ok(());
        };
        let key = x.args.get(1);
        let hash = x.ks.hash(key)?;
        if let Some(wanted) = call.wanted {
            let there = |field| hash.is_some_and(|hash| hash.get(field).is_some());
            if x.args
                .iter_from(call.first)
                .step_by(2)
                .any(|field| there(field) != wanted)
            {
                reply.int(0);
                return Ok(());
            }
        }
        let now_ms = x.ks.now_ms();
        let hash = x.ks.hash_or_create(key)?;
        x.args.iter_from(call.first).for_each(|arg| hash.note_length(arg.len()));
        let mut expired = false;
        for i in (call.first..x.args.len()).step_by(2) {
            let (field, value) = (x.args.get(i), x.args.get(i + 1));
            match call.expiry {
                NewExpiry::Keep => {
                    hash.update(field, value);
                }
                NewExpiry::Clear => {
                    hash.insert(field, value);
                }
                NewExpiry::At(moment) => {
                    hash.update(field, value);
                    expired |= expire_field(hash, field, moment, now_ms);
                }
            }
        }
        x.ks.note(EventClasses::HASH, "hset", key);
        if matches!(call.expiry, NewExpiry::At(_)) {
            let event = if expired { "hdel" } else { "hexpire" };
            x.ks.note(EventClasses::HASH, event, key);
        }
        settle(x, key);
        reply.int(1);
        Ok(())
    });
}
