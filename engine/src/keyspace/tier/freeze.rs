//! [`Frozen`]: the state of one moment, walked in the order of keys while commands go on.
//!
//! [`Keyspace::freeze`] makes the present generation the frozen one; commands change the next. [`Keyspace::frozen_slice`]
//! shows its records in order, each as it was at the cut. Once they are durable, [`Keyspace::settle_slice`] walks again and
//! makes clean what has not changed since.

use super::super::Keyspace;
use super::super::object::Object;
use crate::sst::{Body, Kind, Record, SstKey};
use crate::table::{Generation, RecKind, SlabRef};
use std::collections::BTreeMap;

/// What a key held at the cut.
pub(super) enum OldValue {
    Tombstone,
    Str(Box<[u8]>),
    Object(Object),
}

impl OldValue {
    fn bytes(&self) -> usize {
        match self {
            OldValue::Tombstone => 0,
            OldValue::Str(bytes) => bytes.len(),
            OldValue::Object(object) => object.bytes(),
        }
    }
}

struct OldVersion {
    expire: Option<u64>,
    value: OldValue,
}

/// Place of a key in the order of files.
type Place = (u64, Box<[u8]>);

/// See the module's text.
pub(super) struct Frozen {
    generation: Generation,
    /// Records before this order were shown; `None`: all of them.
    reach: Option<u64>,
    /// Records before this order are settled.
    settled: u64,
    versions: BTreeMap<Place, OldVersion>,
    version_bytes: usize,
    encoded: Vec<u8>,
}

impl Frozen {
    /// Whether a key of this order has not been shown yet.
    pub(super) fn is_ahead(&self, ord: u64) -> bool {
        self.reach.is_some_and(|reach| ord >= reach)
    }

    pub(super) fn keep(&mut self, ord: u64, key: &[u8], expire: Option<u64>, value: OldValue) {
        self.version_bytes += key.len() + value.bytes() + size_of::<(Place, OldVersion)>();
        let before = self.versions.insert((ord, key.into()), OldVersion { expire, value });
        debug_assert!(before.is_none(), "a record leaves the frozen generation once");
    }

    pub(super) fn bytes(&self) -> usize {
        self.version_bytes + self.encoded.capacity()
    }
}

/// How far a slice came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrozenStep {
    /// There is more.
    More,
    /// That was all.
    Done,
}

/// One record to be shown.
enum Shown {
    Resident(SlabRef),
    Old(OldVersion),
}

impl Keyspace {
    /// Freezes the present state for a flush. To be called between entries, when nothing is frozen.
    pub fn freeze(&mut self) {
        assert!(self.tier.frozen.is_none(), "one flush after the other");
        self.tier.frozen = Some(Frozen {
            generation: self.tier.current,
            reach: Some(0),
            settled: 0,
            versions: BTreeMap::new(),
            version_bytes: 0,
            encoded: Vec::new(),
        });
        self.tier.current = self.tier.current.next();
        self.tier.notes_use = true;
    }

    /// Whether a flush is under way here.
    pub fn is_frozen(&self) -> bool {
        self.tier.frozen.is_some()
    }

    /// Shows the next frozen records to `f`, in order: those of about `budget` home buckets. Values lie in the record shown,
    /// whatever their size.
    pub fn frozen_slice(&mut self, budget: usize, f: &mut dyn FnMut(&Record<'_>)) -> FrozenStep {
        let Some(frozen) = &mut self.tier.frozen else {
            return FrozenStep::Done;
        };
        let Some(from) = frozen.reach else {
            return FrozenStep::Done;
        };
        let generation = frozen.generation;
        let mut shown: Vec<(Place, Shown)> = Vec::new();
        let mut buckets = 0;
        let next = self.table.walk_ordered(from, &mut |records| {
            for &(ord, at) in records {
                let rec = self.table.rec(at);
                if rec.generation() == generation {
                    shown.push(((ord, self.table.key(rec).into()), Shown::Resident(at)));
                }
            }
            buckets += 1;
            buckets < budget
        });
        let reach = (next != 0).then_some(next);
        let mut old = std::mem::take(&mut frozen.versions);
        if let Some(reach) = reach {
            frozen.versions = old.split_off(&(reach, Box::from(&[][..])));
        }
        shown.extend(old.into_iter().map(|(place, version)| (place, Shown::Old(version))));
        shown.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut encoded = std::mem::take(&mut frozen.encoded);
        frozen.reach = reach;
        let mut freed = 0;
        for ((ord, key), shown) in shown {
            let key = SstKey { ord, tail: &key };
            match shown {
                Shown::Resident(at) => self.show_resident(key, at, &mut encoded, f),
                Shown::Old(version) => {
                    freed += key.tail.len() + version.value.bytes() + size_of::<(Place, OldVersion)>();
                    show_old(key, &version, &mut encoded, f);
                    if let OldValue::Object(object) = version.value {
                        self.graveyard.bury(object);
                    }
                }
            }
        }
        let frozen = self.tier.frozen.as_mut().expect("looked at above");
        frozen.version_bytes -= freed;
        if encoded.capacity() <= ENCODED_BYTES_KEPT {
            frozen.encoded = encoded;
        }
        if reach.is_some() {
            FrozenStep::More
        } else {
            FrozenStep::Done
        }
    }

    fn show_resident(&self, key: SstKey<'_>, at: SlabRef, encoded: &mut Vec<u8>, f: &mut dyn FnMut(&Record<'_>)) {
        let rec = self.table.rec(at);
        let expire_ms = rec.expire();
        let body = match rec.kind() {
            RecKind::Absent => Body::Tombstone,
            RecKind::Str => Body::Inline(Kind::Str, rec.value()),
            _ => object_body(self.objects.get(rec.object()), encoded),
        };
        f(&Record { key, expire_ms, body });
    }

    /// Makes clean what was frozen and has not changed since: all that was shown is durable. Looks at about `budget` home
    /// buckets; after [`FrozenStep::Done`] nothing is frozen any more.
    pub fn settle_slice(&mut self, budget: usize) -> FrozenStep {
        let Some(frozen) = &self.tier.frozen else {
            return FrozenStep::Done;
        };
        debug_assert!(frozen.reach.is_none(), "all was shown before anything is settled");
        let (generation, mut found, mut buckets) = (frozen.generation, Vec::new(), 0);
        let next = self.table.walk_ordered(frozen.settled, &mut |records| {
            let frozen = records
                .iter()
                .filter(|&&(_, at)| self.table.rec(at).generation() == generation);
            found.extend(frozen.map(|&(_, at)| at));
            buckets += 1;
            buckets < budget
        });
        for at in found {
            self.settle(at);
        }
        match &mut self.tier.frozen {
            Some(frozen) if next != 0 => {
                frozen.settled = next;
                FrozenStep::More
            }
            _ => {
                self.tier.frozen = None;
                FrozenStep::Done
            }
        }
    }

    fn settle(&mut self, at: SlabRef) {
        let rec = self.table.rec(at);
        if rec.is_absent() && self.tier.complete {
            // The files have been told, and nobody asks them.
            let (hash, spot) = self.table.locate(at);
            self.table.remove(hash, spot);
            self.tier.absents -= 1;
            return;
        }
        rec.set_generation(Generation::CLEAN, true);
        self.tier.clean_bytes += self.bytes_of(rec, at);
    }
}

/// A buffer for encoded collections is kept from slice to slice up to this size, in bytes.
const ENCODED_BYTES_KEPT: usize = 1 << 20;

fn object_body<'a>(object: &'a Object, encoded: &'a mut Vec<u8>) -> Body<'a> {
    match object {
        Object::Str(bytes) => Body::Inline(Kind::Str, bytes),
        Object::Coll(_) => {
            encoded.clear();
            object.encode(encoded);
            Body::Inline(Kind::Packed, encoded)
        }
    }
}

fn show_old(key: SstKey<'_>, version: &OldVersion, encoded: &mut Vec<u8>, f: &mut dyn FnMut(&Record<'_>)) {
    let body = match &version.value {
        OldValue::Tombstone => Body::Tombstone,
        OldValue::Str(bytes) => Body::Inline(Kind::Str, bytes),
        OldValue::Object(object) => object_body(object, encoded),
    };
    let expire_ms = version.expire;
    f(&Record { key, expire_ms, body });
}
