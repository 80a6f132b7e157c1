//! Memory: bytes per key, reuse after deletes, large values freed in slices, constant-time clear.

mod support;

use slotcore_engine::keyspace::Expire;
use support::{Rng, key16, keyspace};

#[test]
fn small_keys_cost_at_most_95_bytes_each() {
    let mut ks = keyspace();
    let mut worst: f64 = 0.0;
    for i in 0..400_000u64 {
        ks.set_str(&key16(i), &[b'x'; 50], Expire::Clear);
        // Growing tables are emptiest just after they grew: look all the time, once there are so many keys that the last
        // chunks, each 2 MiB and counted whole, do not matter.
        if i > 300_000 && i % 1_000 == 0 {
            worst = worst.max(ks.memory().total() as f64 / i as f64);
        }
    }
    assert!(worst <= 95.0, "{worst:.1} bytes a key: {:?}", ks.memory());
    assert!(
        ks.memory().total() > 400_000 * 66,
        "the count cannot be below what is stored"
    );
}

#[test]
fn keys_that_share_a_slot_cost_about_as_much() {
    let mut ks = keyspace();
    for i in 0..100_000u64 {
        ks.set_str(format!("{{t}}{i:013}").as_bytes(), &[b'x'; 50], Expire::Clear);
    }
    let each = ks.memory().total() / 100_000;
    assert!(each <= 100, "{each} bytes a key: {:?}", ks.memory());
}

#[test]
fn memory_of_deleted_sizes_serves_other_sizes() {
    let (mut ks, mut rng) = (keyspace(), Rng(5));
    let payload = 200_000 * 100;
    let mut peak = 0;
    for round in 0..6 {
        // Every round all keys get a value of another size, in random order, one by one.
        let len = [50, 84, 30, 140, 60, 100][round];
        let keys = payload / (len + 16) as u64;
        for _ in 0..keys * 2 {
            ks.set_str(&key16(rng.below(keys)), &vec![1; len], Expire::Clear);
            ks.free_work(4);
        }
        let mut beyond = keys;
        while ks.del(&key16(beyond)) {
            beyond += 1;
        }
        (0..keys).for_each(|i| ks.set_str(&key16(i), &vec![1; len], Expire::Clear));
        (keys..payload / 46).for_each(|i| {
            let _ = ks.del(&key16(i));
        });
        while ks.free_work(10_000) >= 10_000 {}
        peak = peak.max(ks.memory().records);
    }
    assert!(peak < payload as usize * 2, "{peak} bytes for {payload} of payload");
    (0..payload / 46).for_each(|i| {
        let _ = ks.del(&key16(i));
    });
    while ks.free_work(10_000) >= 10_000 {}
    let left = ks.memory().records;
    assert!(left < 8 << 20, "{left} bytes kept for nothing");
}

#[test]
fn values_survive_the_moves_that_bound_fragmentation() {
    let (mut ks, mut rng) = (keyspace(), Rng(6));
    ks.set_time(1_000, 1_000);
    let value = |i: u64| vec![i as u8; 20 + (i % 200) as usize];
    let expire = |i: u64| {
        if i.is_multiple_of(3) {
            Expire::At(50_000 + i)
        } else {
            Expire::Clear
        }
    };
    (0..60_000).for_each(|i| ks.set_str(&key16(i), &value(i), expire(i)));
    let kept: Vec<u64> = (0..60_000).filter(|_| rng.below(5) == 0).collect();
    let keep: std::collections::HashSet<u64> = kept.iter().copied().collect();
    (0..60_000)
        .filter(|i| !keep.contains(i))
        .for_each(|i| assert!(ks.del(&key16(i))));
    let (before, digest) = (ks.memory().records, ks.digest());
    let mut moved = 0;
    while ks.free_work(100) >= 100 {
        moved += 1;
    }
    assert!(
        moved > 10 && ks.memory().records < before,
        "sparse pages were emptied: {before} -> {:?}",
        ks.memory()
    );
    assert_eq!(ks.digest(), digest);
    for &i in &kept {
        assert_eq!(ks.get_str(&key16(i)), Ok(Some(&value(i)[..])));
    }
    // Timers followed their records.
    ks.set_time(200_000, 200_000);
    ks.expire_work(usize::MAX);
    assert_eq!(ks.len(), kept.iter().filter(|&&i| i % 3 != 0).count() as u64);
}

#[test]
fn a_huge_value_is_freed_in_slices() {
    let mut ks = keyspace();
    ks.resize_str(b"huge", 64 << 20).expect("a string").fill(1);
    assert!(ks.memory().objects >= 64 << 20);
    assert!(ks.del(b"huge"));
    assert!(ks.memory().garbage >= 64 << 20 && ks.memory().objects < 1 << 20);
    let mut calls = 0;
    let mut before = ks.memory().garbage;
    while ks.free_work(64) >= 64 {
        calls += 1;
        before = ks.memory().garbage.min(before);
    }
    assert!(calls >= 30, "freed in {calls} calls");
    assert_eq!(ks.memory().garbage, 0);
}

#[test]
fn clear_is_visible_at_once_and_frees_in_slices() {
    let mut ks = keyspace();
    ks.set_time(1_000, 1_000);
    let empty = ks.digest();
    for i in 0..200_000 {
        ks.set_str(
            &key16(i),
            &[2; 100],
            if i % 2 == 0 { Expire::At(5_000) } else { Expire::Clear },
        );
    }
    ks.resize_str(b"big", 100_000).expect("a string");
    ks.clear();
    assert_eq!(
        (ks.len(), ks.volatile_len(), ks.digest(), ks.get_str(&key16(1))),
        (0, 0, empty, Ok(None))
    );
    assert!(ks.memory().garbage > 20_000_000);
    ks.set_str(b"new", b"life", Expire::At(9_000));
    let mut calls = 0;
    while ks.free_work(256) >= 256 {
        calls += 1;
    }
    assert!(calls >= 10, "freed in {calls} calls");
    assert_eq!((ks.memory().garbage, ks.get_str(b"new")), (0, Ok(Some(&b"life"[..]))));
}

#[test]
fn appending_to_a_large_string_is_amortised() {
    let mut ks = keyspace();
    let mut moves = 0;
    let mut last = std::ptr::null();
    for len in 1..200_000 {
        let bytes = ks.resize_str(b"log", len).expect("a string");
        bytes[len - 1] = len as u8;
        moves += usize::from(!std::ptr::eq(last, bytes.as_ptr()));
        last = bytes.as_ptr();
    }
    assert!(moves < 400, "{moves} moves while growing byte by byte");
    assert!(
        ks.get_str(b"log")
            .expect("a string")
            .expect("there")
            .iter()
            .enumerate()
            .all(|(i, &b)| b == (i + 1) as u8)
    );
}

#[test]
fn a_key_reports_its_memory() {
    let mut ks = keyspace();
    assert_eq!(ks.key_memory(b"k"), None);
    ks.set_str(b"k", &[0; 100], Expire::Clear);
    assert!((100..130).contains(&ks.key_memory(b"k").expect("there")));
    ks.set_str(b"k", &[0; 10_000], Expire::Clear);
    assert!((10_000..10_100).contains(&ks.key_memory(b"k").expect("there")));
}
