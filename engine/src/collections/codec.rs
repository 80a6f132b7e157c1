//! A collection as bytes, for snapshots.
//!
//! What comes back behaves like what was stored in every future command: elements are in the same order and in the same
//! form (few or many), because SPOP picks by position and removal from the two forms changes positions differently.
//!
//! Format: `docs/formats/collection.md`.

use super::{Collection, HashObj, List, Set, Stream, ZSet};
use crate::varint::{LengthError, put_len, take, take_bytes, take_len, take_u64};

/// Why bytes are not a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They end in the middle.
    Truncated,
    /// A length is malformed.
    Length,
    /// No collection has this kind or form.
    Kind {
        /// The byte that tells the kind.
        kind: u8,
        /// The byte that tells the form.
        form: u8,
    },
    /// An element stands twice, or is not where its order wants it.
    Element,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("collection ends too early"),
            DecodeError::Length => f.write_str("collection holds a malformed length"),
            DecodeError::Kind { kind, form } => write!(f, "no collection has kind {kind} and form {form:#x}"),
            DecodeError::Element => f.write_str("collection holds an element twice or out of order"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<LengthError> for DecodeError {
    fn from(error: LengthError) -> Self {
        match error {
            LengthError::Truncated => DecodeError::Truncated,
            LengthError::Malformed => DecodeError::Length,
        }
    }
}

/// Bits of the form byte.
pub(super) mod form {
    /// A hash table rather than a packed run.
    pub const MANY: u8 = 1;
    /// OBJECT ENCODING no longer says `listpack`.
    pub const OUTGREW_LISTPACK: u8 = 2;
    /// A set of sorted integers.
    pub const INTS: u8 = 4;
    /// A hash that says of each field when it expires.
    pub const EXPIRY: u8 = 8;
}

const LIST: u8 = 1;
const SET: u8 = 2;
const HASH: u8 = 3;
const ZSET: u8 = 4;
const STREAM: u8 = 5;

/// Bytes being read.
pub(super) struct Source<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Source<'a> {
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        Ok(take_bytes(self.buf, &mut self.at)?)
    }

    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        Ok(take_u64(self.buf, &mut self.at)?)
    }

    pub(super) fn one(&mut self) -> Result<u8, DecodeError> {
        Ok(take(self.buf, &mut self.at, 1)?[0])
    }

    pub(super) fn eight(&mut self) -> Result<[u8; 8], DecodeError> {
        Ok(take(self.buf, &mut self.at, 8)?
            .try_into()
            .expect("eight bytes were taken"))
    }
}

/// What the first bytes of an encoded collection tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedKind {
    /// A list.
    List,
    /// A set.
    Set,
    /// A hash.
    Hash {
        /// Whether its fields may expire, so that all of them may have.
        expires: bool,
    },
    /// A sorted set.
    ZSet,
    /// A stream.
    Stream,
}

impl EncodedKind {
    /// Looks at the first bytes; `None` when they are no collection's.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (&kind, &form) = (bytes.first()?, bytes.get(1)?);
        match kind {
            LIST => Some(Self::List),
            SET => Some(Self::Set),
            HASH => Some(Self::Hash {
                expires: form & form::EXPIRY != 0,
            }),
            ZSET => Some(Self::ZSet),
            STREAM => Some(Self::Stream),
            _ => None,
        }
    }
}

impl Collection {
    /// Appends the collection to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, form) = match self {
            Collection::List(_) => (LIST, 0),
            Collection::Set(x) => (SET, x.form()),
            Collection::Hash(x) => (HASH, x.form()),
            Collection::ZSet(x) => (ZSET, x.form()),
            Collection::Stream(_) => (STREAM, 0),
        };
        out.extend_from_slice(&[kind, form]);
        put_len(out, self.len());
        match self {
            Collection::List(x) => x.encode(out),
            Collection::Set(x) => x.encode(out),
            Collection::Hash(x) => x.encode(out),
            Collection::ZSet(x) => x.encode(out),
            Collection::Stream(x) => x.encode(out),
        }
    }

    /// Reads the collection at the start of `buf`. Returns it and how many bytes it took.
    pub fn decode(buf: &[u8]) -> Result<(Collection, usize), DecodeError> {
        let mut at = 0;
        let head = take(buf, &mut at, 2)?;
        let (kind, form) = (head[0], head[1]);
        let allowed = match kind {
            LIST | STREAM => 0,
            SET if form & form::INTS != 0 => form::INTS,
            SET => form::MANY,
            HASH => form::MANY | form::OUTGREW_LISTPACK | form::EXPIRY,
            ZSET => form::MANY | form::OUTGREW_LISTPACK,
            _ => return Err(DecodeError::Kind { kind, form }),
        };
        if form & !allowed != 0 {
            return Err(DecodeError::Kind { kind, form });
        }
        let len = take_len(buf, &mut at)? as usize;
        let mut source = Source { buf, at };
        let collection = match kind {
            LIST => Collection::List(List::decode(len, &mut source)?),
            SET => Collection::Set(Set::decode(form, len, &mut source)?),
            HASH => Collection::Hash(HashObj::decode(form, len, &mut source)?),
            ZSET => Collection::ZSet(ZSet::decode(form, len, &mut source)?),
            _ => Collection::Stream(Box::new(Stream::decode(len, &mut source)?)),
        };
        debug_assert_eq!(collection.len(), len);
        Ok((collection, source.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::stream::{Group, NodeLimits, Pending, StreamId, Trim};
    use crate::collections::{Elements, End, testing::Random};

    /// A collection with a history: it grew to about `size` elements and lost some.
    fn grown(kind: u64, size: u64, r: &mut Random) -> Collection {
        let (mut list, mut set, mut hash, mut zset) =
            (List::default(), Set::default(), HashObj::default(), ZSet::default());
        for n in 0..size {
            let name = if kind == 4 {
                r.below(size * 2).to_string()
            } else {
                format!("m{}", r.below(size * 2))
            };
            let end = if r.below(2) == 0 { End::Front } else { End::Back };
            list.push(name.as_bytes(), end);
            set.insert(name.as_bytes());
            hash.note_length(name.len() * (n as usize % 20));
            hash.insert(name.as_bytes(), &[b'v'; 9][..n as usize % 10]);
            if size > 1 && r.below(3) == 0 {
                hash.set_expire(name.as_bytes(), Some(1_000 + r.below(1 << 40)), 1_000);
            }
            zset.insert(name.as_bytes(), r.below(9) as f64 / 2.0);
        }
        for _ in 0..r.below(size) {
            list.drop_end(End::Front);
            if set.len() > 1 {
                set.take_nth(r.below(set.len() as u64) as usize, |_| {});
            }
            let name = format!("m{}", r.below(size * 2));
            hash.remove(name.as_bytes());
            zset.remove(name.as_bytes());
        }
        match kind {
            0 => Collection::List(list),
            1 | 4 => Collection::Set(set),
            2 => Collection::Hash(hash),
            _ => Collection::ZSet(zset),
        }
    }

    /// A stream with about as many entries, of which some were deleted, and two groups.
    fn grown_stream(size: u64, r: &mut Random) -> Collection {
        let (mut stream, mut ms) = (Stream::default(), 1);
        for group in ["g", "h"] {
            stream.add_group(
                group.as_bytes(),
                Group::new(StreamId::MIN, size.is_multiple_of(2).then_some(0)),
            );
        }
        for n in 0..size {
            ms += r.below(3);
            let id = stream.last_id.next().unwrap().max(StreamId { ms, seq: r.below(2) });
            let text = format!("v{}", r.below(size * 2));
            let fields = [("a", text.as_str()), ("b", ""), (&text, "x")];
            let fields = &fields[..1 + r.below(3) as usize];
            let pairs = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            stream.push(
                id,
                pairs,
                NodeLimits {
                    entries: 10,
                    bytes: 200,
                },
            );
            stream.with_group(b"h", |group, reading| {
                let consumer = group.meet(&text.as_bytes()[..2], ms);
                reading.note_read(group, id);
                group.set_pending(
                    id,
                    Pending {
                        consumer,
                        delivered_ms: ms,
                        deliveries: n,
                    },
                );
            });
            if r.below(4) == 0 {
                stream.remove(StreamId {
                    ms: r.below(ms + 1),
                    seq: 0,
                });
            }
        }
        stream.trim(Trim::MinId(StreamId { ms: ms / 9, seq: 0 }), false, u64::MAX);
        Collection::Stream(stream.into())
    }

    #[test]
    fn what_comes_back_behaves_the_same_from_then_on() {
        let mut r = Random(9);
        for round in 0..200 {
            let size = [1, 20, 200, 3000][round as usize / 6 % 4];
            let original = match round % 6 {
                5 => grown_stream(size, &mut r),
                kind => grown(kind, size, &mut r),
            };
            let mut bytes = Vec::new();
            original.encode(&mut bytes);
            let (copy, used) = Collection::decode(&bytes).unwrap();
            assert_eq!(used, bytes.len());
            let (mut a, mut b, mut again) = (original, copy, Vec::new());
            b.encode(&mut again);
            assert_eq!(again, bytes);
            for n in 0..40 {
                if let (Collection::Stream(a), Collection::Stream(b)) = (&mut a, &mut b) {
                    let len = a.len() as u64;
                    assert_eq!(
                        a.trim(Trim::Len(len * 9 / 10), true, 50),
                        b.trim(Trim::Len(len * 9 / 10), true, 50)
                    );
                    let id = a.last_id.next().unwrap();
                    for stream in [a, b] {
                        stream.push(id, [(&b"n"[..], &b"o"[..])].into_iter(), NodeLimits::default());
                    }
                    continue;
                }
                if let (Collection::Set(a), Collection::Set(b)) = (&mut a, &mut b) {
                    let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
                    if a.len() > 0 && n % 3 < 2 {
                        let at = r.below(a.len() as u64) as usize;
                        a.take_nth(at, |m| from_a.extend_from_slice(m));
                        b.take_nth(at, |m| from_b.extend_from_slice(m));
                    } else {
                        assert_eq!(a.insert(&[b'x', n]), b.insert(&[b'x', n]));
                    }
                    assert_eq!((from_a, a.encoding()), (from_b, b.encoding()));
                }
            }
            let mut images = [Vec::new(), Vec::new()];
            a.encode(&mut images[0]);
            b.encode(&mut images[1]);
            assert_eq!(images[0], images[1]);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_panic() {
        let mut r = Random(4);
        for kind in 0..6 {
            let mut bytes = Vec::new();
            let collection = match kind {
                5 => grown_stream(30, &mut r),
                kind => grown(kind, 30, &mut r),
            };
            collection.encode(&mut bytes);
            for len in 0..bytes.len() {
                assert!(Collection::decode(&bytes[..len]).is_err(), "kind {kind}, {len} bytes");
            }
            for _ in 0..2000 {
                let mut damaged = bytes.clone();
                let at = r.below(bytes.len() as u64) as usize;
                damaged[at] = r.below(256) as u8;
                if let Ok((collection, _)) = Collection::decode(&damaged) {
                    collection.encode(&mut Vec::new());
                }
            }
        }
        assert!(matches!(
            Collection::decode(&[9, 0, 0]),
            Err(DecodeError::Kind { kind: 9, form: 0 })
        ));
        assert!(matches!(
            Collection::decode(&[LIST, 1, 0]),
            Err(DecodeError::Kind { .. })
        ));
    }
}
