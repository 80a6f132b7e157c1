//! The keyspace against a `BTreeMap`: random operations on few and many keys, short and long ones, under a moving clock.

mod support;

use slotcore_engine::keyspace::{Expire, Keyspace, Kind};
use std::collections::BTreeMap;
use support::{Rng, keyspace, scan_all};

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// A key of one of several sorts: short, hash-tagged into one slot, or longer than a record holds.
fn key(rng: &mut Rng, keys: u64) -> Vec<u8> {
    let i = rng.below(keys);
    match i % 5 {
        0 => format!("{{tag}}:{i}").into_bytes(),
        1 => format!("{i}:{}", "long".repeat(80)).into_bytes(),
        _ => format!("k{i}").into_bytes(),
    }
}

/// Mostly short; sometimes around and beyond what a record holds.
fn value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(20) {
        0 => 2_040 + rng.below(16),
        1 => rng.below(10_000),
        2..5 => rng.below(600),
        _ => rng.below(60),
    };
    rng.bytes(len as usize)
}

fn expire(rng: &mut Rng, clock: u64) -> Option<u64> {
    let span = [30, 2_000, 1_000_000][rng.below(3) as usize];
    (rng.below(3) == 0).then(|| clock + rng.below(span))
}

fn check_all(ks: &mut Keyspace, model: &Model, seed: u64) {
    for (key, (value, expire)) in model {
        assert_eq!(ks.get_str(key), Ok(Some(value.as_slice())), "seed {seed}, key {key:?}");
        assert_eq!(ks.expire_at(key), Some(*expire), "seed {seed}");
    }
    let mut seen = scan_all(ks, 7, |_| ());
    seen.sort();
    assert!(
        seen.iter().eq(model.keys()),
        "seed {seed}: a quiet scan reports every key once"
    );
}

fn run(seed: u64, keys: u64, operations: u64) {
    let mut rng = Rng(seed);
    let (mut ks, mut model, mut clock) = (keyspace(), Model::new(), 1_700_000_000_000);
    for step in 0..operations {
        ks.set_time(clock, clock);
        model.retain(|_, (_, e)| e.is_none_or(|t| t > clock) || step % 16 != 0);
        let k = key(&mut rng, keys);
        let held = model.get(&k).filter(|(_, e)| e.is_none_or(|t| t > clock)).cloned();
        match rng.below(14) {
            0..4 => {
                let v = value(&mut rng);
                let at = expire(&mut rng, clock);
                let (how, at) = match rng.below(3) {
                    0 => (Expire::Keep, held.and_then(|(_, e)| e)),
                    _ => (at.map_or(Expire::Clear, Expire::At), at),
                };
                ks.set_str(&k, &v, how);
                model.insert(k, (v, at));
            }
            4 | 5 => {
                assert_eq!(ks.del(&k), held.is_some());
                model.remove(&k);
            }
            6 => {
                let at = expire(&mut rng, clock);
                assert_eq!(ks.set_expire(&k, at), held.is_some());
                if let Some((v, _)) = held {
                    model.insert(k, (v, at));
                }
            }
            7 => {
                let len = value(&mut rng).len();
                let (mut v, e) = held.unwrap_or_default();
                v.resize(len, 0);
                assert_eq!(ks.resize_str(&k, len).expect("only strings here"), &v[..]);
                model.insert(k, (v, e));
            }
            8 => {
                let (len, tail) = (held.as_ref().map_or(0, |(v, _)| v.len()), rng.below(200) as usize);
                let add = rng.bytes(tail);
                ks.resize_str(&k, len + tail).expect("only strings here")[len..].copy_from_slice(&add);
                let (mut v, e) = held.unwrap_or_default();
                v.extend(add);
                model.insert(k, (v, e));
            }
            9 => {
                let to = key(&mut rng, keys);
                assert_eq!(ks.rename(&k, &to), held.is_some());
                if let Some(v) = held {
                    model.remove(&k);
                    model.insert(to, v);
                }
            }
            10 => {
                let (to, replace) = (key(&mut rng, keys), rng.below(2) == 0);
                let free = model.get(&to).is_none_or(|(_, e)| e.is_some_and(|t| t <= clock));
                let copied = k != to && held.is_some() && (free || replace);
                assert_eq!(ks.copy(&k, &to, replace), copied);
                if let (true, Some(v)) = (copied, held) {
                    model.insert(to, v);
                }
            }
            _ => {
                assert_eq!(
                    ks.get_str(&k),
                    Ok(held.as_ref().map(|(v, _)| v.as_slice())),
                    "seed {seed}, step {step}"
                );
                assert_eq!(ks.kind(&k), held.map(|_| Kind::Str));
            }
        }
        match rng.below(60) {
            0 => clock += rng.below(50),
            1 if rng.below(10) == 0 => clock += rng.below(500_000),
            2 => {
                let _ = ks.expire_work(rng.below(40) as usize);
            }
            3 => {
                let _ = ks.free_work(rng.below(200) as usize);
            }
            4 if rng.below(200) == 0 => {
                ks.clear();
                model.clear();
            }
            _ => {}
        }
    }
    ks.set_time(clock, clock);
    model.retain(|_, (_, e)| e.is_none_or(|t| t > clock));
    check_all(&mut ks, &model, seed);
    while ks.expire_work(100) == 100 {}
    while ks.free_work(1_000) >= 1_000 {}
    let volatile = model.values().filter(|(_, e)| e.is_some()).count() as u64;
    let overdue = ks.len() - model.len() as u64;
    assert_eq!(ks.volatile_len(), volatile + overdue, "seed {seed}");
    check_all(&mut ks, &model, seed);
    for key in model.keys() {
        assert!(ks.del(key));
    }
    ks.set_time(clock + 8, clock + 8);
    while ks.expire_work(100) == 100 {}
    while ks.free_work(1_000) >= 1_000 {}
    assert_eq!(
        (ks.len(), ks.volatile_len(), ks.memory().garbage),
        (0, 0, 0),
        "seed {seed}"
    );
    assert!(ks.next_deadline().is_none());
}

#[test]
fn random_operations_agree_with_a_map() {
    for seed in 0..30 {
        run(seed, [10, 200, 5_000][seed as usize % 3], 6_000);
    }
}

#[test]
fn random_operations_agree_with_a_map_while_it_grows() {
    for seed in 100..103 {
        run(seed, 1_000_000, 60_000);
    }
}
