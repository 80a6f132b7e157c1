//! What comes back from files: keys become resident and clean.

use super::super::Keyspace;
use super::super::object::Object;
use super::Residency;
use crate::collections::{Collection, DecodeError};
use crate::database::Counts;
use crate::ord::KeyHash;
use crate::sst::Kind;
use crate::table::{Generation, Marks, RecKind, Shape, SlabRef, VALUE_INLINE_MAX};

/// A value as a file holds it.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'a> {
    /// [`Kind::Str`] or [`Kind::Packed`].
    pub kind: Kind,
    /// The string, or the encoded collection.
    pub bytes: &'a [u8],
    /// When the key expires, in milliseconds since 1970.
    pub expire_ms: Option<u64>,
}

impl Loaded<'_> {
    /// What record it takes, and what lies outside of it.
    pub(in super::super) fn decoded(&self) -> Result<(Shape, Option<Object>), DecodeError> {
        let object = match self.kind {
            Kind::Str if self.bytes.len() <= VALUE_INLINE_MAX => None,
            Kind::Str => Some(Object::Str(self.bytes.to_vec().into())),
            _ => {
                let (collection, used) = Collection::decode(self.bytes)?;
                if used != self.bytes.len() || collection.is_empty() {
                    return Err(DecodeError::Length);
                }
                Some(Object::Coll(collection))
            }
        };
        let shape = Shape {
            kind: object.as_ref().map_or(RecKind::Str, Object::rec_kind),
            value_len: self.bytes.len(),
            volatile: self.expire_ms.is_some(),
        };
        Ok((shape, object))
    }
}

impl Keyspace {
    /// The newest word of the files about `key` is this value. Nothing changes unless the key is unknown.
    ///
    /// # Errors
    /// The bytes are no collection, or not all of them are: the file is not what was written.
    pub fn install(&mut self, hash: KeyHash, key: &[u8], value: Loaded<'_>) -> Result<(), DecodeError> {
        if self.residency(hash, key) != Residency::Unknown {
            return Ok(());
        }
        let (shape, object) = value.decoded()?;
        let at = self.table.create(hash, key, shape, Marks::new(Generation::CLEAN, true));
        self.fill(at, key, value, object);
        self.tier.clean_bytes += self.bytes_of(self.table.rec(at), at);
        Ok(())
    }

    /// The newest word of the files about `key` is this collection. Nothing changes unless the key is unknown.
    pub fn install_collection(&mut self, hash: KeyHash, key: &[u8], collection: Collection, expire_ms: Option<u64>) {
        let object = Object::Coll(collection);
        if self.residency(hash, key) != Residency::Unknown {
            self.graveyard.bury(object);
            return;
        }
        let shape = Shape {
            kind: object.rec_kind(),
            value_len: 0,
            volatile: expire_ms.is_some(),
        };
        let at = self.table.create(hash, key, shape, Marks::new(Generation::CLEAN, true));
        let value = Loaded {
            kind: Kind::Packed,
            bytes: &[],
            expire_ms,
        };
        self.fill(at, key, value, Some(object));
        self.tier.clean_bytes += self.bytes_of(self.table.rec(at), at);
    }

    /// Gives a record just created its expiry and its value.
    pub(in super::super) fn fill(&mut self, at: SlabRef, key: &[u8], value: Loaded<'_>, object: Option<Object>) {
        let rec = self.table.rec(at);
        if let Some(at_ms) = value.expire_ms {
            self.wheel.skip_to(self.clock_ms);
            rec.set_expire(at_ms, self.wheel.arm(at_ms, at.0));
            self.volatile.add(key);
        }
        match object {
            None => rec.value_mut().copy_from_slice(value.bytes),
            Some(object) => {
                let id = self.objects.insert(object);
                rec.set_object(id);
                self.time_fields(id, key);
            }
        }
    }

    /// The files have no such key. Nothing changes unless it is unknown.
    pub fn install_absent(&mut self, hash: KeyHash, key: &[u8]) {
        if self.residency(hash, key) != Residency::Unknown {
            return;
        }
        let shape = Shape {
            kind: RecKind::Absent,
            value_len: 0,
            volatile: false,
        };
        let at = self.table.create(hash, key, shape, Marks::new(Generation::CLEAN, true));
        self.tier.absents += 1;
        self.tier.clean_bytes += self.bytes_of(self.table.rec(at), at);
    }
}

impl Keyspace {
    /// All keys of the files are in memory: so many.
    pub(crate) fn all_loaded(&mut self, counts: Counts) {
        (self.tier.counts, self.tier.complete) = (counts, true);
    }

    /// So many keys expired that only files had, and the files have them no more.
    pub(crate) fn uncount(&mut self, keys: &Counts) {
        self.tier.counts.subtract(keys);
        self.stats.expired += keys.total();
    }
}

impl Object {
    /// The kind of a record that names it.
    pub(in super::super) fn rec_kind(&self) -> RecKind {
        match self {
            Object::Str(_) => RecKind::BigStr,
            Object::Coll(Collection::List(_)) => RecKind::List,
            Object::Coll(Collection::Set(_)) => RecKind::Set,
            Object::Coll(Collection::Hash(_)) => RecKind::Hash,
            Object::Coll(Collection::ZSet(_)) => RecKind::ZSet,
            Object::Coll(Collection::Stream(_)) => RecKind::Stream,
        }
    }
}
