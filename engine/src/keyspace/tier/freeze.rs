//! [`Frozen`]: the state of one moment, walked in the order of keys while commands go on.
//!
//! [`Keyspace::freeze`] makes the present generation the frozen one; commands change the next. [`Keyspace::frozen_slice`]
//! shows its records in order, each as it was at the cut. Once they are durable, [`Keyspace::settle_slice`] walks again and
//! makes clean what has not changed since.

use super::super::Keyspace;
use super::super::object::{Graveyard, Object};
use crate::sst::{Body, Kind, Record, SstKey};
use crate::table::{Generation, Rec, RecKind, SlabRef};
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
        self.version_bytes += version_bytes(key, &value);
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
        self.tier.ever_frozen = true;
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
        let mut resident: Vec<(u64, SlabRef)> = Vec::new();
        let mut buckets = 0;
        let is_frozen = |rec: Rec| rec.generation() == generation;
        let next = self.table.walk_ordered_of(from, is_frozen, &mut |records| {
            resident.extend_from_slice(records);
            buckets += 1;
            buckets < budget
        });
        let key_at = |at| self.table.key(self.table.rec(at));
        // In order but for keys of one order.
        resident.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key_at(a.1).cmp(key_at(b.1))));
        let reach = (next != 0).then_some(next);
        let mut old = std::mem::take(&mut frozen.versions);
        if let Some(reach) = reach {
            frozen.versions = old.split_off(&(reach, Box::from(&[][..])));
        }
        let mut encoded = std::mem::take(&mut frozen.encoded);
        frozen.reach = reach;
        let (mut freed, mut old) = (0, old.into_iter().peekable());
        for (ord, at) in resident {
            let key = key_at(at);
            while let Some((place, version)) = old.next_if(|((o, k), _)| (*o, &**k) < (ord, key)) {
                freed += show_old(&place, version, &mut self.graveyard, &mut encoded, f);
            }
            let rec = self.table.rec(at);
            let body = match rec.kind() {
                RecKind::Absent => Body::Tombstone,
                RecKind::Str => Body::Inline(Kind::Str, rec.value()),
                _ => object_body(self.objects.get(rec.object()), &mut encoded),
            };
            f(&Record {
                key: SstKey { ord, tail: key },
                expire_ms: rec.expire(),
                body,
            });
        }
        for (place, version) in old {
            freed += show_old(&place, version, &mut self.graveyard, &mut encoded, f);
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

    /// Makes clean what was frozen and has not changed since: all that was shown is durable. Looks at about `budget` home
    /// buckets; after [`FrozenStep::Done`] nothing is frozen any more.
    pub fn settle_slice(&mut self, budget: usize) -> FrozenStep {
        let Some(frozen) = &self.tier.frozen else {
            return FrozenStep::Done;
        };
        debug_assert!(frozen.reach.is_none(), "all was shown before anything is settled");
        let (generation, mut found, mut buckets) = (frozen.generation, Vec::new(), 0);
        let is_frozen = |rec: Rec| rec.generation() == generation;
        let next = self.table.walk_ordered_of(frozen.settled, is_frozen, &mut |records| {
            found.extend(records.iter().map(|&(_, at)| at));
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

/// Shows a state that was kept, and frees it. Returns its bytes.
fn show_old(
    (ord, key): &Place,
    version: OldVersion,
    graveyard: &mut Graveyard,
    encoded: &mut Vec<u8>,
    f: &mut dyn FnMut(&Record<'_>),
) -> usize {
    let body = match &version.value {
        OldValue::Tombstone => Body::Tombstone,
        OldValue::Str(bytes) => Body::Inline(Kind::Str, bytes),
        OldValue::Object(object) => object_body(object, encoded),
    };
    f(&Record {
        key: SstKey { ord: *ord, tail: key },
        expire_ms: version.expire,
        body,
    });
    let bytes = version_bytes(key, &version.value);
    if let OldValue::Object(object) = version.value {
        graveyard.bury(object);
    }
    bytes
}

/// Bytes of memory that an old state takes.
fn version_bytes(key: &[u8], value: &OldValue) -> usize {
    key.len() + value.bytes() + size_of::<(Place, OldVersion)>()
}
