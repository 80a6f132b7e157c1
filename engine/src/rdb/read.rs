//! Bytes to values. Everything is checked; `None` means that the bytes are no value.

use super::stream::{Form, stream};
use super::{Value, kind, listpack, lzf};
use crate::collections::{Collection, End, FIELD_EXPIRY_MS_MAX, HashObj, List, Set, ZSet};
use crate::number::{parse_f64, parse_i64};

/// Longest string, in bytes: a payload says how long an unpacked one is.
const STRING_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Node of a list that is one large element.
const NODE_PLAIN: u64 = 1;
/// Node of a list that is a listpack.
const NODE_PACKED: u64 = 2;

/// What a length may be instead.
enum Length {
    Plain(u64),
    /// The number of a special encoding.
    Special(u8),
}

pub(super) struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn length_or_special(&mut self) -> Option<Length> {
        let [first] = self.array()?;
        Some(match first >> 6 {
            0 => Length::Plain(u64::from(first)),
            1 => Length::Plain(u64::from(first & 63) << 8 | u64::from(self.array::<1>()?[0])),
            3 => Length::Special(first & 63),
            _ if first == 0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            _ if first == 0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            _ => return None,
        })
    }

    pub(super) fn length(&mut self) -> Option<u64> {
        match self.length_or_special()? {
            Length::Plain(len) => Some(len),
            Length::Special(_) => None,
        }
    }

    pub(super) fn string(&mut self) -> Option<Vec<u8>> {
        let number = |n: i64| itoa::Buffer::new().format(n).as_bytes().to_vec();
        Some(match self.length_or_special()? {
            Length::Plain(len) => self.take(usize::try_from(len).ok()?)?.to_vec(),
            Length::Special(0) => number(i64::from(i8::from_le_bytes(self.array()?))),
            Length::Special(1) => number(i64::from(i16::from_le_bytes(self.array()?))),
            Length::Special(2) => number(i64::from(i32::from_le_bytes(self.array()?))),
            Length::Special(3) => {
                let (packed, len) = (self.length()?, self.length()?);
                let len = usize::try_from(len).ok().filter(|_| len <= STRING_BYTES_MAX)?;
                lzf::unpack(self.take(usize::try_from(packed).ok()?)?, len)?
            }
            Length::Special(_) => return None,
        })
    }

    /// A score as text behind its length, or an infinity.
    fn score_text(&mut self) -> Option<f64> {
        match self.array::<1>()? {
            [255] => Some(f64::NEG_INFINITY),
            [254] => Some(f64::INFINITY),
            [253] => None,
            [len] => parse_f64(self.take(usize::from(len))?),
        }
    }
}

/// The value that the whole of `bytes` is.
pub(super) fn value(bytes: &[u8]) -> Option<Value> {
    let (kind, rest) = bytes.split_first()?;
    let mut source = Source { bytes: rest };
    let value = if *kind == kind::STRING {
        Value::Str(source.string()?)
    } else {
        Value::Collection(collection(*kind, &mut source)?)
    };
    source.bytes.is_empty().then_some(value)
}

fn collection(kind: u8, source: &mut Source<'_>) -> Option<Collection> {
    let collection = match kind {
        kind::LIST => Collection::List(list(source)?.into()),
        kind::LIST_QUICKLIST_2 => Collection::List(quicklist(source)?.into()),
        kind::SET => {
            let mut members = Vec::new();
            for _ in 0..source.length()? {
                members.push(source.string()?);
            }
            Collection::Set(set(members)?)
        }
        kind::SET_LISTPACK => Collection::Set(set(listpack::elements(&source.string()?)?)?),
        kind::SET_INTSET => Collection::Set(intset(&source.string()?)?),
        kind::HASH => {
            let mut parts = Vec::new();
            for _ in 0..source.length()? {
                parts.extend([source.string()?, source.string()?]);
            }
            Collection::Hash(hash(&parts)?)
        }
        kind::HASH_EXPIRING => {
            let first = u64::from_le_bytes(source.array()?);
            let mut hash = HashObj::default();
            for _ in 0..source.length()? {
                let moment = match source.length()? {
                    0 => 0,
                    behind => first.checked_add(behind)? - 1,
                };
                add_field(&mut hash, &source.string()?, &source.string()?, moment)?;
            }
            Collection::Hash(hash)
        }
        kind::HASH_LISTPACK_EXPIRING => {
            // The first moment, which the listpack tells, too.
            source.array::<8>()?;
            let (parts, mut hash) = (listpack::elements(&source.string()?)?, HashObj::default());
            let (fields, rest) = parts.as_chunks::<3>();
            for [field, value, moment] in fields {
                let moment = u64::try_from(parse_i64(moment)?).ok()?;
                add_field(&mut hash, field, value, moment)?;
            }
            rest.is_empty().then_some(Collection::Hash(hash))?
        }
        kind::HASH_LISTPACK => Collection::Hash(hash(&listpack::elements(&source.string()?)?)?),
        kind::ZSET | kind::ZSET_2 => {
            let mut zset = ZSet::default();
            for _ in 0..source.length()? {
                let member = source.string()?;
                let score = match kind {
                    kind::ZSET => source.score_text()?,
                    _ => f64::from_le_bytes(source.array()?),
                };
                add(&mut zset, &member, score)?;
            }
            Collection::ZSet(zset)
        }
        kind::ZSET_LISTPACK => {
            let (parts, mut zset) = (listpack::elements(&source.string()?)?, ZSet::default());
            let (pairs, rest) = parts.as_chunks::<2>();
            for [member, score] in pairs {
                add(&mut zset, member, parse_f64(score)?)?;
            }
            rest.is_empty().then_some(Collection::ZSet(zset))?
        }
        kind::STREAM => Collection::Stream(Box::new(stream(source, Form::Plain)?)),
        kind::STREAM_2 => Collection::Stream(Box::new(stream(source, Form::Counted)?)),
        kind::STREAM_3 => Collection::Stream(Box::new(stream(source, Form::Active)?)),
        _ => return None,
    };
    (!collection.is_empty()).then_some(collection)
}

fn list(source: &mut Source<'_>) -> Option<List> {
    let mut list = List::default();
    for _ in 0..source.length()? {
        list.push(&source.string()?, End::Back);
    }
    Some(list)
}

fn quicklist(source: &mut Source<'_>) -> Option<List> {
    let mut list = List::default();
    for _ in 0..source.length()? {
        match source.length()? {
            NODE_PLAIN => list.push(&source.string()?, End::Back),
            NODE_PACKED => {
                let elements = listpack::elements(&source.string()?)?;
                elements.iter().for_each(|element| list.push(element, End::Back));
            }
            _ => return None,
        }
    }
    Some(list)
}

fn set(members: Vec<Vec<u8>>) -> Option<Set> {
    let mut set = Set::default();
    for member in &members {
        set.insert(member).then_some(())?;
    }
    Some(set)
}

fn intset(bytes: &[u8]) -> Option<Set> {
    let mut source = Source { bytes };
    let (width, len) = (u32::from_le_bytes(source.array()?), u32::from_le_bytes(source.array()?));
    let (mut set, mut last) = (Set::default(), None);
    for _ in 0..len {
        let n = match width {
            2 => i64::from(i16::from_le_bytes(source.array()?)),
            4 => i64::from(i32::from_le_bytes(source.array()?)),
            8 => i64::from_le_bytes(source.array()?),
            _ => return None,
        };
        if last.is_some_and(|last| last >= n) {
            return None;
        }
        last = Some(n);
        set.insert(itoa::Buffer::new().format(n).as_bytes());
    }
    source.bytes.is_empty().then_some(set)
}

/// Fields and values by turns.
fn hash(parts: &[Vec<u8>]) -> Option<HashObj> {
    let mut hash = HashObj::default();
    let (pairs, rest) = parts.as_chunks::<2>();
    for [field, value] in pairs {
        add_field(&mut hash, field, value, 0)?;
    }
    rest.is_empty().then_some(hash)
}

/// Adds a field that expires at `moment`, or never with 0. One whose moment has passed is as good as none.
fn add_field(hash: &mut HashObj, field: &[u8], value: &[u8], moment: u64) -> Option<()> {
    hash.note_length(field.len());
    hash.note_length(value.len());
    hash.insert(field, value).then_some(())?;
    match moment {
        0 => {}
        1..=FIELD_EXPIRY_MS_MAX => hash.set_expire(field, Some(moment), 0),
        _ => return None,
    }
    Some(())
}

fn add(zset: &mut ZSet, member: &[u8], score: f64) -> Option<()> {
    (!score.is_nan() && zset.insert(member, score)).then_some(())
}
