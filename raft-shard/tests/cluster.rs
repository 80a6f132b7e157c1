//! Three replicas in one simulated world: what Raft promises, under crashes, partitions and a bad network.

mod support;

use std::time::Duration;

use slotcore_raft_shard::options::Planted;
use slotcore_rt::rng::os_seed;
use slotcore_rt::sim::disk::Rate;
use slotcore_rt::sim::net::LinkQuality;
use support::cluster::Cluster;

#[test]
fn a_write_is_executed_by_all_and_survives_a_crash_of_the_leader() {
    let mut cluster = Cluster::new(1, 3, Planted::default());
    let first = cluster.elect();
    for _ in 0..20 {
        cluster.propose(first).unwrap();
        cluster.run_for(Duration::from_micros(300));
    }
    cluster.settle();
    assert_eq!(cluster.oracle.borrow().acknowledged_count(), 20);

    cluster.crash(first);
    let second = cluster.elect();
    assert_ne!(first, second);
    cluster.propose(second).unwrap();
    cluster.start(first);
    cluster.settle();
    cluster
        .ids()
        .into_iter()
        .for_each(|id| assert_eq!(cluster.executed(id).len(), 21, "replica {id}"));
    assert_eq!(cluster.violations(), [""; 0]);
}

#[test]
fn a_cut_off_leader_steps_back_without_harm() {
    let mut cluster = Cluster::new(2, 3, Planted::default());
    let old = cluster.elect();
    let others: Vec<_> = cluster
        .ids()
        .into_iter()
        .filter(|id| *id != old)
        .map(Cluster::node)
        .collect();
    cluster.net.partition(&[Cluster::node(old)], &others);
    cluster.propose(old).unwrap();
    let moved = |cluster: &Cluster| cluster.leader().is_some_and(|id| id != old);
    assert!(
        cluster.run_until(Duration::from_secs(5), moved),
        "the other two elect nobody"
    );
    let new = cluster.elect();
    cluster.propose(new).unwrap();
    cluster.run_for(Duration::from_millis(50));
    assert_eq!(
        cluster.oracle.borrow().acknowledged_count(),
        1,
        "a write without a quorum was acknowledged"
    );

    cluster.net.heal();
    cluster.settle();
    assert_eq!(cluster.executed(old), cluster.executed(new));
    assert_eq!(cluster.violations(), [""; 0]);
}

/// Everything at once, drawn from a seed.
fn storm(seed: u64) -> Vec<String> {
    let mut cluster = Cluster::new(seed, 3, Planted::default());
    cluster.elect();
    for _ in 0..60 {
        let ids = cluster.ids();
        let id = ids[cluster.rng.index(ids.len())];
        match cluster.rng.below(12) {
            0 if cluster.ids().iter().filter(|id| cluster.is_up(**id)).count() == 3 => cluster.crash(id),
            0 | 1 => cluster.start_all(),
            2 => {
                let others: Vec<_> = ids
                    .into_iter()
                    .filter(|other| *other != id)
                    .map(Cluster::node)
                    .collect();
                cluster.net.partition(&[Cluster::node(id)], &others);
            }
            3 => {
                let other = ids[cluster.rng.index(3)];
                cluster.net.block(Cluster::node(id), Cluster::node(other));
            }
            4 | 5 => cluster.net.heal(),
            6 => {
                let quality = bad_network(&mut cluster);
                cluster.net.set_quality(quality);
            }
            _ => {
                for _ in 0..cluster.rng.range(1..8) {
                    if let Some(leader) = cluster.leader() {
                        cluster.propose(leader);
                    }
                }
            }
        }
        let pause = Duration::from_micros(cluster.rng.range(10..60_000));
        cluster.run_for(pause);
    }
    cluster.net.heal();
    cluster.net.set_quality(LinkQuality::default());
    cluster.start_all();
    cluster.run_for(Duration::from_secs(1));
    cluster.settle();
    cluster.violations()
}

fn bad_network(cluster: &mut Cluster) -> LinkQuality {
    let delay_max = Duration::from_micros(cluster.rng.range(100..40_000));
    LinkQuality {
        delay_min: Duration::ZERO,
        delay_max,
        reset: Rate::new(1, 50),
        duplicate: Rate::NEVER,
    }
}

fn check_storm(seed: u64) {
    let violations = storm(seed);
    assert!(
        violations.is_empty(),
        "SLOTCORE_SEED={seed} cargo test -p slotcore-raft-shard storm: {violations:#?}"
    );
}

#[test]
fn a_storm_of_faults_breaks_no_promise() {
    if let Some(seed) = std::env::var("SLOTCORE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return check_storm(seed);
    }
    (0..20).for_each(check_storm);
    let fresh = os_seed().unwrap();
    (0..5).for_each(|i| check_storm(fresh.wrapping_add(i)));
}
