//! [`Record`]: what a sorted file holds, and its bytes inside a block.
//!
//! Two families, never in one file. *Keys* hold one record for each key of the group, `tail` being the key itself.
//! *Elements* hold the parts of big collections: `tail` is the collection's id (8 bytes, big endian), the element's kind
//! (1 byte) and its own key. Both are ordered by `ord`, then by `tail`, byte by byte.
//!
//! Format: `docs/formats/sst.md`, "Entry".

use super::FileId;
use super::bytes::{Take, len32, put32, put64};
use crate::varint::{LengthError, put_len, put_u64, take, take_len, take_u64};
use std::ops::Range;

/// Which of the two kinds of records a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Top-level keys.
    Keys,
    /// Elements of big collections.
    Elements,
}

/// Place of a record in the order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SstKey<'a> {
    /// [`KeyHash::ord`](crate::ord::KeyHash::ord) of the top-level key.
    pub ord: u64,
    /// The key, or collection id, element kind and element key.
    pub tail: &'a [u8],
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The bytes of a string.
    Str = 1,
    /// A whole collection (`docs/formats/collection.md`).
    Packed = 2,
    /// A collection stored as elements: its id (8 bytes, big endian), then whatever its type keeps.
    Meta = 3,
    /// An element's value; only in [`Family::Elements`].
    Element = 4,
}

/// Where a large value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobPtr {
    /// The blob file.
    pub file: FileId,
    /// Where the blob record starts, in bytes.
    pub offset: u64,
    /// Bytes of the value.
    pub len: u32,
    /// CRC32C of the blob record: see `docs/formats/blob.md`.
    pub crc: u32,
}

/// What a record says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The key was deleted: older records of it are void.
    Tombstone,
    /// Every element of the collection whose id is the tail is void, however old or new; only in [`Family::Elements`].
    DeadCollection,
    /// The value.
    Inline(Kind, &'a [u8]),
    /// Where the value is.
    Blob(Kind, BlobPtr),
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place.
    pub key: SstKey<'a>,
    /// The key is gone when the group's clock reaches this moment, in milliseconds since 1970.
    pub expire_ms: Option<u64>,
    /// What it says.
    pub body: Body<'a>,
}

impl Record<'_> {
    /// Bytes of tail and inline value: what a user would call the record's size.
    pub fn user_bytes(&self) -> usize {
        self.key.tail.len()
            + match self.body {
                Body::Inline(_, value) => value.len(),
                Body::Tombstone | Body::DeadCollection | Body::Blob(..) => 0,
            }
    }

    /// Whether nobody can see the record any more at this moment of the group's clock.
    pub fn is_expired(&self, clock_ms: u64) -> bool {
        self.expire_ms.is_some_and(|at| at <= clock_ms)
    }

    /// The collection id a meta record names; `None` for all others, and for a meta record without one.
    pub fn collection(&self) -> Option<u64> {
        match self.body {
            Body::Inline(Kind::Meta, value) => value.first_chunk::<8>().map(|id| u64::from_be_bytes(*id)),
            _ => None,
        }
    }
}

/// The parts of an element's tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The collection's id: never used again once the collection is gone.
    pub collection: u64,
    /// 1 member or field, 2 by score, 3 list chunk, 4 stream chunk, 5 stream group, 6 fragment of a string; 0 is the mark of
    /// a dead collection, which therefore stands before all its elements.
    pub kind: u8,
    /// The element's own key.
    pub key: &'a [u8],
}

/// Bytes before the element's own key.
pub(super) const ELEMENT_HEAD: usize = 9;
/// Kind of the elements that are looked up one by one.
pub(super) const ELEMENT_MEMBER: u8 = 1;
/// Kind of the mark of a dead collection.
const ELEMENT_DEAD: u8 = 0;

impl<'a> Element<'a> {
    /// The parts of `tail`; `None` when it is too short.
    pub fn parse(tail: &'a [u8]) -> Option<Self> {
        let (collection, rest) = tail.split_first_chunk::<8>()?;
        let (&kind, key) = rest.split_first()?;
        let collection = u64::from_be_bytes(*collection);
        Some(Self { collection, kind, key })
    }

    /// Appends the tail that [`Element::parse`] takes apart.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.collection.to_be_bytes());
        out.push(self.kind);
        out.extend_from_slice(self.key);
    }
}

const TAG_TOMBSTONE: u8 = 0;
const TAG_DEAD: u8 = 5;
const TAG_KIND: u8 = 0b0_0111;
const TAG_BLOB: u8 = 0b0_1000;
const TAG_EXPIRE: u8 = 0b1_0000;

/// Most bytes of a difference of orders.
const ORD_BYTES_MAX: usize = 10;
/// Bytes of a stored [`BlobPtr`].
const BLOB_PTR_BYTES: usize = 24;

/// Whether a record may stand in a file of this family.
pub(super) fn fits_family(family: Family, record: &Record<'_>) -> bool {
    match (family, record.body) {
        (Family::Keys, Body::DeadCollection | Body::Inline(Kind::Element, _) | Body::Blob(Kind::Element, _)) => false,
        (Family::Keys, Body::Inline(Kind::Meta, _)) => record.collection().is_some(),
        // What a meta record says is read by compaction, which reads no blobs.
        (Family::Keys, body) => !matches!(body, Body::Blob(Kind::Meta, _)),
        (Family::Elements, Body::Inline(kind, _) | Body::Blob(kind, _)) => {
            kind == Kind::Element && Element::parse(record.key.tail).is_some_and(|e| e.kind != ELEMENT_DEAD)
        }
        (Family::Elements, Body::Tombstone) => Element::parse(record.key.tail).is_some_and(|e| e.kind != ELEMENT_DEAD),
        (Family::Elements, Body::DeadCollection) => {
            record.expire_ms.is_none()
                && Element::parse(record.key.tail).is_some_and(|e| e.kind == ELEMENT_DEAD && e.key.is_empty())
        }
    }
}

/// Appends a record. `ord_base` and the first `shared` bytes of the tail are known from the entry before.
pub(super) fn put_entry(out: &mut Vec<u8>, record: &Record<'_>, ord_base: u64, shared: usize) {
    let expire = if record.expire_ms.is_some() { TAG_EXPIRE } else { 0 };
    let what = match record.body {
        Body::Tombstone => TAG_TOMBSTONE,
        Body::DeadCollection => TAG_DEAD,
        Body::Inline(kind, _) => kind as u8,
        Body::Blob(kind, _) => kind as u8 | TAG_BLOB,
    };
    out.push(what | expire);
    put_u64(out, record.key.ord - ord_base);
    put_len(out, shared);
    put_len(out, record.key.tail.len() - shared);
    if let Body::Inline(_, value) = record.body {
        put_len(out, value.len());
    }
    if let Some(at) = record.expire_ms {
        put64(out, at);
    }
    out.extend_from_slice(&record.key.tail[shared..]);
    match record.body {
        Body::Inline(_, value) => out.extend_from_slice(value),
        Body::Blob(_, ptr) => put_ptr(out, &ptr),
        Body::Tombstone | Body::DeadCollection => {}
    }
}

fn put_ptr(out: &mut Vec<u8>, ptr: &BlobPtr) {
    put64(out, ptr.file.0);
    put64(out, ptr.offset);
    put32(out, ptr.len);
    put32(out, ptr.crc);
}

/// Bytes that [`put_entry`] takes at most.
pub(super) fn entry_bytes_max(record: &Record<'_>) -> usize {
    let lengths = match record.body {
        Body::Inline(_, value) => 2 * len_bytes(record.key.tail.len()) + len_bytes(value.len()),
        Body::Blob(..) => 2 * len_bytes(record.key.tail.len()) + BLOB_PTR_BYTES,
        Body::Tombstone | Body::DeadCollection => 2 * len_bytes(record.key.tail.len()),
    };
    let expire = if record.expire_ms.is_some() { 8 } else { 0 };
    1 + ORD_BYTES_MAX + lengths + expire + record.user_bytes()
}

/// Bytes of the LEB128 form of a length.
fn len_bytes(len: usize) -> usize {
    (usize::BITS - (len | 1).leading_zeros()).div_ceil(7) as usize
}

/// What [`put_entry`] wrote, as places in the block.
#[derive(Clone, Debug)]
pub(super) struct EntryAt {
    pub(super) ord: u64,
    pub(super) shared: usize,
    /// The part of the tail that is not shared.
    pub(super) tail: Range<usize>,
    pub(super) expire_ms: Option<u64>,
    body: BodyAt,
    /// Where the next entry starts.
    pub(super) next: usize,
}

#[derive(Clone, Debug)]
enum BodyAt {
    Tombstone,
    Dead,
    Inline(Kind, Range<usize>),
    Blob(Kind, BlobPtr),
}

/// Takes the entry that starts at `at`. Refuses what [`put_entry`] cannot have written, whatever the bytes.
pub(super) fn take_entry(block: &[u8], mut at: usize, ord_base: u64) -> Result<EntryAt, LengthError> {
    let tag = take(block, &mut at, 1)?[0];
    let ord = ord_base
        .checked_add(take_u64(block, &mut at)?)
        .ok_or(LengthError::Malformed)?;
    let shared = take_len(block, &mut at)? as usize;
    let tail_len = take_len(block, &mut at)? as usize;
    let inline = tag & TAG_BLOB == 0 && !matches!(tag & TAG_KIND, TAG_TOMBSTONE | TAG_DEAD);
    let value_len = if inline { take_len(block, &mut at)? as usize } else { 0 };
    let expire_ms = if tag & TAG_EXPIRE != 0 {
        let raw = take(block, &mut at, 8)?;
        Some(u64::from_le_bytes(raw.try_into().expect("eight bytes were taken")))
    } else {
        None
    };
    let tail_at = at;
    take(block, &mut at, tail_len)?;
    let tail = tail_at..at;
    let kind = match tag & TAG_KIND {
        1 => Some(Kind::Str),
        2 => Some(Kind::Packed),
        3 => Some(Kind::Meta),
        4 => Some(Kind::Element),
        _ => None,
    };
    let body = match (tag & !TAG_EXPIRE, kind) {
        (TAG_TOMBSTONE, _) => BodyAt::Tombstone,
        (TAG_DEAD, _) => BodyAt::Dead,
        (tag, Some(kind)) if tag == kind as u8 => {
            let value_at = at;
            take(block, &mut at, value_len)?;
            BodyAt::Inline(kind, value_at..at)
        }
        (tag, Some(kind)) if tag == kind as u8 | TAG_BLOB => {
            BodyAt::Blob(kind, take_ptr(take(block, &mut at, BLOB_PTR_BYTES)?))
        }
        _ => return Err(LengthError::Malformed),
    };
    Ok(EntryAt {
        ord,
        shared,
        tail,
        expire_ms,
        body,
        next: at,
    })
}

fn take_ptr(raw: &[u8]) -> BlobPtr {
    let mut take = Take(raw);
    let mut parts = || {
        Ok::<_, super::bytes::Short>(BlobPtr {
            file: FileId(take.u64()?),
            offset: take.u64()?,
            len: take.u32()?,
            crc: take.u32()?,
        })
    };
    parts().expect("the caller took as many bytes as a pointer has")
}

impl EntryAt {
    /// The record, with its tail from where the caller put it together.
    pub(super) fn record<'a>(&self, block: &'a [u8], tail: &'a [u8]) -> Record<'a> {
        let body = match &self.body {
            BodyAt::Tombstone => Body::Tombstone,
            BodyAt::Dead => Body::DeadCollection,
            BodyAt::Inline(kind, at) => Body::Inline(*kind, &block[at.clone()]),
            BodyAt::Blob(kind, ptr) => Body::Blob(*kind, *ptr),
        };
        Record {
            key: SstKey { ord: self.ord, tail },
            expire_ms: self.expire_ms,
            body,
        }
    }
}

/// CRC32C of a blob record: of the length, then the value.
pub(super) fn blob_crc(value: &[u8]) -> u32 {
    crc32c::crc32c_append(blob_crc_of_len(len32(value.len())), value)
}

/// Its beginning: what the checksum of a value of `len` bytes is before the first of them.
pub(super) fn blob_crc_of_len(len: u32) -> u32 {
    crc32c::crc32c(&len.to_le_bytes())
}
