//! Parts of strings: APPEND, GETRANGE, SETRANGE, STRLEN.

use crate::cmd::error::{CmdError, STRING_BYTES_MAX, answer};
use crate::cmd::parse::{index_range, integer};
use crate::cmd::{Exec, Reply};
use crate::keyspace::EventClasses;

pub(in crate::cmd) fn append(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (key, tail) = (x.args.get(1), x.args.get(2));
        let old = x.ks.str_len(key)?;
        let new = old + tail.len();
        if new > STRING_BYTES_MAX {
            return Err(CmdError::StringTooLong);
        }
        x.ks.resize_str(key, new)?[old..].copy_from_slice(tail);
        x.ks.note(EventClasses::STRING, "append", key);
        reply.int(new as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn strlen(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.get_str(x.args.get(1))?.map_or(0, <[u8]>::len) as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn getrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (start, end) = (integer(x.args.get(2))?, integer(x.args.get(3))?);
        let value = x.ks.get_str(x.args.get(1))?.unwrap_or_default();
        // Redis cuts an end before the first byte to the first byte, unless both ends count from the back.
        let (start, end) = match (start, end) {
            (..0, ..0) if start > end => (1, 0),
            (_, ..0) => (start, end.saturating_add(value.len() as i64).max(0)),
            _ => (start, end),
        };
        let (from, len) = index_range(start, end, value.len());
        reply.bulk(&value[from..from + len]);
        Ok(())
    });
}

pub(in crate::cmd) fn setrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (key, part) = (x.args.get(1), x.args.get(3));
        let offset = integer(x.args.get(2))?;
        let offset = usize::try_from(offset).map_err(|_| CmdError::Other("ERR offset is out of range"))?;
        let old = x.ks.str_len(key)?;
        if part.is_empty() {
            reply.int(old as i64);
            return Ok(());
        }
        let end = offset
            .checked_add(part.len())
            .filter(|end| *end <= STRING_BYTES_MAX)
            .ok_or(CmdError::StringTooLong)?;
        let new = old.max(end);
        x.ks.resize_str(key, new)?[offset..end].copy_from_slice(part);
        x.ks.note(EventClasses::STRING, "setrange", key);
        reply.int(new as i64);
        Ok(())
    });
}
