//! What looks at many keys: scans, random keys, slots, the state digest.

use super::object::Object;
use super::tier::{Met, Walked};
use super::{Keyspace, Kind};
use crate::cmd::EncodingLimits;
use crate::collections::Collection;
use crate::database::{Database, split};
use crate::digest::{Digest, combine};
use crate::ord::SLOT_SHIFT;
use crate::table::{Rec, RecKind};
use std::cell::Cell;

/// A scan gives up after this many buckets per wanted key, so that a sparse table does not make one call long (Redis
/// bounds its SCAN alike).
const SCAN_BUCKETS_PER_KEY: usize = 10;
/// Keys behind a random place of which one is chosen, when some are only in files.
const RANDOM_KEYS: usize = 16;
/// Keys of a slot that are fetched from files at once.
const SLOT_FETCH_KEYS: usize = 4096;

impl Keyspace {
    /// Calls `f` for keys from `cursor` on, about `count` of them. Returns the next cursor, 0 at the end. A key that
    /// exists during a whole iteration is reported, whatever else changes; keys are reported in ord order.
    ///
    /// When files have to be asked what they have from there on, that is noted as [`Missed`](super::Missed), and the cursor
    /// comes back.
    pub fn scan(&mut self, cursor: u64, count: usize, f: &mut dyn FnMut(&[u8], Kind)) -> u64 {
        let (mut seen, mut buckets, mut needs_tick) = (0, 0, false);
        let walked = self.walk_tiers(
            cursor,
            &mut |met| {
                if let Some((key, kind)) = self.visible(met, &mut needs_tick) {
                    f(key, kind);
                }
            },
            &mut |records| {
                seen += records;
                buckets += 1;
                seen < count && buckets < count.saturating_mul(SCAN_BUCKETS_PER_KEY)
            },
        );
        self.needs_tick |= needs_tick;
        match walked {
            Walked::Upto(next) => next,
            Walked::Unknown(from) => {
                self.miss_range(from, count);
                from
            }
        }
    }

    /// A key of `database`, in its stored form, chosen by `seed`; `None` when there is none.
    pub fn random_key(&mut self, database: Database, seed: u64) -> Option<Box<[u8]>> {
        if !self.is_complete() {
            return self.random_key_of_tiers(database, seed);
        }
        if self.len_of(database) == 0 {
            return None;
        }
        let mut needs_tick = false;
        let picked = self.table.pick(seed, &mut |rec| {
            database.has(self.table.key(rec)) && self.is_visible(rec, &mut needs_tick)
        });
        self.needs_tick |= needs_tick;
        picked.map(|at| self.table.key(self.table.rec(at)).into())
    }

    /// [`Keyspace::random_key`] where some keys are only in files: one of those that follow a random place in the order.
    fn random_key_of_tiers(&mut self, database: Database, seed: u64) -> Option<Box<[u8]>> {
        let wanted = (seed >> 32) as usize % RANDOM_KEYS;
        // Keys in memory are spread as all keys are; behind the place there may be nothing, so then the beginning.
        let near = self.table.pick(seed, &mut |_| true);
        let place = near.map_or(seed, |at| self.table.hash(self.table.key(self.table.rec(at))).ord());
        for from in [place, 0] {
            let (mut found, mut cursor): (Vec<Box<[u8]>>, _) = (Vec::new(), from);
            loop {
                cursor = self.scan(cursor, RANDOM_KEYS, &mut |key, _| {
                    if database.has(key) {
                        found.push(key.into());
                    }
                });
                if self.has_missed() {
                    // Only one range is lent: who asks for the next one and begins again would never come to an end
                    // where many lie between two keys of a database.
                    if !self.has_lent() || !self.supply_missed() {
                        return None;
                    }
                } else if found.len() > wanted || cursor == 0 {
                    break;
                }
            }
            if !found.is_empty() {
                let at = wanted.min(found.len() - 1);
                return Some(found.swap_remove(at));
            }
        }
        None
    }

    /// What of a key met on a walk can be seen.
    fn visible<'a>(&'a self, met: Met<'a>, needs_tick: &mut bool) -> Option<(&'a [u8], Kind)> {
        match met {
            Met::Resident(rec) => self
                .is_visible(rec, needs_tick)
                .then(|| (self.table.key(rec), rec.kind().into())),
            Met::File(key) => {
                *needs_tick |= key.expire_ms.is_some_and(|t| t <= self.wall_ms);
                (key.expire_ms.is_none_or(|t| t > self.clock_ms)).then_some((&key.key, key.kind))
            }
        }
    }

    fn is_visible(&self, rec: Rec, needs_tick: &mut bool) -> bool {
        if self.is_gone(rec) {
            return false;
        }
        *needs_tick |= rec.expire().is_some_and(|t| t <= self.wall_ms) || self.is_spent_at(rec, self.wall_ms);
        true
    }

    /// Whether the record's time has passed, though it lies there still.
    pub(super) fn is_gone(&self, rec: Rec) -> bool {
        rec.is_absent() || rec.expire().is_some_and(|t| t <= self.clock_ms) || self.is_spent(rec)
    }

    /// Number of visible keys of database 0 in a slot; walks them. 0, and [`Missed`](super::Missed) noted, when files have to be asked.
    pub fn slot_len(&mut self, slot: u16) -> u64 {
        let mut n = 0;
        self.walk_slot(slot, usize::MAX, &mut |_| n += 1);
        n
    }

    /// Calls `f` for up to `count` keys of database 0 in a slot, as users wrote them, in ord order. None, and [`Missed`](super::Missed) noted, when files have
    /// to be asked.
    pub fn slot_keys(&mut self, slot: u16, count: usize, f: &mut dyn FnMut(&[u8])) {
        let mut left = count;
        self.walk_slot(slot, count, &mut |key| {
            if left > 0 {
                f(key);
                left -= 1;
            }
        });
    }

    fn walk_slot(&mut self, slot: u16, count: usize, f: &mut dyn FnMut(&[u8])) {
        let first = u64::from(slot) << SLOT_SHIFT;
        let last = first | ((1 << SLOT_SHIFT) - 1);
        let (seen, mut cursor) = (Cell::new(0usize), first);
        let walked = loop {
            let walked = self.walk_tiers(
                cursor,
                &mut |met| {
                    let ord = self.ord_of(&met);
                    if (first..=last).contains(&ord)
                        && let Some((key, _)) = self.visible(met, &mut false)
                        && let (Database::ZERO, key) = split(key)
                    {
                        seen.set(seen.get() + 1);
                        f(key);
                    }
                },
                &mut |_| false,
            );
            match walked {
                Walked::Upto(next) if next != 0 && next <= last && seen.get() < count => cursor = next,
                walked => break walked,
            }
        };
        if let Walked::Unknown(from) = walked {
            self.miss_range(from, count.min(SLOT_FETCH_KEYS));
        }
    }

    fn ord_of(&self, met: &Met<'_>) -> u64 {
        match met {
            Met::Resident(rec) => self.table.hash(self.table.key(*rec)).ord(),
            Met::File(key) => key.ord,
        }
    }

    /// Digest of the visible state in memory: keys, types, values and expiries. Replicas with equal state have equal digests,
    /// whatever their histories. Walks everything.
    pub fn digest(&self) -> u128 {
        let (mut sum, mut digest) = (0, Digest::new());
        self.table.for_each(&mut |rec| {
            if !self.is_gone(rec) {
                sum = combine(sum, self.digest_of(rec, &mut digest));
            }
        });
        self.digest_with_libraries(sum)
    }

    /// [`Keyspace::digest`], from the combined shares of all visible keys.
    pub fn digest_with_libraries(&self, keys: u128) -> u128 {
        match self.scripts() {
            Some(scripts) => combine(keys, scripts.libraries().digest()),
            None => keys,
        }
    }

    /// A visible key's share of [`Keyspace::digest`].
    pub(super) fn digest_of(&self, rec: Rec, digest: &mut Digest) -> u128 {
        self.begin_digest(rec, digest);
        self.digest_value(rec, digest);
        digest.finish()
    }

    /// Of a key without its value.
    pub(super) fn begin_digest(&self, rec: Rec, digest: &mut Digest) {
        digest.reset();
        digest.bytes(self.table.key(rec));
        digest.u64(Kind::from(rec.kind()) as u64);
        // An expiry of 0 is never visible, so 0 can stand for "none".
        digest.u64(rec.expire().unwrap_or(0));
    }

    /// Digest of a visible key's value; equal values have equal ones, whatever their keys.
    pub fn value_digest(&mut self, key: &[u8]) -> Option<u128> {
        let spot = self.look(self.key_hash(key), key)?;
        let mut digest = Digest::new();
        let rec = self.table.rec(spot.at);
        digest.u64(Kind::from(rec.kind()) as u64);
        self.digest_value(rec, &mut digest);
        Some(digest.finish())
    }

    /// From which sizes on OBJECT ENCODING calls collections large.
    pub fn encoding_limits(&self) -> EncodingLimits {
        self.encodings
    }

    /// Sets them. No part of the state: nothing is stored in another way because of them.
    pub fn show_encodings_by(&mut self, limits: EncodingLimits) {
        self.encodings = limits;
    }

    /// While scripts run, which see the same names on every node: the keyspace that waits for their end keeps the limits.
    pub(crate) fn swap_encodings(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.encodings, &mut other.encodings);
    }

    fn digest_value(&self, rec: Rec, digest: &mut Digest) {
        match rec.kind() {
            RecKind::Str => digest.bytes(rec.value()),
            _ => match self.objects.get(rec.object()) {
                Object::Str(bytes) => digest.bytes(bytes),
                Object::Coll(Collection::Hash(hash)) => hash.digest_at(self.clock_ms, digest),
                Object::Coll(c) => c.digest_into(digest),
            },
        }
    }
}
