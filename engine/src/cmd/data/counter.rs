//! Strings that hold numbers: INCR and its relatives.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::integer;
use crate::cmd::{Exec, Reply};
use crate::keyspace::{EventClasses, Expire};
use crate::long_double::LongDouble;
use crate::number::parse_i64;

fn add(x: &mut Exec<'_>, reply: &mut dyn Reply, by: i64) -> Result<(), CmdError> {
    let key = x.args.get(1);
    let hash = x.ks.key_hash(key);
    let old = match x.ks.str_to_change(hash, key)? {
        Some(text) => parse_i64(text).ok_or(CmdError::NotAnInteger)?,
        None => 0,
    };
    let new = old
        .checked_add(by)
        .ok_or(CmdError::Other("ERR increment or decrement would overflow"))?;
    x.ks.set_str_hashed(hash, key, itoa::Buffer::new().format(new).as_bytes(), Expire::Keep);
    x.ks.note(EventClasses::STRING, "incrby", key);
    reply.int(new);
    Ok(())
}

pub(in crate::cmd) fn incr(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| add(x, reply, 1));
}

pub(in crate::cmd) fn decr(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| add(x, reply, -1));
}

pub(in crate::cmd) fn incrby(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let by = integer(x.args.get(2))?;
        add(x, reply, by)
    });
}

pub(in crate::cmd) fn decrby(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let by = integer(x.args.get(2))?
            .checked_neg()
            .ok_or(CmdError::Other("ERR decrement would overflow"))?;
        add(x, reply, by)
    });
}

pub(in crate::cmd) fn incrbyfloat(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let hash = x.ks.key_hash(key);
        let old = match x.ks.str_to_change(hash, key)? {
            Some(text) => LongDouble::parse(text).ok_or(CmdError::NotAFloat)?,
            None => LongDouble::ZERO,
        };
        let by = LongDouble::parse(x.args.get(2)).ok_or(CmdError::NotAFloat)?;
        let sum = old
            .add(by)
            .ok_or(CmdError::Other("ERR increment would produce NaN or Infinity"))?;
        let text = sum.to_text();
        x.ks.set_str(key, text.as_bytes(), Expire::Keep);
        x.ks.note(EventClasses::STRING, "incrbyfloat", key);
        reply.bulk(text.as_bytes());
        Ok(())
    });
}
