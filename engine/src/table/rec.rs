//! [`Rec`]: one key with its value, as it lies in the slab.
//!
//! ```text
//! byte 0      kind (3 bits) | volatile (1 bit) | generation (2 bits) | stored (1 bit) | used (1 bit); never 0
//! byte 1      key length, or 255: the key lies outside and 4 bytes name it
//! bytes 2..4  value length
//! [volatile]  expire u64, milliseconds since 1970 | timer u32
//! key         as many bytes as byte 1 says, or the 4-byte id of a long key
//! value       a string of up to VALUE_INLINE_MAX bytes, or the 4-byte id of an object
//! ```
//! Little endian, unaligned behind byte 4. A record's size follows from its first 4 bytes, so none is stored.
//!
//! The last four bits of byte 0 are its [`Marks`]: what is known of it in sorted files. A record that says that there is no
//! such key ([`RecKind::Absent`]) has kind 0; it is dirty or marked as stored, so that byte 0 is not 0.

use super::store::Id;
use crate::expiry::TimerId;
use std::ptr::NonNull;

/// Longest string value kept in the record, in bytes: beyond it one more cache miss no longer matters, and a buffer of its
/// own grows in amortised constant time.
pub const VALUE_INLINE_MAX: usize = 2048;
/// Longest key kept in the record, in bytes: what byte 1 can say.
pub const KEY_INLINE_MAX: usize = 254;

const HEADER: usize = 4;
const EXPIRE: usize = 8;
const TIMER: usize = 4;
const ID: usize = 4;
const LONG_KEY: u8 = 255;
const KIND_MASK: u8 = 0b0111;
const VOLATILE: u8 = 0b1000;
const GENERATION_MASK: u8 = 0b0011_0000;
const STORED: u8 = 0b0100_0000;
const USED: u8 = 0b1000_0000;
const MARKS_MASK: u8 = GENERATION_MASK | STORED | USED;

/// Size of the largest record, in bytes.
pub const REC_MAX: usize = HEADER + EXPIRE + TIMER + KEY_INLINE_MAX + VALUE_INLINE_MAX;

/// What lies in a record's value. The first two need more than a look at the record before anybody may see the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecKind {
    /// Nothing: there is no such key, whatever older files say.
    Absent = 0,
    /// The id of a hash.
    Hash = 1,
    /// The bytes of a string.
    Str = 2,
    /// The id of a string's own buffer.
    BigStr = 3,
    /// The id of a list.
    List = 4,
    /// The id of a set.
    Set = 5,
    /// The id of a sorted set.
    ZSet = 6,
    /// The id of a stream.
    Stream = 7,
}

/// Whether a record has changed since it was last written to a sorted file, and before or after the cut of the flush
/// under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u8);

impl Generation {
    /// The newest sorted file that has the key says the same.
    pub const CLEAN: Self = Self(0);
    /// Changed; the first of the two generations that take turns.
    pub const FIRST: Self = Self(0b0001_0000);

    /// The generation after this one, which is not [`Generation::CLEAN`].
    pub fn next(self) -> Self {
        Self(self.0 ^ GENERATION_MASK)
    }
}

/// What a record knows of itself in sorted files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// `stored`: sorted files may hold a record of this key, so that a deletion must be told to them.
    pub fn new(generation: Generation, stored: bool) -> Self {
        Self(generation.0 | if stored { STORED } else { 0 })
    }
}

/// A key as a record holds it.
#[derive(Clone, Copy, Debug)]
pub enum RecKey<'a> {
    /// The bytes.
    Inline(&'a [u8]),
    /// Where the bytes are.
    Long(Id),
}

/// Everything that decides a record's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What the value is.
    pub kind: RecKind,
    /// Bytes of an inline string; ignored for other kinds.
    pub value_len: usize,
    /// Whether there is an expiry.
    pub volatile: bool,
}

impl Shape {
    fn value_bytes(self) -> usize {
        match self.kind {
            RecKind::Str => self.value_len,
            RecKind::Absent => 0,
            _ => ID,
        }
    }

    /// Bytes of a record of this shape with a key field of `key_field` bytes.
    pub fn rec_bytes(self, key_field: usize) -> usize {
        HEADER + if self.volatile { EXPIRE + TIMER } else { 0 } + key_field + self.value_bytes()
    }
}

/// Bytes that the key of `key_len` bytes takes in a record.
pub fn key_field(key_len: usize) -> usize {
    if key_len <= KEY_INLINE_MAX { key_len } else { ID }
}

/// A record in memory: a pointer that is known to be one.
#[derive(Clone, Copy)]
pub struct Rec(NonNull<u8>);

impl Rec {
    /// # Safety
    /// `ptr` points to a record made by [`Rec::init`], which stays in place and is written only through `Rec` for as long
    /// as this value and slices obtained from it are used.
    #[inline]
    pub unsafe fn at(ptr: *mut u8) -> Self {
        debug_assert!(!ptr.is_null());
        // SAFETY: the caller's promise.
        Self(unsafe { NonNull::new_unchecked(ptr) })
    }

    /// Writes header and key of a record; value, expiry and timer are what the memory held.
    ///
    /// # Safety
    /// `ptr` is valid for writes of `shape.rec_bytes(..)` bytes, and of as many initialised bytes (any contents).
    pub unsafe fn init(ptr: *mut u8, shape: Shape, key: RecKey<'_>, marks: Marks) -> Self {
        // SAFETY: the caller's promise.
        let rec = unsafe { Self::at(ptr) };
        rec.put(0, [marks.0]);
        let long_id;
        let (len_byte, bytes) = match key {
            RecKey::Inline(bytes) => (u8::try_from(bytes.len()).expect("inline keys are short"), bytes),
            RecKey::Long(id) => {
                long_id = id.0.to_le_bytes();
                (LONG_KEY, &long_id[..])
            }
        };
        rec.put(1, [len_byte]);
        rec.set_shape(shape);
        // SAFETY: the shape's size covers the key field.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), ptr.add(rec.key_offset()), bytes.len()) };
        rec
    }

    /// Rewrites kind and value length; the marks stay. The key's place and the record's class must not change by it.
    #[inline]
    pub fn set_shape(self, shape: Shape) {
        let marks = self.byte0() & MARKS_MASK;
        self.put(
            0,
            [shape.kind as u8 | if shape.volatile { VOLATILE } else { 0 } | marks],
        );
        self.put(2, (shape.value_bytes() as u16).to_le_bytes());
    }

    #[inline]
    fn get<const N: usize>(self, offset: usize) -> [u8; N] {
        // SAFETY: fields lie inside the record, which `at` promised to be valid; arrays of bytes need no alignment.
        unsafe { self.0.as_ptr().add(offset).cast::<[u8; N]>().read() }
    }

    #[inline]
    fn put<const N: usize>(self, offset: usize, bytes: [u8; N]) {
        // SAFETY: as in `get`; the owner of the slab has exclusive access while it changes records.
        unsafe { self.0.as_ptr().add(offset).cast::<[u8; N]>().write(bytes) }
    }

    #[inline]
    fn byte0(self) -> u8 {
        self.get::<1>(0)[0]
    }

    /// What it knows of itself in sorted files.
    #[inline]
    pub fn marks(self) -> Marks {
        Marks(self.byte0() & MARKS_MASK)
    }

    /// Whether and when it changed.
    #[inline]
    pub fn generation(self) -> Generation {
        Generation(self.byte0() & GENERATION_MASK)
    }

    /// Sets [`Rec::generation`], and whether sorted files may hold a record of this key.
    pub fn set_generation(self, generation: Generation, stored: bool) {
        let rest = self.byte0() & !(GENERATION_MASK | STORED);
        self.put(0, [rest | Marks::new(generation, stored).0]);
    }

    /// Whether sorted files may hold a record of this key.
    #[inline]
    pub fn is_stored(self) -> bool {
        self.byte0() & STORED != 0
    }

    /// Whether somebody read it since eviction last came by.
    #[inline]
    pub fn is_used(self) -> bool {
        self.byte0() & USED != 0
    }

    /// Sets [`Rec::is_used`].
    #[inline]
    pub fn set_used(self, used: bool) {
        self.put(0, [self.byte0() & !USED | if used { USED } else { 0 }]);
    }

    /// What the value is.
    #[inline]
    pub fn kind(self) -> RecKind {
        match self.byte0() & KIND_MASK {
            0 => RecKind::Absent,
            1 => RecKind::Hash,
            2 => RecKind::Str,
            3 => RecKind::BigStr,
            4 => RecKind::List,
            5 => RecKind::Set,
            6 => RecKind::ZSet,
            7 => RecKind::Stream,
            other => unreachable!("record kind {other}: the slab holds no such record"),
        }
    }

    /// Whether the value is a string within the record.
    #[inline]
    pub fn is_inline_str(self) -> bool {
        self.byte0() & KIND_MASK == RecKind::Str as u8
    }

    /// Whether the record says that there is no such key.
    #[inline]
    pub fn is_absent(self) -> bool {
        self.byte0() & KIND_MASK == RecKind::Absent as u8
    }

    /// Whether it is [`RecKind::Absent`] or [`RecKind::Hash`]: the kinds to be looked at closer before the key is seen.
    #[inline]
    pub fn is_special(self) -> bool {
        self.byte0() & KIND_MASK <= RecKind::Hash as u8
    }

    /// Whether the value is the id of an object.
    #[inline]
    pub fn has_object(self) -> bool {
        !matches!(self.kind(), RecKind::Str | RecKind::Absent)
    }

    /// Whether there is an expiry.
    #[inline]
    pub fn is_volatile(self) -> bool {
        self.byte0() & VOLATILE != 0
    }

    /// The record's shape.
    #[inline]
    pub fn shape(self) -> Shape {
        Shape {
            kind: self.kind(),
            value_len: self.value_len(),
            volatile: self.is_volatile(),
        }
    }

    /// Bytes of the record.
    pub fn bytes(self) -> usize {
        self.shape().rec_bytes(self.key_field())
    }

    #[inline]
    fn key_offset(self) -> usize {
        HEADER + if self.is_volatile() { EXPIRE + TIMER } else { 0 }
    }

    /// Bytes of the key field.
    #[inline]
    pub fn key_field(self) -> usize {
        match self.get::<1>(1)[0] {
            LONG_KEY => ID,
            len => usize::from(len),
        }
    }

    #[inline]
    fn value_len(self) -> usize {
        usize::from(u16::from_le_bytes(self.get(2)))
    }

    /// The key.
    #[inline]
    pub fn key<'a>(self) -> RecKey<'a> {
        let at = self.key_offset();
        match self.get::<1>(1)[0] {
            LONG_KEY => RecKey::Long(Id(u32::from_le_bytes(self.get(at)))),
            // SAFETY: the key field lies inside the record and was written by `init`.
            len => RecKey::Inline(unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), usize::from(len)) }),
        }
    }

    /// Whether this is a string of `len` bytes, within the record, that does not expire: the case that a plain SET can
    /// overwrite without looking further, if the record is of the present generation.
    #[inline]
    pub fn is_plain_str_of(self, len: usize) -> bool {
        self.byte0() & (KIND_MASK | VOLATILE) == RecKind::Str as u8 && self.value_len() == len
    }

    /// The bytes of an inline string.
    #[inline]
    pub fn value<'a>(self) -> &'a [u8] {
        // SAFETY: the value lies inside the record; slab memory is initialised (zeroed by the kernel, then only written).
        unsafe { std::slice::from_raw_parts(self.value_ptr(), self.value_len()) }
    }

    /// The bytes of an inline string, to be changed: the caller holds the slab exclusively.
    #[inline]
    pub fn value_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: as `value`; exclusive by the caller's hold on the slab.
        unsafe { std::slice::from_raw_parts_mut(self.value_ptr(), self.value_len()) }
    }

    #[inline]
    fn value_ptr(self) -> *mut u8 {
        // SAFETY: inside the record.
        unsafe { self.0.as_ptr().add(self.key_offset() + self.key_field()) }
    }

    /// The object that a record of another kind than [`RecKind::Str`] names.
    #[inline]
    pub fn object(self) -> Id {
        debug_assert!(self.has_object());
        Id(u32::from_le_bytes(self.get(self.key_offset() + self.key_field())))
    }

    /// Sets [`Rec::object`].
    pub fn set_object(self, id: Id) {
        self.put(self.key_offset() + self.key_field(), id.0.to_le_bytes());
    }

    /// When the key expires, milliseconds since 1970.
    #[inline]
    pub fn expire(self) -> Option<u64> {
        self.is_volatile().then(|| u64::from_le_bytes(self.get(HEADER)))
    }

    /// The timer that will remove the key. Only for volatile records.
    pub fn timer(self) -> TimerId {
        debug_assert!(self.is_volatile());
        TimerId(u32::from_le_bytes(self.get(HEADER + EXPIRE)))
    }

    /// Sets expiry and timer of a volatile record.
    pub fn set_expire(self, at_ms: u64, timer: TimerId) {
        debug_assert!(self.is_volatile());
        self.put(HEADER, at_ms.to_le_bytes());
        self.put(HEADER + EXPIRE, timer.0.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_overlap_in_any_shape() {
        for (volatile, kind, key) in [
            (false, RecKind::Str, &b"k"[..]),
            (true, RecKind::Str, b""),
            (true, RecKind::ZSet, b"a key"),
            (false, RecKind::BigStr, b"x"),
        ] {
            let shape = Shape {
                kind,
                value_len: 5,
                volatile,
            };
            let mut memory = vec![0u8; shape.rec_bytes(key.len())];
            // SAFETY: the memory is as large as the shape asks.
            let rec = unsafe {
                Rec::init(
                    memory.as_mut_ptr(),
                    shape,
                    RecKey::Inline(key),
                    Marks::new(Generation::FIRST.next(), true),
                )
            };
            if volatile {
                rec.set_expire(u64::MAX - 1, TimerId(7));
            }
            match kind {
                RecKind::Str => rec.value_mut().copy_from_slice(b"value"),
                _ => rec.set_object(Id(0x0102_0304)),
            }
            assert!(matches!(rec.key(), RecKey::Inline(k) if k == key));
            assert_eq!(rec.expire(), volatile.then_some(u64::MAX - 1));
            match kind {
                RecKind::Str => assert_eq!(rec.value(), b"value"),
                _ => assert_eq!(rec.object(), Id(0x0102_0304)),
            }
            assert_eq!(rec.bytes(), memory.len());
            rec.set_used(true);
            rec.set_shape(shape);
            assert_eq!(rec.generation(), Generation::FIRST.next());
            assert!(rec.is_stored() && rec.is_used());
            rec.set_generation(Generation::FIRST, false);
            assert_eq!(
                (rec.generation().next(), rec.is_stored()),
                (Generation::FIRST.next(), false)
            );
            assert!(
                rec.is_used()
                    && rec.shape()
                        == Shape {
                            value_len: rec.shape().value_len,
                            ..shape
                        }
            );
        }
    }

    #[test]
    fn a_plain_record_costs_four_bytes_beyond_key_and_value() {
        assert_eq!(
            Shape {
                kind: RecKind::Str,
                value_len: 50,
                volatile: false
            }
            .rec_bytes(16),
            70
        );
    }
}
