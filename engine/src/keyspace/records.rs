//! Every key with its value as bytes, and back: what a snapshot of the state is made of.

use super::object::Object;
use super::{Keyspace, Loaded};
use crate::collections::DecodeError;
use crate::sst;
use crate::table::RecKind;

impl Keyspace {
    /// Calls `f` for every visible key, in no order, with its value in the form that files have it in. Walks everything;
    /// all keys must be in memory.
    pub fn for_each_value(&self, f: &mut dyn FnMut(&[u8], Loaded<'_>)) {
        assert!(self.is_complete(), "what lies only in files is not seen here");
        let mut encoded = Vec::new();
        self.table.for_each(&mut |rec| {
            if self.is_gone(rec) {
                return;
            }
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
            f(self.table.key(rec), Loaded { kind, bytes, expire_ms });
        });
    }

    /// Gives a keyspace that does not have `key` what [`Keyspace::for_each_value`] gave of another. Nobody is told: the key
    /// is not new to the group.
    ///
    /// # Errors
    /// The bytes are no collection, or the key is here already; nothing has changed.
    pub fn put_value(&mut self, key: &[u8], value: Loaded<'_>) -> Result<(), DecodeError> {
        let hash = self.key_hash(key);
        if self.table.find(hash, key).is_some() {
            return Err(DecodeError::Element);
        }
        let (shape, object) = value.decoded()?;
        let at = self.create(hash, key, shape);
        self.fill(at, key, value, object);
        Ok(())
    }
}
