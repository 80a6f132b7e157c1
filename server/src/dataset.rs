//! [`Dataset`]: the bound on what a core's keys may take (`--dataset-limit`), and what happens at it.
//!
//! What counts are keys and values with the index above them, wherever they lie: in memory exactly, in files alone by their
//! number and the average size of what the files hold. Each core has an equal part of the limit. It is looked at once a turn,
//! before commands are taken: those of one turn may carry the data beyond it, and, where nothing may go, those on their way
//! through the log.
//!
//! With a policy that lets keys go, the leader chooses them (`slotcore_engine::eviction`) and writes their names into its
//! batch before the commands of the turn, as an operation of its own: so replicas and replays remove the same keys. Those in
//! memory are drawn from there; where some lie only in files, ranges of names are fetched from a random place, as nothing that
//! was used lately lies only there. What was chosen counts as gone, or the same room would be made twice.

use std::collections::{HashSet, VecDeque};

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::{Args, EVICT};
use slotcore_engine::eviction::{EvictionPolicy, Victims};
use slotcore_engine::keyspace::{FileKeys, Missed, UseOptions};
use slotcore_rt::clock::Tick;

use crate::batch::Who;
use crate::cold::Waiter;
use crate::core_state::{CoreState, WriteBarrier};

/// Keys that go in one turn, at most: a few hundred microseconds of choosing.
const EVICT_KEYS_MAX: usize = 256;
/// The same while the data is far beyond its limit, as when that was lowered.
const EVICT_KEYS_MAX_FAR: usize = 2048;
/// Part of the limit, as a divisor, beyond which that is so.
const FAR_DIVISOR: u64 = 64;
/// Bytes of names that go in one turn: so that the batch stays a batch.
const EVICT_NAME_BYTES_MAX: usize = 128 << 10;
/// Names that are fetched from files at once.
const COLD_SAMPLE_KEYS: usize = 256;
/// Of these, as a divisor, the best ones go.
const COLD_CHOICE: usize = 2;
/// Part of the limit, as a divisor, beyond which keys in memory go as well when names from files come too slowly.
const HURRY_DIVISOR: u64 = 8;
/// Fetches in a row without a key that may go, after which it is taken that there is none.
const BARREN_FETCHES_MAX: u32 = 8;
/// What is added to the seed of random choices after each of them.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keys on their way out.
#[derive(Debug)]
struct Going {
    /// The batch that removes them.
    batch: u64,
    bytes: u64,
    /// Their places in the order of keys.
    ords: Vec<u64>,
}

/// What a core knows of its part of the data set.
#[derive(Debug, Default)]
pub(crate) struct Dataset {
    /// Bytes that this core's keys may take; 0 = no limit.
    limit: u64,
    policy: EvictionPolicy,
    samples: u32,
    /// Bytes that a key which lies only in files counts for.
    pub cold_record_bytes: u64,
    victims: Victims,
    /// In the order of batches.
    going: VecDeque<Going>,
    going_ords: HashSet<u64>,
    /// Names are being fetched from files.
    fetching: bool,
    /// Keys that may go before more names are fetched.
    cold_choices: usize,
    barren_fetches: u32,
    /// Since when there is too much although keys may go.
    over_since: Option<Tick>,
}

impl CoreState {
    /// The settings of the limit have changed.
    pub(crate) fn take_over_dataset_limit(&mut self) {
        let settings = self.server.config.settings();
        let uses = settings.eviction_policy.measure().map(|measure| UseOptions {
            measure,
            log_factor: settings.lfu_log_factor,
            decay_minutes: settings.lfu_decay_minutes,
            bytes: self.memory_budget().uses_bytes(),
        });
        let dataset = &mut self.dataset;
        dataset.limit = match settings.dataset_bytes_max {
            0 => 0,
            // A limit that is smaller than a byte for each core is one all the same.
            bytes => (bytes / self.mesh.cores() as u64).max(1),
        };
        if dataset.policy != settings.eviction_policy {
            dataset.victims.clear();
            dataset.barren_fetches = 0;
        }
        (dataset.policy, dataset.samples) = (settings.eviction_policy, settings.eviction_samples);
        self.keyspace.note_uses(uses);
        self.minds_memory = self.replication.is_some() || self.dataset.limit > 0;
        self.look_at_memory();
    }

    /// Bytes that this core's keys take.
    pub(crate) fn dataset_bytes(&self) -> u64 {
        self.keyspace.dataset_bytes(self.dataset.cold_record_bytes)
    }

    /// Bytes of those of them that lie only in files, by their number and average size.
    pub(crate) fn bytes_in_files(&self) -> u64 {
        self.keyspace.keys_in_files() * self.dataset.cold_record_bytes
    }

    /// Makes room, or refuses what needs more of it, while there is too much: the data set has reached its limit; or, as a core
    /// of a cluster has all of its keys in memory, these have reached its share of it.
    #[cold]
    pub(crate) fn look_at_memory(&mut self) {
        let is_full = self.is_beyond_limit() || (self.replication.is_some() && self.is_memory_full());
        self.write_barrier = match self.write_barrier {
            None if is_full => Some(WriteBarrier::MemoryFull),
            Some(WriteBarrier::MemoryFull) if !is_full => None,
            other => other,
        };
    }

    fn is_memory_full(&self) -> bool {
        let memory_max = self.server.config.settings().memory_bytes_max / self.mesh.cores() as u64;
        memory_max > 0 && self.keyspace.memory().total() as u64 > memory_max
    }

    /// Whether scripts are to be carried out as such that must not need more memory.
    pub(crate) fn is_scarce(&self) -> bool {
        self.write_barrier == Some(WriteBarrier::MemoryFull)
    }

    /// Whether the data set is beyond its limit and nothing can be done about it.
    fn is_beyond_limit(&mut self) -> bool {
        if self.dataset.limit == 0 {
            self.count_time_over(false);
            return false;
        }
        self.note_gone();
        let evicts = self.dataset.policy != EvictionPolicy::NoEviction;
        // Where keys may go room is made for what is on its way; it is no reason to refuse anything, as it may take the place of
        // what is there.
        let coming: u64 = match evicts {
            true => self.proposed.iter().map(|sealed| sealed.bytes as u64).sum(),
            false => 0,
        };
        let over = (self.dataset_bytes() + coming).saturating_sub(self.dataset.limit);
        self.count_time_over(over > 0 && evicts);
        if over == 0 || !evicts {
            self.dataset.barren_fetches = 0;
            return over > 0;
        }
        let going: u64 = self.dataset.going.iter().map(|going| going.bytes).sum();
        let may_choose = self.may_propose() && self.has_room() && !self.is_held() && self.pause.is_none();
        if over <= going || !may_choose {
            return false;
        }
        self.choose(over - going);
        self.sample_files();
        self.dataset.going.is_empty() && !self.dataset.fetching
    }

    /// Forgets the keys whose batch was applied, or given up.
    fn note_gone(&mut self) {
        let unapplied = self.proposed.front().map_or(self.next_batch, |sealed| sealed.seq);
        while let Some(gone) = self.dataset.going.pop_front_if(|going| going.batch < unapplied) {
            for ord in &gone.ords {
                self.dataset.going_ords.remove(ord);
            }
        }
    }

    /// Chooses keys of about `bytes` bytes and puts their going into the batch.
    fn choose(&mut self, bytes: u64) {
        let Dataset {
            limit,
            policy,
            samples,
            cold_record_bytes,
            victims,
            going_ords,
            cold_choices,
            barren_fetches,
            ..
        } = &mut self.dataset;
        // What lies only in files was not used lately: keys in memory do not go in its place just because they are at hand.
        let waits_for_names =
            !self.keyspace.is_complete() && *barren_fetches < BARREN_FETCHES_MAX && bytes < *limit / HURRY_DIVISOR;
        let keys_max = match bytes > *limit / FAR_DIVISOR {
            true => EVICT_KEYS_MAX_FAR,
            false => EVICT_KEYS_MAX,
        };
        // Without a measure the first that comes is as good as any other.
        let by_chance = matches!(policy, EvictionPolicy::AllKeysRandom | EvictionPolicy::VolatileRandom);
        let samples = if by_chance { 1 } else { *samples };
        let (mut names, mut spans, mut ords, mut freed) = (Vec::new(), vec![(0, 0)], Vec::new(), 0);
        while freed < bytes && ords.len() < keys_max && names.len() < EVICT_NAME_BYTES_MAX {
            if waits_for_names && *cold_choices == 0 {
                break;
            }
            *cold_choices = cold_choices.saturating_sub(1);
            self.seeds = self.seeds.wrapping_add(SEED_STEP);
            self.keyspace
                .sample_victims(*policy, samples, self.seeds, victims, &|hash| {
                    going_ords.contains(&hash.ord())
                });
            let Some(victim) = victims.take() else { break };
            let hash = self.keyspace.key_hash(&victim.key);
            let Some(size) = self
                .keyspace
                .victim_bytes(*policy, hash, &victim.key, *cold_record_bytes)
            else {
                continue;
            };
            if !going_ords.insert(hash.ord()) {
                continue;
            }
            ords.push(hash.ord());
            freed += size.max(1);
            // Names of one turn are far below 4 GiB.
            spans.push((names.len() as u32, victim.key.len() as u32));
            names.extend_from_slice(&victim.key);
        }
        if ords.is_empty() {
            return;
        }
        self.dataset.going.push_back(Going {
            batch: self.next_batch,
            bytes: freed,
            ords,
        });
        let args = Args::new(&names, &spans);
        if !self.watches.is_empty() {
            self.note_gathered(&EVICT, &args);
        }
        let mut operation = Vec::with_capacity(names.len() + spans.len() * 5);
        encode_op(&mut operation, EVICT.id, &args);
        self.batch.push_encoded_write(Who::Nobody, &operation);
        if self.batch.is_full() {
            self.seal();
        }
    }

    /// Asks for names that lie only in files, in proportion to their number.
    fn sample_files(&mut self) {
        let dataset = &self.dataset;
        let is_barren = dataset.barren_fetches >= BARREN_FETCHES_MAX;
        if self.keyspace.is_complete() || dataset.fetching || dataset.cold_choices > 0 || is_barren {
            return;
        }
        self.seeds = self.seeds.wrapping_add(SEED_STEP);
        let missed = Missed::Range {
            from_ord: self.keyspace.any_ord(self.seeds),
            count: COLD_SAMPLE_KEYS,
        };
        let asked = self.store.borrow_mut().fetch_missed(&mut self.keyspace, missed);
        self.dataset.fetching = self.awaits(asked, Waiter::Victims);
    }

    /// Names have come from files.
    #[cold]
    pub(crate) fn victims_came(&mut self, keys: Option<FileKeys>) {
        let Dataset {
            policy,
            victims,
            going_ords,
            fetching,
            cold_choices,
            barren_fetches,
            ..
        } = &mut self.dataset;
        *fetching = false;
        let offered = keys.map_or(0, |keys| {
            self.keyspace
                .offer_cold_victims(*policy, &keys, self.seeds, victims, &|hash| {
                    going_ords.contains(&hash.ord())
                })
        });
        *cold_choices = offered.div_ceil(COLD_CHOICE);
        *barren_fetches = if offered == 0 { *barren_fetches + 1 } else { 0 };
    }

    fn count_time_over(&mut self, is_over: bool) {
        let (now, facts) = (self.now.tick, &mut self.server.facts);
        let since = self.dataset.over_since;
        let ms = since.map_or(0, |since| now.since(since).as_millis() as u64);
        if is_over {
            self.dataset.over_since = since.or(Some(now));
            facts.over_limit_now_ms = ms;
        } else if since.is_some() {
            self.dataset.over_since = None;
            facts.over_limit_now_ms = 0;
            facts.over_limit_ms += ms;
        }
    }
}
