//! Walking through the keys, SCAN and KEYS; and what SCAN shares with the walks through one collection.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::glob::matches;
use crate::cmd::parse::{integer, is};
use crate::cmd::stored::without_mark;
use crate::cmd::{Args, Exec, Reply};
use crate::database::{Database, split};
use crate::keyspace::{Keyspace, Kind};

/// Keys of one step of SCAN when COUNT is not given.
const COUNT_DEFAULT: usize = 10;
/// Keys of one step of KEYS.
const KEYS_STEP: usize = 1024;

/// Values gathered for a reply whose header needs their number.
#[derive(Default)]
pub(super) struct Found {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
}

impl Found {
    /// Adds one value.
    pub(super) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// One step through the keys of a database, from `cursor` on; returns the next cursor. `wanted` sees the user's bytes.
    fn gather(
        &mut self,
        ks: &mut Keyspace,
        database: Database,
        cursor: u64,
        count: usize,
        mut wanted: impl FnMut(&[u8], Kind) -> bool,
    ) -> u64 {
        ks.scan(cursor, count, &mut |stored, kind| {
            let (found_in, key) = split(stored);
            if found_in == database && wanted(key, kind) {
                self.push(key);
            }
        })
    }

    fn reply(&self, reply: &mut dyn Reply) {
        reply.array(self.ends.len());
        self.reply_values(reply);
    }

    /// Answers with a set.
    pub(super) fn reply_set(&self, reply: &mut dyn Reply) {
        reply.set(self.ends.len());
        self.reply_values(reply);
    }

    fn reply_values(&self, reply: &mut dyn Reply) {
        let mut start = 0;
        for &end in &self.ends {
            reply.bulk(&self.bytes[start..end]);
            start = end;
        }
    }
}

pub(in crate::cmd) fn keys(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (database, pattern) = split(x.args.get(1));
    let (mut found, mut cursor) = (Found::default(), 0);
    loop {
        cursor = found.gather(x.ks, database, cursor, KEYS_STEP, |key, _| matches(pattern, key));
        if cursor == 0 || x.ks.has_missed() {
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

/// The cursor in argument `at`.
fn cursor_at(args: &Args<'_>, at: usize) -> Result<u64, CmdError> {
    parse_cursor(args.get(at)).ok_or(CmdError::Other("ERR invalid cursor"))
}

/// The value of COUNT.
fn scan_count(value: &[u8]) -> Result<usize, CmdError> {
    usize::try_from(integer(value)?)
        .ok()
        .filter(|n| *n > 0)
        .ok_or(CmdError::Syntax)
}

/// One step through the elements of a collection: `<command> key cursor [MATCH pattern] [COUNT count]`.
pub(super) struct ElementScan<'a> {
    pub(super) cursor: u64,
    pub(super) count: usize,
    pattern: Option<&'a [u8]>,
    /// What the answer holds.
    pub(super) found: Found,
}

impl<'a> ElementScan<'a> {
    /// The cursor alone: Redis looks for the key before it reads the options.
    pub(super) fn parse(args: &Args<'a>) -> Result<Self, CmdError> {
        Ok(Self {
            cursor: cursor_at(args, 2)?,
            count: COUNT_DEFAULT,
            pattern: None,
            found: Found::default(),
        })
    }

    /// The options.
    pub(super) fn parse_options(&mut self, args: &Args<'a>) -> Result<(), CmdError> {
        if self.parse_hash_options(args)? {
            Ok(())
        } else {
            Err(CmdError::Other("ERR NOVALUES option can only be used in HSCAN"))
        }
    }

    /// The options of HSCAN. Returns whether the answer shall hold values.
    pub(super) fn parse_hash_options(&mut self, args: &Args<'a>) -> Result<bool, CmdError> {
        let (mut i, mut values) = (3, true);
        while let Some(option) = args.try_get(i) {
            i += 2;
            if is(option, "NOVALUES") {
                values = false;
                i -= 1;
                continue;
            }
            let value = args.try_get(i - 1).ok_or(CmdError::Syntax)?;
            if is(option, "COUNT") {
                self.count = scan_count(value)?;
            } else if is(option, "MATCH") {
                self.pattern = Some(value).filter(|p| *p != b"*");
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(values)
    }

    /// Whether an element of this name belongs in the answer.
    pub(super) fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|p| matches(p, name))
    }

    /// Answers with the next cursor and what was found.
    pub(super) fn reply(&self, next: u64, reply: &mut dyn Reply) {
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(next).as_bytes());
        self.found.reply(reply);
    }
}

pub(in crate::cmd) fn scan(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (database, args) = without_mark(&x.args);
        let cursor = cursor_at(&args, 1)?;
        let (mut pattern, mut kind, mut count) = (None, None, COUNT_DEFAULT);
        for i in (2..args.len()).step_by(2) {
            let (option, value) = (args.get(i), args.try_get(i + 1).ok_or(CmdError::Syntax)?);
            if is(option, "COUNT") {
                count = scan_count(value)?;
            } else if is(option, "MATCH") {
                pattern = Some(value).filter(|p| *p != b"*");
            } else if is(option, "TYPE") {
                kind = Some(value);
            } else {
                return Err(CmdError::Syntax);
            }
        }
        let mut found = Found::default();
        let next = found.gather(x.ks, database, cursor, count, |key, k| {
            kind.is_none_or(|kind| is(kind, k.name())) && pattern.is_none_or(|p| matches(p, key))
        });
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(next).as_bytes());
        found.reply(reply);
        Ok(())
    });
}
