//! A group that is larger than memory answers like one that is not: random commands on a keyspace with a store below it,
//! with flushes, merges and evictions at every moment, restarts, power cuts and full disks, against a keyspace that has
//! everything in memory and was never restarted.

mod cmd_support;
mod store_support;

use cmd_support::collections::COLLECTIONS;
use cmd_support::families::FAMILIES;
use cmd_support::machine::Machine;
use cmd_support::random::{Random, random_command, random_of_family};
use cmd_support::script;
use cmd_support::seeds::{are_own, seeds};
use store_support::{Node, START, tiny};

/// A command; with `timeless` none that makes a key expire.
fn line(r: &mut Random, step: usize, timeless: bool) -> String {
    loop {
        let line = match r.below(18) {
            0 => format!("spop k{} {}", r.below(6), r.below(4)),
            1 => format!("sadd k{} m{} m{} {}", r.below(6), r.below(90), r.below(90), r.below(90)),
            2 => format!("pexpire k{} {}", r.below(6), r.below(2000)),
            3 => format!("hpexpire h{} {} FIELDS 1 a", r.below(6), 1 + r.below(2000)),
            4 => format!("hset h{} a {step} b {} c 1", r.below(6), r.below(9)),
            5 => format!("set n{} {}", r.below(400), "v".repeat(r.below(700))),
            6 => format!("setrange n{} {} x", r.below(400), r.below(6000)),
            7 => format!("get n{}", r.below(400)),
            8 => format!("del n{} n{}", r.below(400), r.below(400)),
            9..=12 => {
                let family = r.below(FAMILIES.len());
                random_of_family(r, &FAMILIES[family])
            }
            13 => {
                let family = r.below(COLLECTIONS.len());
                random_of_family(r, &COLLECTIONS[family])
            }
            14 if r.below(150) == 0 => "flushall".into(),
            _ => random_command(r),
        };
        // Whole walks are asked for in pieces: see `Node::all_keys`.
        let walks = line.starts_with("keys") || line.starts_with("scan");
        let expires = line.to_ascii_lowercase().replace("exists", "").contains("ex");
        let unwanted = walks || (timeless && expires);
        if !unwanted {
            return line;
        }
    }
}

struct Totals {
    flushes: u64,
    merges: u64,
    lookups: u64,
    filtered: u64,
    blob_reads: u64,
    restarts: u64,
}

fn episode(seed: u64, steps: usize, totals: &mut Totals) {
    let (mut oracle, mut node) = (Machine::new(), Node::new(tiny(), seed));
    oracle.set_time(START);
    let (mut r, mut now) = (Random::new(seed + 1_000), START);
    // Without expiries and wrong guesses of filters, the number of keys is exact.
    let timeless = seed.is_multiple_of(3);
    let note = |node: &Node, totals: &mut Totals| {
        let stats = node.store.stats();
        totals.flushes += stats.flushes;
        totals.merges += stats.merges;
        totals.lookups += stats.lookups;
        totals.filtered += stats.filtered;
        totals.blob_reads += stats.blob_reads;
    };
    for step in 0..steps {
        now += if timeless { 0 } else { r.below(60) as u64 };
        oracle.set_time(now);
        let line = line(&mut r, step, timeless);
        let words = script::words(&line);
        let reply = oracle.execute(&words);
        let found = node
            .execute(&words, now)
            .unwrap_or_else(|e| panic!("seed {seed}, step {step}: {e}"));
        assert_eq!(found, reply, "seed {seed}, step {step}: {line}");
        node.background()
            .unwrap_or_else(|e| panic!("seed {seed}, step {step}: {e}"));
        match r.below(700) {
            0 | 1 => {
                note(&node, totals);
                totals.restarts += 1;
                node = node
                    .restart(r.below(3) > 0)
                    .unwrap_or_else(|e| panic!("seed {seed}, step {step}: {e}"));
            }
            2 => node.disk.full = true,
            3 => {
                let mut keys = node.all_keys().expect("no damage");
                keys.sort();
                let mut expected = Vec::new();
                let mut cursor = 0;
                loop {
                    cursor = oracle.ks.scan(cursor, 100, &mut |key, _| expected.push(key.to_vec()));
                    if cursor == 0 {
                        break;
                    }
                }
                expected.sort();
                assert_eq!(keys, expected, "seed {seed}, step {step}: a walk in pieces");
            }
            4 => assert_eq!(
                node.digest().expect("no damage"),
                oracle.ks.digest(),
                "seed {seed}, step {step}"
            ),
            5 => node.settle().expect("no damage"),
            _ => {}
        }
    }
    node.settle().expect("no damage");
    assert_eq!(node.digest().expect("no damage"), oracle.ks.digest(), "seed {seed}");
    note(&node, totals);
}

#[test]
fn a_group_larger_than_memory_answers_like_one_in_memory() {
    let mut totals = Totals {
        flushes: 0,
        merges: 0,
        lookups: 0,
        filtered: 0,
        blob_reads: 0,
        restarts: 0,
    };
    for seed in seeds(12) {
        episode(seed, 3000, &mut totals);
    }
    let Totals {
        flushes,
        merges,
        lookups,
        filtered,
        blob_reads,
        restarts,
    } = totals;
    println!(
        "{flushes} flushes, {merges} merges, {lookups} lookups, {filtered} filtered, {blob_reads} blobs, {restarts} restarts"
    );
    let enough = flushes > 100 && merges > 50 && lookups > 1_000 && filtered > 100 && blob_reads > 20 && restarts > 20;
    assert!(enough || !are_own());
}
