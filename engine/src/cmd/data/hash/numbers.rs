//! Fields that hold numbers: HINCRBY, HINCRBYFLOAT. An expiry of the field stays.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::integer;
use crate::cmd::{Exec, Reply};
use crate::keyspace::EventClasses;
use crate::long_double::LongDouble;
use crate::number::parse_i64;

fn store(x: &mut Exec<'_>, text: &[u8], event: &'static str) -> Result<(), CmdError> {
    let field = x.args.get(2);
    let hash = x.ks.hash_or_create(x.args.get(1))?;
    hash.note_length(field.len().max(text.len()));
    hash.update(field, text);
    x.ks.note(EventClasses::HASH, event, x.args.get(1));
    Ok(())
}

pub(in crate::cmd) fn hincrby(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let by = integer(x.args.get(3))?;
        let old = match x
            .ks
            .hash_to_change(x.args.get(1))?
            .and_then(|hash| hash.get(x.args.get(2)))
        {
            Some(text) => parse_i64(text).ok_or(CmdError::Other("ERR hash value is not an integer"))?,
            None => 0,
        };
        let new = old
            .checked_add(by)
            .ok_or(CmdError::Other("ERR increment or decrement would overflow"))?;
        store(x, itoa::Buffer::new().format(new).as_bytes(), "hincrby")?;
        reply.int(new);
        Ok(())
    });
}

pub(in crate::cmd) fn hincrbyfloat(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let by = LongDouble::parse(x.args.get(3)).ok_or(CmdError::NotAFloat)?;
        if by.add(LongDouble::ZERO).is_none() {
            return Err(CmdError::Other("ERR value is NaN or Infinity"));
        }
        let old = match x
            .ks
            .hash_to_change(x.args.get(1))?
            .and_then(|hash| hash.get(x.args.get(2)))
        {
            Some(text) => LongDouble::parse(text).ok_or(CmdError::Other("ERR hash value is not a float"))?,
            None => LongDouble::ZERO,
        };
        let sum = old
            .add(by)
            .ok_or(CmdError::Other("ERR increment would produce NaN or Infinity"))?;
        let text = sum.to_text();
        store(x, text.as_bytes(), "hincrbyfloat")?;
        reply.bulk(text.as_bytes());
        Ok(())
    });
}
