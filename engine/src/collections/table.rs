//! [`Table`]: a hash table of pairs of byte strings whose order depends on its history alone.
//!
//! The pairs are numbered without gaps; an index of their numbers finds them by hash. A new pair is the last; where one is
//! removed, the last takes its place. So "pair number n" means the same on every replica that executed the
//! same commands, whatever the hash function, and a random pair is found in constant time.

use super::kept::Kept;
use super::thin_bytes::{self, ThinBytes};
use crate::varint::put_bytes;
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

static HASH_SEED: OnceLock<u64> = OnceLock::new();

/// Sets the seed of the hash inside collections, which keeps clients from choosing keys that collide. Takes effect only
/// before the first large collection is made; says whether it did. No result of any command depends on it.
pub fn seed_hashes(seed: u64) -> bool {
    HASH_SEED.set(seed).is_ok()
}

fn hash_of(key: &[u8]) -> u32 {
    xxh3_64_with_seed(key, *HASH_SEED.get_or_init(|| 0)) as u32
}

/// Slots of a new segment; always a power of two.
const SLOTS_MIN: usize = 64;
/// Slots of the largest segment: splitting one looks at three quarters as many pairs, some tens of microseconds when none
/// of them is in the cache.
const SLOTS_MAX: usize = 1024;
/// Pairs of a chunk, 16 KiB: what is allocated at once when a table grows.
const CHUNK_PAIRS: usize = 1024;
/// Pairs of a page: encoding them takes a few microseconds.
const PAGE_PAIRS: usize = 64;
/// Bits of the hash that choose a segment at most; the others choose the slot in it.
const DEPTH_MAX: u32 = 32 - SLOTS_MAX.trailing_zeros();

#[derive(Clone, Debug)]
struct Pair {
    hash: u32,
    key_len: u32,
    /// Key, then value.
    bytes: ThinBytes,
}

/// The pairs, in chunks so that adding one never moves the others.
#[derive(Clone, Debug, Default)]
struct Pairs {
    /// All but the last are full; none is empty.
    chunks: Vec<Vec<Pair>>,
    len: usize,
}

impl Pairs {
    #[inline]
    fn get(&self, n: usize) -> &Pair {
        &self.chunks[n / CHUNK_PAIRS][n % CHUNK_PAIRS]
    }

    fn get_mut(&mut self, n: usize) -> &mut Pair {
        &mut self.chunks[n / CHUNK_PAIRS][n % CHUNK_PAIRS]
    }

    fn push(&mut self, pair: Pair) {
        if self.len.is_multiple_of(CHUNK_PAIRS) {
            // The first chunk grows as it fills: most tables are small.
            self.chunks
                .push(Vec::with_capacity(if self.len == 0 { SLOTS_MIN } else { CHUNK_PAIRS }));
        }
        self.chunks[self.len / CHUNK_PAIRS].push(pair);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Pair> {
        let last = self.chunks.last_mut()?;
        let pair = last.pop();
        self.len -= 1;
        if last.is_empty() {
            self.chunks.pop();
        }
        pair
    }

    /// Removes pair `n`; the last takes its place.
    fn swap_remove(&mut self, n: usize) -> Pair {
        let last = self.pop().expect("pair n exists");
        if n == self.len {
            last
        } else {
            std::mem::replace(self.get_mut(n), last)
        }
    }
}

/// A part of the index: open addressing with linear probing, at most three quarters full.
#[derive(Clone, Debug)]
struct Segment {
    /// 0, or a pair's number plus one.
    slots: Vec<u32>,
    used: usize,
    /// How many leading bits all its hashes have in common.
    depth: u32,
}

impl Segment {
    fn new(slots: usize, depth: u32) -> Self {
        Segment {
            slots: vec![0; slots],
            used: 0,
            depth,
        }
    }

    fn is_full(&self) -> bool {
        (self.used + 1) * 4 > self.slots.len() * 3
    }

    fn enter(&mut self, n: u32, hash: u32) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = n + 1;
        self.used += 1;
    }

    fn slot_of(&self, n: usize, hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] as usize != n + 1 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Empties a slot and moves later ones of the same run up, so that probing never needs tombstones.
    fn vacate(&mut self, mut hole: usize, pairs: &Pairs) {
        let mask = self.slots.len() - 1;
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let Some(n) = self.slots[slot].checked_sub(1) else {
                break;
            };
            let home = pairs.get(n as usize).hash as usize & mask;
            // The entry may move to the hole if its home is not between the hole and where it is.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[slot];
                hole = slot;
            }
        }
        self.slots[hole] = 0;
        self.used -= 1;
    }
}

/// How a pair is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PairForm {
    /// The key alone.
    #[default]
    Key,
    /// The key, then the value without its length.
    KeyAndFixed,
    /// The key, then the value.
    KeyAndValue,
}

impl PairForm {
    /// Appends a pair.
    pub(super) fn put(self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        put_bytes(out, key);
        match self {
            PairForm::Key => {}
            PairForm::KeyAndFixed => out.extend_from_slice(value),
            PairForm::KeyAndValue => put_bytes(out, value),
        }
    }
}

/// Pairs of byte strings, found by the first of them.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pairs: Pairs,
    segments: Vec<Segment>,
    /// Extendible hashing: the segment for each value of the leading `depth` bits of the hash. A full segment is split
    /// alone, so that growth is done in small steps.
    directory: Vec<u32>,
    depth: u32,
    /// Sum of the lengths of all keys and values.
    bytes: usize,
    /// Sum of the slots of all segments.
    slots: usize,
    kept: Kept,
    /// Of what is kept: how many pairs there were, and how they are encoded.
    kept_pairs: (usize, PairForm),
}

impl Default for Table {
    fn default() -> Self {
        Table {
            pairs: Pairs::default(),
            segments: vec![Segment::new(SLOTS_MIN, 0)],
            directory: vec![0],
            depth: 0,
            bytes: 0,
            slots: SLOTS_MIN,
            kept: Kept::default(),
            kept_pairs: (0, PairForm::Key),
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.pairs.len
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let pairs = match self.pairs.chunks.as_slice() {
            [only] => only.capacity(),
            chunks => chunks.len() * CHUNK_PAIRS,
        };
        pairs * size_of::<Pair>()
            + self.segments.capacity() * size_of::<Segment>()
            + (self.slots + self.directory.capacity()) * size_of::<u32>()
            + self.bytes
            + self.pairs.len * thin_bytes::HEAD
            + self.kept.memory()
    }

    #[inline]
    pub(super) fn key(&self, n: usize) -> &[u8] {
        let p = self.pairs.get(n);
        &p.bytes[..p.key_len as usize]
    }

    #[inline]
    pub(super) fn value(&self, n: usize) -> &[u8] {
        let p = self.pairs.get(n);
        &p.bytes[p.key_len as usize..]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs
            .chunks
            .iter()
            .flatten()
            .map(|p| p.bytes.split_at(p.key_len as usize))
    }

    /// The number of the segment for a hash.
    #[inline]
    fn segment_for(&self, hash: u32) -> usize {
        // A shift in 64 bits: by 32 when there is one segment.
        self.directory[(u64::from(hash) >> (32 - self.depth)) as usize] as usize
    }

    /// The number of the pair with this key.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        self.find_hashed(key, hash_of(key))
    }

    #[inline]
    fn find_hashed(&self, key: &[u8], hash: u32) -> Option<usize> {
        let slots = &self.segments[self.segment_for(hash)].slots;
        let mask = slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let n = slots[slot].checked_sub(1)? as usize;
            let p = self.pairs.get(n);
            if p.hash == hash && &p.bytes[..p.key_len as usize] == key {
                return Some(n);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Adds a pair if its key is new; either way gives the pair's number, and whether it was added.
    pub(super) fn insert_new(&mut self, key: &[u8], value: &[u8]) -> (usize, bool) {
        let hash = hash_of(key);
        if let Some(n) = self.find_hashed(key, hash) {
            return (n, false);
        }
        let mut segment = self.segment_for(hash);
        while self.segments[segment].is_full() {
            self.grow(segment, hash);
            segment = self.segment_for(hash);
        }
        let n = self.pairs.len;
        self.segments[segment].enter(
            u32::try_from(n).expect("a collection has fewer than 2^32 elements"),
            hash,
        );
        let bytes = ThinBytes::concat(key, value);
        self.bytes += bytes.len();
        self.pairs.push(Pair {
            hash,
            key_len: key.len() as u32,
            bytes,
        });
        (n, true)
    }

    /// Makes a full segment larger, or splits it in two. `hash` is one of those that it is for.
    fn grow(&mut self, segment: usize, hash: u32) {
        let old = &mut self.segments[segment];
        let (slots, depth) = (std::mem::take(&mut old.slots), old.depth);
        let numbers = slots.iter().filter_map(|n| n.checked_sub(1));
        if slots.len() < SLOTS_MAX || depth == DEPTH_MAX {
            let mut larger = Segment::new(slots.len() * 2, depth);
            numbers.for_each(|n| larger.enter(n, self.pairs.get(n as usize).hash));
            self.slots += slots.len();
            self.segments[segment] = larger;
            return;
        }
        let mut halves = [Segment::new(SLOTS_MAX, depth + 1), Segment::new(SLOTS_MAX, depth + 1)];
        for n in numbers {
            let hash = self.pairs.get(n as usize).hash;
            halves[(hash >> (31 - depth) & 1) as usize].enter(n, hash);
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|s| [*s, *s]).collect();
            self.depth += 1;
        }
        let [low, high] = halves;
        self.segments[segment] = low;
        self.segments.push(high);
        self.slots += SLOTS_MAX;
        // The entries that lead here agree in `depth` bits; those with the next bit set now lead to the upper half.
        let span = 1usize << (self.depth - depth);
        let first = (u64::from(hash) >> (32 - self.depth)) as usize & !(span - 1);
        self.directory[first + span / 2..first + span].fill(self.segments.len() as u32 - 1);
    }

    /// Keeps the pairs as they are now for [`Table::take_page`].
    pub(super) fn begin_keeping(&mut self, form: PairForm) {
        self.kept_pairs = (self.pairs.len, form);
        self.kept.begin(self.pairs.len.div_ceil(PAGE_PAIRS));
    }

    /// See [`Kept::end`].
    pub(super) fn end_keeping(&mut self) {
        self.kept.end();
    }

    /// Whether pages are kept.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_active()
    }

    /// Appends the next page of what was kept; `false` when there is none any more.
    pub(super) fn take_page(&mut self, out: &mut Vec<u8>) -> bool {
        match self.kept.take() {
            None => return false,
            Some((_, Some(changed))) => out.extend_from_slice(&changed),
            Some((page, None)) => self.encode_page(page, out),
        }
        true
    }

    /// Appends a page that has not changed since it is kept.
    fn encode_page(&self, page: usize, out: &mut Vec<u8>) {
        let (len, form) = self.kept_pairs;
        for n in page * PAGE_PAIRS..len.min((page + 1) * PAGE_PAIRS) {
            form.put(self.key(n), self.value(n), out);
        }
    }

    /// To be called before pair `n` becomes another one, or goes.
    #[inline]
    fn changing(&mut self, n: usize) {
        if self.kept.is_active() {
            self.keep_page_of(n);
        }
    }

    #[cold]
    fn keep_page_of(&mut self, n: usize) {
        let page = n / PAGE_PAIRS;
        if self.kept.wants(page) {
            let mut encoded = Vec::new();
            self.encode_page(page, &mut encoded);
            self.kept.put(page, encoded);
        }
    }

    /// Gives pair `n` another value.
    pub(super) fn set_value(&mut self, n: usize, value: &[u8]) {
        self.changing(n);
        let p = self.pairs.get_mut(n);
        let key_len = p.key_len as usize;
        if p.bytes.len() - key_len == value.len() {
            p.bytes[key_len..].copy_from_slice(value);
            return;
        }
        let old_len = p.bytes.len();
        p.bytes = ThinBytes::concat(&p.bytes[..key_len], value);
        self.bytes = self.bytes - old_len + key_len + value.len();
    }

    /// Removes pair `n`; the last pair takes its number.
    pub(super) fn swap_remove(&mut self, n: usize) {
        self.changing(n);
        self.changing(self.pairs.len - 1);
        let hash = self.pairs.get(n).hash;
        let segment = self.segment_for(hash);
        let slot = self.segments[segment].slot_of(n, hash);
        self.segments[segment].vacate(slot, &self.pairs);
        let last = self.pairs.len - 1;
        if n != last {
            let hash = self.pairs.get(last).hash;
            let segment = self.segment_for(hash);
            let slot = self.segments[segment].slot_of(last, hash);
            self.segments[segment].slots[slot] = n as u32 + 1;
        }
        self.bytes -= self.pairs.swap_remove(n).bytes.len();
    }

    /// Drops up to `budget` pairs; afterwards the table may only be freed further. Returns how many are left.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        for _ in 0..budget.min(self.pairs.len) {
            self.changing(self.pairs.len - 1);
            self.pairs.pop();
        }
        // The index goes at the same pace: its segments hold about half of SLOTS_MAX pairs each.
        let segments = self.segments.len().saturating_sub(budget / (SLOTS_MAX / 2) + 1);
        self.segments.truncate(segments);
        self.pairs.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::testing::Random;
    use std::collections::HashMap;

    #[test]
    fn pairs_are_found_through_every_split_and_removal() {
        let (mut table, mut model, mut r) = (Table::default(), HashMap::new(), Random(5));
        for step in 0..120_000u64 {
            let key = r.below(40_000).to_string();
            // Grows to tens of thousands, then shrinks.
            if r.below(8) < if step < 80_000 { 6 } else { 2 } {
                let (n, added) = table.insert_new(key.as_bytes(), &step.to_le_bytes());
                assert_eq!(added, !model.contains_key(&key));
                if added {
                    model.insert(key, step);
                } else {
                    assert_eq!(table.value(n), model[&key].to_le_bytes());
                }
            } else if let Some(n) = table.find(key.as_bytes()) {
                assert_eq!(table.key(n), key.as_bytes());
                table.swap_remove(n);
                assert!(model.remove(&key).is_some());
            } else {
                assert!(!model.contains_key(&key));
            }
            assert_eq!(table.len(), model.len());
        }
        assert!(table.depth > 3 && table.segments.len() > 16);
        assert_eq!(table.slots, table.segments.iter().map(|s| s.slots.len()).sum::<usize>());
        assert_eq!(table.segments.iter().map(|s| s.used).sum::<usize>(), table.len());
        assert!(model.iter().all(|(k, v)| {
            table
                .find(k.as_bytes())
                .is_some_and(|n| table.value(n) == v.to_le_bytes())
        }));
        assert_eq!(table.bytes, table.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>());
    }
}
