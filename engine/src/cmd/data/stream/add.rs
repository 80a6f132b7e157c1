//! Entries added: XADD.

use super::ids::NewId;
use super::reply::put_id;
use super::trim::TrimArgs;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::{Args, Exec, Reply};
use crate::collections::stream::StreamId;
use crate::keyspace::EventClasses;

/// Most bytes of fields and values of an entry: Redis's `STREAM_LISTPACK_MAX_SIZE`.
const ENTRY_BYTES_MAX: usize = 1 << 30;

const NOT_ABOVE_ZERO: CmdError = CmdError::Other("ERR The ID specified in XADD must be greater than 0-0");
const NOT_ABOVE_LAST: CmdError =
    CmdError::Other("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const IDS_EXHAUSTED: CmdError =
    CmdError::Other("ERR The stream has exhausted the last possible ID, unable to add more items");
const TOO_LARGE: CmdError = CmdError::Other("ERR Elements are too large to be stored");

fn pairs<'a>(args: Args<'a>, from: usize) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    (from..args.len())
        .step_by(2)
        .map(move |i| (args.get(i), args.get(i + 1)))
}

/// XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value ...
pub(in crate::cmd) fn xadd(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (args, now_ms) = (x.args, x.ks.now_ms());
        let limits = x.ks.limits().stream_node;
        let parsed = TrimArgs::parse(&args, true, limits)?;
        let new = match args.try_get(parsed.end) {
            Some(arg) => NewId::parse(arg)?,
            None => return Err(CmdError::Arity("xadd")),
        };
        let first = parsed.end + 1;
        if args.len() < first + 2 || (args.len() - first) % 2 == 1 {
            return Err(CmdError::Arity("xadd"));
        }
        if new == NewId::Exactly(StreamId::MIN) {
            return Err(NOT_ABOVE_ZERO);
        }
        let key = args.get(1);
        let found = x.ks.stream_mut(key)?;
        if found.is_none() && parsed.no_create {
            reply.null();
            return Ok(());
        }
        // Nothing may change before the entry is known to fit.
        let last = found.map_or(StreamId::MIN, |stream| stream.last_id);
        if last == StreamId::MAX {
            return Err(IDS_EXHAUSTED);
        }
        let id = new.after(last, now_ms).ok_or(NOT_ABOVE_LAST)?;
        let bytes: usize = args.iter_from(first).map(<[u8]>::len).sum();
        if bytes > ENTRY_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        let stream = x.ks.stream_or_create(key)?;
        stream.push(id, pairs(args, first), limits);
        put_id(id, reply);
        let trimmed = parsed.carry_out(stream);
        x.ks.note(EventClasses::STREAM, "xadd", key);
        if trimmed > 0 {
            x.ks.note(EventClasses::STREAM, "xtrim", key);
        }
        x.ks.signal_ready(key);
        Ok(())
    });
}
