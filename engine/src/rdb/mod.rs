//! Values in the format of Redis's RDB files, as DUMP gives and RESTORE takes them.
//!
//! A payload is the value, the version of the format, and a checksum of both. Written is what Redis 7.0 writes, without
//! compression, so that both 7.0 and later ones read it, but for hashes with fields that expire; read is what Redis 7.0 to 7.4 write.
//!
//! Format: `docs/formats/dump.md`.

mod crc64;
mod functions;
mod listpack;
mod lzf;
mod read;
mod stream;
mod write;

use crate::collections::Collection;
use crc64::crc64;
pub use functions::{dump_libraries, restore_libraries};

/// Version written: that of Redis 7.0, which knows all that is written here.
const VERSION_WRITTEN: u16 = 10;
/// Version written where fields of a hash expire: that of Redis 7.4. It is the latest version read, too.
const VERSION_OF_FIELD_EXPIRY: u16 = 12;
/// Bytes behind the value: version and checksum.
const FOOTER_BYTES: usize = 10;

/// What the first byte of a value says.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    /// Scores are text.
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    /// Scores are eight bytes.
    pub const ZSET_2: u8 = 5;
    pub const SET_INTSET: u8 = 11;
    /// Of Redis before 7.0.
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_2: u8 = 19;
    /// Since version 11.
    pub const SET_LISTPACK: u8 = 20;
    /// Since version 11.
    pub const STREAM_3: u8 = 21;
    /// Some fields expire. Since version 12.
    pub const HASH_EXPIRING: u8 = 24;
    /// Since version 12.
    pub const HASH_LISTPACK_EXPIRING: u8 = 25;
}

/// A value of any type.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    Str(Vec<u8>),
    /// Anything else.
    Collection(Collection),
}

/// Why a payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// It is of a later version, or its checksum is wrong.
    Footer,
    /// The value is damaged, empty, or of a type that is not known here.
    Value,
}

fn sealed(payload: Vec<u8>) -> Vec<u8> {
    let version = match payload.first() {
        Some(&kind::HASH_EXPIRING) => VERSION_OF_FIELD_EXPIRY,
        _ => VERSION_WRITTEN,
    };
    seal_as(payload, version)
}

fn seal_as(mut payload: Vec<u8>, version: u16) -> Vec<u8> {
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// The payload of a string.
pub fn dump_str(value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind::STRING];
    write::put_string(&mut out, value);
    sealed(out)
}

/// The payload of a collection.
pub fn dump_collection(value: &Collection) -> Vec<u8> {
    let mut out = Vec::new();
    write::put_collection(&mut out, value);
    sealed(out)
}

/// The value of a payload.
pub fn restore(payload: &[u8]) -> Result<Value, PayloadError> {
    read::value(checked_value(payload)?).ok_or(PayloadError::Value)
}

/// What stands before a payload's version and checksum, which are right.
fn checked_value(payload: &[u8]) -> Result<&[u8], PayloadError> {
    let value_len = payload.len().checked_sub(FOOTER_BYTES).ok_or(PayloadError::Footer)?;
    let (sealed, checksum) = payload.split_at(payload.len() - 8);
    let version = u16::from_le_bytes([sealed[value_len], sealed[value_len + 1]]);
    if version > VERSION_OF_FIELD_EXPIRY || crc64(sealed).to_le_bytes() != checksum {
        return Err(PayloadError::Footer);
    }
    Ok(&payload[..value_len])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::op::op_seed;
    use crate::collections::stream::{Group, NodeLimits, Pending, StreamId};
    use crate::collections::{End, HashObj, List, Set, Stream, ZSet};

    /// A value with some history, of any type and size.
    fn sample(seed: u64) -> Value {
        let draw = |n: u64, limit: u64| op_seed(seed, n) % limit;
        let size = [1, 5, 40, 700][draw(0, 4) as usize];
        let text = |n: u64| match draw(2 * n + 10, 12) {
            0 => "long ".repeat(draw(n, 200) as usize + 1),
            1..=5 => (draw(n, u64::MAX) as i64 >> draw(n, 63)).to_string(),
            _ => format!("m{}", draw(2 * n + 11, 5000)),
        };
        let (mut list, mut set, mut hash, mut zset) =
            (List::default(), Set::default(), HashObj::default(), ZSet::default());
        for n in 0..size {
            let text = text(n);
            list.push(text.as_bytes(), End::Back);
            set.insert(text.as_bytes());
            hash.note_length(text.len());
            hash.insert(text.as_bytes(), &text.as_bytes()[..text.len() / 2]);
            if draw(2, 2) == 0 && draw(n + 7, 3) == 0 {
                hash.set_expire(text.as_bytes(), Some(1 + draw(n + 8, 1 << 45)), 0);
            }
            zset.insert(text.as_bytes(), draw(n + 5, 100) as f64 / 8.0);
        }
        Value::Collection(match draw(1, 7) {
            6 => Collection::Stream(stream(seed, size).into()),
            0 => return Value::Str(text(7).into_bytes()),
            1 => Collection::List(list.into()),
            2 => Collection::Set(set),
            3 => Collection::Set((0..size).fold(Set::default(), |mut ints, n| {
                ints.insert((draw(n, 9_000_000_000) as i64 - 70_000).to_string().as_bytes());
                ints
            })),
            4 => Collection::Hash(hash),
            _ => Collection::ZSet(zset),
        })
    }

    /// A stream with groups.
    fn stream(seed: u64, size: u64) -> Stream {
        let draw = |n: u64, limit: u64| op_seed(seed + 77, n) % limit;
        let mut stream = Stream::default();
        for name in [&b"g"[..], b"h"] {
            stream.add_group(name, Group::new(StreamId::MIN, seed.is_multiple_of(2).then_some(0)));
        }
        for n in 0..size {
            let id = StreamId {
                ms: 1000 + n / 3,
                seq: n,
            };
            let value = draw(n, 1 << 40).to_string();
            let pairs = [("a", value.as_str()), ("b", "x"), (&value, "y")];
            let pairs = pairs[..1 + draw(n, 3) as usize].iter();
            let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            stream.push(id, pairs, NodeLimits::default());
            stream.with_group(b"h", |group, reading| {
                let consumer = group.meet(&value.as_bytes()[..1], 5000 + n);
                reading.note_read(group, id);
                let pending = Pending {
                    consumer,
                    delivered_ms: 4000 + n,
                    deliveries: draw(n, 3),
                };
                group.set_pending(id, pending);
            });
            if draw(n, 5) == 0 {
                stream.remove(id);
            }
        }
        stream
    }

    fn dump(value: &Value) -> Vec<u8> {
        match value {
            Value::Str(text) => dump_str(text),
            Value::Collection(collection) => dump_collection(collection),
        }
    }

    #[test]
    fn what_was_dumped_is_restored() {
        for seed in 0..400 {
            let payload = dump(&sample(seed));
            let again = dump(&restore(&payload).unwrap());
            assert_eq!(again, payload, "seed {seed}");
        }
    }

    #[test]
    fn damage_is_refused_and_never_panics() {
        for seed in 0..60 {
            let payload = dump(&sample(seed));
            let draw = |n: u64, limit: usize| (op_seed(seed + 1000, n) % limit as u64) as usize;
            for n in 0..200 {
                let mut damaged = payload.clone();
                damaged[draw(2 * n, payload.len())] ^= 1 << (n % 8);
                assert_eq!(restore(&damaged).err(), Some(PayloadError::Footer));
                // With a fitting checksum it may be another value, or none.
                let cut = if n % 2 == 0 {
                    FOOTER_BYTES
                } else {
                    FOOTER_BYTES + draw(2 * n + 1, 9)
                };
                damaged.truncate(payload.len().saturating_sub(cut).max(1));
                if let Ok(value) = restore(&sealed(damaged)) {
                    dump(&value);
                }
            }
        }
        assert_eq!(restore(b"").err(), Some(PayloadError::Footer));
        assert_eq!(restore(&sealed(Vec::new())).err(), Some(PayloadError::Value));
    }

    #[test]
    fn payloads_of_redis_are_read() {
        // A hundred bytes "abab...", compressed by redis-server 7.0.15.
        let payload = b"\x00\xc3\n@d\x02aba\xe0V\x01\x01ab\n\x00\x178=\x94 \x96\xd8c";
        let Ok(Value::Str(text)) = restore(payload) else {
            panic!("it is a string")
        };
        assert_eq!(text, b"ab".repeat(50));
    }
}
