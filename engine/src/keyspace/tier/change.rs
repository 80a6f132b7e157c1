//! What comes before every change of a record: it becomes dirty, and its frozen state is kept.

use super::super::Keyspace;
use super::super::object::Object;
use super::freeze::{OldValue, Whose};
use crate::ord::KeyHash;
use crate::table::{Generation, Id, Marks, Rec, RecKind, Shape, SlabRef, Spot};

impl Keyspace {
    /// Whether a record is of the present generation, so that nothing has to come before its change. Before the first flush
    /// every record is.
    #[inline]
    pub(in super::super) fn is_current(&self, rec: Rec) -> bool {
        !self.tier.ever_frozen || rec.generation() == self.tier.current
    }

    /// To be called before the record at `spot`, or the object it names, changes or goes.
    #[inline]
    pub(in super::super) fn change(&mut self, spot: Spot) {
        if !self.is_current(self.table.rec(spot.at)) {
            self.change_older(spot, false);
        }
    }

    /// [`Keyspace::change`] for a record that gives up its object: says whether the object was taken, so that the caller need
    /// not free it.
    pub(in super::super) fn change_releasing(&mut self, spot: Spot) -> bool {
        !self.is_current(self.table.rec(spot.at)) && self.change_older(spot, true)
    }

    /// [`Keyspace::change`] for the hash `id`, which has field timers.
    pub(in super::super) fn change_timed(&mut self, id: Id) {
        let key = self.field_timers.key(id).expect("a popped timer is kept");
        let spot = self.table.find(self.table.hash(key), key);
        self.change(spot.expect("a timed hash is at its key"));
    }

    /// A record of another generation than the current one joins it. Returns whether its object was taken.
    #[cold]
    fn change_older(&mut self, spot: Spot, give_object: bool) -> bool {
        let rec = self.table.rec(spot.at);
        if rec.generation() == Generation::CLEAN {
            self.tier.clean_bytes -= self.bytes_of(rec, spot.at);
            // A clean record of an absent key means that the newest word of the files is that there is none.
            rec.set_generation(self.tier.current, !rec.is_absent());
            return false;
        }
        let key = self.table.key(rec);
        let ord = self.table.hash(key).ord();
        let frozen = self.tier.frozen.as_mut().expect("an older generation is a frozen one");
        let mut taken = false;
        if frozen.is_ahead(ord) {
            let value = match rec.kind() {
                RecKind::Absent => OldValue::Tombstone,
                RecKind::Str => OldValue::Str(rec.value().into()),
                _ if give_object => {
                    taken = true;
                    let mut object = self.objects.remove(rec.object());
                    let is_large = object.bytes() > self.paged_from;
                    match is_large.then(|| object.begin_keeping()).flatten() {
                        Some(head) => OldValue::Pages(Whose::Own(object), head),
                        None => OldValue::Object(object),
                    }
                }
                _ => {
                    let id = rec.object();
                    let is_large = self.objects.bytes_of(id) > self.paged_from;
                    let head = is_large.then(|| self.objects.lend(id).begin_keeping()).flatten();
                    match head {
                        Some(head) => OldValue::Pages(Whose::Live(id), head),
                        None => OldValue::Object(self.objects.get(id).clone()),
                    }
                }
            };
            frozen.keep(ord, key, rec.expire(), value);
        }
        // The flush under way writes the key.
        rec.set_generation(self.tier.current, true);
        taken
    }

    /// Makes a record for `key`, which does not exist.
    #[inline]
    pub(in super::super) fn create(&mut self, hash: KeyHash, key: &[u8], shape: Shape) -> SlabRef {
        if self.tier.complete && self.tier.absents == 0 {
            self.tier.counts.add(key);
            let marks = Marks::new(self.tier.current, false);
            return self.table.create(hash, key, shape, marks);
        }
        self.create_over_files(hash, key, shape)
    }

    #[inline(never)]
    fn create_over_files(&mut self, hash: KeyHash, key: &[u8], shape: Shape) -> SlabRef {
        if let Some(spot) = self.table.find(hash, key) {
            debug_assert!(self.table.rec(spot.at).is_absent(), "the key does not exist");
            self.change(spot);
            self.tier.absents -= 1;
            self.tier.counts.add(key);
            return self.table.reshape(spot, shape);
        }
        // Nobody asked the files: the key is taken to be one of theirs, which has been counted.
        let unknown = !self.tier.complete;
        if !unknown {
            self.tier.counts.add(key);
        }
        self.table
            .create(hash, key, shape, Marks::new(self.tier.current, unknown))
    }

    /// Makes the record at `spot`, which is dirty and has neither value nor timer any more, say that there is no such key. When
    /// the files know of none, that is nothing they need to be told.
    #[cold]
    pub(in super::super) fn entomb(&mut self, spot: Spot) {
        let shape = Shape {
            kind: RecKind::Absent,
            value_len: 0,
            volatile: false,
        };
        let at = self.table.reshape(spot, shape);
        self.tier.absents += 1;
        let rec = self.table.rec(at);
        if !rec.is_stored() {
            rec.set_generation(Generation::CLEAN, true);
            self.tier.clean_bytes += self.bytes_of(rec, at);
        }
    }

    /// Removes a key that has no record: whatever files say of it is void from now on.
    pub(in super::super) fn remove_unknown(&mut self, hash: KeyHash, key: &[u8]) {
        if self.tier.complete || self.table.find(hash, key).is_some() {
            return;
        }
        let shape = Shape {
            kind: RecKind::Absent,
            value_len: 0,
            volatile: false,
        };
        self.table.create(hash, key, shape, Marks::new(self.tier.current, true));
        self.tier.absents += 1;
        // As in `create_over_files`: it is taken to have been there.
        self.tier.counts.remove(key);
    }
}

impl Object {
    /// Bytes of the value, encoded as a sorted file holds it, into `out`.
    pub(in super::super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Object::Str(bytes) => out.extend_from_slice(bytes),
            Object::Coll(collection) => collection.encode(out),
        }
    }
}
