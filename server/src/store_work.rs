//! [`StoreWork`]: what a core does for its store in each turn: begins flushes, lets flushes and merges work a slice at a
//! time, evicts what is over the budget, and holds writes back while more comes than can be flushed.
//!
//! Slices have a small share of the core while there is little to do, up to half of it when memory runs out or files pile up
//! ([`SliceAllowance`]). A core without traffic gives everything it has, a slice in each turn. They are a turn's last work, when
//! its replies are on their way.

use std::time::Duration;

use slotcore_engine::compact::{Pace, PaceInput, PaceOptions, pace};
use slotcore_engine::log::{CoreLog, LogPos};
use slotcore_engine::store::{Budget, Store};
use slotcore_raft_shard::Applied;
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ids::LogIndex;
use slotcore_rt::ring::Ring;

use crate::boot::side_of;
use crate::core_state::CoreState;
use crate::memory_budget::{MemoryBudget, MemoryLimits, write_rate};
use crate::metrics::Queue;
use crate::scrubbing::ScrubPace;
use crate::slice_allowance::SliceAllowance;
use crate::store_driver::{DriverError, StoreDriver, StoreFailure};

/// What the device is taken to write in a second, in bytes, until something better is known: any SSD does.
const DEVICE_BYTES_PER_S: u64 = 400 << 20;
/// Share of the core, in 1,000ths, that flushes and merges get at least while there is traffic, and at most; what reads large
/// collections gets the most.
const SHARE_MIN_PERMILLE: u64 = 100;
const SHARE_MAX_PERMILLE: u64 = 500;
/// A core that had no traffic for this long gives flushes and merges all of its time.
const QUIET_AFTER: Duration = Duration::from_millis(1);
/// A core that began no flush for this long rewrites more of what has garbage: nothing will do it for a while otherwise.
const SETTLE_AFTER: Duration = Duration::from_secs(5);
/// Bytes evicted beyond what is needed, so that not every turn has to.
const EVICT_SLACK_BYTES: usize = 64 << 10;
/// Records looked at for eviction at once: some 20 us.
const EVICT_LOOKS: usize = 256;
/// How long eviction may go on in one turn: what a turn's commands add must be able to go in the same turn.
const EVICT_TIME: Duration = Duration::from_micros(200);
/// Limits, pace and shares are decided this often.
const DECIDE_EVERY: Duration = Duration::from_millis(10);
/// A full disk is tried again this often.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Flushed bytes a second are averaged over about so many decisions.
const RATE_DECISIONS: u64 = 256;

/// See the module's text.
pub struct StoreWork {
    /// Does the input and output.
    pub driver: StoreDriver,
    limits: MemoryLimits,
    pace: Pace,
    share_permille: u64,
    allowance: SliceAllowance,
    /// Bytes that merges may take in.
    merge_allowance: u64,
    decided_at: Tick,
    retried_at: Tick,
    flush_seen: Tick,
    /// The store was worked on in the last turn, or waits for the next one to be.
    has_work: bool,
    /// There is nothing to do until the store is told of something.
    at_rest: bool,
    /// Bytes of log before the cut of the last flush that is durable, and of the one under way.
    log_at_flushed: i64,
    log_at_cut: i64,
    /// Another replica needs the files as of this entry or later.
    wanted: Option<LogIndex>,
    /// What is in memory must not get into files.
    is_wrong: bool,
    purge_upto: Option<LogIndex>,
    /// Of the store, as last seen.
    flushed_bytes: u64,
    flush_bytes_per_s: u64,
    stuck: bool,
    scrub: ScrubPace,
}

impl StoreWork {
    /// Nothing under way. `tail_bytes`: log that no flush covers yet.
    pub fn new(driver: StoreDriver, tail_bytes: u64) -> Self {
        let before = -i64::try_from(tail_bytes).unwrap_or(i64::MAX);
        Self {
            driver,
            limits: MemoryLimits::default(),
            pace: Pace {
                merge_bytes_per_s: 0,
                write_bytes_per_s_max: None,
            },
            share_permille: SHARE_MIN_PERMILLE,
            allowance: SliceAllowance::default(),
            merge_allowance: 0,
            decided_at: Tick::ZERO,
            retried_at: Tick::ZERO,
            flush_seen: Tick::ZERO,
            has_work: false,
            at_rest: false,
            log_at_flushed: before,
            log_at_cut: before,
            wanted: None,
            is_wrong: false,
            purge_upto: None,
            flushed_bytes: 0,
            flush_bytes_per_s: 0,
            stuck: false,
            scrub: ScrubPace::default(),
        }
    }

    /// True when a turn without delay is useful.
    pub fn has_work(&self) -> bool {
        self.has_work
    }

    /// True when nothing more can be flushed, and the memory is full of what should be: the disk is full.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// What replicas know of each other. `wanted`: another one is to be sent the state as of this entry or later, which is flushed as
    /// soon as it can be. `is_wrong`: this one has another state than the others, and waits for theirs.
    pub fn note_replicas(&mut self, wanted: Option<LogIndex>, is_wrong: bool) {
        (self.wanted, self.is_wrong) = (wanted, is_wrong);
    }

    /// How far the log of a node on its own should be purged, when it is not (`purged`).
    pub fn to_be_purged(&mut self, purged: LogIndex) -> Option<LogIndex> {
        self.purge_upto.take_if(|upto| *upto <= purged);
        self.purge_upto
    }

    /// What is to be begun and what has ended, in each turn. `stands_for`: what the keyspace is, now.
    ///
    /// # Errors
    /// The process must end.
    pub fn turn(
        &mut self,
        state: &mut CoreState,
        log: &mut CoreLog,
        ring: &mut Ring,
        now: Tick,
        stands_for: &dyn Fn() -> Applied,
    ) -> Result<(), DriverError> {
        if let Some(error) = state.store_failure.take() {
            return Err(StoreFailure::Store(error).into());
        }
        self.driver
            .advance(&mut state.store.borrow_mut(), &mut state.keyspace, log.durable())?;
        if now.since(self.decided_at) >= DECIDE_EVERY {
            self.decide(state, now);
        }
        self.maybe_begin_flush(state, log, stands_for);
        // A replica has all of its keys in memory.
        if state.replication.is_none() {
            self.evict(state);
        }
        self.driver.step(&mut state.store.borrow_mut(), log, ring)?;
        for name in state.store_replaced.drain(..) {
            self.driver.replaced(name);
        }
        state.store_deletes = self.driver.is_deleting();
        if let Some(at) = self.driver.take_flushed() {
            // In a cluster others may need entries: see `log_shortening.rs`.
            self.purge_upto = Some(at.index).filter(|_| state.replication.is_none());
            self.log_at_flushed = self.log_at_cut;
        }
        Ok(())
    }

    /// What holds for some milliseconds.
    fn decide(&mut self, state: &mut CoreState, now: Tick) {
        let since = now.since(self.decided_at).min(Duration::from_secs(1));
        self.decided_at = now;
        state.dataset.cold_record_bytes = state.store.borrow().record_bytes();
        let budget = state.memory_budget();
        let beside = state.store.borrow().memory() + state.keyspace.uses_memory();
        self.limits = budget.limits(beside as u64);
        let rate = state.server.config.settings().scrub_bytes_per_s / state.mesh.cores() as u64;
        let facts = &mut state.server.facts.store;
        self.scrub
            .turn(&mut state.store.borrow_mut(), now, rate, state.server.core, facts);
        let used = state.keyspace.tier_use();
        let dirty = (used.dirty_bytes + used.frozen_bytes) as u64;

        let stats = state.store.borrow().stats();
        let rate = (stats.flushed_bytes - self.flushed_bytes) * 1_000_000 / (since.as_micros() as u64).max(1);
        self.flushed_bytes = stats.flushed_bytes;
        if state.store.borrow().is_flushing() {
            self.flush_seen = now;
        } else if now.since(self.flush_seen) >= SETTLE_AFTER {
            state.store.borrow_mut().settle();
        }
        self.flush_bytes_per_s = (self.flush_bytes_per_s * (RATE_DECISIONS - 1) + rate) / RATE_DECISIONS;
        let input = PaceInput {
            pressure: state.store.borrow().pressure(),
            flush_bytes_per_s: self.flush_bytes_per_s,
        };
        self.pace = pace(&input, &PaceOptions::new(DEVICE_BYTES_PER_S));
        let merge_bytes = self.pace.merge_bytes_per_s / 1_000 * since.as_millis() as u64;
        // Unused permission does not pile up: half a second of it is enough for any step.
        self.merge_allowance = (self.merge_allowance + merge_bytes).min(self.pace.merge_bytes_per_s / 2);
        // What is due by time, as the room that expired keys take, is looked at now and then.
        self.at_rest = false;

        let fill = dirty * 1_000 / self.limits.stop_at.max(1);
        self.share_permille = (SHARE_MIN_PERMILLE + fill / 2).min(SHARE_MAX_PERMILLE);

        let out_of_space = state.store.borrow().is_out_of_space();
        self.stuck = out_of_space && dirty >= self.limits.slow_from;
        if out_of_space && now.since(self.retried_at) >= RETRY_EVERY {
            self.retried_at = now;
            state.store.borrow_mut().retry();
        }
        let by_memory = write_rate(&self.limits, dirty, DEVICE_BYTES_PER_S);
        let rate = match (by_memory, self.pace.write_bytes_per_s_max) {
            // Refused rather than held: nobody knows when there will be room.
            _ if self.stuck || state.write_barrier.is_some() => None,
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        state.write_gate.set_rate(now, rate);

        // Long before the first key is evicted, batches begin to pin what they need.
        let near = state.keyspace.memory().total() as u64 > self.limits.keys_max / 8 * 7;
        if state.pins_from.is_none() && state.replication.is_none() && (near || !state.keyspace.is_complete()) {
            state.begin_pinning();
        }
    }

    fn maybe_begin_flush(&mut self, state: &mut CoreState, log: &CoreLog, stands_for: &dyn Fn() -> Applied) {
        // While the core is held, others may lack the copy of a transaction that its log has: it must not be purged.
        if state.store.borrow().is_flushing() || state.is_held() || self.is_wrong {
            return;
        }
        let written = i64::try_from(log.stats().bytes).unwrap_or(i64::MAX);
        let log_bytes = u64::try_from(written - self.log_at_flushed).unwrap_or(0);
        let dirty = state.keyspace.tier_use().dirty_bytes as u64;
        let is_wanted = self
            .wanted
            .is_some_and(|wanted| state.store.borrow().flushed().index < wanted);
        if !is_wanted
            && dirty < self.limits.flush_from.max(1)
            && state.store.borrow().wants_flush(&state.keyspace, log_bytes).is_none()
        {
            return;
        }
        let applied = stands_for();
        let side = side_of(&state.keyspace, &applied);
        let at = LogPos {
            term: applied.term,
            index: applied.index,
        };
        if state.store.borrow_mut().begin_flush(&mut state.keyspace, at, side) {
            self.log_at_cut = written;
            self.at_rest = false;
        }
    }

    /// Lets clean keys go while there is more in memory than the budget allows.
    fn evict(&mut self, state: &mut CoreState) {
        if !self.is_over(state) || !state.may_evict() {
            return;
        }
        let from = SystemClock.tick();
        loop {
            let total = state.keyspace.memory().total() as u64;
            let bytes = usize::try_from(total.saturating_sub(self.limits.keys_max)).unwrap_or(usize::MAX);
            let evicted = state
                .keyspace
                .evict(bytes.saturating_add(EVICT_SLACK_BYTES), EVICT_LOOKS);
            let facts = &mut state.server.facts.store;
            facts.evicted_keys += evicted.records as u64;
            facts.evicted_bytes += evicted.bytes as u64;
            // Where most records are dirty or in use, more looks find little.
            let is_lean = evicted.records < EVICT_LOOKS / 8;
            let is_late = SystemClock.tick().since(from) >= EVICT_TIME;
            if is_lean || is_late || !self.is_over(state) {
                return;
            }
        }
    }

    /// There is more in memory than the budget allows, and eviction would help.
    fn is_over(&self, state: &CoreState) -> bool {
        let memory = state.keyspace.memory();
        if memory.total() as u64 <= self.limits.keys_max {
            return false;
        }
        let used = state.keyspace.tier_use();
        let live = (used.dirty_bytes + used.clean_bytes + used.frozen_bytes + memory.index) as u64;
        // Room in pages comes back only with whole pages: what is free in them is used again, and does not have to be
        // made by evicting ever more.
        live > self.limits.keys_max / 8 * 7
    }

    /// True when there is something to flush or to merge, as far as is known.
    pub fn wants_slices(&mut self, state: &CoreState) -> bool {
        self.has_work = false;
        self.at_rest &= !self.driver.take_told();
        !self.at_rest && (self.merge_allowance > 0 || is_urgent(&state.store.borrow()))
    }

    /// Flushes and merges, as long as the allowance lasts. `traffic_at`: when somebody last asked for something.
    ///
    /// # Errors
    /// The process must end.
    pub fn slices(&mut self, state: &mut CoreState, traffic_at: Tick) -> Result<(), DriverError> {
        let mut from = SystemClock.tick();
        let share = if state.store.borrow().is_reading() {
            // Somebody waits for it.
            SHARE_MAX_PERMILLE
        } else {
            self.share_permille
        };
        self.allowance.earn(from, share);
        let is_quiet = from.since(traffic_at) >= QUIET_AFTER;
        if !is_quiet && !self.allowance.allows() {
            // There may be more: it is tried again in the next turn.
            self.has_work = is_urgent(&state.store.borrow());
            return Ok(());
        }
        // What the slices ask for is done in the next turn, which is to follow at once.
        self.has_work = true;
        loop {
            let budget = Budget {
                merge_bytes: self.merge_allowance,
                ..Budget::SLICE
            };
            let worked = state
                .store
                .borrow_mut()
                .step(&mut state.keyspace, budget)
                .map_err(StoreFailure::Store)?;
            let to = SystemClock.tick();
            self.merge_allowance = self.merge_allowance.saturating_sub(worked.merge_bytes);
            self.allowance.spend(from, to);
            state.server.metrics.stalls.slice(Queue::Background, from, to);
            self.at_rest = worked.idle;
            if worked.idle || is_quiet || !self.allowance.allows() {
                return Ok(());
            }
            from = to;
        }
    }
}

/// There is something to do that memory or somebody waits for.
fn is_urgent(store: &Store) -> bool {
    store.is_flushing() || store.is_reading()
}

impl CoreState {
    /// The core's share of the memory.
    pub(crate) fn memory_budget(&self) -> MemoryBudget {
        let memory = self.server.config.settings().memory_bytes_max;
        MemoryBudget::new(
            memory,
            self.server.identity.machine_memory_bytes,
            self.mesh.cores() as u64,
        )
    }

    /// From the next batch on, what batches need is pinned.
    fn begin_pinning(&mut self) {
        // The one under construction may hold commands that pinned nothing.
        self.pins_from = Some(self.next_batch + u64::from(!self.batch.is_empty()));
    }

    /// Whether keys may be evicted: every batch under way has pinned what it needs.
    fn may_evict(&self) -> bool {
        self.pins_from
            .is_some_and(|from| self.proposed.front().is_none_or(|sealed| sealed.seq >= from))
    }
}
