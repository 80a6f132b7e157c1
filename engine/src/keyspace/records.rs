//! Every key with its value as bytes, and back: what a snapshot of the state is made of.

use super::object::Object;
use super::{Keyspace, Loaded};
use crate::collections::DecodeError;
use crate::digest::Digest;
use crate::sst;
use crate::table::RecKind;

impl Keyspace {
    /// Calls `f` for visible keys from `cursor` on, in the order of their ords, with their values in the form that files have
    /// them in and their share of [`Keyspace::digest`], until `more` says no. Returns where to go on, 0 at the end. All keys
    /// must be in memory.
    ///
    /// `more` is asked after each bucket of the order, which may be empty.
    pub fn values_from(
        &self,
        cursor: u64,
        f: &mut dyn FnMut(&[u8], Loaded<'_>, u128),
        more: &mut dyn FnMut() -> bool,
    ) -> u64 {
        assert!(self.is_complete(), "what lies only in files is not seen here");
        let (mut encoded, mut digest) = (Vec::new(), Digest::new());
        self.table.walk_ordered(cursor, &mut |found| {
            let records = found.iter().map(|&(_, at)| self.table.rec(at));
            for rec in records.filter(|&rec| !self.is_gone(rec)) {
                let (kind, bytes) = match rec.kind() {
                    RecKind::Str => (sst::Kind::Str, rec.value()),
                    _ => match self.objects.get(rec.object()) {
                        Object::Str(bytes) => (sst::Kind::Str, &bytes[..]),
                        object => {
                            encoded.clear();
                            object.encode(&mut encoded);
                            (sst::Kind::Packed, &encoded[..])
                        }
                    },
                };
                let expire_ms = rec.expire();
                let loaded = Loaded { kind, bytes, expire_ms };
                f(self.table.key(rec), loaded, self.digest_of(rec, &mut digest));
            }
            more()
        })
    }

    /// Gives a keyspace that does not have `key` what [`Keyspace::values_from`] gave of another. Nobody is told: the key is not
    /// new to the group. Returns the key's share of [`Keyspace::digest`].
    ///
    /// # Errors
    /// The bytes are no collection, or the key is here already; nothing has changed.
    pub fn put_value(&mut self, key: &[u8], value: Loaded<'_>) -> Result<u128, DecodeError> {
        let hash = self.key_hash(key);
        if self.table.find(hash, key).is_some() {
            return Err(DecodeError::Element);
        }
        let (shape, object) = value.decoded()?;
        let at = self.create(hash, key, shape);
        self.fill(at, key, value, object);
        Ok(self.digest_of(self.table.rec(at), &mut Digest::new()))
    }
}
