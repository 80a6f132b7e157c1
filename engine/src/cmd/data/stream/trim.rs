//! Entries removed, and what a stream remembers: XTRIM, XDEL, XLEN, XSETID.

use super::ids::id;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Args, Exec, Reply};
use crate::collections::Elements;
use crate::collections::stream::{NodeLimits, Stream, StreamId, Trim};
use crate::keyspace::EventClasses;

/// Chunks that a trim "about" a length looks at, where no LIMIT says otherwise.
const CHUNKS_PER_TRIM: u64 = 100;
/// Entries that such a trim removes at most, where chunks hold any number.
const ENTRIES_PER_TRIM_DEFAULT: u64 = 10_000;
/// And at most, however many a chunk holds.
const ENTRIES_PER_TRIM_MAX: u64 = 1_000_000;

/// The options of XADD and XTRIM.
pub(super) struct TrimArgs {
    trim: Option<Trim>,
    /// Whole chunks only.
    about: bool,
    limit: u64,
    /// NOMKSTREAM.
    pub(super) no_create: bool,
    /// Number of the argument behind the options.
    pub(super) end: usize,
}

impl TrimArgs {
    /// Reads the options: of XADD up to the id, of XTRIM all arguments.
    pub(super) fn parse(args: &Args<'_>, adds: bool, limits: NodeLimits) -> Result<Self, CmdError> {
        let mut o = TrimArgs {
            trim: None,
            about: false,
            limit: u64::MAX,
            no_create: false,
            end: 2,
        };
        let mut limit = None;
        while let Some(word) = args.try_get(o.end) {
            let following = args.try_get(o.end + 1);
            match following {
                _ if adds && word == b"*" => break,
                Some(_) if is(word, "MAXLEN") || is(word, "MINID") => o.threshold(args, is(word, "MAXLEN"))?,
                Some(count) if is(word, "LIMIT") => {
                    let count = u64::try_from(integer(count)?);
                    limit = Some(count.map_err(|_| CmdError::Other("ERR The LIMIT argument must be >= 0."))?);
                    o.end += 2;
                }
                _ if adds && is(word, "NOMKSTREAM") => {
                    o.no_create = true;
                    o.end += 1;
                }
                _ if adds => break,
                _ => return Err(CmdError::Syntax),
            }
        }
        if adds && let Some(new_id) = args.try_get(o.end) {
            // What stands here is an id, or a word that nobody knows.
            super::ids::NewId::parse(new_id)?;
        }
        if o.trim.is_none() && limit.is_some_and(|limit| limit > 0) {
            return Err(CmdError::Other(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if o.trim.is_none() && !adds {
            return Err(CmdError::Other(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        o.limit = match limit {
            Some(_) if !o.about => {
                return Err(CmdError::Other(
                    "ERR syntax error, LIMIT cannot be used without the special ~ option",
                ));
            }
            Some(0) => u64::MAX,
            Some(limit) => limit,
            None if o.about => match CHUNKS_PER_TRIM * u64::from(limits.entries) {
                0 => ENTRIES_PER_TRIM_DEFAULT,
                entries => entries.min(ENTRIES_PER_TRIM_MAX),
            },
            None => u64::MAX,
        };
        Ok(o)
    }

    /// Reads what follows MAXLEN or MINID.
    fn threshold(&mut self, args: &Args<'_>, by_len: bool) -> Result<(), CmdError> {
        if self.trim.is_some() {
            return Err(CmdError::Other(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let mut at = self.end + 1;
        let how = args.get(at);
        if (how == b"~" || how == b"=") && at + 1 < args.len() {
            self.about = how == b"~";
            at += 1;
        }
        self.trim = Some(if by_len {
            let keep = u64::try_from(integer(args.get(at))?);
            Trim::Len(keep.map_err(|_| CmdError::Other("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            Trim::MinId(id(args.get(at))?)
        });
        self.end = at + 1;
        Ok(())
    }

    /// Trims; returns how many entries went.
    pub(super) fn carry_out(&self, stream: &mut Stream) -> u64 {
        self.trim.map_or(0, |trim| stream.trim(trim, self.about, self.limit))
    }
}

/// XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]
pub(in crate::cmd) fn xtrim(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let parsed = TrimArgs::parse(&x.args, false, x.ks.limits().stream_node)?;
        let key = x.args.get(1);
        let gone = x.ks.stream_mut(key)?.map_or(0, |stream| parsed.carry_out(stream));
        if gone > 0 {
            x.ks.note(EventClasses::STREAM, "xtrim", key);
        }
        reply.int(gone as i64);
        Ok(())
    });
}

/// XDEL key id ...
pub(in crate::cmd) fn xdel(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let Some(stream) = x.ks.stream_mut(key)? else {
            reply.int(0);
            return Ok(());
        };
        let ids = x.args.iter_from(2).map(id).collect::<Result<Vec<_>, _>>()?;
        let gone = ids.into_iter().filter(|id| stream.remove(*id)).count();
        if gone > 0 {
            x.ks.note(EventClasses::STREAM, "xdel", key);
        }
        reply.int(gone as i64);
        Ok(())
    });
}

/// XLEN key
pub(in crate::cmd) fn xlen(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let stream = x.ks.stream(x.args.get(1))?;
        reply.int(stream.map_or(0, Elements::len) as i64);
        Ok(())
    });
}

/// XSETID key last-id [ENTRIESADDED count] [MAXDELETEDID id]
pub(in crate::cmd) fn xsetid(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let last_id = id(x.args.get(2))?;
        let (mut added, mut max_deleted, mut at) = (None, StreamId::MIN, 3);
        while let Some(word) = x.args.try_get(at) {
            match x.args.try_get(at + 1) {
                Some(count) if is(word, "ENTRIESADDED") => {
                    let count = u64::try_from(integer(count)?);
                    added = Some(count.map_err(|_| CmdError::Other("ERR entries_added must be positive"))?);
                }
                Some(deleted) if is(word, "MAXDELETEDID") => {
                    max_deleted = id(deleted)?;
                    if last_id < max_deleted {
                        return Err(CmdError::Other(
                            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                        ));
                    }
                }
                _ => return Err(CmdError::Syntax),
            }
            at += 2;
        }
        let stream = x.ks.stream_mut(x.args.get(1))?;
        let stream = stream.ok_or(CmdError::Other("ERR no such key"))?;
        if let Some(highest) = stream.entries().last_id() {
            if last_id < highest {
                return Err(CmdError::Other(
                    "ERR The ID specified in XSETID is smaller than the target stream top item",
                ));
            }
            if added.is_some_and(|added| added < stream.len() as u64) {
                return Err(CmdError::Other(
                    "ERR The entries_added specified in XSETID is smaller than the target stream length",
                ));
            }
        }
        stream.last_id = last_id;
        if let Some(added) = added {
            stream.entries_added = added;
        }
        if max_deleted != StreamId::MIN {
            stream.max_deleted_id = max_deleted;
        }
        x.ks.note(EventClasses::STREAM, "xsetid", x.args.get(1));
        reply.ok();
        Ok(())
    });
}
