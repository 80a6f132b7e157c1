//! [`Table`]: a hash table of pairs of byte strings whose order depends on its history alone.
//!
//! The pairs lie in a dense vector; an open-addressed index of their numbers finds them by hash. A new pair is the last;
//! where one is removed, the last takes its place. So "pair number n" means the same on every replica that executed the
//! same commands, whatever the hash function, and a random pair is found in constant time.

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

/// Slots of the index of a new table; always a power of two.
const SLOTS_MIN: usize = 64;

#[derive(Clone, Debug)]
struct Pair {
    hash: u32,
    key_len: u32,
    /// Key, then value.
    bytes: Box<[u8]>,
}

/// Pairs of byte strings, found by the first of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pairs: Vec<Pair>,
    /// 0, or a pair's number plus one; linear probing, at most three quarters full.
    index: Vec<u32>,
    /// Sum of the lengths of all keys and values.
    bytes: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        self.pairs.capacity() * size_of::<Pair>() + self.index.capacity() * size_of::<u32>() + self.bytes
    }

    #[inline]
    pub(super) fn key(&self, n: usize) -> &[u8] {
        let p = &self.pairs[n];
        &p.bytes[..p.key_len as usize]
    }

    #[inline]
    pub(super) fn value(&self, n: usize) -> &[u8] {
        let p = &self.pairs[n];
        &p.bytes[p.key_len as usize..]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|p| p.bytes.split_at(p.key_len as usize))
    }

    /// The number of the pair with this key.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        self.find_hashed(key, hash_of(key))
    }

    #[inline]
    fn find_hashed(&self, key: &[u8], hash: u32) -> Option<usize> {
        if self.index.is_empty() {
            return None;
        }
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let n = self.index[slot].checked_sub(1)? as usize;
            let p = &self.pairs[n];
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
        if (self.pairs.len() + 1) * 4 > self.index.len() * 3 {
            self.grow();
        }
        let n = self.pairs.len();
        let bytes = [key, value].concat().into_boxed_slice();
        self.bytes += bytes.len();
        self.pairs.push(Pair {
            hash,
            key_len: key.len() as u32,
            bytes,
        });
        self.enter(n, hash);
        (n, true)
    }

    fn grow(&mut self) {
        self.index = vec![0; (self.index.len() * 2).max(SLOTS_MIN)];
        for n in 0..self.pairs.len() {
            self.enter(n, self.pairs[n].hash);
        }
    }

    fn enter(&mut self, n: usize, hash: u32) {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.index[slot] = u32::try_from(n + 1).expect("a collection has fewer than 2^32 elements");
    }

    /// Gives pair `n` another value.
    pub(super) fn set_value(&mut self, n: usize, value: &[u8]) {
        let p = &mut self.pairs[n];
        let key_len = p.key_len as usize;
        if p.bytes.len() - key_len == value.len() {
            p.bytes[key_len..].copy_from_slice(value);
            return;
        }
        self.bytes -= p.bytes.len();
        p.bytes = [&p.bytes[..key_len], value].concat().into_boxed_slice();
        self.bytes += p.bytes.len();
    }

    /// Removes pair `n`; the last pair takes its number.
    pub(super) fn swap_remove(&mut self, n: usize) {
        let slot = self.slot_of(n);
        self.vacate(slot);
        let last = self.pairs.len() - 1;
        if n != last {
            let slot = self.slot_of(last);
            self.index[slot] = n as u32 + 1;
        }
        self.bytes -= self.pairs.swap_remove(n).bytes.len();
    }

    fn slot_of(&self, n: usize) -> usize {
        let mask = self.index.len() - 1;
        let mut slot = self.pairs[n].hash as usize & mask;
        while self.index[slot] as usize != n + 1 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Empties a slot and moves later ones of the same run up, so that probing never needs tombstones.
    fn vacate(&mut self, mut hole: usize) {
        let mask = self.index.len() - 1;
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let Some(n) = self.index[slot].checked_sub(1) else {
                break;
            };
            let home = self.pairs[n as usize].hash as usize & mask;
            // The entry may move to the hole if its home is not between the hole and where it is.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.index[hole] = self.index[slot];
                hole = slot;
            }
        }
        self.index[hole] = 0;
    }

    /// Drops up to `budget` pairs; afterwards the table may only be freed further. Returns how many are left.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        let left = self.pairs.len().saturating_sub(budget);
        self.pairs.truncate(left);
        left
    }
}
