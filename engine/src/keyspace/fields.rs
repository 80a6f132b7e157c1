//! Hashes whose fields expire: what the keyspace does so that they vanish at their moment, and their memory soon after.
//!
//! [`Keyspace::live`] tells each hash the clock before anybody looks at it, and treats one whose fields are all due as a key
//! that does not exist. [`Keyspace::expire_work`] removes due fields in small steps. That it does so at another time on
//! another replica shows in nothing but the order of fields in replies.

use super::object::Object;
use super::{EventClasses, Keyspace, Kind};
use crate::collections::{Collection, Elements, HashObj};
use crate::ord::KeyHash;
use crate::table::{Id, Rec, RecKind, Spot};

impl Keyspace {
    fn hash_at(&self, rec: Rec) -> Option<&HashObj> {
        match (rec.kind(), rec) {
            (RecKind::Hash, rec) => match self.objects.get(rec.object()) {
                Object::Coll(Collection::Hash(hash)) => Some(hash),
                _ => unreachable!("the record says it is a hash"),
            },
            _ => None,
        }
    }

    /// Whether the record is a hash that lost its last field to the clock, so that its key does not exist.
    #[inline]
    pub(super) fn is_spent(&self, rec: Rec) -> bool {
        self.is_spent_at(rec, self.clock_ms)
    }

    /// [`Keyspace::is_spent`] at another time.
    #[inline]
    pub(super) fn is_spent_at(&self, rec: Rec, now_ms: u64) -> bool {
        rec.kind() == RecKind::Hash && self.hash_at(rec).is_some_and(|hash| hash.is_spent(now_ms))
    }

    /// Tells a hash the clock, before somebody looks at it; `false` when it is spent.
    pub(super) fn settle_hash(&mut self, rec: Rec) -> bool {
        if !self.hash_at(rec).is_some_and(HashObj::has_expiry) {
            return true;
        }
        let (clock_ms, wall_ms) = (self.clock_ms, self.wall_ms);
        let Object::Coll(Collection::Hash(hash)) = self.objects.touch(rec.object()) else {
            unreachable!("looked at above")
        };
        hash.set_now(clock_ms);
        self.needs_tick |= hash.next_expiry(clock_ms).is_some_and(|moment| moment <= wall_ms);
        !hash.is_spent(clock_ms)
    }

    /// To be called after [`HashObj::set_expire`] on the hash at `key`.
    pub fn field_expiry_changed(&mut self, key: &[u8]) {
        let hash = self.key_hash(key);
        if let Some(spot) = self.live(hash, key) {
            let rec = self.table.rec(spot.at);
            if Kind::from(rec.kind()) == Kind::Hash {
                self.time_fields(rec.object(), key);
            }
        }
    }

    /// The object is now at `key`: if it is a hash with fields that expire, they are timed. A timer that was left of fields
    /// that do not expire any more knows an older key.
    pub(super) fn time_fields(&mut self, id: Id, key: &[u8]) {
        let Object::Coll(Collection::Hash(hash)) = self.objects.get(id) else {
            return;
        };
        match hash.first_expiry() {
            Some(moment) => self.field_timers.set(id, key, moment, self.clock_ms),
            None if hash.has_expiry() => self.field_timers.forget(id),
            None => {}
        }
    }

    /// Removes due fields of hashes whose time has come, within `budget`.
    pub(super) fn expire_fields(&mut self, budget: &mut usize) {
        while let Some(id) = self.field_timers.pop_due(self.clock_ms, budget) {
            self.change_timed(id);
            let Object::Coll(Collection::Hash(hash)) = self.objects.lend(id) else {
                unreachable!("only hashes have field timers")
            };
            hash.set_now(self.clock_ms);
            let purged = hash.purge(*budget);
            *budget -= purged;
            let (is_empty, next) = (hash.is_empty(), hash.first_expiry());
            if purged > 0 && !is_empty {
                let key = self.field_timers.key(id).expect("a popped timer is kept").to_vec();
                self.note(EventClasses::HASH, "hexpired", &key);
            }
            match (is_empty, next) {
                (true, _) => self.remove_emptied(id),
                (false, Some(moment)) => self.field_timers.again(id, moment),
                (false, None) => self.field_timers.forget(id),
            }
        }
    }

    fn remove_emptied(&mut self, id: Id) {
        let key = self.field_timers.key(id).expect("a popped timer is kept").to_vec();
        let hash = self.key_hash(&key);
        let spot = self.table.find(hash, &key).expect("a timed hash is at its key");
        debug_assert_eq!(self.table.rec(spot.at).object(), id);
        self.remove_spent(hash, spot, &key);
    }

    /// Removes a hash whose fields have all expired.
    #[cold]
    pub(super) fn remove_spent(&mut self, hash: KeyHash, spot: Spot, key: &[u8]) {
        self.remove(hash, spot);
        self.stats.expired += 1;
        self.note(EventClasses::HASH, "hexpired", key);
        self.note(EventClasses::GENERIC, "del", key);
    }
}
