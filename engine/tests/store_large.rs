//! Large collections are flushed while they change and read piece by piece, and are what they would be in memory alone; no step
//! of it does much at once.

mod cmd_support;
mod store_support;

use cmd_support::machine::Machine;
use cmd_support::random::Random;
use cmd_support::script;
use cmd_support::seeds::{are_own, seeds};
use slotcore_engine::store::{Budget, Fetch};
use store_support::{Node, START, side, tiny};

const KEYS: [&str; 4] = ["set", "hash", "zset", "list"];

/// So many words.
fn many(r: &mut Random, count: usize, one: impl Fn(&mut Random) -> String) -> String {
    (0..count).map(|_| one(r)).collect()
}

/// Adds some hundred elements to one of them, or changes it in another way.
fn line(r: &mut Random, step: usize) -> String {
    let (kind, n) = (r.below(4), r.below(2));
    let key = format!("{}{n}", KEYS[kind]);
    if !step.is_multiple_of(4) {
        return match kind {
            0 => format!(
                "sadd {key}{}",
                many(r, 300, |r| format!(" member-{}-{:0>60}", r.below(6000), ""))
            ),
            1 => format!(
                "hset {key}{}",
                many(r, 150, |r| format!(" f{} {:0>90}", r.below(6000), r.below(9)))
            ),
            2 => format!(
                "zadd {key}{}",
                many(r, 200, |r| format!(" {} m{}-{:0>50}", r.below(900), r.below(6000), ""))
            ),
            _ => format!(
                "{} {key}{}",
                ["lpush", "rpush"][n],
                many(r, 200, |r| format!(" {:0>60}", r.below(900)))
            ),
        };
    }
    match (r.below(5), kind) {
        (0, _) if r.below(4) == 0 => format!("del {key}"),
        (0, _) if r.below(3) == 0 => format!("copy {key} {}{} replace", KEYS[kind], 1 - n),
        (0, _) => format!("pexpire {key} {}", 20_000 + r.below(90_000)),
        (_, 0) => format!("spop {key} {}", r.below(40)),
        (_, 1) => format!("hdel {key}{}", many(r, 60, |r| format!(" f{}", r.below(6000)))),
        (_, 2) => format!("zremrangebyrank {key} {} {}", step % 50, step % 50 + 30),
        (1, _) => format!("linsert {key} before {:0>60} x", r.below(900)),
        (2, _) => format!("lrem {key} 3 {:0>60}", r.below(900)),
        _ => format!("lpop {key} {}", r.below(50)),
    }
}

#[test]
fn large_collections_are_written_while_they_change_and_read_in_pieces() {
    let (mut flushes, mut pieces, mut steps_of_reads) = (0, 0, 0);
    for seed in seeds(4) {
        let (mut oracle, mut node) = (Machine::new(), Node::new(tiny(), seed));
        let (mut r, mut now) = (Random::new(seed), START);
        oracle.set_time(now);
        for step in 0..600 {
            now += r.below(60) as u64;
            oracle.set_time(now);
            let line = line(&mut r, step);
            let words = script::words(&line);
            let reply = oracle.execute(&words);
            let found = node.execute(&words, now).expect("no damage");
            assert_eq!(found, reply, "seed {seed}, step {step}: {line}");
            for _ in 0..4 {
                node.background().expect("no damage");
            }
            if r.below(150) == 0 {
                flushes += node.store.stats().flushes;
                node = node.restart(r.below(3) > 0).expect("no damage");
            }
        }
        node.settle().expect("no damage");
        let at = node.applied();
        node.store.begin_flush(&mut node.machine.ks, at, vec![side(at)]);
        node.settle().expect("no damage");
        // From files alone, and nothing of it is done at once.
        for key in KEYS.iter().flat_map(|kind| [format!("{kind}0"), format!("{kind}1")]) {
            // The first look finds what was used.
            for _ in 0..2 {
                node.ks().evict(usize::MAX, 1 << 20);
            }
            let (reads, before) = (node.disk.reads, node.steps_of_reads);
            node.fetch(key.as_bytes()).expect("no damage");
            pieces += u64::from(node.disk.reads > reads + 2);
            steps_of_reads += node.steps_of_reads - before;
        }
        assert_eq!(node.digest().expect("no damage"), oracle.ks.digest(), "seed {seed}");
        flushes += node.store.stats().flushes;
    }
    assert!(
        !are_own() || flushes > 15 && pieces > 8 && steps_of_reads > 1000,
        "{flushes} {pieces} {steps_of_reads}"
    );
}

#[test]
fn a_collection_is_read_to_its_end_while_flushes_become_durable() {
    let (mut node, now) = (Node::new(tiny(), 7), START);
    let execute = |node: &mut Node, line: &str| node.execute(&script::words(line), now).expect("no damage");
    let mut r = Random::new(7);
    for _ in 0..30 {
        let fields = many(&mut r, 150, |r| format!(" f{} {:0>90}", r.below(1 << 20), ""));
        execute(&mut node, &format!("hset hash {fields}"));
    }
    node.settle().expect("no damage");
    let at = node.applied();
    node.store.begin_flush(&mut node.machine.ks, at, vec![side(at)]);
    node.settle().expect("no damage");
    for _ in 0..2 {
        node.ks().evict(usize::MAX, 1 << 20);
    }
    let hash = node.ks().key_hash(b"hash");
    let Fetch::Wait(id) = node
        .store
        .fetch(&mut node.machine.ks, hash, b"hash")
        .expect("no damage")
    else {
        panic!("it is in memory")
    };
    let (before, mut turns) = (node.store.stats().flushes, 0);
    while !node.has_fetched(id) {
        // One flush after the other, while the reading gets a little of the time.
        if !node.store.is_flushing() {
            execute(&mut node, &format!("set other {turns}"));
            let at = node.applied();
            node.store.begin_flush(&mut node.machine.ks, at, vec![side(at)]);
        }
        let budget = Budget {
            work: 2,
            merge_bytes: 1 << 20,
        };
        node.store.step(&mut node.machine.ks, budget).expect("no damage");
        node.turn().expect("no damage");
        turns += 1;
        assert!(turns < 20_000, "the reading begins anew with each flush");
    }
    let flushes = node.store.stats().flushes - before;
    assert!(flushes > 2, "{flushes} flushes in {turns} turns");
    let reply = execute(&mut node, "hlen hash");
    let mut oracle = Machine::new();
    oracle.set_time(now);
    let past: Vec<_> = node.log.iter().map(|past| past.words.clone()).collect();
    let mut last = None;
    for words in past {
        last = Some(oracle.execute(&words));
    }
    assert_eq!(Some(reply), last);
}
