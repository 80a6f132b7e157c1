//! Damaged copies of a stopped store: flipped bits, files cut short, missing, exchanged. Each is refused by name or changes
//! nothing that anybody can see; none is served wrong, none is silently empty.

mod cmd_support;
mod store_support;

use cmd_support::machine::Machine;
use cmd_support::random::Random;
use cmd_support::script;
use store_support::{Disk, Node, START, side, tiny};

/// A store with several runs, a lowest level and blob files, all of whose state is in files.
fn stopped(seed: u64) -> (Node, u128) {
    let (mut oracle, mut node, mut r) = (Machine::new(), Node::new(tiny(), seed), Random::new(seed));
    oracle.set_time(START);
    for n in 0..500 {
        let line = match r.below(8) {
            0 => format!("set b{} {}", r.below(30), "B".repeat(1000 + r.below(3000))),
            1 => format!("sadd t{} m{n} x{n}", r.below(9)),
            2 => format!("del s{}", r.below(200)),
            _ => format!("set s{} {}", r.below(200), "v".repeat(r.below(500))),
        };
        let words = script::words(&line);
        oracle.execute(&words);
        node.execute(&words, START).expect("no damage");
        node.background().expect("no damage");
    }
    node.settle().expect("no damage");
    let at = node.applied();
    node.store.begin_flush(&mut node.machine.ks, at, vec![side(at)]);
    node.settle().expect("no damage");
    (node, oracle.ks.digest())
}

/// What a new process makes of the files: the digest of everything, or the refusal.
fn read_all(node: &Node, disk: Disk) -> Result<u128, String> {
    let again = Node::stopped(disk, &node.log, node.options, 5);
    let digest = again.restart(false).and_then(|mut node| node.digest());
    digest.map_err(|error| error.to_string())
}

#[test]
fn damage_is_refused_by_name_or_changes_nothing() {
    let (mut refused, mut harmless) = (0, 0);
    for seed in 0..3 {
        let (node, digest) = stopped(seed);
        assert_eq!(read_all(&node, node.disk.clone()), Ok(digest), "without damage");
        let names = node.disk.names();
        let blobs = names.iter().filter(|name| name.to_string().ends_with("blob")).count();
        assert!(blobs > 0 && names.len() > blobs + 2, "{names:?}");
        let mut r = Random::new(seed + 50);
        for round in 0..120 {
            let mut disk = node.disk.clone();
            let file = names[r.below(names.len())];
            let bytes = disk.bytes_mut(file);
            let what = match round % 6 {
                0 => {
                    let len = r.below(bytes.len());
                    bytes.truncate(len);
                    format!("{file} cut to {len}")
                }
                1 => {
                    disk.remove(file);
                    format!("{file} removed")
                }
                2 => {
                    let other = disk.clone().bytes_mut(names[r.below(names.len())]).clone();
                    *disk.bytes_mut(file) = other;
                    format!("{file} replaced by another")
                }
                3 => {
                    let at = r.below(bytes.len() / 4096) * 4096;
                    bytes[at..at + 4096].fill(0);
                    format!("{file} with a page of zeroes at {at}")
                }
                _ => {
                    let (at, bit) = (r.below(bytes.len()), r.below(8));
                    bytes[at] ^= 1 << bit;
                    format!("{file} with a flipped bit at {at}")
                }
            };
            match read_all(&node, disk) {
                Ok(found) => {
                    assert_eq!(found, digest, "seed {seed}: {what}");
                    harmless += 1;
                }
                Err(error) => {
                    let number = file.id.0.to_string();
                    assert!(error.contains(&number), "seed {seed}: {what}: {error}");
                    refused += 1;
                }
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 200, "{refused} refused, {harmless} harmless");
}
