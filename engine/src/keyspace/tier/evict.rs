//! Eviction: clean records leave the memory, those that nobody read for a while first.
//!
//! A clock hand moves over the table in the order of keys. A record that was read since the hand last came by loses its mark
//! and stays; one that was not goes. What is new has no mark: a scan through everything pushes out nothing that is in use.

use super::super::Keyspace;
use crate::table::{Generation, Rec, SlabRef};

/// What one call of [`Keyspace::evict`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Bytes freed.
    pub bytes: usize,
    /// Records that went.
    pub records: usize,
    /// Records looked at.
    pub looks: usize,
}

impl Keyspace {
    /// Evicts clean records until `bytes` are freed, or `looks` records and as many buckets have been looked at.
    pub fn evict(&mut self, bytes: usize, looks: usize) -> Evicted {
        let mut evicted = Evicted::default();
        let mut buckets = 0;
        let mut found = Vec::new();
        while evicted.bytes < bytes && evicted.looks < looks && buckets < looks && self.tier.clean_bytes > 0 {
            found.clear();
            let is_clean = |rec: Rec| rec.generation() == Generation::CLEAN;
            self.tier.hand = self.table.walk_ordered_of(self.tier.hand, is_clean, &mut |records| {
                found.extend_from_slice(records);
                buckets += 1;
                found.is_empty() && buckets < looks
            });
            evicted.looks += found.len();
            for &(ord, at) in &found {
                if self.tier.is_pinned(ord) {
                    continue;
                }
                let rec = self.table.rec(at);
                if rec.is_used() {
                    rec.set_used(false);
                    continue;
                }
                evicted.bytes += self.evict_clean(at);
                evicted.records += 1;
            }
        }
        evicted
    }

    /// Drops a clean record and its value from memory. Returns the bytes freed.
    fn evict_clean(&mut self, at: SlabRef) -> usize {
        let rec = self.table.rec(at);
        let bytes = self.bytes_of(rec, at);
        if rec.has_object() {
            let id = rec.object();
            self.field_timers.forget(id);
            let object = self.objects.remove(id);
            self.graveyard.bury(object);
        }
        if rec.is_volatile() {
            self.wheel.cancel(rec.timer());
            self.volatile.remove(self.table.key(rec));
        }
        self.tier.absents -= u64::from(rec.is_absent());
        self.tier.clean_bytes -= bytes;
        self.tier.complete = false;
        let (hash, spot) = self.table.locate(at);
        self.table.remove(hash, spot);
        bytes
    }
}
