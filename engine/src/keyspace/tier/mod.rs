//! [`Tier`]: what a keyspace knows of its keys in sorted files.
//!
//! A record is *dirty* while no sorted file says the same, *clean* afterwards. Dirty records belong to one of two generations
//! that take turns: a flush *freezes* the present one and writes it as it was at that moment ([`freeze`]). Clean records may
//! be evicted ([`evict`]) and come back when they are asked for ([`load`]). Invariants:
//!
//! - A key that changed since the last flush that is durable has a record. A deleted one that files may know has a record
//!   that says so ([`RecKind::Absent`]), the *tombstone*.
//! - A key without a record is *unknown*: what the files say of it holds. While the keyspace is *complete*, no key is
//!   unknown that the files have, so that a missing record means a missing key.
//! - Before a record of the frozen generation changes that the flush has not come to, its state goes into
//!   [`Frozen::versions`]; that is done by [`Keyspace::change`], which comes before every change.
//!
//! A store that never flushed is complete, has no tombstones, and pays one predictable branch for all of this.

mod change;
mod evict;
mod file_keys;
mod freeze;
mod load;
mod reader;

pub use evict::Evicted;
pub use file_keys::{FileKey, FileKeys};
pub use freeze::{FrozenSink, FrozenStep};
pub use load::Loaded;
pub use reader::ColdReader;

pub(super) use file_keys::{Met, Walked};
pub(super) use freeze::PAGED_FROM_BYTES;

use super::Keyspace;
use crate::database::Counts;
use crate::ord::KeyHash;
use crate::table::{Generation, Rec, SlabRef};
use freeze::Frozen;
use std::collections::BTreeMap;

/// What is known of a key without reading a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// Its record is in memory; the key may have expired.
    Resident,
    /// There is no such key.
    Absent,
    /// Only the files know.
    Unknown,
}

/// What a command looked for that only the files know: its answer counts for nothing, and it is to be repeated when this
/// was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// A key.
    Key(Box<[u8]>),
    /// Keys from this order on, about so many of them.
    Range {
        /// First order.
        from_ord: u64,
        /// How many keys are wanted, resident ones included.
        count: usize,
    },
}

/// How the memory of a keyspace is made up, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierUse {
    /// Records and values that no file has: a flush makes them clean.
    pub dirty_bytes: usize,
    /// Records and values that files have: eviction frees them.
    pub clean_bytes: usize,
    /// Old states kept for the flush under way; not in `dirty_bytes`.
    pub frozen_bytes: usize,
    /// Records that say that a key is absent, dirty and clean ones.
    pub absents: u64,
}

/// See the module's text.
pub(super) struct Tier {
    /// A key without a record does not exist.
    pub(super) complete: bool,
    /// Files hold, or are about to hold, something: records may be of another generation than the present one, and reads
    /// note for eviction which ones they used.
    pub(super) ever_frozen: bool,
    /// The generation of changes made now.
    pub(super) current: Generation,
    /// Number of keys, in memory and in files.
    pub(super) counts: Counts,
    /// Records of [`RecKind::Absent`](crate::table::RecKind::Absent).
    absents: u64,
    /// Bytes of clean records and their values.
    clean_bytes: usize,
    frozen: Option<Frozen>,
    missed: Option<Missed>,
    /// Orders of keys that must not be evicted, and how often each was pinned.
    pins: BTreeMap<u64, u32>,
    /// Where eviction goes on.
    hand: u64,
    lent: Option<FileKeys>,
    /// How often everything was deleted at once.
    clears: u64,
    /// Reads what cannot wait.
    reader: Option<Box<dyn ColdReader>>,
}

impl Default for Tier {
    fn default() -> Self {
        Self {
            complete: true,
            ever_frozen: false,
            current: Generation::FIRST,
            counts: Counts::default(),
            absents: 0,
            clean_bytes: 0,
            frozen: None,
            missed: None,
            pins: BTreeMap::new(),
            hand: 0,
            lent: None,
            clears: 0,
            reader: None,
        }
    }
}

impl Tier {
    /// A command looked for a key that only the files know.
    #[cold]
    pub(super) fn miss(&mut self, key: &[u8]) {
        self.missed.get_or_insert_with(|| Missed::Key(key.into()));
    }

    /// Bytes of old states kept for a flush.
    pub(super) fn frozen_bytes(&self) -> usize {
        self.frozen.as_ref().map_or(0, Frozen::bytes)
    }

    fn is_pinned(&self, ord: u64) -> bool {
        !self.pins.is_empty() && self.pins.contains_key(&ord)
    }
}

impl Keyspace {
    /// Whether no key is known to files only: nothing needs to be fetched for any command.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.tier.complete
    }

    /// What is known of `key` without reading a file.
    pub fn residency(&self, hash: KeyHash, key: &[u8]) -> Residency {
        match self.table.find(hash, key) {
            Some(spot) if self.table.rec(spot.at).is_absent() => Residency::Absent,
            Some(_) => Residency::Resident,
            None if self.tier.complete => Residency::Absent,
            None => Residency::Unknown,
        }
    }

    /// Takes what a command since the last call looked for and only the files know; the first such thing.
    pub fn take_missed(&mut self) -> Option<Missed> {
        self.tier.missed.take()
    }

    /// Keeps a key, and the knowledge that it is absent, from being evicted until [`Keyspace::unpin`] was called as often.
    pub fn pin(&mut self, hash: KeyHash) {
        *self.tier.pins.entry(hash.ord()).or_default() += 1;
    }

    /// Takes one [`Keyspace::pin`] back.
    pub fn unpin(&mut self, hash: KeyHash) {
        let count = self
            .tier
            .pins
            .get_mut(&hash.ord())
            .expect("only pinned keys are unpinned");
        *count -= 1;
        if *count == 0 {
            self.tier.pins.remove(&hash.ord());
        }
    }

    /// How the memory is made up.
    pub fn tier_use(&self) -> TierUse {
        let used = self.table.used_bytes() + self.objects.value_bytes();
        TierUse {
            dirty_bytes: used - self.tier.clean_bytes,
            clean_bytes: self.tier.clean_bytes,
            frozen_bytes: self.tier.frozen_bytes(),
            absents: self.tier.absents,
        }
    }

    /// Bytes of all keys with their values, those among them that lie only in files with `cold_record_bytes` each: what a
    /// limit of the data set bounds. Exact while every key is in memory.
    pub fn dataset_bytes(&self, cold_record_bytes: u64) -> u64 {
        let resident = (self.table.used_bytes() + self.objects.value_bytes() + self.table.index_memory()) as u64;
        resident + self.keys_in_files() * cold_record_bytes
    }

    /// Number of keys that lie only in files, as exact as [`Keyspace::len`].
    pub fn keys_in_files(&self) -> u64 {
        let resident_keys = self.table.len() - self.tier.absents;
        self.tier.counts.total().saturating_sub(resident_keys)
    }

    /// How often [`Keyspace::clear`] was called: what was read from files before is void.
    pub fn clears(&self) -> u64 {
        self.tier.clears
    }

    /// All keys went: the files count for nothing any more.
    pub(super) fn clear_tier(&mut self) {
        self.tier = Tier {
            ever_frozen: self.tier.ever_frozen,
            current: self.tier.current,
            pins: std::mem::take(&mut self.tier.pins),
            clears: self.tier.clears + 1,
            reader: self.tier.reader.take(),
            ..Tier::default()
        };
    }

    /// Bytes of a record and its value.
    pub(super) fn bytes_of(&self, rec: Rec, at: SlabRef) -> usize {
        let object = if rec.has_object() {
            self.objects.bytes_of(rec.object())
        } else {
            0
        };
        self.table.record_bytes(at) + object
    }

    /// Takes over the state that files hold at a moment of the group's clock: so many keys, all unknown.
    pub fn resume(&mut self, clock_ms: u64, counts: Counts) {
        debug_assert!(self.table.is_empty(), "only an empty keyspace begins with files");
        self.set_time(clock_ms, clock_ms);
        (self.tier.counts, self.tier.complete, self.tier.ever_frozen) = (counts, false, true);
    }
}
