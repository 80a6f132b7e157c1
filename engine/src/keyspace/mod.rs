//! [`Keyspace`]: the state machine of one group: keys, values, expiries and the group's clock.
//!
//! Everything here is deterministic: the result of a call depends on the calls before it, on the times handed to
//! [`Keyspace::set_time`] and on the seed in [`KeyspaceOptions`], never on this machine's clock or memory addresses.
//!
//! A key is visible while its expiry lies after the group clock. The clock moves only with applied entries, so all
//! replicas see the same keys at the same log position. A leader read that meets a key which the wall clock, but not yet
//! the group clock, says is gone raises [`Keyspace::take_needs_tick`]. Expired keys are removed locally, when their timer
//! or a command gets to them: that changes nothing anybody can see but [`Keyspace::len`] and the memory.
//!
//! Where things are: records (key, expiry, short strings) in the [`crate::table`]; long strings and collections in
//! [`object`]; a timer for each volatile key in the [`crate::expiry`] wheel, and one for each hash
//! with fields that expire in [`field_timers`]. Whoever moves a volatile record tells its
//! timer; whoever frees a record frees what it names. What of all this lies in sorted files too, and which keys lie only
//! there, is [`tier`]'s: whoever changes a record or an object calls [`Keyspace::change`] first.

mod collection;
mod databases;
mod events;
mod field_timers;
mod fields;
mod object;
mod records;
mod scripting;
mod slice_digest;
mod strings;
mod swap;
mod take_over;
mod tier;
mod types;
mod upkeep;
mod uses;
mod victims;
mod walk;

pub use events::{Event, EventClasses, Events};
pub use slice_digest::SliceDigest;
pub use tier::{ColdReader, Evicted, FileKey, FileKeys, FrozenSink, FrozenStep, Loaded, Missed, Residency, TierUse};
pub use types::{Expire, KeyspaceOptions, KeyspaceStats, Kind, Limits, MemoryUse, WrongType};
pub use uses::UseOptions;

use self::scripting::Brought;
use crate::cmd::EncodingLimits;
use crate::collections::Collection;
use crate::database::Counts;
use crate::expiry::Wheel;
use crate::ord::KeyHash;
use crate::script::{ReadRights, Scripts};
use crate::sessions::Sessions;
use crate::table::{Id, ObjTable, Rec, Shape, Spot};
use crate::waiters::Waiters;
use events::Listening;
use field_timers::FieldTimers;
use object::{Graveyard, Object, Objects};
use tier::{PAGED_FROM_BYTES, Tier};
use upkeep::Retired;
use uses::Uses;

/// The keys and values of one group. See the module's text.
pub struct Keyspace {
    opts: KeyspaceOptions,
    table: ObjTable,
    objects: Objects,
    wheel: Wheel,
    /// Keys in memory with an expiry.
    volatile: Counts,
    field_timers: FieldTimers,
    graveyard: Graveyard,
    retired: Vec<Retired>,
    tier: Tier,
    /// Collections of more bytes are shown to a flush in pages.
    paged_from: usize,
    clock_ms: u64,
    wall_ms: u64,
    needs_tick: bool,
    expected: Option<ExpectedKey>,
    listening: Listening,
    stats: KeyspaceStats,
    limits: Limits,
    waiters: Waiters,
    encodings: EncodingLimits,
    /// Where somebody wants to know how keys are used.
    uses: Option<Box<Uses>>,
    /// Once a script came.
    scripts: Option<Box<Scripts>>,
    /// First and last slot of the group.
    slots: (u16, u16),
    /// It holds copies of some keys only.
    brought: Option<Box<Brought>>,
    rights_reader: Option<ReadRights>,
    sessions: Sessions,
    last_spanning: u64,
    /// Whether slices that entries name are looked at, and what the last of them gave.
    compares_slices: bool,
    compared: Option<SliceDigest>,
}

/// A value taken from its key, on the way to another.
enum Detached {
    Str(Vec<u8>),
    Object(Id),
}

/// A key whose hash is known beforehand, told by where its bytes lie.
#[derive(Clone, Copy, Debug)]
struct ExpectedKey {
    at: usize,
    len: usize,
    hash: KeyHash,
}

impl Keyspace {
    /// An empty keyspace at time 0.
    pub fn new(opts: KeyspaceOptions) -> Self {
        Self {
            opts,
            table: ObjTable::new(opts.hash_seed),
            objects: Objects::default(),
            wheel: Wheel::default(),
            volatile: Counts::default(),
            field_timers: FieldTimers::default(),
            graveyard: Graveyard::default(),
            retired: Vec::new(),
            tier: Tier::default(),
            paged_from: PAGED_FROM_BYTES,
            clock_ms: 0,
            wall_ms: 0,
            needs_tick: false,
            expected: None,
            listening: Listening::default(),
            stats: KeyspaceStats::default(),
            limits: Limits::default(),
            waiters: Waiters::default(),
            encodings: EncodingLimits::default(),
            uses: None,
            scripts: None,
            slots: (0, u16::MAX),
            brought: None,
            rights_reader: None,
            sessions: Sessions::default(),
            last_spanning: 0,
            compares_slices: false,
            compared: None,
        }
    }

    /// The number of the last transaction over several cores that is part of this state; 0 before the first.
    pub fn last_spanning(&self) -> u64 {
        self.last_spanning
    }

    /// Notes such a transaction; larger numbers stay.
    pub fn set_last_spanning(&mut self, number: u64) {
        self.last_spanning = self.last_spanning.max(number);
    }

    /// Commands that wait for keys.
    #[inline]
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Commands that wait for keys.
    #[inline]
    pub fn waiters_mut(&mut self) -> &mut Waiters {
        &mut self.waiters
    }

    /// Whose writes count once. Not part of a snapshot's keys: whoever makes one puts them beside.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Whose writes count once.
    pub fn sessions_mut(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    /// `key` has got something that commands may wait for. Called by itself when a collection comes to be at a key.
    #[inline]
    pub fn signal_ready(&mut self, key: &[u8]) {
        self.waiters.signal(key);
    }

    /// Collections of more bytes of memory are shown to a flush in pages: 64 KiB, unless a test wants to see it with small ones.
    pub fn take_in_pages_from(&mut self, bytes: usize) {
        self.paged_from = bytes;
    }

    /// Seed of the key hash.
    pub fn hash_seed(&self) -> u64 {
        self.opts.hash_seed
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

    /// See [`Limits`].
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The wall clock, milliseconds since 1970: for answers that say how long ago something was. Nothing that is stored may
    /// depend on it.
    pub fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    /// Whether a call since the last one met a key that has expired by the wall clock but not by the group clock: the
    /// answer must be thrown away and the command repeated behind an entry that moves the clock.
    pub fn take_needs_tick(&mut self) -> bool {
        std::mem::take(&mut self.needs_tick)
    }

    /// Hash of `key`, for [`Keyspace::prefetch_bucket`] and the `*_hashed` calls.
    #[inline]
    pub fn key_hash(&self, key: &[u8]) -> KeyHash {
        match self.expected {
            Some(expected) if expected.at == key.as_ptr().addr() && expected.len == key.len() => expected.hash,
            _ => self.table.hash(key),
        }
    }

    /// The next calls are about this very slice, whose hash is known from a prefetch: it is not computed again. The slice
    /// is told by its place, so [`Keyspace::forget_key`] must be called before its bytes can change.
    #[inline]
    pub fn expect_key(&mut self, key: &[u8], hash: KeyHash) {
        debug_assert_eq!(hash, self.table.hash(key), "the hash of another key");
        self.expected = Some(ExpectedKey {
            at: key.as_ptr().addr(),
            len: key.len(),
            hash,
        });
    }

    /// Ends what [`Keyspace::expect_key`] began.
    #[inline]
    pub fn forget_key(&mut self) {
        self.expected = None;
    }

    /// Starts to load the bucket of a key: first of two stages, called for all keys of a batch.
    #[inline]
    pub fn prefetch_bucket(&self, hash: KeyHash) {
        self.table.prefetch_bucket(hash);
    }

    /// Starts to load the record of a key, second stage: the bucket should have arrived.
    #[inline]
    pub fn prefetch_record(&self, hash: KeyHash) {
        self.table.prefetch_record(hash);
    }

    /// [`Keyspace::look`], counted as a use.
    #[inline]
    fn live(&mut self, hash: KeyHash, key: &[u8]) -> Option<Spot> {
        let spot = self.look(hash, key)?;
        if self.uses.is_some() {
            self.note_use(hash);
        }
        Some(spot)
    }

    /// The record of `key`, if visible. One whose time has passed is removed on the spot.
    #[inline]
    fn look(&mut self, hash: KeyHash, key: &[u8]) -> Option<Spot> {
        let Some(spot) = self.table.find(hash, key) else {
            if !self.tier.complete {
                self.tier.miss(key);
            }
            return None;
        };
        let rec = self.table.rec(spot.at);
        if let Some(expire) = rec.expire() {
            if expire <= self.clock_ms {
                self.remove_expired(hash, spot, key);
                return None;
            }
            self.needs_tick |= expire <= self.wall_ms;
        }
        if rec.is_special() {
            if rec.is_absent() {
                return None;
            }
            if !self.settle_hash(rec) {
                self.remove_spent(hash, spot, key);
                return None;
            }
        }
        if self.tier.ever_frozen && !rec.is_used() {
            rec.set_used(true);
        }
        Some(spot)
    }

    #[cold]
    fn remove_expired(&mut self, hash: KeyHash, spot: Spot, key: &[u8]) {
        // Not signalled: when it happens differs from replica to replica.
        self.release_value(spot);
        self.remove_record(hash, spot);
        self.stats.expired += 1;
        self.note(EventClasses::EXPIRED, "expired", key);
    }

    /// [`Keyspace::live`], counted as a read.
    #[inline]
    fn read(&mut self, hash: KeyHash, key: &[u8]) -> Option<Spot> {
        let spot = self.live(hash, key);
        self.counted(spot, key)
    }

    /// What a read of `key` found, counted.
    #[inline]
    fn counted(&mut self, spot: Option<Spot>, key: &[u8]) -> Option<Spot> {
        match spot {
            Some(_) => self.stats.hits += 1,
            None => {
                self.stats.misses += 1;
                self.note(EventClasses::MISS, "keymiss", key);
            }
        }
        spot
    }

    /// Frees what the record at `spot` names outside itself. The record must get another value, or go.
    #[inline]
    fn release_value(&mut self, spot: Spot) {
        let rec = self.table.rec(spot.at);
        if rec.has_object() {
            self.release_object(spot);
        } else {
            self.change(spot);
        }
    }

    fn release_object(&mut self, spot: Spot) {
        let id = self.table.rec(spot.at).object();
        if matches!(self.objects.get(id), Object::Coll(Collection::Hash(hash)) if hash.has_expiry()) {
            self.field_timers.forget(id);
        }
        if self.change_releasing(spot) {
            return;
        }
        let object = self.objects.remove(id);
        if let Some(object) = self.keep_for_flush(id, object) {
            self.graveyard.bury(object);
        }
    }

    /// Removes the record at `spot` with all that it names.
    fn remove(&mut self, hash: KeyHash, spot: Spot) {
        self.signal_gone(spot);
        self.release_value(spot);
        self.remove_record(hash, spot);
    }

    /// The value at `spot` goes; another one may take its place.
    #[inline]
    fn signal_gone(&mut self, spot: Spot) {
        if self.waiters.mind_removal() {
            let key = self.table.key(self.table.rec(spot.at));
            self.waiters.signal(key);
        }
    }

    fn remove_record(&mut self, hash: KeyHash, spot: Spot) {
        self.change(spot);
        let rec = self.table.rec(spot.at);
        if rec.is_volatile() {
            self.wheel.cancel(rec.timer());
            self.volatile.remove(self.table.key(rec));
        }
        // Beyond memory the number may be too small by what was taken to have existed: see `len`.
        self.tier.counts.remove(self.table.key(rec));
        if self.tier.complete && !rec.is_stored() {
            self.table.remove(hash, spot);
        } else {
            self.entomb(spot);
        }
    }

    /// Makes the record of `key` one of `shape`, with timer and expiry as `expire` says; `found` is its present record. An
    /// inline value keeps its beginning; what an old value named must have been released, or be named again.
    fn place(&mut self, found: Option<Spot>, hash: KeyHash, key: &[u8], shape: Shape, expire: Option<u64>) -> Rec {
        debug_assert_eq!(shape.volatile, expire.is_some());
        let old = found
            .map(|spot| self.table.rec(spot.at))
            .and_then(|rec| Some((rec.expire()?, rec.timer())));
        let at = match found {
            None => {
                if self.uses.is_some() {
                    self.note_use(hash);
                }
                self.create(hash, key, shape)
            }
            Some(spot) => {
                self.change(spot);
                self.table.reshape(spot, shape)
            }
        };
        let rec = self.table.rec(at);
        match (old, expire) {
            (None, None) => {}
            (Some((_, timer)), None) => {
                self.wheel.cancel(timer);
                self.volatile.remove(key);
            }
            (None, Some(at_ms)) => {
                self.wheel.skip_to(self.clock_ms);
                rec.set_expire(at_ms, self.wheel.arm(at_ms, at.0));
                self.volatile.add(key);
            }
            (Some((old_ms, timer)), Some(at_ms)) => {
                self.wheel.set_owner(timer, at.0);
                // A later expiry leaves the timer where it is: it fires early and is armed again then.
                if at_ms < old_ms {
                    self.wheel.rearm(timer, at_ms);
                }
                rec.set_expire(at_ms, timer);
            }
        }
        rec
    }

    /// Whether `key` exists, for a command that is about to write it: not counted as a read.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.look(self.key_hash(key), key).is_some()
    }

    /// A command that does nothing else has used `key`; says whether it exists.
    pub(crate) fn touch(&mut self, key: &[u8]) -> bool {
        self.read(self.key_hash(key), key).is_some()
    }

    /// The type of the value at `key`: a read, and no use.
    pub fn kind(&mut self, key: &[u8]) -> Option<Kind> {
        let spot = self.look(self.key_hash(key), key);
        let spot = self.counted(spot, key)?;
        Some(self.table.rec(spot.at).kind().into())
    }

    /// The same, not counted as a read.
    pub fn kind_unread(&mut self, key: &[u8]) -> Option<Kind> {
        let spot = self.look(self.key_hash(key), key)?;
        Some(self.table.rec(spot.at).kind().into())
    }

    /// Removes `key`; says whether it existed. A huge value is freed in slices by [`Keyspace::free_work`].
    pub fn del(&mut self, key: &[u8]) -> bool {
        let hash = self.key_hash(key);
        let spot = self.look(hash, key);
        if let Some(spot) = spot {
            self.remove(hash, spot);
        }
        spot.is_some()
    }

    /// `None`: no such key. `Some(None)`: it lives until deleted. Else when it expires, milliseconds since 1970.
    pub fn expire_at(&mut self, key: &[u8]) -> Option<Option<u64>> {
        let spot = self.look(self.key_hash(key), key)?;
        Some(self.table.rec(spot.at).expire())
    }

    /// Sets or clears the expiry of an existing key; says whether the key exists. An expiry at or before the clock
    /// deletes the key.
    pub fn set_expire(&mut self, key: &[u8], expire: Option<u64>) -> bool {
        let hash = self.key_hash(key);
        let Some(spot) = self.live(hash, key) else { return false };
        if expire.is_some_and(|t| t <= self.clock_ms) {
            self.remove(hash, spot);
            return true;
        }
        let rec = self.table.rec(spot.at);
        let shape = Shape {
            volatile: expire.is_some(),
            ..rec.shape()
        };
        let object = rec.has_object().then(|| rec.object());
        let rec = self.place(Some(spot), hash, key, shape, expire);
        if let Some(id) = object {
            rec.set_object(id);
        }
        true
    }

    /// Moves the value and expiry of `from` to `to`, replacing what was there; `false` when `from` does not exist.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        let from_hash = self.key_hash(from);
        let Some(spot) = self.live(from_hash, from) else {
            return false;
        };
        if from == to {
            return true;
        }
        let (shape, expire, value) = self.detach(from_hash, spot);
        self.attach(to, shape, expire, value);
        true
    }

    /// Takes the value from the record at `spot`, which goes: it is to be attached to another key.
    fn detach(&mut self, hash: KeyHash, spot: Spot) -> (Shape, Option<u64>, Detached) {
        let rec = self.table.rec(spot.at);
        let (shape, expire) = (rec.shape(), rec.expire());
        let value = if rec.is_inline_str() {
            Detached::Str(rec.value().to_vec())
        } else {
            Detached::Object(rec.object())
        };
        self.signal_gone(spot);
        self.remove_record(hash, spot);
        (shape, expire, value)
    }

    /// Copies the value and expiry of `from` to `to`; `false` when `from` does not exist, `to` does and `replace` is not
    /// set, or both are the same key.
    pub fn copy(&mut self, from: &[u8], to: &[u8], replace: bool) -> bool {
        let Some(spot) = self.read(self.key_hash(from), from) else {
            return false;
        };
        if from == to || (!replace && self.live(self.key_hash(to), to).is_some()) {
            return false;
        }
        let rec = self.table.rec(spot.at);
        let (shape, expire) = (rec.shape(), rec.expire());
        let value = if rec.is_inline_str() {
            Detached::Str(rec.value().to_vec())
        } else {
            let twin: Object = self.objects.get(rec.object()).clone();
            Detached::Object(self.objects.insert(twin))
        };
        self.attach(to, shape, expire, value);
        true
    }

    /// Gives a detached value to `key`, replacing what was there.
    fn attach(&mut self, key: &[u8], shape: Shape, expire: Option<u64>, value: Detached) {
        let hash = self.key_hash(key);
        let found = self.live(hash, key);
        if let Some(spot) = found {
            self.signal_gone(spot);
            self.release_value(spot);
        }
        self.note(EventClasses::NEW, "new", key);
        let rec = self.place(found, hash, key, shape, expire);
        match value {
            Detached::Str(bytes) => rec.value_mut().copy_from_slice(&bytes),
            Detached::Object(id) => {
                rec.set_object(id);
                self.time_fields(id, key);
                self.waiters.signal(key);
            }
        }
    }

    /// Number of keys. Keys whose time has passed count until they are removed. Exact while every key is in memory. Beyond
    /// that, a key that is overwritten unseen is taken to have existed.
    #[inline]
    pub fn len(&self) -> u64 {
        self.tier.counts.total()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of keys in memory with an expiry.
    pub fn volatile_len(&self) -> u64 {
        self.volatile.total()
    }
}
