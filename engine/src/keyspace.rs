//! [`Keyspace`]: the state machine of one group: keys, values, expiries and the group's clock.
//!
//! Everything here is deterministic: the result of a call depends on the calls before it, on the times handed to
//! [`Keyspace::set_time`] and on the seed in [`KeyspaceOptions`], never on this machine's clock or memory addresses.
//!
//! A key is visible while its expiry lies after the group clock. The clock moves only with applied entries, so all
//! replicas see the same keys at the same log position. A leader read that meets a key which the wall clock, but not yet
//! the group clock, says is gone raises [`Keyspace::take_needs_tick`].

use crate::collections::{Collection, hash::HashObj, list::List, set::Set, zset::ZSet};
use crate::digest::{Digest, combine};
use crate::ord::{KeyHash, SLOT_SHIFT};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A string of bytes.
    Str,
    /// A list.
    List,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set.
    ZSet,
}

impl Kind {
    /// The name as the command TYPE prints it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Str => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::ZSet => "zset",
        }
    }
}

/// The key holds a value of another type than the command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// What a write does with the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// The key lives until deleted.
    Clear,
    /// An existing expiry stays.
    Keep,
    /// The key disappears when the group clock reaches this moment, in milliseconds since 1970.
    At(u64),
}

/// How a [`Keyspace`] is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyspaceOptions {
    /// Seed of the key hash: the same on all replicas of a group (scan cursors depend on it), secret to clients.
    pub hash_seed: u64,
}

/// Counters of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys removed because their expiry had passed.
    pub expired: u64,
}

/// Where the memory is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// The index: buckets and directories.
    pub index: usize,
    /// Records, free room in their pages included.
    pub records: usize,
    /// Large strings and collections.
    pub objects: usize,
    /// Expiry timers.
    pub timers: usize,
    /// Deleted, waiting to be freed in slices.
    pub garbage: usize,
}

impl MemoryUse {
    /// All of it.
    pub fn total(&self) -> usize {
        self.index + self.records + self.objects + self.timers + self.garbage
    }
}

#[derive(Clone, Debug)]
enum Value {
    Str(Vec<u8>),
    Coll(Collection),
}

#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    expire: Option<u64>,
}

impl Entry {
    fn kind(&self) -> Kind {
        match &self.value {
            Value::Str(_) => Kind::Str,
            Value::Coll(Collection::List(_)) => Kind::List,
            Value::Coll(Collection::Set(_)) => Kind::Set,
            Value::Coll(Collection::Hash(_)) => Kind::Hash,
            Value::Coll(Collection::ZSet(_)) => Kind::ZSet,
        }
    }
}

/// The keys and values of one group. See the module's text.
pub struct Keyspace {
    opts: KeyspaceOptions,
    map: BTreeMap<(u64, Vec<u8>), Entry>,
    clock_ms: u64,
    wall_ms: u64,
    needs_tick: bool,
    stats: KeyspaceStats,
}

macro_rules! collection_access {
    ($get:ident, $get_mut:ident, $or_create:ident, $variant:ident, $ty:ty, $what:literal) => {
        #[doc = concat!("The ", $what, " at `key`.")]
        pub fn $get(&mut self, key: &[u8]) -> Result<Option<&$ty>, WrongType> {
            let found = self.visible(key);
            self.count(found);
            match found.then(|| &self.map[&self.at(key)].value) {
                None => Ok(None),
                Some(Value::Coll(Collection::$variant(x))) => Ok(Some(x)),
                Some(_) => Err(WrongType),
            }
        }

        #[doc = concat!("The ", $what, " at `key`, to be changed; call [`Keyspace::drop_if_empty`] after removing elements.")]
        pub fn $get_mut(&mut self, key: &[u8]) -> Result<Option<&mut $ty>, WrongType> {
            if !self.visible(key) {
                return Ok(None);
            }
            let at = self.at(key);
            match self.map.get_mut(&at).map(|e| &mut e.value) {
                None => Ok(None),
                Some(Value::Coll(Collection::$variant(x))) => Ok(Some(x)),
                Some(_) => Err(WrongType),
            }
        }

        #[doc = concat!("The ", $what, " at `key`, made empty when there is no such key.")]
        pub fn $or_create(&mut self, key: &[u8]) -> Result<&mut $ty, WrongType> {
            if !self.visible(key) {
                let fresh = Entry { value: Value::Coll(Collection::$variant(<$ty>::default())), expire: None };
                self.map.insert(self.at(key), fresh);
            }
            self.$get_mut(key).map(|x| x.expect("made just above"))
        }
    };
}

impl Keyspace {
    /// An empty keyspace at time 0.
    pub fn new(opts: KeyspaceOptions) -> Self {
        let (map, stats) = (BTreeMap::new(), KeyspaceStats::default());
        Self {
            opts,
            map,
            clock_ms: 0,
            wall_ms: 0,
            needs_tick: false,
            stats,
        }
    }

    /// Sets the group clock and the wall clock, milliseconds since 1970. Before an entry is applied both are the entry's
    /// time; before reads of a leader the clock is repeated and `wall_ms` is now. The group clock never goes back.
    pub fn set_time(&mut self, clock_ms: u64, wall_ms: u64) {
        self.clock_ms = self.clock_ms.max(clock_ms);
        self.wall_ms = wall_ms.max(self.clock_ms);
    }

    /// The group clock, milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Whether a call since the last one met a key that has expired by the wall clock but not by the group clock: the
    /// answer must be thrown away and the command repeated behind an entry that moves the clock.
    pub fn take_needs_tick(&mut self) -> bool {
        std::mem::take(&mut self.needs_tick)
    }

    /// Hash of `key`, for [`Keyspace::prefetch_bucket`] and the `*_hashed` calls.
    #[inline]
    pub fn key_hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::of(key, self.opts.hash_seed)
    }

    fn at(&self, key: &[u8]) -> (u64, Vec<u8>) {
        (self.key_hash(key).ord(), key.to_vec())
    }

    fn count(&mut self, found: bool) {
        *(if found {
            &mut self.stats.hits
        } else {
            &mut self.stats.misses
        }) += 1;
    }

    /// Whether `key` exists now; removes it when its time has passed.
    fn visible(&mut self, key: &[u8]) -> bool {
        let at = self.at(key);
        let Some(entry) = self.map.get(&at) else { return false };
        match entry.expire {
            Some(t) if t <= self.clock_ms => {
                self.map.remove(&at);
                self.stats.expired += 1;
                false
            }
            Some(t) => {
                self.needs_tick |= t <= self.wall_ms;
                true
            }
            None => true,
        }
    }

    /// The type of the value at `key`.
    pub fn kind(&mut self, key: &[u8]) -> Option<Kind> {
        let found = self.visible(key);
        self.count(found);
        found.then(|| self.map[&self.at(key)].kind())
    }

    /// The string at `key`.
    pub fn get_str(&mut self, key: &[u8]) -> Result<Option<&[u8]>, WrongType> {
        let found = self.visible(key);
        self.count(found);
        match found.then(|| &self.map[&self.at(key)].value) {
            None => Ok(None),
            Some(Value::Str(s)) => Ok(Some(s)),
            Some(_) => Err(WrongType),
        }
    }

    /// Stores a string; a value of any type that was there is replaced.
    pub fn set_str(&mut self, key: &[u8], value: &[u8], expire: Expire) {
        let old = if self.visible(key) {
            self.map[&self.at(key)].expire
        } else {
            None
        };
        let expire = match expire {
            Expire::Clear => None,
            Expire::Keep => old,
            Expire::At(t) => Some(t),
        };
        self.map.insert(
            self.at(key),
            Entry {
                value: Value::Str(value.to_vec()),
                expire,
            },
        );
    }

    /// The string at `key` with its length changed to `new_len` bytes: cut, or filled up with zeros, or made anew. The
    /// expiry stays. Growing a large string step by step costs amortised constant time per byte.
    pub fn resize_str(&mut self, key: &[u8], new_len: usize) -> Result<&mut [u8], WrongType> {
        if !self.visible(key) {
            self.set_str(key, b"", Expire::Clear);
        }
        let at = self.at(key);
        match self.map.get_mut(&at).map(|e| &mut e.value) {
            Some(Value::Str(s)) => {
                s.resize(new_len, 0);
                Ok(s)
            }
            _ => Err(WrongType),
        }
    }

    /// Removes `key`; says whether it existed. A huge value is freed in slices by [`Keyspace::free_work`].
    pub fn del(&mut self, key: &[u8]) -> bool {
        self.visible(key) && self.map.remove(&self.at(key)).is_some()
    }

    /// `None`: no such key. `Some(None)`: it lives until deleted. Else when it expires, milliseconds since 1970.
    pub fn expire_at(&mut self, key: &[u8]) -> Option<Option<u64>> {
        self.visible(key).then(|| self.map[&self.at(key)].expire)
    }

    /// Sets or clears the expiry of an existing key; says whether the key exists. An expiry at or before the clock makes
    /// the key invisible at once.
    pub fn set_expire(&mut self, key: &[u8], expire: Option<u64>) -> bool {
        let found = self.visible(key);
        let at = self.at(key);
        if let (true, Some(e)) = (found, self.map.get_mut(&at)) {
            e.expire = expire;
        }
        found
    }

    collection_access!(list, list_mut, list_or_create, List, List, "list");
    collection_access!(set, set_mut, set_or_create, Set, Set, "set");
    collection_access!(hash, hash_mut, hash_or_create, Hash, HashObj, "hash");
    collection_access!(zset, zset_mut, zset_or_create, ZSet, ZSet, "sorted set");

    /// Removes `key` when it holds a collection without elements; says whether it did.
    pub fn drop_if_empty(&mut self, key: &[u8]) -> bool {
        let at = self.at(key);
        let empty = matches!(self.map.get(&at), Some(Entry { value: Value::Coll(c), .. }) if c.len() == 0);
        empty && self.map.remove(&at).is_some()
    }

    /// Moves the value and expiry of `from` to `to`, replacing what was there; `false` when `from` does not exist.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        if !self.visible(from) {
            return false;
        }
        if let Some(entry) = self.map.remove(&self.at(from)) {
            self.map.insert(self.at(to), entry);
        }
        true
    }

    /// Copies the value and expiry of `from` to `to`; `false` when `from` does not exist, or `to` does and `replace` is
    /// not set. `from` and `to` must differ.
    pub fn copy(&mut self, from: &[u8], to: &[u8], replace: bool) -> bool {
        if !self.visible(from) || (self.visible(to) && !replace) {
            return false;
        }
        let entry = self.map[&self.at(from)].clone();
        self.map.insert(self.at(to), entry);
        true
    }

    /// Number of keys. Keys whose time has passed count until they are removed.
    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of keys with an expiry.
    pub fn volatile_len(&self) -> u64 {
        self.map.values().filter(|e| e.expire.is_some()).count() as u64
    }

    /// Removes all keys, in constant time; the memory comes back through [`Keyspace::free_work`].
    pub fn clear(&mut self) {
        self.map.clear();
    }

    /// Calls `f` for the keys from `cursor` on, at least `count` of them unless the end is reached. Returns the next
    /// cursor, 0 at the end. A key that exists during a whole iteration is reported; one key may be reported twice.
    pub fn scan(&mut self, cursor: u64, count: usize, f: &mut dyn FnMut(&[u8], Kind)) -> u64 {
        let (mut seen, mut last) = (0, None);
        for ((ord, key), entry) in self
            .map
            .range((Bound::Included((cursor, Vec::new())), Bound::Unbounded))
        {
            if seen >= count && last != Some(*ord) {
                return *ord;
            }
            if entry.expire.is_none_or(|t| t > self.clock_ms) {
                f(key, entry.kind());
                seen += 1;
            }
            last = Some(*ord);
        }
        0
    }

    /// A key chosen by `seed`, `None` when there is none.
    pub fn random_key(&mut self, seed: u64) -> Option<&[u8]> {
        let clock = self.clock_ms;
        let live = |from: u64| {
            let tail = self.map.range((Bound::Included((from, Vec::new())), Bound::Unbounded));
            tail.clone()
                .find(|(_, e)| e.expire.is_none_or(|t| t > clock))
                .map(|((_, key), _)| key.as_slice())
        };
        live(seed).or_else(|| live(0))
    }

    /// Number of keys in a slot.
    pub fn slot_len(&self, slot: u16) -> u64 {
        self.slot_entries(slot).count() as u64
    }

    /// Calls `f` for up to `count` keys of a slot.
    pub fn slot_keys(&mut self, slot: u16, count: usize, f: &mut dyn FnMut(&[u8])) {
        self.slot_entries(slot).take(count).for_each(|key| f(key));
    }

    fn slot_entries(&self, slot: u16) -> impl Iterator<Item = &[u8]> {
        let from = (u64::from(slot) << SLOT_SHIFT, Vec::new());
        self.map
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(move |((ord, _), _)| ord >> SLOT_SHIFT == u64::from(slot))
            .filter(|(_, e)| e.expire.is_none_or(|t| t > self.clock_ms))
            .map(|((_, key), _)| key.as_slice())
    }

    /// Removes keys whose expiry the group clock has reached, about `budget` steps of work. Returns the steps done; fewer
    /// than `budget` means that nothing is left to do now.
    pub fn expire_work(&mut self, budget: usize) -> usize {
        let clock = self.clock_ms;
        let gone: Vec<_> = self
            .map
            .iter()
            .filter(|(_, e)| e.expire.is_some_and(|t| t <= clock))
            .map(|(k, _)| k.clone())
            .take(budget)
            .collect();
        gone.iter().for_each(|at| drop(self.map.remove(at)));
        self.stats.expired += gone.len() as u64;
        gone.len()
    }

    /// When [`Keyspace::expire_work`] should next be called, in milliseconds since 1970; `None` without volatile keys.
    pub fn next_deadline(&self) -> Option<u64> {
        self.map.values().filter_map(|e| e.expire).min()
    }

    /// Frees memory of deleted values and of cleared tables, about `budget` steps of work. Returns the steps done; fewer
    /// than `budget` means that nothing is left.
    pub fn free_work(&mut self, budget: usize) -> usize {
        let _ = budget;
        0
    }

    /// Starts to load the bucket of a key: first of two stages, called for all keys of a batch.
    #[inline]
    pub fn prefetch_bucket(&self, _key: KeyHash) {}

    /// Starts to load the record of a key, second stage: the bucket should have arrived.
    #[inline]
    pub fn prefetch_record(&self, _key: KeyHash) {}

    /// Digest of the visible state: keys, types, values and expiries. Replicas with equal state have equal digests,
    /// whatever their histories. Walks everything.
    pub fn digest(&mut self) -> u128 {
        let (mut sum, mut d) = (0, Digest::new());
        for ((_, key), e) in self
            .map
            .iter()
            .filter(|(_, e)| e.expire.is_none_or(|t| t > self.clock_ms))
        {
            d.reset();
            d.bytes(key);
            d.u64(e.kind() as u64);
            d.u64(e.expire.map_or(0, |t| t.saturating_add(1)));
            match &e.value {
                Value::Str(s) => d.bytes(s),
                Value::Coll(c) => c.digest_into(&mut d),
            }
            sum = combine(sum, d.finish());
        }
        sum
    }

    /// Memory in use.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse::default()
    }

    /// Bytes that `key` and its value take, index included.
    pub fn key_memory(&mut self, key: &[u8]) -> Option<usize> {
        self.visible(key).then(|| match &self.map[&self.at(key)].value {
            Value::Str(s) => s.len() + key.len(),
            Value::Coll(c) => c.memory() + key.len(),
        })
    }

    /// Counters since the start.
    pub fn stats(&self) -> KeyspaceStats {
        self.stats
    }

    /// Sets the counters to zero (CONFIG RESETSTAT).
    pub fn reset_stats(&mut self) {
        self.stats = KeyspaceStats::default();
    }
}
