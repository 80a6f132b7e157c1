//! Three replicas in one simulated world: what Raft promises, under crashes, partitions and a bad network.

use std::time::Duration;

use crate::support::cluster::Cluster;
use slotcore_raft_shard::Consensus;
use slotcore_raft_shard::options::Planted;
use slotcore_rt::ids::ReplicaId;
use slotcore_rt::rng::os_seed;
use slotcore_rt::sim::disk::Rate;
use slotcore_rt::sim::net::LinkQuality;

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

#[test]
fn a_follower_behind_a_purged_log_gets_a_snapshot() {
    let mut cluster = Cluster::new(3, 3, Planted::default());
    let leader = cluster.elect();
    let [heir, late] = cluster.ids().into_iter().filter(|id| *id != leader).collect::<Vec<_>>()[..] else {
        unreachable!("three replicas")
    };
    cluster.crash(late);
    for _ in 0..30 {
        cluster.propose(leader).unwrap();
        cluster.run_for(Duration::from_millis(1));
    }
    cluster.settle();
    // A leader keeps what it is still sending to somebody, so the log is emptied on the one that is to lead next.
    forget_all(&mut cluster, heir);
    cluster.run_for(Duration::from_millis(20));
    assert_eq!(cluster.log(heir).all_entries(), [], "the log still holds entries");
    cluster
        .ask(leader, |group| group.transfer_leader(ReplicaId(heir)))
        .unwrap()
        .unwrap();
    assert!(cluster.run_until(Duration::from_secs(1), |cluster| cluster.leader() == Some(heir)));

    cluster.start(late);
    let caught_up = |cluster: &Cluster| cluster.executed(late).len() == 30;
    assert!(cluster.run_until(Duration::from_secs(5), caught_up), "no snapshot came");
    assert!(cluster.holds_snapshot(late), "it was brought up to date by entries");
    cluster.elect();
    cluster.propose(heir).unwrap();
    cluster.settle();
    assert_eq!(cluster.executed(late).len(), 31);

    // A replica whose log is all forgotten comes back from its snapshot.
    forget_all(&mut cluster, late);
    cluster.run_for(Duration::from_millis(20));
    cluster.crash(late);
    cluster.start(late);
    cluster.run_for(Duration::from_millis(20));
    cluster.settle();
    assert_eq!(cluster.executed(late).len(), 31);
    assert_eq!(cluster.violations(), [""; 0]);
}

/// Two replicas that hold only a snapshot of the first entries, `count` of them; the third one, which is down, has none of
/// them. The one that leads, and the one that is down.
fn one_far_behind(cluster: &mut Cluster, count: usize) -> (u64, u64) {
    let leader = cluster.elect();
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    let (heir, late) = (others[0], others[1]);
    cluster.crash(late);
    for _ in 0..count {
        cluster.propose(leader).unwrap();
        cluster.run_for(Duration::from_micros(300));
    }
    cluster.settle();
    // A leader keeps what it would send to the one that is down, so both forget as followers.
    for (to, from) in [(heir, leader), (leader, heir)] {
        forget_all(cluster, to);
        let has_forgotten = |cluster: &Cluster| cluster.log(to).all_entries().is_empty();
        assert!(
            cluster.run_until(Duration::from_secs(1), has_forgotten),
            "the log still holds entries"
        );
        let transfer = cluster.ask(from, |group| group.transfer_leader(ReplicaId(to)));
        transfer.unwrap().unwrap();
        assert!(cluster.run_until(Duration::from_secs(1), |cluster| cluster.leader() == Some(to)));
        cluster.settle();
    }
    (leader, late)
}

#[test]
fn a_crash_at_any_moment_of_taking_a_snapshot_leaves_the_old_state_or_the_new_one() {
    for step in 0..40 {
        let mut cluster = Cluster::new(100 + step, 3, Planted::default());
        let (_, late) = one_far_behind(&mut cluster, 100);
        cluster.start(late);
        // Parts of 64 bytes of 1600: a moment of about every part, and of what comes before and after.
        cluster.run_for(Duration::from_micros(400 * step));
        cluster.crash(late);
        let held = cluster.snapshot_len(late);
        assert!(held == 0 || held == 100, "step {step}: a snapshot of {held} entries");
        cluster.start(late);
        let caught_up = |cluster: &Cluster| cluster.executed(late).len() == 100;
        assert!(
            cluster.run_until(Duration::from_secs(20), caught_up),
            "step {step}: it does not come back"
        );
        let leader = cluster.elect();
        cluster.propose(leader).unwrap();
        cluster.settle();
        assert_eq!(cluster.violations(), [""; 0], "step {step}");
    }
}

#[test]
fn a_snapshot_that_stops_halfway_goes_on_where_it_stopped() {
    let mut cluster = Cluster::new(8, 3, Planted::default());
    let (leader, late) = one_far_behind(&mut cluster, 400);
    cluster.start(late);
    // The link is lost several times on the way, each time for shorter than it takes to begin anew.
    let (mut cuts, mut rng) = (0, cluster.sim.rng("cuts"));
    while cluster.executed(late).len() < 400 {
        cluster.run_for(Duration::from_micros(rng.range(2_000..8_000)));
        cluster.net.reset(Cluster::node(leader), Cluster::node(late));
        cuts += 1;
        assert!(cuts < 2_000, "it never gets all of it");
    }
    assert!(cuts > 1, "it was never cut");
    cluster.settle();
    assert_eq!(cluster.violations(), [""; 0]);
}

/// Takes a snapshot on `id` and lets its log forget what that holds.
fn forget_all(cluster: &mut Cluster, id: u64) {
    cluster.ask(id, |group| group.take_snapshot()).unwrap().unwrap();
    // It is written a little at a time.
    let is_written = |cluster: &Cluster| cluster.snapshot_len(id) == cluster.executed(id).len();
    assert!(
        cluster.run_until(Duration::from_secs(1), is_written),
        "it is not written"
    );
    // openraft is told afterwards, and purges nothing that it does not know to be in a snapshot.
    cluster.run_for(Duration::from_millis(5));
    let upto = cluster.applied(id);
    cluster.ask(id, |group| group.purge_log(upto)).unwrap().unwrap();
}

/// openraft issue 2116 in small: a Raft core panicked on a purged log id within minutes of this.
#[test]
fn snapshots_and_purges_under_load_stop_nobody() {
    let mut cluster = Cluster::new(4, 3, Planted::default());
    let leader = cluster.elect();
    for round in 0..600 {
        for _ in 0..4 {
            cluster.propose(leader);
        }
        if round % 5 == 0 {
            let id = cluster.ids()[cluster.rng.index(3)];
            let upto = cluster.applied(id);
            cluster.ask(id, |group| group.take_snapshot()).unwrap().unwrap();
            cluster.ask(id, |group| group.purge_log(upto)).unwrap().unwrap();
        }
        let pause = Duration::from_micros(cluster.rng.range(50..1500));
        cluster.run_for(pause);
    }
    cluster.settle();
    assert!(cluster.oracle.borrow().acknowledged_count() > 2000, "hardly any load");
    assert_eq!(cluster.violations(), [""; 0]);
}

#[test]
fn leadership_moves_without_a_stale_read() {
    let mut cluster = Cluster::new(5, 3, Planted::default());
    for round in 0..10 {
        let old = cluster.elect();
        cluster.propose(old).unwrap();
        cluster.settle();
        let now = cluster.sim.now();
        let to = cluster.ids().into_iter().find(|id| *id != old).unwrap();
        assert_eq!(cluster.ask(old, |group| group.may_read(now)), Some(true));
        cluster
            .ask(old, |group| group.transfer_leader(ReplicaId(to)))
            .unwrap()
            .unwrap();
        assert_eq!(
            cluster.ask(old, |group| group.may_read(now)),
            Some(false),
            "reads go on during the transfer"
        );
        let moved = |cluster: &Cluster| cluster.leader() == Some(to);
        assert!(
            cluster.run_until(Duration::from_millis(100), moved),
            "round {round}: {to} does not take over"
        );
    }
    cluster.settle();
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
    assert!(cluster.confirmed.get() > 0, "no quorum confirms a read");
    assert!(cluster.told.get() > 0, "no leader vouches for another's state");
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
