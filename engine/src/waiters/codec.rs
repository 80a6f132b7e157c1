//! The waiters as bytes, and back: a part of every checkpoint of a group's state.
//!
//! Format: `docs/formats/waiters.md`.

use super::{Waiter, WaiterId, Waiters};
use crate::cmd::by_id;
use crate::cmd::op::decode_op;
use crate::keyspace::Kind;
use crate::varint::{LengthError, put_bytes, put_len, put_u64, take, take_len, take_u64};

/// The only format version so far.
const VERSION: u8 = 1;
const EVEN_IF_GONE: u8 = 1;

/// Why bytes are not waiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWaiters {
    /// Another format version.
    Version(u8),
    /// They end too early, go on too long, or make no sense.
    Malformed,
}

impl std::fmt::Display for BadWaiters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadWaiters::Version(version) => write!(f, "waiters of format version {version} are not known here"),
            BadWaiters::Malformed => f.write_str("the list of waiting commands makes no sense"),
        }
    }
}

impl std::error::Error for BadWaiters {}

impl From<LengthError> for BadWaiters {
    fn from(_: LengthError) -> Self {
        BadWaiters::Malformed
    }
}

impl Waiters {
    /// Appends everything that later entries depend on. To be called between entries.
    pub fn export(&self, out: &mut Vec<u8>) {
        debug_assert!(
            self.ready.is_empty() && self.serving.is_none(),
            "in the middle of an entry"
        );
        out.push(VERSION);
        put_u64(out, self.origin);
        put_len(out, self.by_id.len());
        for (id, waiter) in &self.by_id {
            put_u64(out, id.batch);
            put_u64(out, u64::from(id.op));
            out.push(kind_number(waiter.kind));
            out.push(if waiter.even_if_gone { EVEN_IF_GONE } else { 0 });
            put_len(out, waiter.keys.len());
            waiter.keys.iter().for_each(|key| put_bytes(out, key));
            put_bytes(out, &waiter.op);
        }
    }

    /// The waiters that [`Waiters::export`] wrote.
    ///
    /// # Errors
    /// The bytes are not what it writes.
    pub fn import(bytes: &[u8]) -> Result<Self, BadWaiters> {
        let mut at = 0;
        let byte = |at: &mut usize| take(bytes, at, 1).map(|byte| byte[0]);
        let version = byte(&mut at)?;
        if version != VERSION {
            return Err(BadWaiters::Version(version));
        }
        let mut waiters = Self {
            origin: take_u64(bytes, &mut at)?,
            ..Self::default()
        };
        for _ in 0..take_len(bytes, &mut at)? {
            let batch = take_u64(bytes, &mut at)?;
            let op = u32::try_from(take_u64(bytes, &mut at)?).map_err(|_| BadWaiters::Malformed)?;
            let kind = kind_of(byte(&mut at)?).ok_or(BadWaiters::Malformed)?;
            let even_if_gone = match byte(&mut at)? {
                0 => false,
                EVEN_IF_GONE => true,
                _ => return Err(BadWaiters::Malformed),
            };
            let mut keys = Vec::new();
            for _ in 0..take_len(bytes, &mut at)? {
                keys.push(string(bytes, &mut at)?);
            }
            let waiter = Waiter {
                kind,
                even_if_gone,
                keys,
                op: string(bytes, &mut at)?,
            };
            let id = WaiterId { batch, op };
            let in_order = waiters.by_id.last_key_value().is_none_or(|(last, _)| *last < id);
            if !in_order || !is_command(&waiter.op) {
                return Err(BadWaiters::Malformed);
            }
            waiters.insert(id, waiter);
        }
        if at != bytes.len() {
            return Err(BadWaiters::Malformed);
        }
        Ok(waiters)
    }
}

fn string(bytes: &[u8], at: &mut usize) -> Result<Box<[u8]>, LengthError> {
    let len = take_len(bytes, at)?;
    take(bytes, at, len as usize).map(Into::into)
}

/// Whether `op` is one command with as many arguments as it takes.
fn is_command(op: &[u8]) -> bool {
    let mut spans = Vec::new();
    match decode_op(op, &mut spans) {
        Ok((id, len)) => len == op.len() && by_id(id).is_some_and(|spec| spec.accepts(spans.len())),
        Err(_) => false,
    }
}

/// On disk: never renumbered.
fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Str => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::Hash => 3,
        Kind::ZSet => 4,
        Kind::Stream => 5,
    }
}

fn kind_of(number: u8) -> Option<Kind> {
    [Kind::Str, Kind::List, Kind::Set, Kind::Hash, Kind::ZSet, Kind::Stream]
        .into_iter()
        .find(|kind| kind_number(*kind) == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::op::encode_op;
    use crate::cmd::{Args, lookup};

    fn sample() -> Waiters {
        let mut op = Vec::new();
        let args = Args::new(b"blpopab0", &[(0, 5), (5, 1), (6, 1), (7, 1)]);
        encode_op(&mut op, lookup(b"blpop").unwrap().id, &args);
        let mut waiters = Waiters::default();
        for (batch, number, even_if_gone, kind) in [(3, 9, false, Kind::List), (u64::MAX, u32::MAX, true, Kind::ZSet)] {
            waiters.begin_entry(0xfeed_0000_0000_0001, batch);
            let waiter = Waiter {
                kind,
                even_if_gone,
                keys: vec![b"a".as_slice().into(), [7; 300].as_slice().into()],
                op: op.clone().into(),
            };
            waiters.register(number, 5, waiter);
            waiters.take_registered();
        }
        waiters
    }

    #[test]
    fn what_was_exported_is_imported() {
        for waiters in [Waiters::default(), sample()] {
            let mut bytes = Vec::new();
            waiters.export(&mut bytes);
            let found = Waiters::import(&bytes).unwrap();
            assert_eq!((found.origin, found.minding), (waiters.origin, waiters.minding));
            assert_eq!((found.by_id, found.by_key), (waiters.by_id, waiters.by_key));
        }
    }

    #[test]
    fn what_was_not_exported_is_refused() {
        let mut bytes = Vec::new();
        sample().export(&mut bytes);
        for len in 0..bytes.len() {
            assert!(Waiters::import(&bytes[..len]).is_err(), "{len}");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert_eq!(Waiters::import(&longer).err(), Some(BadWaiters::Malformed));
        bytes[0] = 2;
        assert_eq!(Waiters::import(&bytes).err(), Some(BadWaiters::Version(2)));
    }
}
