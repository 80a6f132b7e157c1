//! What looks at many keys: scans, random keys, slots, the state digest.

use super::object::Object;
use super::{Keyspace, Kind};
use crate::collections::Collection;
use crate::digest::{Digest, combine};
use crate::ord::SLOT_SHIFT;
use crate::table::{Rec, RecKind};

/// A scan gives up after this many buckets per wanted key, so that a sparse table does not make one call long (Redis
/// bounds its SCAN alike).
const SCAN_BUCKETS_PER_KEY: usize = 10;

impl Keyspace {
    /// Calls `f` for keys from `cursor` on, about `count` of them. Returns the next cursor, 0 at the end. A key that
    /// exists during a whole iteration is reported, whatever else changes; keys are reported in ord order.
    pub fn scan(&mut self, cursor: u64, count: usize, f: &mut dyn FnMut(&[u8], Kind)) -> u64 {
        let (mut seen, mut buckets, mut needs_tick) = (0, 0, false);
        let next = self.table.walk_ordered(cursor, &mut |records| {
            for &(_, at) in records {
                let rec = self.table.rec(at);
                if self.is_visible(rec, &mut needs_tick) {
                    f(self.table.key(rec), rec.kind().into());
                }
            }
            seen += records.len();
            buckets += 1;
            seen < count && buckets < count.saturating_mul(SCAN_BUCKETS_PER_KEY)
        });
        self.needs_tick |= needs_tick;
        next
    }

    /// A key chosen by `seed`, `None` when there is none.
    pub fn random_key(&mut self, seed: u64) -> Option<&[u8]> {
        let mut needs_tick = false;
        let picked = self.table.pick(seed, &mut |rec| self.is_visible(rec, &mut needs_tick));
        self.needs_tick |= needs_tick;
        picked.map(|at| self.table.key(self.table.rec(at)))
    }

    fn is_visible(&self, rec: Rec, needs_tick: &mut bool) -> bool {
        if self.is_gone(rec) {
            return false;
        }
        *needs_tick |= rec.expire().is_some_and(|t| t <= self.wall_ms) || self.is_spent_at(rec, self.wall_ms);
        true
    }

    /// Whether the record's time has passed, though it lies there still.
    fn is_gone(&self, rec: Rec) -> bool {
        rec.expire().is_some_and(|t| t <= self.clock_ms) || self.is_spent(rec)
    }

    /// Number of visible keys in a slot; walks them.
    pub fn slot_len(&self, slot: u16) -> u64 {
        let mut n = 0;
        self.walk_slot(slot, &mut |_| {
            n += 1;
            true
        });
        n
    }

    /// Calls `f` for up to `count` keys of a slot, in ord order.
    pub fn slot_keys(&self, slot: u16, count: usize, f: &mut dyn FnMut(&[u8])) {
        let mut left = count;
        self.walk_slot(slot, &mut |key| {
            if left > 0 {
                f(key);
                left -= 1;
            }
            left > 0
        });
    }

    fn walk_slot(&self, slot: u16, f: &mut dyn FnMut(&[u8]) -> bool) {
        let slot = u64::from(slot);
        self.table.walk_ordered(slot << SLOT_SHIFT, &mut |records| {
            records.iter().all(|&(ord, at)| {
                let rec = self.table.rec(at);
                let here = ord >> SLOT_SHIFT == slot;
                here && (self.is_gone(rec) || f(self.table.key(rec)))
            })
        });
    }

    /// Digest of the visible state: keys, types, values and expiries. Replicas with equal state have equal digests,
    /// whatever their histories. Walks everything.
    pub fn digest(&self) -> u128 {
        let (mut sum, mut digest) = (0, Digest::new());
        self.table.for_each(&mut |rec| {
            if self.is_gone(rec) {
                return;
            }
            digest.reset();
            digest.bytes(self.table.key(rec));
            digest.u64(Kind::from(rec.kind()) as u64);
            // An expiry of 0 is never visible, so 0 can stand for "none".
            digest.u64(rec.expire().unwrap_or(0));
            match rec.kind() {
                RecKind::Str => digest.bytes(rec.value()),
                _ => match self.objects.get(rec.object()) {
                    Object::Str(bytes) => digest.bytes(bytes),
                    Object::Coll(Collection::Hash(hash)) => hash.digest_at(self.clock_ms, &mut digest),
                    Object::Coll(c) => c.digest_into(&mut digest),
                },
            }
            sum = combine(sum, digest.finish());
        });
        sum
    }
}
