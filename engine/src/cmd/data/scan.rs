//! Walking through the keys: SCAN and KEYS.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::glob::matches;
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::keyspace::{Keyspace, Kind};

/// Keys of one step of SCAN when COUNT is not given.
const COUNT_DEFAULT: usize = 10;
/// Keys of one step of KEYS.
const KEYS_STEP: usize = 1024;

/// Keys gathered for a reply whose header needs their number.
#[derive(Default)]
struct Found {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
}

impl Found {
    /// One step from `cursor` on; returns the next cursor.
    fn gather(
        &mut self,
        ks: &mut Keyspace,
        cursor: u64,
        count: usize,
        mut wanted: impl FnMut(&[u8], Kind) -> bool,
    ) -> u64 {
        ks.scan(cursor, count, &mut |key, kind| {
            if wanted(key, kind) {
                self.bytes.extend_from_slice(key);
                self.ends.push(self.bytes.len());
            }
        })
    }

    fn reply(&self, reply: &mut dyn Reply) {
        reply.array(self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            reply.bulk(&self.bytes[start..end]);
            start = end;
        }
    }
}

pub(in crate::cmd) fn keys(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (pattern, mut found, mut cursor) = (x.args.get(1), Found::default(), 0);
    loop {
        cursor = found.gather(x.ks, cursor, KEYS_STEP, |key, _| matches(pattern, key));
        if cursor == 0 {
            return found.reply(reply);
        }
    }
}

/// A cursor as strtoul reads it: nothing is zero, and a minus sign turns the number around.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix('-') {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => digits.parse().ok().map(u64::wrapping_neg),
        Some(_) => None,
        None if text.is_empty() => Some(0),
        None => text.parse().ok(),
    }
}

pub(in crate::cmd) fn scan(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let cursor = parse_cursor(x.args.get(1)).ok_or(CmdError::Other("ERR invalid cursor"))?;
        let (mut pattern, mut kind, mut count) = (None, None, COUNT_DEFAULT);
        for i in (2..x.args.len()).step_by(2) {
            let (option, value) = (x.args.get(i), x.args.try_get(i + 1).ok_or(CmdError::Syntax)?);
            if is(option, "COUNT") {
                count = usize::try_from(integer(value)?)
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or(CmdError::Syntax)?;
            } else if is(option, "MATCH") {
                pattern = Some(value).filter(|p| *p != b"*");
            } else if is(option, "TYPE") {
                kind = Some(value);
            } else {
                return Err(CmdError::Syntax);
            }
        }
        let mut found = Found::default();
        let next = found.gather(x.ks, cursor, count, |key, k| {
            kind.is_none_or(|kind| is(kind, k.name())) && pattern.is_none_or(|p| matches(p, key))
        });
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(next).as_bytes());
        found.reply(reply);
        Ok(())
    });
}
