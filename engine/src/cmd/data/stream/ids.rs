//! Arguments that are ids, or ends of ranges of ids.

use crate::cmd::error::CmdError;
use crate::collections::stream::StreamId;

/// An argument that is no id.
pub(super) const INVALID_ID: CmdError = CmdError::Other("ERR Invalid stream ID specified as stream command argument");
/// Longest argument that is looked at as an id, in bytes: Redis's own limit.
const ID_ARGUMENT_BYTES_MAX: usize = 127;

/// A number of digits only, of 64 bits.
fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    (!digits.starts_with('+')).then(|| digits.parse().ok())?
}

fn parts(arg: &[u8]) -> Result<(u64, Option<&[u8]>), CmdError> {
    if arg.len() > ID_ARGUMENT_BYTES_MAX {
        return Err(INVALID_ID);
    }
    let (ms, seq) = match arg.iter().position(|c| *c == b'-') {
        Some(dash) => (&arg[..dash], Some(&arg[dash + 1..])),
        None => (arg, None),
    };
    Ok((number(ms).ok_or(INVALID_ID)?, seq))
}

/// An id; the number within the millisecond may be left out and is `missing_seq` then.
pub(super) fn id_or(arg: &[u8], missing_seq: u64) -> Result<StreamId, CmdError> {
    let (ms, seq) = parts(arg)?;
    let seq = match seq {
        None => missing_seq,
        Some(seq) => number(seq).ok_or(INVALID_ID)?,
    };
    Ok(StreamId { ms, seq })
}

/// An id whose number is 0 if left out.
pub(super) fn id(arg: &[u8]) -> Result<StreamId, CmdError> {
    id_or(arg, 0)
}

/// An id, or `-` and `+` for the lowest and the highest.
pub(super) fn id_or_end(arg: &[u8], missing_seq: u64) -> Result<StreamId, CmdError> {
    match arg {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => id_or(arg, missing_seq),
    }
}

/// The lowest id of a range; behind `(` the one that lies outside.
pub(super) fn range_start(arg: &[u8]) -> Result<StreamId, CmdError> {
    match arg.strip_prefix(b"(") {
        None => id_or_end(arg, 0),
        Some(outside) => id_or(outside, 0)?
            .next()
            .ok_or(CmdError::Other("ERR invalid start ID for the interval")),
    }
}

/// The highest id of a range; behind `(` the one that lies outside.
pub(super) fn range_end(arg: &[u8]) -> Result<StreamId, CmdError> {
    match arg.strip_prefix(b"(") {
        None => id_or_end(arg, u64::MAX),
        Some(outside) => id_or(outside, u64::MAX)?
            .previous()
            .ok_or(CmdError::Other("ERR invalid end ID for the interval")),
    }
}

/// The id that a new entry shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`: whatever comes next.
    Next,
    /// `ms-*`: the next of that millisecond.
    NextOf(u64),
    /// This one.
    Exactly(StreamId),
}

impl NewId {
    pub(super) fn parse(arg: &[u8]) -> Result<Self, CmdError> {
        if arg == b"*" {
            return Ok(NewId::Next);
        }
        let (ms, seq) = parts(arg)?;
        match seq {
            Some(b"*") => Ok(NewId::NextOf(ms)),
            _ => Ok(NewId::Exactly(id(arg)?)),
        }
    }

    /// The id behind `last` that is meant, when the clock says `now_ms`; `None` when there is none.
    pub(super) fn after(self, last: StreamId, now_ms: u64) -> Option<StreamId> {
        let next_of = |ms: u64| {
            if ms == last.ms {
                Some(StreamId {
                    ms,
                    seq: last.seq.checked_add(1)?,
                })
            } else {
                (ms > last.ms).then_some(StreamId { ms, seq: 0 })
            }
        };
        match self {
            NewId::Next if now_ms > last.ms => Some(StreamId { ms: now_ms, seq: 0 }),
            NewId::Next => last.next(),
            NewId::NextOf(ms) => next_of(ms),
            NewId::Exactly(id) => (id > last).then_some(id),
        }
    }
}
