//! Conditions on the string at a key, and what they are for: SET's IFEQ and its kin, DELEX, DIGEST, MSETEX. Of Redis 8.4.

use super::expiry::{Unit, expire_moment};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::is;
use crate::cmd::{Exec, Reply};
use crate::keyspace::{EventClasses, Expire, Keyspace, WrongType};
use crate::number::parse_i64;
use xxhash_rust::xxh3::xxh3_64;

/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 16;

/// What must be true of a key for it to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    /// There is no such key.
    Absent,
    /// There is one.
    Present,
    /// It holds this string.
    Is(&'a [u8]),
    /// It holds another one, or does not exist.
    IsNot(&'a [u8]),
    /// It holds a string of this digest.
    Digest(u64),
    /// It holds one of another digest, or does not exist.
    NotDigest(u64),
}

impl<'a> Condition<'a> {
    /// The condition called `name` about `argument`; `None` when there is none of that name.
    pub(super) fn comparison(name: &[u8], argument: &'a [u8]) -> Result<Option<Self>, CmdError> {
        Ok(Some(match () {
            () if is(name, "IFEQ") => Condition::Is(argument),
            () if is(name, "IFNE") => Condition::IsNot(argument),
            () if is(name, "IFDEQ") => Condition::Digest(parse_digest(argument)?),
            () if is(name, "IFDNE") => Condition::NotDigest(parse_digest(argument)?),
            () => return Ok(None),
        }))
    }

    /// Whether it holds. Only whether a key exists can be asked of one that holds no string.
    pub(super) fn holds(self, ks: &mut Keyspace, key: &[u8]) -> Result<bool, WrongType> {
        if matches!(self, Condition::Absent | Condition::Present) {
            return Ok(ks.exists(key) == (self == Condition::Present));
        }
        let value = ks.get_str(key)?;
        Ok(match self {
            Condition::Absent => value.is_none(),
            Condition::Present => value.is_some(),
            Condition::Is(wanted) => value == Some(wanted),
            Condition::IsNot(other) => value != Some(other),
            Condition::Digest(wanted) => value.map(xxh3_64) == Some(wanted),
            Condition::NotDigest(other) => value.map(xxh3_64) != Some(other),
        })
    }
}

fn parse_digest(text: &[u8]) -> Result<u64, CmdError> {
    let error = CmdError::Other("ERR digest must be exactly 16 hexadecimal characters");
    let sound = text.len() == DIGEST_DIGITS && text.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(text).ok().filter(|_| sound).ok_or(error)?;
    u64::from_str_radix(text, 16).map_err(|_| error)
}

pub(in crate::cmd) fn digest(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        match x.ks.get_str(x.args.get(1))? {
            Some(value) => reply.bulk(format!("{:0DIGEST_DIGITS$x}", xxh3_64(value)).as_bytes()),
            None => reply.null(),
        }
        Ok(())
    });
}

/// DELEX key [IFEQ value | IFNE value | IFDEQ digest | IFDNE digest]
pub(in crate::cmd) fn delex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let wanted = match x.args.len() {
            2 => Some(Condition::Present),
            4 => Condition::comparison(x.args.get(2), x.args.get(3))?,
            _ => return Err(CmdError::Arity("delex")),
        };
        let wanted = wanted.ok_or(CmdError::Other(
            "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
        ))?;
        let deleted = wanted.holds(x.ks, key)? && x.ks.del(key);
        if deleted {
            x.ks.note(EventClasses::GENERIC, "del", key);
        }
        reply.int(i64::from(deleted));
        Ok(())
    });
}

/// MSETEX numkeys key value [key value ...] [NX | XX] [EX | PX | EXAT | PXAT number | KEEPTTL]: all of them or none.
pub(in crate::cmd) fn msetex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let count = parse_i64(x.args.get(1)).filter(|n| (1..=i64::from(i32::MAX)).contains(n));
        let count = count.ok_or(CmdError::Other("ERR invalid numkeys value"))? as usize;
        let end = 2 + 2 * count;
        if end > x.args.len() {
            return Err(CmdError::Other("ERR wrong number of key-value pairs"));
        }
        let (mut condition, mut keep, mut expire, mut at) = (None, false, None, end);
        while let Some(word) = x.args.try_get(at) {
            let unit = Unit::OPTIONS.iter().find(|(name, _)| is(word, name));
            match (unit, x.args.try_get(at + 1)) {
                (Some((_, unit)), Some(number)) if !keep && expire.is_none() => {
                    expire = Some((*unit, number));
                    at += 1;
                }
                (None, _) if is(word, "NX") && condition.is_none() => condition = Some(Condition::Absent),
                (None, _) if is(word, "XX") && condition.is_none() => condition = Some(Condition::Present),
                (None, _) if is(word, "KEEPTTL") && expire.is_none() => keep = true,
                _ => return Err(CmdError::Syntax),
            }
            at += 1;
        }
        let expire = match expire {
            Some((unit, number)) => Expire::At(expire_moment(x.ks.now_ms(), unit, number, "msetex")?),
            None if keep => Expire::Keep,
            None => Expire::Clear,
        };
        let mut holds = true;
        for at in (2..end).step_by(2) {
            holds &= condition.map_or(Ok(true), |c: Condition<'_>| c.holds(x.ks, x.args.get(at)))?;
        }
        if holds {
            for at in (2..end).step_by(2) {
                let key = x.args.get(at);
                x.ks.set_str(key, x.args.get(at + 1), expire);
                x.ks.note(EventClasses::STRING, "set", key);
                if matches!(expire, Expire::At(_)) {
                    x.ks.note(EventClasses::GENERIC, "expire", key);
                }
            }
        }
        reply.int(i64::from(holds));
        Ok(())
    });
}
