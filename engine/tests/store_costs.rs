//! What a store costs, counted and not timed: reads for a cold key, bytes written for a byte that came in, room on disk.

mod cmd_support;
mod store_support;

use cmd_support::random::Random;
use slotcore_engine::compact::PickOptions;
use slotcore_engine::keyspace::Expire;
use slotcore_engine::log::LogPos;
use slotcore_engine::store::{Budget, StoreOptions};
use slotcore_rt::ids::{LogIndex, Term};
use store_support::Node;

const KEYS: usize = 40_000;
const VALUE_BYTES: usize = 100;
/// A tenth of the data fits the memory for what is dirty.
const DIRTY_BYTES: usize = KEYS * (VALUE_BYTES + 16) / 20;

/// Slices of flushes and merges for 64 writes: merges keep up.
const SLICES: usize = 8;

fn options(dirty_bytes_max: usize) -> StoreOptions {
    StoreOptions {
        dirty_bytes_max,
        file_bytes_target: 512 << 10,
        pick: PickOptions {
            piece_bytes: 2 << 20,
            ..PickOptions::default()
        },
        ..StoreOptions::default()
    }
}

fn key(n: usize) -> Vec<u8> {
    format!("key:{n:012}").into_bytes()
}

struct Load {
    node: Node,
    writes: u64,
    user_bytes: u64,
    disk_bytes_max: u64,
}

impl Load {
    fn new(dirty_bytes_max: usize) -> Self {
        Self {
            node: Node::new(options(dirty_bytes_max), 1),
            writes: 0,
            user_bytes: 0,
            disk_bytes_max: 0,
        }
    }

    fn write(&mut self, n: usize, r: &mut Random) {
        let (key, value) = (key(n), vec![b'a' + r.below(26) as u8; VALUE_BYTES]);
        let hash = self.node.machine.ks.key_hash(&key);
        self.node.store.foresee(&mut self.node.machine.ks, hash, &key);
        self.node.machine.ks.set_str(&key, &value, Expire::Clear);
        self.writes += 1;
        self.user_bytes += (key.len() + value.len()) as u64;
        if self.writes.is_multiple_of(64) {
            self.background();
        }
    }

    fn background(&mut self) {
        let Node {
            store, machine, disk, ..
        } = &mut self.node;
        if store.wants_flush(&machine.ks, 0).is_some() {
            let at = LogPos {
                term: Term(1),
                index: LogIndex(self.writes),
            };
            store.begin_flush(&mut machine.ks, at, Vec::new());
        }
        self.disk_bytes_max = self.disk_bytes_max.max(disk.file_bytes());
        let used = machine.ks.tier_use();
        if used.clean_bytes > DIRTY_BYTES {
            machine.ks.evict(used.clean_bytes - DIRTY_BYTES, 1_000);
        }
        for _ in 0..SLICES {
            let Node { store, machine, .. } = &mut self.node;
            store.step(&mut machine.ks, Budget::SLICE).expect("no damage");
            for _ in 0..4 {
                self.node.turn().expect("no damage");
            }
        }
    }
}

#[test]
fn a_load_that_is_set_again_once_leaves_no_garbage() {
    // Flushes so small that overwrites of all keys do not make enough runs to have to sink: only garbage makes them.
    let (mut load, mut r) = (Load::new(DIRTY_BYTES / 8), Random::new(4));
    for round in 0..3 {
        (0..KEYS).for_each(|n| load.write(n, &mut r));
        let at = LogPos {
            term: Term(1),
            index: LogIndex(load.writes + 1),
        };
        load.writes += 1;
        load.node.settle().expect("no damage");
        load.node.store.begin_flush(&mut load.node.machine.ks, at, Vec::new());
        load.node.settle().expect("no damage");
        let space = load.node.disk.file_bytes() as f64 / (KEYS * (VALUE_BYTES + 16)) as f64;
        let runs = load.node.store.pressure().upper_runs;
        println!("set {round} times again: {space:.2} bytes for a byte, {runs} upper runs");
        assert!(space < 1.3, "{space} after {round} rounds, {runs} upper runs");
    }
}

#[test]
fn a_cold_key_costs_one_read_and_a_missing_one_none() {
    let (mut load, mut r) = (Load::new(DIRTY_BYTES), Random::new(3));
    let mut order: Vec<usize> = (0..KEYS).collect();
    for n in (1..KEYS).rev() {
        order.swap(n, r.below(n + 1));
    }
    order.iter().for_each(|&n| load.write(n, &mut r));
    // What a filter takes for a key that is there is not counted.
    let uncounted = KEYS as u64 - load.node.machine.ks.len();
    assert!(
        uncounted < KEYS as u64 / 256,
        "{uncounted} of {KEYS} keys are not counted"
    );
    let (loaded, user) = (load.node.store.stats(), load.user_bytes);
    let written = loaded.flushed_bytes + loaded.merge_written_bytes;
    let load_cost = 1.0 + written as f64 / user as f64;

    // Overwrites of ten times what may be dirty, uniform: the worst there is.
    let before = (load.node.store.stats(), load.user_bytes);
    for _ in 0..2 * KEYS {
        load.write(r.below(KEYS), &mut r);
    }
    let after = load.node.store.stats();
    let written =
        after.flushed_bytes + after.merge_written_bytes - before.0.flushed_bytes - before.0.merge_written_bytes;
    let overwrite_cost = 1.0 + written as f64 / (load.user_bytes - before.1) as f64;
    let data = (KEYS * (VALUE_BYTES + 16)) as f64;
    let space_max = load.disk_bytes_max as f64 / data;

    // Everything cold.
    let at = LogPos {
        term: Term(1),
        index: LogIndex(load.writes + 1),
    };
    load.node.settle().expect("no damage");
    load.node.store.begin_flush(&mut load.node.machine.ks, at, Vec::new());
    load.node.settle().expect("no damage");
    let space = load.node.disk.file_bytes() as f64 / data;
    while load.node.machine.ks.tier_use().clean_bytes > 0 {
        load.node.machine.ks.evict(usize::MAX, 10_000);
    }
    let before = load.node.store.stats();
    let cold = 8_000;
    for _ in 0..cold {
        load.node.fetch(&key(r.below(KEYS))).expect("no damage");
    }
    let hits = load.node.store.stats();
    for n in 0..cold {
        load.node.fetch(&key(KEYS + n)).expect("no damage");
    }
    let misses = load.node.store.stats();
    let reads_per_hit = (hits.block_reads - before.block_reads) as f64 / (hits.found - before.found) as f64;
    let filtered = (misses.filtered - hits.filtered) as f64 / (misses.lookups - hits.lookups) as f64;
    println!(
        "load: {load_cost:.2} bytes written for a byte; overwrites: {overwrite_cost:.2}; room: at most {space_max:.2}x, at rest \
         {space:.2}x, {} upper runs\ncold reads: {reads_per_hit:.3} blocks a hit, {:.2} % of misses without any; filters and \
         indexes: {:.1} bytes a key",
        misses.upper_runs,
        filtered * 100.0,
        misses.reader_bytes as f64 / KEYS as f64
    );
    assert!(reads_per_hit < 1.04, "{reads_per_hit}");
    assert!(filtered > 0.99, "{filtered}");
    assert!(load_cost < 8.0 && overwrite_cost < 8.0, "{load_cost} {overwrite_cost}");
    assert!(space < 1.3, "{space}");
}

/// Keys that expire while only files have them leave the files by merges, and are counted off then.
#[test]
fn keys_that_expired_in_files_are_not_counted_for_ever() {
    let (mut load, mut r) = (Load::new(DIRTY_BYTES / 8), Random::new(4));
    let clock = load.node.machine.ks.now_ms();
    let lasting = KEYS / 4;
    for n in 0..KEYS {
        let (key, value) = (key(n), [b'x'; VALUE_BYTES]);
        let expire = if n < lasting {
            Expire::Clear
        } else {
            Expire::At(clock + 1_000 + n as u64)
        };
        let hash = load.node.machine.ks.key_hash(&key);
        load.node.store.foresee(&mut load.node.machine.ks, hash, &key);
        load.node.machine.ks.set_str(&key, &value, expire);
        load.writes += 1;
        if load.writes.is_multiple_of(64) {
            load.background();
        }
    }
    load.node.settle().expect("no damage");
    while load.node.machine.ks.tier_use().clean_bytes > 0 {
        load.node.machine.ks.evict(usize::MAX, 10_000);
    }
    load.node.machine.set_time(clock + 1_000 + KEYS as u64);
    // Some are looked at, before and while merges leave them out.
    for n in 0..2 * KEYS {
        if n % 50 == 0 {
            let key = key(r.below(KEYS));
            load.node.fetch(&key).expect("no damage");
            load.node.machine.ks.expire_work(1_000);
        }
        load.write(r.below(lasting), &mut r);
    }
    load.node.settle().expect("no damage");
    load.node.machine.ks.expire_work(1 << 20);
    let counted = load.node.machine.ks.len();
    println!(
        "{counted} keys counted, {lasting} are there; {} merges",
        load.node.store.stats().merges
    );
    assert!(
        counted.abs_diff(lasting as u64) < lasting as u64 / 50,
        "{counted} instead of {lasting}"
    );
}
