//! [`Frozen`]: the state of one moment, walked in the order of keys while commands go on.
//!
//! [`Keyspace::freeze`] makes the present generation the frozen one; commands change the next. [`Keyspace::frozen_slice`]
//! shows its records in order, each as it was at the cut. Once they are durable, [`Keyspace::settle_slice`] walks again and
//! makes clean what has not changed since.
//!
//! A large collection is shown in pages, some in each slice, while it goes on changing ([`Collection::begin_keeping`]): when its
//! turn comes, or when it changes before that.

use super::super::Keyspace;
use super::super::object::{Graveyard, Object, Objects};
use crate::sst::{Body, Kind, Record, SstKey};
use crate::table::{Generation, Id, Rec, RecKind, SlabRef};
use std::collections::BTreeMap;

/// Collections of more bytes of memory are shown in pages.
pub(in super::super) const PAGED_FROM_BYTES: usize = 64 << 10;
/// Pages of a collection that count for a home bucket: about as much work.
const PAGES_PER_BUCKET: usize = 2;

/// Is shown a frozen state, in order.
pub trait FrozenSink {
    /// A key with its value, or without one.
    fn record(&mut self, record: &Record<'_>);
    /// A large collection begins: its parts follow, and nothing else before its end.
    fn begin(&mut self);
    /// The next bytes of it, as [`Collection::encode`] gives them.
    fn part(&mut self, bytes: &[u8]);
    /// That was all of it, and this is where it belongs.
    fn end(&mut self, key: SstKey<'_>, expire_ms: Option<u64>);
}

/// What a key held at the cut.
pub(super) enum OldValue {
    Tombstone,
    Str(Box<[u8]>),
    Object(Object),
    /// A collection that is kept, and what stands before its pages.
    Pages(Whose, Vec<u8>),
}

impl OldValue {
    fn bytes(&self) -> usize {
        match self {
            OldValue::Tombstone => 0,
            OldValue::Str(bytes) => bytes.len(),
            OldValue::Object(object) | OldValue::Pages(Whose::Own(object), _) => object.bytes(),
            OldValue::Pages(Whose::Live(_), head) => head.len(),
        }
    }
}

/// Where a collection is that is kept.
pub(super) enum Whose {
    /// A key names it, this or another one.
    Live(Id),
    /// No key does any more.
    Own(Object),
}

struct OldVersion {
    expire: Option<u64>,
    value: OldValue,
}

/// Place of a key in the order of files.
type Place = (u64, Box<[u8]>);

/// A collection of which some pages were shown.
struct Underway {
    place: Place,
    expire: Option<u64>,
    whose: Whose,
}

/// See the module's text.
pub(super) struct Frozen {
    generation: Generation,
    /// Records before this order were shown; `None`: all of them.
    reach: Option<u64>,
    /// Records before this order are settled.
    settled: u64,
    versions: BTreeMap<Place, OldVersion>,
    version_bytes: usize,
    underway: Option<Underway>,
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
        let own = match &self.underway {
            Some(Underway {
                whose: Whose::Own(object),
                ..
            }) => object.bytes(),
            _ => 0,
        };
        self.version_bytes + self.encoded.capacity() + own
    }

    /// Begins to show a collection.
    fn begin(&mut self, place: Place, expire: Option<u64>, whose: Whose, head: &[u8], sink: &mut dyn FrozenSink) {
        sink.begin();
        sink.part(head);
        self.underway = Some(Underway { place, expire, whose });
    }

    /// Takes a collection that nobody names any more, when it has not been shown as a whole; else gives it back.
    fn take_over(&mut self, id: Id, object: Object) -> Option<Object> {
        let is_it = |whose: &Whose| matches!(whose, Whose::Live(live) if *live == id);
        if let Some(underway) = self.underway.as_mut().filter(|underway| is_it(&underway.whose)) {
            underway.whose = Whose::Own(object);
            return None;
        }
        // Of such large ones there are few.
        for ((_, key), version) in &mut self.versions {
            if let OldValue::Pages(whose, _) = &mut version.value
                && is_it(whose)
            {
                self.version_bytes -= version_bytes(key, &version.value);
                let OldValue::Pages(whose, _) = &mut version.value else {
                    unreachable!("looked at above")
                };
                *whose = Whose::Own(object);
                self.version_bytes += version_bytes(key, &version.value);
                return None;
            }
        }
        Some(object)
    }

    /// A buffer that one large value has made large is not kept.
    fn trim_buffer(&mut self) {
        if self.encoded.capacity() > ENCODED_BYTES_KEPT {
            self.encoded = Vec::new();
        }
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
            underway: None,
            encoded: Vec::new(),
        });
        self.tier.current = self.tier.current.next();
        self.tier.ever_frozen = true;
    }

    /// Whether a flush is under way here.
    pub fn is_frozen(&self) -> bool {
        self.tier.frozen.is_some()
    }

    /// Shows the next frozen records, in order: those of about `budget` home buckets, or as many steps of a large collection.
    pub fn frozen_slice(&mut self, budget: usize, sink: &mut dyn FrozenSink) -> FrozenStep {
        let Some(frozen) = &mut self.tier.frozen else {
            return FrozenStep::Done;
        };
        if frozen.underway.is_some() {
            let pages = budget * PAGES_PER_BUCKET;
            show_pages(frozen, &mut self.objects, &mut self.graveyard, pages, sink);
            return FrozenStep::More;
        }
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
        frozen.reach = (next != 0).then_some(next);
        let mut old = std::mem::take(&mut frozen.versions);
        if let Some(reach) = frozen.reach {
            frozen.versions = old.split_off(&(reach, Box::from(&[][..])));
        }
        let (mut resident, mut old) = (resident.into_iter().peekable(), old.into_iter().peekable());
        loop {
            let first = resident.peek().map(|&(ord, at)| (ord, key_at(at)));
            let first_old = old.peek().map(|((ord, key), _)| (*ord, &**key));
            let is_old = match (first, first_old) {
                (None, None) => break,
                (Some(resident), Some(old)) => old < resident,
                (resident, _) => resident.is_none(),
            };
            let ord = if is_old {
                let ((ord, key), version) = old.next().expect("looked at above");
                frozen.version_bytes -= version_bytes(&key, &version.value);
                show_old((ord, key), version, frozen, &mut self.graveyard, sink);
                ord
            } else {
                let (ord, at) = resident.next().expect("looked at above");
                let (rec, tail) = (self.table.rec(at), key_at(at));
                let key = SstKey { ord, tail };
                show_resident(key, rec, frozen, &mut self.objects, self.paged_from, sink);
                ord
            };
            if frozen.underway.is_none() {
                continue;
            }
            let is_followed = resident.peek().is_some_and(|next| next.0 == ord)
                || old.peek().is_some_and(|(place, _)| place.0 == ord);
            match ord.checked_add(1).filter(|_| !is_followed) {
                Some(reach) => {
                    // What comes behind it has its turn when all its pages were shown.
                    frozen.versions.extend(old);
                    frozen.reach = Some(reach);
                    break;
                }
                // Keys of one order are shown together.
                None => show_pages(frozen, &mut self.objects, &mut self.graveyard, usize::MAX, sink),
            }
        }
        if frozen.reach.is_some() {
            FrozenStep::More
        } else {
            FrozenStep::Done
        }
    }

    /// An object goes that no key names any more: the flush takes it over when it has not seen all of it, else it is given back.
    pub(in super::super) fn keep_for_flush(&mut self, id: Id, object: Object) -> Option<Object> {
        match &mut self.tier.frozen {
            Some(frozen) if object.is_kept() => frozen.take_over(id, object),
            _ => Some(object),
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

/// Shows a record that has not changed since the cut, or begins to.
fn show_resident(
    key: SstKey<'_>,
    rec: Rec,
    frozen: &mut Frozen,
    objects: &mut Objects,
    paged_from: usize,
    sink: &mut dyn FrozenSink,
) {
    if rec.has_object() && objects.bytes_of(rec.object()) > paged_from {
        let id = rec.object();
        if let Some(head) = objects.lend(id).begin_keeping() {
            let place = (key.ord, Box::from(key.tail));
            return frozen.begin(place, rec.expire(), Whose::Live(id), &head, sink);
        }
    }
    let body = match rec.kind() {
        RecKind::Absent => Body::Tombstone,
        RecKind::Str => Body::Inline(Kind::Str, rec.value()),
        _ => object_body(objects.get(rec.object()), &mut frozen.encoded),
    };
    sink.record(&Record {
        key,
        expire_ms: rec.expire(),
        body,
    });
    frozen.trim_buffer();
}

/// Shows a state that was kept, and frees it; or begins to.
fn show_old(
    (ord, key): Place,
    version: OldVersion,
    frozen: &mut Frozen,
    graveyard: &mut Graveyard,
    sink: &mut dyn FrozenSink,
) {
    let expire_ms = version.expire;
    let mut show = |body| {
        let key = SstKey { ord, tail: &key };
        sink.record(&Record { key, expire_ms, body });
    };
    match version.value {
        OldValue::Tombstone => show(Body::Tombstone),
        OldValue::Str(bytes) => show(Body::Inline(Kind::Str, &bytes)),
        OldValue::Object(object) => {
            show(object_body(&object, &mut frozen.encoded));
            frozen.trim_buffer();
            graveyard.bury(object);
        }
        OldValue::Pages(whose, head) => frozen.begin((ord, key), expire_ms, whose, &head, sink),
    }
}

/// Goes on with the collection of which some pages were shown, by at most `count`.
fn show_pages(
    frozen: &mut Frozen,
    objects: &mut Objects,
    graveyard: &mut Graveyard,
    count: usize,
    sink: &mut dyn FrozenSink,
) {
    let Some(underway) = &mut frozen.underway else { return };
    let object = match &mut underway.whose {
        Whose::Live(id) => objects.lend(*id),
        Whose::Own(object) => object,
    };
    let Object::Coll(collection) = object else {
        unreachable!("strings have no pages")
    };
    for _ in 0..count {
        frozen.encoded.clear();
        if collection.take_page(&mut frozen.encoded) {
            sink.part(&frozen.encoded);
            continue;
        }
        collection.end_keeping();
        let shown = frozen.underway.take().expect("looked at above");
        let (ord, tail) = (shown.place.0, &*shown.place.1);
        sink.end(SstKey { ord, tail }, shown.expire);
        if let Whose::Own(object) = shown.whose {
            graveyard.bury(object);
        }
        break;
    }
    frozen.trim_buffer();
}

/// Bytes of memory that an old state takes.
fn version_bytes(key: &[u8], value: &OldValue) -> usize {
    key.len() + value.bytes() + size_of::<(Place, OldVersion)>()
}
