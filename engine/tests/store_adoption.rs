//! A store that takes over the files of another replica, cut short at every single thing that its device does meanwhile: it
//! has either what it had before, or the other's state, and goes on with it.

mod cmd_support;
mod store_support;

use cmd_support::random::Random;
use cmd_support::script;
use cmd_support::seeds::seeds;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_engine::sst::FileId;
use slotcore_engine::store::{Adoption, FileName, StoreOptions};
use store_support::{Node, START, tiny};

fn made_by(maker: u16) -> StoreOptions {
    StoreOptions { maker, ..tiny() }
}

/// A replica with some files and some that is not in them.
fn replica(maker: u16, seed: u64, steps: usize, prefix: &str) -> Node {
    let (mut node, mut r) = (Node::new(made_by(maker), seed), Random::new(seed));
    for _ in 0..steps {
        let line = match r.below(6) {
            0 => format!("del {prefix}{}", r.below(40)),
            1 => format!("set {prefix}b{} {}", r.below(8), "B".repeat(900 + r.below(3000))),
            2 => format!("rpush {prefix}l{} {}", r.below(4), "e".repeat(r.below(200))),
            _ => format!("set {prefix}{} {}", r.below(40), "v".repeat(r.below(600))),
        };
        node.execute(&script::words(&line), START).expect("no damage");
        node.background().expect("no damage");
    }
    node
}

/// Everything that has changed is in files.
fn flush(node: &mut Node) {
    node.settle().expect("no damage");
    let at = node.applied();
    let ks = &mut node.machine.ks;
    node.store.begin_flush(ks, at, vec![store_support::side(at)]);
    node.settle().expect("no damage");
}

fn named(node: &Node) -> Vec<FileName> {
    node.store.view().files().collect()
}

/// What was sent: the files that `from` names are durable on the disk of `to`, beside those that it has.
fn receive(from: &Node, to: &mut Node) -> Vec<u8> {
    for file in named(from) {
        if !to.store.names(file) {
            to.disk.put(file, from.disk.bytes(file));
        }
    }
    from.store.view().version().encode()
}

/// Adopts them, unless the device was cut off before; true when it has. With all keys in memory, or none.
fn adopt(to: &mut Node, manifest: &[u8], cut: u64, all_in_memory: bool) -> bool {
    let mut adoption = Adoption::new(manifest, &mut to.disk).expect("all files are there");
    while adoption.open_next(&mut to.disk).expect("they are those that are meant") {}
    let mut ks = Keyspace::new(KeyspaceOptions::default());
    if all_in_memory {
        let mut loading = adoption.loading(&mut ks);
        while loading.step(&mut ks, &mut to.disk, 500).expect("no damage") {}
        assert!(ks.is_complete());
    }
    let mut adoption = Some(adoption);
    while !to.store.is_adoption_durable() {
        to.store.begin_adoption(&mut adoption);
        if to.disk.completions >= cut {
            return false;
        }
        to.turn().expect("no damage");
    }
    assert!(adoption.is_none());
    to.machine.ks.take_over(ks);
    match all_in_memory {
        true => to.store.adopt_loaded(&to.machine.ks),
        false => to.store.adopt(&mut to.machine.ks),
    }
    true
}

/// One adoption, cut after so many things. Returns whether it ended before.
fn one(seed: u64, cut: u64, power: bool) -> bool {
    let mut leader = replica(2, seed, 150, "k");
    flush(&mut leader);
    let mut follower = replica(3, seed + 1, 60, "old");
    let (old, new) = (follower.applied(), leader.applied());
    let manifest = receive(&leader, &mut follower);
    let cut = follower.disk.completions.saturating_add(cut);
    let old_digest = follower.digest().expect("no damage");
    let all_in_memory = seed.is_multiple_of(2);
    let adopted = adopt(&mut follower, &manifest, cut, all_in_memory);
    assert_eq!(adopted && all_in_memory, adopted && follower.machine.ks.is_complete());
    let wanted = leader.digest().expect("no damage");
    if adopted {
        // Raft purges what it had.
        follower.log = leader.log.clone();
    } else {
        let choose = |flushed, log| match flushed == new.index.0 {
            true => leader.log.clone(),
            false => log,
        };
        follower = follower.restart_with(power, choose).expect("a cut damages nothing");
    }
    let has_all = follower.applied() == new;
    assert!(has_all || (!adopted && follower.applied() == old));
    let expected = if has_all { wanted } else { old_digest };
    assert_eq!(
        follower.digest().expect("no damage"),
        expected,
        "seed {seed}, cut {cut}"
    );
    // It goes on, as does everything on its disk.
    let mut r = Random::new(seed);
    for number in 0..60 {
        let line = format!("set k{} {number}{}", r.below(40), "w".repeat(r.below(900)));
        for node in [&mut follower, &mut leader] {
            node.execute(&script::words(&line), START).expect("no damage");
            node.background().expect("no damage");
        }
    }
    flush(&mut follower);
    assert_eq!(
        named(&follower).len(),
        follower.disk.names().len(),
        "only what is named is there"
    );
    if has_all {
        let wanted = leader.digest().expect("no damage");
        assert_eq!(follower.digest().expect("no damage"), wanted);
        let mut again = follower.restart(true).expect("no damage");
        assert_eq!(again.digest().expect("no damage"), wanted);
    }
    adopted
}

#[test]
fn a_cut_at_any_moment_leaves_the_old_state_or_the_new_one() {
    for seed in seeds(6) {
        let power = seed % 3 != 1;
        let mut cut = 0;
        while !one(seed, cut, power) {
            cut += 1;
        }
        assert!(one(seed, u64::MAX, power));
    }
}

#[test]
fn files_that_are_sent_back_are_known_and_stay() {
    let (mut one, mut other) = (replica(2, 5, 150, "k"), replica(3, 6, 80, "old"));
    flush(&mut one);
    let manifest = receive(&one, &mut other);
    assert!(adopt(&mut other, &manifest, u64::MAX, false));
    other.log = one.log.clone();
    for number in 0..30 {
        let line = format!("set k{number} later");
        other.execute(&script::words(&line), START).expect("no damage");
    }
    flush(&mut other);
    let common = named(&other).into_iter().filter(|&file| one.store.names(file)).count();
    assert!(common > 0, "the test is about files of both");
    let manifest = receive(&other, &mut one);
    assert!(adopt(&mut one, &manifest, u64::MAX, false));
    one.log = other.log.clone();
    flush(&mut one);
    one.settle().expect("no damage");
    assert_eq!(named(&one).len(), one.disk.names().len(), "only what is named is there");
    let mut one = one.restart(true).expect("no damage");
    assert_eq!(one.digest().expect("no damage"), other.digest().expect("no damage"));
}

#[test]
fn no_two_replicas_make_files_of_one_name() {
    let mut nodes = [0, 2, 3].map(|maker| (maker, replica(maker, 9, 100, "k")));
    for (maker, node) in &mut nodes {
        flush(node);
        assert!(!named(node).is_empty());
        let own = |file: &FileName| file.id.0 >> 48 == u64::from(*maker) && file.id != FileId(0);
        assert!(named(node).iter().all(own));
    }
}

#[test]
fn a_file_that_is_not_the_one_that_is_meant_is_refused() {
    let mut leader = replica(2, 11, 150, "k");
    flush(&mut leader);
    let mut follower = replica(3, 12, 40, "old");
    let before = follower.digest().expect("no damage");
    let manifest = receive(&leader, &mut follower);
    let sorted = named(&leader)
        .into_iter()
        .find(|file| *file == FileName::sorted(file.id));
    let sorted = sorted.expect("there are keys");
    let end = follower.disk.bytes(sorted).len() - 1;
    follower.disk.bytes_mut(sorted)[end] ^= 1;
    let mut adoption = Adoption::new(&manifest, &mut follower.disk).expect("all are there");
    let refused = loop {
        match adoption.open_next(&mut follower.disk) {
            Ok(true) => {}
            Ok(false) => panic!("a damaged file passes"),
            Err(error) => break error,
        }
    };
    assert!(!refused.to_string().is_empty());
    follower.disk.remove(sorted);
    assert!(Adoption::new(&manifest, &mut follower.disk).is_err(), "one is missing");
    assert_eq!(follower.digest().expect("no damage"), before);
}
