//! One history, cut short at every single thing that a device does for a flush, a merge or the manifest: by a power cut or by
//! the end of the process. Each time the next process has everything.

mod cmd_support;
mod store_support;

use cmd_support::machine::Machine;
use cmd_support::random::Random;
use cmd_support::script;
use cmd_support::seeds::{are_own, seeds};
use store_support::{Node, START, tiny};

/// Inserts, overwrites, deletions, large values and collections, and what keeps a store busy beside them.
fn line(r: &mut Random) -> String {
    match r.below(12) {
        0 => format!("del s{}", r.below(60)),
        1 => format!("set b{} {}", r.below(12), "B".repeat(900 + r.below(3000))),
        2 => format!("rpush l{} {}", r.below(6), "e".repeat(r.below(200))),
        3 => format!("incr n{}", r.below(8)),
        4 => format!("append s{} x", r.below(60)),
        5 => format!("hset h{} f{} v", r.below(4), r.below(50)),
        6 if r.below(30) == 0 => "flushall".into(),
        _ => format!("set s{} {}", r.below(60), "v".repeat(r.below(600))),
    }
}

/// Runs the history of `seed` until the device has done `cut` things. `None` when it ends before. Returns what was executed,
/// to be compared with a keyspace that has everything.
fn run_until(seed: u64, steps: usize, cut: u64, power: bool) -> Option<()> {
    let (mut oracle, mut node, mut r) = (Machine::new(), Node::new(tiny(), seed), Random::new(seed));
    oracle.set_time(START);
    node.stop_at = cut;
    for _ in 0..steps {
        let words = script::words(&line(&mut r));
        oracle.execute(&words);
        node.execute(&words, START).expect("no damage");
        node.background().expect("no damage");
        if node.disk.completions >= cut {
            let mut node = node.restart(power).expect("a cut damages nothing");
            assert_eq!(
                node.digest().expect("no damage"),
                oracle.ks.digest(),
                "seed {seed}, cut {cut}, power {power}"
            );
            // What was left over is gone, and the store goes on.
            node.settle().expect("no damage");
            let at = node.applied();
            let ks = &mut node.machine.ks;
            node.store.begin_flush(ks, at, vec![store_support::side(at)]);
            node.settle().expect("no damage");
            let named: Vec<_> = node.store.view().files().collect();
            assert_eq!(
                named.len(),
                node.disk.names().len(),
                "seed {seed}, cut {cut}: only what is named is there"
            );
            return Some(());
        }
    }
    None
}

#[test]
fn a_cut_at_any_moment_loses_nothing() {
    let mut cuts = 0;
    for seed in seeds(4) {
        let power = seed % 4 != 1;
        let mut cut = 1;
        while run_until(seed, 250, cut, power).is_some() {
            cut += 1;
            cuts += 1;
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 400 || !are_own(), "{cuts} cuts");
}
