//! Collection values: lent to the commands, which change them in place.

use super::object::Object;
use super::{EventClasses, Keyspace, WrongType};
use crate::collections::{Collection, hash::HashObj, list::List, set::Set, stream::Stream, zset::ZSet};
use crate::table::{RecKind, Shape};

macro_rules! collection_access {
    ($get:ident, $to_change:ident, $get_mut:ident, $or_create:ident, $variant:ident, $ty:ty, $what:literal) => {
        #[doc = concat!("The ", $what, " at `key`.")]
        pub fn $get(&mut self, key: &[u8]) -> Result<Option<&$ty>, WrongType> {
            let Some(spot) = self.read(self.key_hash(key), key) else { return Ok(None) };
            let rec = self.table.rec(spot.at);
            if rec.kind() != RecKind::$variant {
                return Err(WrongType);
            }
            match self.objects.get(rec.object()) {
                Object::Coll(Collection::$variant(x)) => Ok(Some(x)),
                _ => unreachable!(concat!("the record says it is a ", $what)),
            }
        }

        #[doc = concat!("The ", $what, " at `key`, for a command that is about to write it: not counted as a read.")]
        pub fn $to_change(&mut self, key: &[u8]) -> Result<Option<&$ty>, WrongType> {
            let Some(spot) = self.live(self.key_hash(key), key) else { return Ok(None) };
            let rec = self.table.rec(spot.at);
            if rec.kind() != RecKind::$variant {
                return Err(WrongType);
            }
            match self.objects.get(rec.object()) {
                Object::Coll(Collection::$variant(x)) => Ok(Some(x)),
                _ => unreachable!(concat!("the record says it is a ", $what)),
            }
        }

        #[doc = concat!("The ", $what, " at `key`, to be changed; call [`Keyspace::drop_if_empty`] after removing elements.")]
        pub fn $get_mut(&mut self, key: &[u8]) -> Result<Option<&mut $ty>, WrongType> {
            let Some(spot) = self.live(self.key_hash(key), key) else { return Ok(None) };
            let rec = self.table.rec(spot.at);
            if rec.kind() != RecKind::$variant {
                return Err(WrongType);
            }
            self.change(spot);
            match self.objects.lend(rec.object()) {
                Object::Coll(Collection::$variant(x)) => Ok(Some(x)),
                _ => unreachable!(concat!("the record says it is a ", $what)),
            }
        }

        #[doc = concat!("The ", $what, " at `key`, made empty when there is no such key.")]
        pub fn $or_create(&mut self, key: &[u8]) -> Result<&mut $ty, WrongType> {
            let hash = self.key_hash(key);
            if self.live(hash, key).is_none() {
                let shape = Shape { kind: RecKind::$variant, value_len: 0, volatile: false };
                self.note(EventClasses::NEW, "new", key);
                let rec = self.place(None, hash, key, shape, None);
                rec.set_object(self.objects.insert(Object::Coll(Collection::$variant(<$ty>::default().into()))));
                self.waiters.signal(key);
            }
            self.$get_mut(key).map(|x| x.expect("found or made above"))
        }
    };
}

impl Keyspace {
    collection_access!(list, list_to_change, list_mut, list_or_create, List, List, "list");
    collection_access!(set, set_to_change, set_mut, set_or_create, Set, Set, "set");
    collection_access!(hash, hash_to_change, hash_mut, hash_or_create, Hash, HashObj, "hash");
    collection_access!(zset, zset_to_change, zset_mut, zset_or_create, ZSet, ZSet, "sorted set");
    collection_access!(
        stream,
        stream_to_change,
        stream_mut,
        stream_or_create,
        Stream,
        Stream,
        "stream"
    );

    /// The collection at `key`, for commands that look at several at once; strings are of the wrong type. The caller asks for
    /// [`Keyspace::kind`] of every key first, which sees to expired ones.
    pub fn peek(&self, key: &[u8]) -> Result<Option<&Collection>, WrongType> {
        let Some(spot) = self.table.find(self.key_hash(key), key) else {
            return Ok(None);
        };
        let rec = self.table.rec(spot.at);
        if rec.expire().is_some_and(|at| at <= self.clock_ms) {
            return Ok(None);
        }
        if rec.is_absent() {
            return Ok(None);
        }
        if rec.is_inline_str() {
            return Err(WrongType);
        }
        match self.objects.get(rec.object()) {
            Object::Coll(collection) => Ok(Some(collection)),
            Object::Str(_) => Err(WrongType),
        }
    }

    /// Gives `key` a collection in place of what it holds. An empty one deletes the key, and so does an expiry at or before
    /// the clock. Says whether the key existed.
    pub fn put_collection(&mut self, key: &[u8], collection: Collection, expire: Option<u64>) -> bool {
        let existed = self.del(key);
        if collection.is_empty() || expire.is_some_and(|at| at <= self.clock_ms) {
            return existed;
        }
        if !existed {
            self.note(EventClasses::NEW, "new", key);
        }
        let shape = Shape {
            kind: match &collection {
                Collection::List(_) => RecKind::List,
                Collection::Set(_) => RecKind::Set,
                Collection::Hash(_) => RecKind::Hash,
                Collection::ZSet(_) => RecKind::ZSet,
                Collection::Stream(_) => RecKind::Stream,
            },
            value_len: 0,
            volatile: expire.is_some(),
        };
        let object = self.objects.insert(Object::Coll(collection));
        self.place(None, self.key_hash(key), key, shape, expire)
            .set_object(object);
        self.time_fields(object, key);
        self.waiters.signal(key);
        existed
    }

    /// Gives `key` a sorted set without expiry in place of what it holds; an empty one deletes the key.
    /// Says whether the key existed.
    pub fn replace_zset(&mut self, key: &[u8], zset: ZSet) -> bool {
        self.put_collection(key, Collection::ZSet(zset), None)
    }

    /// Gives `key` a set without expiry in place of what it holds; an empty one deletes the key.
    /// Says whether the key existed.
    pub fn replace_set(&mut self, key: &[u8], set: Set) -> bool {
        self.put_collection(key, Collection::Set(set), None)
    }

    /// Frees a part cut off a collection: a large one in slices, by [`Keyspace::free_work`].
    pub fn discard(&mut self, part: Collection) {
        self.graveyard.bury(Object::Coll(part));
    }

    /// Removes `key` when it holds a collection without elements; says whether it did. To be called after
    /// what made it empty was noted.
    pub fn drop_if_empty(&mut self, key: &[u8]) -> bool {
        let hash = self.key_hash(key);
        let Some(spot) = self.table.find(hash, key) else {
            return false;
        };
        let rec = self.table.rec(spot.at);
        // Of a hash whose visible fields were deleted, expired ones may be left.
        let empty = rec.has_object()
            && matches!(self.objects.get(rec.object()), Object::Coll(c) if c.is_empty() || self.is_spent(rec));
        if empty {
            self.remove(hash, spot);
            self.note(EventClasses::GENERIC, "del", key);
        }
        empty
    }
}
