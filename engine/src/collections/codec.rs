//! A collection as bytes, for snapshots.
//!
//! What comes back behaves like what was stored in every future command: elements are in the same order and in the same
//! form (few or many), because SPOP picks by position and removal from the two forms changes positions differently.
//!
//! Format: `docs/formats/collection.md`.

use super::table::{PairForm, Table};
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
        self.encode_head(out);
        match self {
            Collection::List(x) => x.encode(out),
            Collection::Set(x) => x.encode(out),
            Collection::Hash(x) => x.encode(out),
            Collection::ZSet(x) => x.encode(out),
            Collection::Stream(x) => x.encode(out),
        }
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        let (kind, form) = match self {
            Collection::List(_) => (LIST, 0),
            Collection::Set(x) => (SET, x.form()),
            Collection::Hash(x) => (HASH, x.form()),
            Collection::ZSet(x) => (ZSET, x.form()),
            Collection::Stream(_) => (STREAM, 0),
        };
        out.extend_from_slice(&[kind, form]);
        put_len(out, self.len());
    }

    /// Keeps what the collection is now, to be taken in pages ([`Collection::take_page`]) while it changes. Returns what is to
    /// stand before the pages; all together is what [`Collection::encode`] would append now. `None`: it has to be taken as a
    /// whole, as it is small, a stream, or a hash of which fields expire.
    pub fn begin_keeping(&mut self) -> Option<Vec<u8>> {
        let mut head = Vec::new();
        self.encode_head(&mut head);
        match self {
            Collection::List(x) => x.begin_keeping(),
            Collection::Set(x) => x.table()?.begin_keeping(PairForm::Key),
            Collection::Hash(x) => x.table()?.begin_keeping(PairForm::KeyAndValue),
            Collection::ZSet(x) => x.table()?.begin_keeping(PairForm::KeyAndFixed),
            Collection::Stream(_) => return None,
        }
        Some(head)
    }

    /// Appends the next page; `false` when all were taken.
    pub fn take_page(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Collection::List(x) => x.take_page(out),
            Collection::Set(x) => x.table().is_some_and(|table| table.take_page(out)),
            Collection::Hash(x) => x.kept_table().is_some_and(|table| table.take_page(out)),
            Collection::ZSet(x) => x.table().is_some_and(|table| table.take_page(out)),
            Collection::Stream(_) => false,
        }
    }

    /// Whether pages of it are kept.
    pub fn is_kept(&self) -> bool {
        match self {
            Collection::List(x) => x.is_kept(),
            Collection::Set(x) => x.is_kept(),
            Collection::Hash(x) => x.is_kept(),
            Collection::ZSet(x) => x.is_kept(),
            Collection::Stream(_) => false,
        }
    }

    /// Nobody wants the pages that are left.
    pub fn end_keeping(&mut self) {
        match self {
            Collection::List(x) => x.end_keeping(),
            Collection::Set(x) => x.table().into_iter().for_each(Table::end_keeping),
            Collection::Hash(x) => x.kept_table().into_iter().for_each(Table::end_keeping),
            Collection::ZSet(x) => x.table().into_iter().for_each(Table::end_keeping),
            Collection::Stream(_) => {}
        }
    }

    /// Reads the collection at the start of `buf`. Returns it and how many bytes it took.
    pub fn decode(buf: &[u8]) -> Result<(Collection, usize), DecodeError> {
        let Head { kind, form, len, at } = Head::of(buf)?;
        let mut source = Source { buf, at };
        let collection = match kind {
            LIST => Collection::List(List::decode(len, &mut source)?.into()),
            SET => Collection::Set(Set::decode(form, len, &mut source)?),
            HASH => Collection::Hash(HashObj::decode(form, len, &mut source)?),
            ZSET => Collection::ZSet(ZSet::decode(form, len, &mut source)?),
            _ => Collection::Stream(Box::new(Stream::decode(len, &mut source)?)),
        };
        debug_assert_eq!(collection.len(), len);
        Ok((collection, source.at))
    }
}

/// What stands before the elements.
struct Head {
    kind: u8,
    form: u8,
    len: usize,
    /// Where the elements begin.
    at: usize,
}

impl Head {
    fn of(buf: &[u8]) -> Result<Self, DecodeError> {
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
        Ok(Self { kind, form, len, at })
    }
}

/// Collections of more elements are worth being read in steps.
const STEPPED_FROM: usize = 1024;

/// A large collection that is read in steps, so that others are served meanwhile.
pub struct Decoder {
    collection: Collection,
    /// Elements to come.
    left: usize,
    /// Bytes to come, as far as they are known, from `at` on.
    bytes: Vec<u8>,
    at: usize,
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// There is more to read.
    More,
    /// The next element needs bytes that did not come yet.
    Wanting,
    /// That was the last element.
    All,
}

impl Decoder {
    /// Looks at the beginning of an encoded collection, which is taken. `None`: it has to be read as a whole
    /// ([`Collection::decode`]), being small, or a stream.
    ///
    /// # Errors
    /// Nothing encoded begins like that.
    pub fn begin(buf: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Head { kind, form, len, at } = Head::of(buf)?;
        let is_many = form & form::MANY != 0;
        let collection = match kind {
            _ if len <= STEPPED_FROM => return Ok(None),
            LIST => Collection::List(Box::default()),
            SET if is_many => Collection::Set(Set::empty(form)),
            HASH if is_many => Collection::Hash(HashObj::empty(form)),
            ZSET if is_many => Collection::ZSet(ZSet::empty_of_many(form)),
            _ => return Ok(None),
        };
        Ok(Some(Self {
            collection,
            left: len,
            bytes: buf[at..].to_vec(),
            at: 0,
        }))
    }

    /// Appends the next of its bytes. Until [`Decoder::step`] wants them, there must be others.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// Reads up to `count` more elements.
    ///
    /// # Errors
    /// The bytes are not those of a collection. That they end too early is no error here: [`Decoded::Wanting`].
    pub fn step(&mut self, count: usize) -> Result<Decoded, DecodeError> {
        for _ in 0..count.min(self.left) {
            let mut source = Source {
                buf: &self.bytes,
                at: self.at,
            };
            let read = match &mut self.collection {
                Collection::List(x) => x.decode_some(1, &mut source),
                Collection::Set(x) => x.decode_some(1, &mut source),
                Collection::Hash(x) => x.decode_some(1, &mut source),
                Collection::ZSet(x) => x.decode_some(1, &mut source),
                Collection::Stream(_) => unreachable!("read as a whole"),
            };
            match read {
                // Nothing of it was added.
                Err(DecodeError::Truncated) => return Ok(Decoded::Wanting),
                read => read?,
            }
            (self.left, self.at) = (self.left - 1, source.at);
        }
        Ok(if self.left == 0 { Decoded::All } else { Decoded::More })
    }

    /// The collection, when all was read.
    ///
    /// # Errors
    /// There are bytes behind it.
    pub fn finish(self) -> Result<Collection, DecodeError> {
        debug_assert_eq!(self.left, 0, "all was read");
        if self.at == self.bytes.len() {
            Ok(self.collection)
        } else {
            Err(DecodeError::Length)
        }
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
            0 => Collection::List(list.into()),
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
            let mut fed = bytes.len().min(9 + r.below(50) as usize);
            let mut in_steps = Decoder::begin(&bytes[..fed]).unwrap();
            assert_eq!(in_steps.is_some(), copy.len() > STEPPED_FROM && round % 6 != 5);
            while let Some(decoder) = &mut in_steps {
                match decoder.step(1 + r.below(900) as usize).unwrap() {
                    Decoded::More => {}
                    Decoded::Wanting => {
                        let part = fed..bytes.len().min(fed + 1 + r.below(5_000) as usize);
                        assert!(!part.is_empty(), "all bytes are all elements");
                        fed = part.end;
                        decoder.feed(&bytes[part]);
                    }
                    Decoded::All => {
                        let collection = in_steps.take().unwrap().finish().unwrap();
                        let mut again = Vec::new();
                        collection.encode(&mut again);
                        assert!(fed == bytes.len() && again == bytes);
                    }
                }
            }
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
    fn what_is_kept_is_what_was_there_whatever_changes() {
        for seed in 0..200 {
            let mut r = Random(seed);
            let size = [40, 300, 3000][seed as usize / 4 % 3];
            let mut collection = grown(seed % 4, size, &mut r);
            if matches!(&collection, Collection::Hash(hash) if hash.has_expiry()) {
                let mut hash = HashObj::default();
                for n in 0..size {
                    hash.insert(format!("m{n}").as_bytes(), &[b'v'; 9][..n as usize % 10]);
                }
                collection = Collection::Hash(hash);
            }
            let mut expected = Vec::new();
            collection.encode(&mut expected);
            let Some(mut taken) = collection.begin_keeping() else {
                assert!(size == 40, "only small ones have no pages");
                continue;
            };
            let steps = r.below(40) as usize;
            loop {
                for _ in 0..r.below(steps as u64 + 1) {
                    change(&mut collection, size, &mut r);
                }
                if !collection.take_page(&mut taken) {
                    break;
                }
            }
            assert!(taken == expected, "seed {seed}");
            collection.end_keeping();
            let (mut again, mut copy) = (Vec::new(), Vec::new());
            collection.encode(&mut again);
            Collection::decode(&again).unwrap().0.encode(&mut copy);
            assert_eq!(again, copy);
        }
    }

    /// One random change.
    fn change(collection: &mut Collection, size: u64, r: &mut Random) {
        let name = format!("m{}", r.below(size * 2));
        match collection {
            Collection::List(list) => {
                let end = if r.below(2) == 0 { End::Front } else { End::Back };
                let at = r.below(list.len() as u64 + 1) as usize;
                match r.below(12) {
                    0..=2 => list.push(name.as_bytes(), end),
                    3..=6 => {
                        list.drop_end(end);
                    }
                    7 => {
                        list.set(at, &vec![b'x'; r.below(500) as usize]);
                    }
                    8 => list.insert(at, name.as_bytes()),
                    9 => {
                        list.remove_equal(name.as_bytes(), 3, end);
                    }
                    _ if list.len() > 10 && r.below(4) == 0 => {
                        let cut = list.trim(r.below(list.len() as u64 / 3) as usize, list.len() / 2);
                        assert!(cut.len() < size as usize * 3);
                    }
                    _ => {}
                }
            }
            Collection::Set(set) => match r.below(3) {
                0 => {
                    set.insert(name.as_bytes());
                }
                1 => {
                    set.remove(name.as_bytes());
                }
                _ if set.len() > 0 => set.take_nth(r.below(set.len() as u64) as usize, |_| {}),
                _ => {}
            },
            Collection::Hash(hash) => match r.below(4) {
                0 => {
                    hash.remove(name.as_bytes());
                }
                1 if hash.get(name.as_bytes()).is_some() => hash.set_expire(name.as_bytes(), Some(5_000), 1_000),
                _ => {
                    hash.insert(name.as_bytes(), &vec![b'y'; r.below(20) as usize]);
                }
            },
            Collection::ZSet(zset) => match r.below(3) {
                0 => {
                    zset.remove(name.as_bytes());
                }
                _ => {
                    zset.insert(name.as_bytes(), r.below(1000) as f64);
                }
            },
            Collection::Stream(_) => unreachable!("streams have no pages"),
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
