//! DUMP and RESTORE: a value as bytes that Redis understands, and back.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::keyspace::{EventClasses, Expire, Kind};
use crate::rdb::{PayloadError, Value, dump_collection, dump_str, restore as read_payload};

pub(in crate::cmd) fn dump(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let payload = match x.ks.kind(key) {
            None => None,
            Some(Kind::Str) => x.ks.get_str(key)?.map(dump_str),
            Some(_) => x.ks.peek(key)?.map(dump_collection),
        };
        match payload {
            Some(payload) => reply.bulk(&payload),
            None => reply.null(),
        }
        Ok(())
    });
}

struct Options {
    replace: bool,
    /// The lifetime is a moment since 1970.
    absolute: bool,
    /// For how many seconds it was not used.
    idle_s: Option<u64>,
    /// How often it is used, as a counter.
    frequency: Option<u8>,
}

impl Options {
    fn parse(x: &Exec<'_>) -> Result<Self, CmdError> {
        let mut o = Options {
            replace: false,
            absolute: false,
            idle_s: None,
            frequency: None,
        };
        let mut at = 4;
        while let Some(word) = x.args.try_get(at) {
            at += 1;
            match x.args.try_get(at) {
                _ if is(word, "REPLACE") => o.replace = true,
                _ if is(word, "ABSTTL") => o.absolute = true,
                Some(number) if is(word, "IDLETIME") && o.frequency.is_none() => {
                    let seconds = u64::try_from(integer(number)?);
                    let seconds = seconds.map_err(|_| CmdError::Other("ERR Invalid IDLETIME value, must be >= 0"))?;
                    (o.idle_s, at) = (Some(seconds), at + 1);
                }
                Some(number) if is(word, "FREQ") && o.idle_s.is_none() => {
                    let count = u8::try_from(integer(number)?);
                    let count =
                        count.map_err(|_| CmdError::Other("ERR Invalid FREQ value, must be >= 0 and <= 255"))?;
                    (o.frequency, at) = (Some(count), at + 1);
                }
                _ => return Err(CmdError::Syntax),
            }
        }
        Ok(o)
    }
}

/// RESTORE key lifetime payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
pub(in crate::cmd) fn restore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let o = Options::parse(x)?;
        let key = x.args.get(1);
        if !o.replace && x.ks.exists(key) {
            return Err(CmdError::Other("BUSYKEY Target key name already exists."));
        }
        let lifetime = u64::try_from(integer(x.args.get(2))?);
        let lifetime = lifetime.map_err(|_| CmdError::Other("ERR Invalid TTL value, must be >= 0"))?;
        let value = read_payload(x.args.get(3)).map_err(|error| {
            CmdError::Other(match error {
                PayloadError::Footer => "ERR DUMP payload version or checksum are wrong",
                PayloadError::Value => "ERR Bad data format",
            })
        })?;
        let expire = match lifetime {
            0 => None,
            moment if o.absolute => Some(moment),
            millis => Some(x.ks.now_ms().saturating_add(millis)),
        };
        // What was there goes first: the value is a new key's.
        let existed = o.replace && x.ks.del(key);
        if expire.is_some_and(|moment| moment <= x.ks.now_ms()) {
            x.ks.note_stored(EventClasses::GENERIC, "restore", key, true, existed);
            reply.ok();
            return Ok(());
        }
        match value {
            Value::Str(text) => x.ks.set_str(key, &text, expire.map_or(Expire::Clear, Expire::At)),
            Value::Collection(collection) => drop(x.ks.put_collection(key, collection, expire)),
        }
        if let Some(seconds) = o.idle_s {
            x.ks.set_idle(key, seconds.saturating_mul(1000));
        }
        if let Some(count) = o.frequency {
            x.ks.set_frequency(key, count);
        }
        x.ks.note(EventClasses::GENERIC, "restore", key);
        reply.ok();
        Ok(())
    });
}
