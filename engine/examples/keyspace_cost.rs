//! What the keyspace costs, without clocks: bytes per key while it grows, and loops to count instructions of.
//!
//! ```text
//! keyspace_cost memory [keys]            bytes per key, by the keyspace's own account and as the kernel sees it
//! keyspace_cost get|set|insert [keys]    the loop alone; count with: valgrind --tool=callgrind --toggle-collect=measured
//! ```
//! Keys are those of redis-benchmark (16 bytes), values 50 bytes.

use slotcore_engine::keyspace::{Expire, Keyspace, KeyspaceOptions};
use std::hint::black_box;

const VALUE: [u8; 50] = [b'x'; 50];

fn key(i: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let (mut i, mut at) = (i, 15);
    while i > 0 {
        key[at] = b'0' + (i % 10) as u8;
        (i, at) = (i / 10, at - 1);
    }
    key
}

fn fill(keys: u64) -> Keyspace {
    let mut ks = Keyspace::new(KeyspaceOptions { hash_seed: 42 });
    (0..keys).for_each(|i| ks.set_str(&key(i), &VALUE, Expire::Clear));
    ks
}

/// Runs `operation` for every key; a function of its own, so that instructions can be counted inside it alone.
#[inline(never)]
fn measured(keys: &[[u8; 16]], mut operation: impl FnMut(&[u8])) {
    keys.iter().for_each(|key| operation(key));
}

fn memory(keys: u64) {
    let mut ks = Keyspace::new(KeyspaceOptions { hash_seed: 42 });
    let resident = || slotcore_rt::mem::resident_bytes().unwrap_or(0);
    let before = resident();
    println!(
        "{:>9} {:>7} {:>7} {:>7} {:>7}",
        "keys", "index", "records", "total", "rss"
    );
    for i in 0..keys {
        ks.set_str(&key(i), &VALUE, Expire::Clear);
        if (i + 1) % (keys / 20).max(1) == 0 {
            let (m, n) = (ks.memory(), (i + 1) as f64);
            let rss = resident().saturating_sub(before) as f64;
            let each = [m.index as f64, m.records as f64, m.total() as f64, rss].map(|bytes| bytes / n);
            println!(
                "{:>9} {:>7.1} {:>7.1} {:>7.1} {:>7.1}",
                i + 1,
                each[0],
                each[1],
                each[2],
                each[3]
            );
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let keys: u64 = args.next().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let names: Vec<[u8; 16]> = (0..keys).map(key).collect();
    match what.as_str() {
        "memory" => memory(keys),
        "get" => {
            let mut ks = fill(keys);
            measured(&names, |key| {
                let _ = black_box(ks.get_str(black_box(key)));
            });
        }
        "set" => {
            let mut ks = fill(keys);
            measured(&names, |key| {
                ks.set_str(black_box(key), black_box(&VALUE), Expire::Clear)
            });
        }
        "insert" => {
            let mut ks = fill(0);
            measured(&names, |key| {
                ks.set_str(black_box(key), black_box(&VALUE), Expire::Clear)
            });
        }
        _ => eprintln!("usage: keyspace_cost memory|get|set|insert [keys]"),
    }
}
