//! Keys that go because the data set has reached its limit: which ones, what remains, and that nothing is read for them.

use slotcore_engine::database::Counts;
use slotcore_engine::eviction::{EvictionPolicy, Measure, Victims};
use slotcore_engine::keyspace::{Expire, FileKey, FileKeys, Keyspace, KeyspaceOptions, Kind, UseOptions};

const NOW: u64 = 1_700_000_000_000;

fn keyspace(measure: Option<Measure>) -> Keyspace {
    let mut ks = Keyspace::new(KeyspaceOptions { hash_seed: 3 });
    ks.set_time(NOW, NOW);
    ks.note_uses(measure.map(|measure| UseOptions {
        measure,
        log_factor: 10,
        decay_minutes: 1,
        bytes: 1 << 20,
    }));
    ks
}

fn key(n: u64) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

/// The keys that go, one after the other, when `count` must.
fn go(ks: &mut Keyspace, policy: EvictionPolicy, count: usize) -> Vec<u64> {
    let (mut victims, mut gone) = (Victims::default(), Vec::new());
    let mut seed = 5;
    while gone.len() < count {
        seed += 1;
        ks.sample_victims(policy, 10, seed, &mut victims, &|_| false);
        let Some(victim) = victims.take() else { break };
        let hash = ks.key_hash(&victim.key);
        let Some(bytes) = ks.victim_bytes(policy, hash, &victim.key, 0) else {
            continue;
        };
        let before = ks.dataset_bytes(0);
        assert!(ks.del(&victim.key));
        assert!(bytes > 0 && ks.dataset_bytes(0) <= before - bytes);
        let number = String::from_utf8(victim.key.to_vec()).unwrap();
        gone.push(number["key:".len()..].parse().unwrap());
    }
    gone
}

#[test]
fn those_not_used_for_longest_go_first() {
    let mut ks = keyspace(Some(Measure::Recency));
    for n in 0..10_000 {
        ks.set_str(&key(n), b"value", Expire::Clear);
    }
    // The first half is read a minute later.
    ks.set_time(NOW, NOW + 60_000);
    for n in 0..5_000 {
        assert!(ks.get_str(&key(n)).unwrap().is_some());
    }
    let gone = go(&mut ks, EvictionPolicy::AllKeysLru, 3_000);
    let wrong = gone.iter().filter(|&&n| n < 5_000).count();
    assert!(wrong < 30, "{wrong} of 3,000 keys that were in use went");
}

#[test]
fn those_used_least_often_go_first() {
    let mut ks = keyspace(Some(Measure::Frequency));
    for n in 0..10_000 {
        ks.set_str(&key(n), b"value", Expire::Clear);
    }
    for _ in 0..100 {
        for n in 0..5_000 {
            assert!(ks.get_str(&key(n)).unwrap().is_some());
        }
    }
    let gone = go(&mut ks, EvictionPolicy::AllKeysLfu, 3_000);
    let wrong = gone.iter().filter(|&&n| n < 5_000).count();
    assert!(wrong < 30, "{wrong} of 3,000 keys that were in use went");
}

#[test]
fn what_lasts_is_spared_and_what_expires_first_goes_first() {
    for policy in [
        EvictionPolicy::VolatileTtl,
        EvictionPolicy::VolatileLru,
        EvictionPolicy::VolatileLfu,
        EvictionPolicy::VolatileRandom,
    ] {
        let mut ks = keyspace(policy.measure());
        for n in 0..2_000 {
            let expire = if n < 1_000 {
                Expire::At(NOW + 100_000 + n)
            } else {
                Expire::Clear
            };
            ks.set_str(&key(n), b"value", expire);
        }
        let gone = go(&mut ks, policy, 300);
        assert!(gone.len() == 300 && gone.iter().all(|&n| n < 1_000), "{policy:?}");
        if policy == EvictionPolicy::VolatileTtl {
            let early = gone.iter().filter(|&&n| n < 500).count();
            assert!(early > 290, "{early} of 300 are of the half that expires first");
        }
        assert_eq!(
            go(&mut ks, policy, 1_000).len(),
            700,
            "{policy:?}: all that may go, and then none"
        );
        assert_eq!(ks.len(), 1_000);
    }
}

#[test]
fn any_key_may_go_by_chance() {
    let mut ks = keyspace(None);
    for n in 0..1_000 {
        ks.set_str(&key(n), b"value", Expire::Clear);
    }
    let gone = go(&mut ks, EvictionPolicy::AllKeysRandom, 500);
    let early = gone.iter().filter(|&&n| n < 500).count();
    assert!((200..300).contains(&early), "{early} of 500 are of the first half");
}

#[test]
fn what_lies_only_in_files_counts_and_may_go() {
    let mut ks = keyspace(None);
    ks.resume(
        NOW,
        Counts::new(std::array::from_fn(|number| if number == 0 { 100 } else { 0 })),
    );
    let empty = ks.dataset_bytes(0);
    assert_eq!(ks.dataset_bytes(50), empty + 5_000);
    let keys = FileKeys {
        keys: vec![FileKey {
            ord: ks.key_hash(b"cold").ord(),
            key: b"cold".as_slice().into(),
            kind: Kind::Str,
            expire_ms: None,
        }],
        ..FileKeys::default()
    };
    let mut victims = Victims::default();
    let policy = EvictionPolicy::AllKeysRandom;
    assert_eq!(
        ks.offer_cold_victims(EvictionPolicy::VolatileRandom, &keys, 1, &mut victims, &|_| false),
        0
    );
    assert_eq!(ks.offer_cold_victims(policy, &keys, 1, &mut victims, &|_| true), 0);
    assert_eq!(ks.offer_cold_victims(policy, &keys, 1, &mut victims, &|_| false), 1);
    let victim = victims.take().unwrap();
    assert_eq!(
        ks.victim_bytes(policy, ks.key_hash(&victim.key), &victim.key, 50),
        Some(50)
    );
}
