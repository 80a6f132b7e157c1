//! [`HashObj`]: a hash: fields with values, as [`Members`].
//!
//! OBJECT ENCODING names what Redis would use: `listpack` until a field or value was longer than
//! [`LISTPACK_VALUE_BYTES_MAX`] or there were more than [`LISTPACK_LEN_MAX`] fields; `hashtable` from then on.

use super::Elements;
use super::codec::{DecodeError, Source, form};
use super::members::Members;
use crate::digest::{Digest, combine};
use crate::varint::put_bytes;

/// Redis's `hash-max-listpack-entries`.
const LISTPACK_LEN_MAX: usize = 512;
/// Redis's `hash-max-listpack-value`, in bytes.
const LISTPACK_VALUE_BYTES_MAX: usize = 64;

/// A hash.
#[derive(Clone, Debug, Default)]
pub struct HashObj {
    fields: Members,
    outgrew_listpack: bool,
}

impl HashObj {
    /// Sets a field; says whether it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        let added = self.fields.insert(field, value);
        self.outgrew_listpack |= self.fields.len() > LISTPACK_LEN_MAX;
        added
    }

    /// Sets a field whose expiry, if it has one, stays.
    pub fn update(&mut self, field: &[u8], value: &[u8]) {
        self.insert(field, value);
    }

    /// Redis decides by the arguments of the whole command before it sets the first field: call this before
    /// [`HashObj::insert`] with every field and value to come.
    pub fn note_length(&mut self, bytes: usize) {
        self.outgrew_listpack |= bytes > LISTPACK_VALUE_BYTES_MAX;
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.fields.get(field)
    }

    /// Removes a field; says whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.fields.remove(field)
    }

    /// Number of fields.
    pub fn visible_len(&self) -> usize {
        self.fields.len()
    }

    /// Field number `n`, below `len`, with its value.
    pub fn nth(&self, n: usize) -> (&[u8], &[u8]) {
        self.fields.nth(n)
    }

    /// Calls `f` for every field and value.
    pub fn for_each(&self, f: impl FnMut(&[u8], &[u8])) {
        self.fields.for_each(f);
    }

    /// One step of a walk through all fields: calls `f` for about `count` of them, or for all of a small hash. `cursor` is 0
    /// at first and then what the last step returned, which is 0 at the end. What is there during the whole walk is met.
    pub fn scan(&self, cursor: u64, count: usize, f: impl FnMut(&[u8], &[u8])) -> u64 {
        // What Redis keeps in one piece it hands out in one piece.
        let count = if self.outgrew_listpack { count } else { usize::MAX };
        self.fields.scan(cursor, count, f)
    }

    pub(super) fn form(&self) -> u8 {
        u8::from(self.fields.is_many()) * form::MANY + u8::from(self.outgrew_listpack) * form::OUTGREW_LISTPACK
    }

    /// Appends fields and values, in order.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.for_each(|field, value| {
            put_bytes(out, field);
            put_bytes(out, value);
        });
    }

    pub(super) fn decode(form: u8, len: usize, source: &mut Source<'_>) -> Result<Self, DecodeError> {
        Ok(HashObj {
            fields: Members::decode(form & form::MANY != 0, true, len, source)?,
            outgrew_listpack: form & form::OUTGREW_LISTPACK != 0,
        })
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        if self.outgrew_listpack { "hashtable" } else { "listpack" }
    }
}

impl Elements for HashObj {
    fn len(&self) -> usize {
        self.fields.len()
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.fields.memory()
    }

    fn digest_into(&self, digest: &mut Digest) {
        let (mut sum, mut one) = (0, Digest::new());
        self.for_each(|field, value| {
            one.reset();
            one.bytes(field);
            one.bytes(value);
            sum = combine(sum, one.finish());
        });
        digest.u64(self.len() as u64);
        digest.unordered(sum);
    }

    fn free_some(&mut self, budget: usize) -> usize {
        self.fields.free_some(budget)
    }
}
