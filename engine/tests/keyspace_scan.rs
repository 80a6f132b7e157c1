//! What a scan promises while the table changes under it, and what random keys and slots report.

mod support;

use slotcore_engine::database::Database;
use slotcore_engine::keyspace::Expire;
use slotcore_engine::ord::slot_of;
use std::collections::BTreeSet;
use support::{Rng, key16, keyspace, scan_all};

#[test]
fn keys_present_throughout_are_reported_while_the_table_grows_and_shrinks() {
    for seed in 0..4 {
        let (mut rng, mut ks) = (Rng(seed), keyspace());
        let tagged = |i: u64| format!("{{one}}{i}").into_bytes();
        for i in 0..500 {
            ks.set_str(&key16(i), b"stays", Expire::Clear);
            ks.set_str(&tagged(i), b"stays", Expire::Clear);
        }
        let mut extra = 1_000;
        let seen = scan_all(&mut ks, 10, |ks| {
            for _ in 0..20 {
                extra += 1;
                let key = if extra % 3 == 0 { tagged(extra) } else { key16(extra) };
                ks.set_str(&key, b"comes", Expire::Clear);
                ks.del(&key16(1_000 + rng.below(extra - 999)));
            }
        });
        let seen: BTreeSet<_> = seen.into_iter().collect();
        for i in 0..500 {
            assert!(
                seen.contains(&key16(i)) && seen.contains(&tagged(i)),
                "seed {seed}: key {i} was missed"
            );
        }
    }
}

#[test]
fn a_cursor_names_a_place_in_the_order_of_keys_not_in_a_table() {
    let (mut small, mut large) = (keyspace(), keyspace());
    for i in 0..300 {
        small.set_str(&key16(i), b"", Expire::Clear);
    }
    let mut first = Vec::new();
    let cursor = small.scan(0, 100, &mut |key, _| first.push(key.to_vec()));
    // The same keys in a table of another history and size: the iteration goes on there.
    for i in 0..50_000 {
        large.set_str(&key16(i), b"", Expire::Clear);
    }
    (300..50_000).for_each(|i| assert!(large.del(&key16(i))));
    let (mut at, mut rest) = (cursor, Vec::new());
    while at != 0 {
        at = large.scan(at, 10, &mut |key, _| rest.push(key.to_vec()));
    }
    let all: BTreeSet<_> = first.iter().chain(&rest).collect();
    assert_eq!(
        (all.len(), first.len() + rest.len()),
        (300, 300),
        "nothing missed, nothing twice"
    );
}

#[test]
fn one_call_is_bounded_in_a_sparse_table() {
    let mut ks = keyspace();
    (0..100_000).for_each(|i| ks.set_str(&key16(i), b"", Expire::Clear));
    (1..100_000).for_each(|i| assert!(ks.del(&key16(i))));
    let mut calls = 0;
    let found = scan_all(&mut ks, 10, |_| calls += 1);
    assert_eq!(found, [key16(0)]);
    assert!(calls > 50, "{calls} calls: each looks at few buckets");
}

#[test]
fn slots_count_and_list_their_keys() {
    let mut ks = keyspace();
    ks.set_time(1_000, 1_000);
    for i in 0..3_000u64 {
        ks.set_str(format!("{{user{}}}:{i}", i % 3).as_bytes(), b"", Expire::Clear);
        ks.set_str(&key16(i), b"", Expire::At(if i % 2 == 0 { 1_500 } else { 9_000 }));
    }
    ks.set_time(2_000, 2_000);
    let slot = slot_of(b"user1");
    let others = (1..3_000).step_by(2).filter(|&i| slot_of(&key16(i)) == slot).count() as u64;
    assert_eq!(ks.slot_len(slot), 1_000 + others);
    let mut listed = Vec::new();
    ks.slot_keys(slot, 10, &mut |key| listed.push(key.to_vec()));
    assert_eq!(listed.len(), 10);
    assert!(listed.iter().all(|key| slot_of(key) == slot));
    assert_eq!((0..16_384).map(|slot| ks.slot_len(slot)).sum::<u64>(), 4_500);
}

#[test]
fn random_keys_are_spread_and_visible() {
    let mut ks = keyspace();
    assert_eq!(ks.random_key(Database::ZERO, 1), None);
    for (name, keys) in [("spread", 0), ("{one slot}", 1)] {
        ks.clear();
        ks.set_time(1_000, 1_000);
        for i in 0..4_000 {
            let key = if keys == 0 {
                key16(i)
            } else {
                format!("{name}{i}").into_bytes()
            };
            ks.set_str(&key, b"", if i < 2_000 { Expire::At(2_000) } else { Expire::Clear });
        }
        ks.set_time(2_000, 2_000);
        let mut rng = Rng(9);
        let mut seen = BTreeSet::new();
        for _ in 0..4_000 {
            let seed = rng.next();
            let key = ks
                .random_key(Database::ZERO, seed)
                .expect("half of the keys are visible")
                .to_vec();
            assert_eq!(
                ks.random_key(Database::ZERO, seed).as_deref(),
                Some(key.as_slice()),
                "the seed decides"
            );
            assert!(ks.expire_at(&key).is_some(), "an expired key was chosen");
            seen.insert(key);
        }
        assert!(
            seen.len() > if keys == 0 { 1_000 } else { 500 },
            "{name}: 4,000 draws met only {} of 2,000 keys",
            seen.len()
        );
        ks.set_time(0, 0);
    }
}
