//! Expiry: by the group clock only, exact, with bounded work; and the digest that compares replicas.

mod support;

use slotcore_engine::database::Database;
use slotcore_engine::keyspace::{Expire, Keyspace};
use support::{Rng, key16, keyspace, scan_all};

#[test]
fn a_key_is_gone_at_its_expiry_and_not_a_millisecond_before() {
    let mut ks = keyspace();
    ks.set_time(1_000, 1_000);
    ks.set_str(b"k", b"v", Expire::At(1_500));
    ks.set_time(1_499, 1_499);
    assert_eq!(ks.get_str(b"k"), Ok(Some(&b"v"[..])));
    ks.set_time(1_500, 1_500);
    assert_eq!(ks.get_str(b"k"), Ok(None));
    assert_eq!((ks.kind(b"k"), ks.expire_at(b"k"), ks.del(b"k")), (None, None, false));
    assert!(!ks.set_expire(b"k", None) && !ks.rename(b"k", b"l") && !ks.copy(b"k", b"l", true));
    assert_eq!(ks.random_key(Database::ZERO, 3), None);
    assert!(scan_all(&mut ks, 10, |_| ()).is_empty());
    ks.set_str(b"k", b"w", Expire::Keep);
    assert_eq!(
        ks.expire_at(b"k"),
        Some(None),
        "a new value does not inherit what had run out"
    );
    ks.set_str(b"k", b"w", Expire::At(1_500));
    assert_eq!(ks.len(), 0, "an expiry in the past deletes");
}

#[test]
fn time_does_not_go_back() {
    let mut ks = keyspace();
    ks.set_time(2_000, 2_000);
    ks.set_time(1_000, 1_000);
    assert_eq!(ks.now_ms(), 2_000);
}

#[test]
fn reads_ahead_of_the_group_clock_ask_for_a_tick() {
    let mut ks = keyspace();
    ks.set_time(1_000, 1_000);
    ks.set_str(b"soon", b"v", Expire::At(1_100));
    ks.set_str(b"late", b"v", Expire::At(9_000));
    let mut asks = |wall: u64, read: &dyn Fn(&mut Keyspace)| {
        ks.set_time(1_000, wall);
        read(&mut ks);
        (ks.take_needs_tick(), ks.take_needs_tick())
    };
    assert_eq!(
        asks(1_099, &|ks| {
            let _ = ks.get_str(b"soon");
        }),
        (false, false)
    );
    assert_eq!(
        asks(1_100, &|ks| {
            let _ = ks.get_str(b"late");
        }),
        (false, false)
    );
    assert_eq!(
        asks(1_100, &|ks| {
            let _ = ks.get_str(b"none");
        }),
        (false, false)
    );
    assert_eq!(
        asks(1_100, &|ks| {
            let _ = ks.get_str(b"soon");
        }),
        (true, false),
        "asked once"
    );
    assert_eq!(
        asks(1_100, &|ks| {
            let _ = ks.kind(b"soon");
        }),
        (true, false)
    );
    assert_eq!(
        asks(1_100, &|ks| {
            let _ = ks.expire_at(b"soon");
        }),
        (true, false)
    );
    assert_eq!(
        asks(1_100, &|ks| {
            let _ = ks.scan(0, 100, &mut |_, _| ());
        }),
        (true, false)
    );
    ks.set_time(1_100, 1_100);
    assert_eq!(ks.get_str(b"soon"), Ok(None), "behind the tick the answer is certain");
    assert!(!ks.take_needs_tick());
}

/// What an entry does, in a form that several replicas can apply.
fn apply(ks: &mut Keyspace, seed: u64) {
    let mut rng = Rng(seed);
    let (now, key) = (ks.now_ms(), key16(rng.below(300)));
    match rng.below(6) {
        0 | 1 => ks.set_str(&key, &rng.bytes(12), Expire::At(now + 1 + rng.below(400))),
        2 => ks.set_str(&key, &rng.bytes(12), Expire::Keep),
        // Its outcome depends on whether the key is visible, and outlives it.
        3 | 4 => {
            let was = ks.get_str(&key).expect("strings only").map_or(0, |v| v.len());
            ks.resize_str(&key, was + 1).expect("strings only");
        }
        _ => {
            let _ = ks.del(&key);
        }
    }
}

/// Applies the same entries on two replicas whose wall clocks are `ahead_ms` apart. `honest`: entries are applied at their
/// own time; else the second replica looks at its wall clock. Returns whether the digests ever differed.
fn replicas_diverge(ahead_ms: u64, honest: bool) -> bool {
    let (mut one, mut two) = (keyspace(), keyspace());
    let mut rng = Rng(77);
    let mut time = 1_000_000;
    let mut differed = false;
    for entry in 0..3_000 {
        time += rng.below(6);
        one.set_time(time, time);
        apply(&mut one, entry);
        let seen = if honest { time } else { time + ahead_ms };
        two.set_time(seen, seen);
        apply(&mut two, entry);
        // Reads of a leader with a fast clock, and local removal at different moments, leave no trace.
        if honest && entry % 7 == 0 {
            two.set_time(time, time + ahead_ms);
            two.get_str(&key16(entry % 300)).expect("strings only");
            two.take_needs_tick();
            two.expire_work(usize::MAX);
        }
        if entry % 100 == 0 {
            // Compared at one clock: past every expiry, only what was decided by visibility remains.
            differed |= honest && one.digest() != two.digest();
        }
    }
    let end = time + ahead_ms;
    one.set_time(end, end);
    two.set_time(end, end);
    differed | (one.digest() != two.digest())
}

#[test]
fn local_clock_expiry_is_caught() {
    assert!(
        !replicas_diverge(250, true),
        "equal entries, different local clocks: equal state"
    );
    assert!(
        replicas_diverge(250, false),
        "a replica that expires by its own clock must be seen to diverge"
    );
}

#[test]
fn equal_state_has_equal_digests_whatever_the_history() {
    let (mut plain, mut busy) = (keyspace(), keyspace());
    plain.set_time(5_000, 5_000);
    let mut rng = Rng(1);
    for i in 0..3_000u64 {
        let (key, value) = (
            key16(i),
            vec![i as u8; (i % 90) as usize * if i % 50 == 0 { 100 } else { 1 }],
        );
        let expire = if i % 4 == 0 {
            Expire::At(10_000 + i)
        } else {
            Expire::Clear
        };
        plain.set_str(&key, &value, expire);
    }
    for i in (0..3_000u64).rev() {
        let (key, value) = (
            key16(i),
            vec![i as u8; (i % 90) as usize * if i % 50 == 0 { 100 } else { 1 }],
        );
        busy.set_str(&key, &rng.bytes(3_000), Expire::At(4_000));
        busy.set_str(&key16(10_000 + i), b"goes", Expire::At(4_500));
        busy.resize_str(&key, value.len())
            .expect("a string")
            .copy_from_slice(&value);
        busy.set_expire(&key, (i % 4 == 0).then_some(10_000 + i));
        busy.set_str(&key16(20_000 + i), b"goes", Expire::Clear);
        busy.del(&key16(20_000 + i));
    }
    busy.set_time(5_000, 5_000);
    assert_eq!(plain.digest(), busy.digest());
    busy.expire_work(usize::MAX);
    while busy.free_work(1_000) >= 1_000 {}
    assert_eq!(plain.digest(), busy.digest(), "local removal is invisible");
    let same = plain.digest();
    plain.set_str(&key16(7), b"changed", Expire::Clear);
    assert_ne!(plain.digest(), same);
    plain.set_expire(&key16(8), Some(99_999));
    plain.set_str(&key16(7), &[7; 7], Expire::Clear);
    assert_ne!(plain.digest(), same, "an expiry is part of the state");
}

#[test]
fn a_million_volatile_keys_are_removed_in_time_with_bounded_work() {
    let (mut ks, mut rng) = (keyspace(), Rng(3));
    let (start, span, keys) = (1_000_000u64, 20_000u64, 1_000_000u64);
    ks.set_time(start, start);
    let expiries: Vec<u64> = (0..keys).map(|_| start + 1 + rng.below(span)).collect();
    for (i, &at) in expiries.iter().enumerate() {
        ks.set_str(&(i as u64).to_le_bytes(), b"v", Expire::At(at));
    }
    let mut due = vec![0u64; span as usize + 20];
    expiries.iter().for_each(|at| due[(at - start) as usize] += 1);
    let (mut gone, mut budget_max) = (0, 0);
    for ms in (0..span + 20).step_by(2) {
        ks.set_time(start + ms, start + ms);
        // About 50 keys a millisecond expire; moving timers down a level comes on top, spread over the calls.
        let mut work = 0;
        for _ in 0..3 {
            work += ks.expire_work(500);
        }
        budget_max = work.max(budget_max);
        gone += due[ms as usize..].iter().take(2).sum::<u64>();
        let late = gone.saturating_sub(keys - ks.len());
        let at_most: u64 = due[(ms as usize).saturating_sub(9)..].iter().take(11).sum();
        assert!(late <= at_most, "at {ms} ms {late} keys are later than 10 ms");
    }
    assert!(budget_max <= 1_500, "a call keeps to its budget");
    assert_eq!((ks.len(), ks.volatile_len(), ks.stats().expired), (0, 0, keys));
    assert_eq!(ks.next_deadline(), None);
}

#[test]
fn changing_expiries_does_not_leak_timers() {
    let mut ks = keyspace();
    ks.set_time(1_000, 1_000);
    ks.set_str(b"warm", b"", Expire::At(u64::MAX));
    let before = ks.memory().timers;
    for i in 0..200_000u64 {
        ks.set_str(b"lock", b"owner", Expire::At(1_000_000 + i % 1_000));
        ks.set_expire(b"lock", Some(500_000 - i));
        match i % 3 {
            0 => {
                let _ = ks.del(b"lock");
            }
            1 => {
                let _ = ks.set_expire(b"lock", None);
            }
            _ => ks.set_str(b"lock", b"", Expire::Clear),
        }
    }
    assert_eq!((ks.memory().timers, ks.volatile_len()), (before, 1));
    ks.set_time(u64::MAX - 1, u64::MAX - 1);
    assert_eq!(ks.expire_at(b"warm"), Some(Some(u64::MAX)));
}
