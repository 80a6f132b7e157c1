//! Bugs put back on purpose: the same runs that pass without them must fail with them.

use std::time::Duration;

use crate::support::cluster::{BY_ANOTHERS_QUORUM, BY_READ_INDEX, Cluster};
use slotcore_raft_shard::options::Planted;
use slotcore_rt::ids::ReplicaId;
use slotcore_rt::sim::net::LinkQuality;

const SEEDS: std::ops::Range<u64> = 0..12;

/// No seed shows a violation without the bug, at least one does with it.
fn check_caught(planted: Planted, run: impl Fn(u64, Planted) -> Vec<String>) {
    for seed in SEEDS {
        assert_eq!(run(seed, Planted::default()), [""; 0], "seed {seed}, without the bug");
    }
    let caught: Vec<_> = SEEDS.filter(|seed| !run(*seed, planted).is_empty()).collect();
    println!("caught by seeds {caught:?}");
    assert!(!caught.is_empty(), "the planted bug goes unnoticed: {planted:?}");
}

/// A leader replicates entries faster than its own disk takes them, loses them in a crash, and is back before anyone
/// has noticed. Resuming its term it would give their positions to other entries.
fn leader_returns_without_its_tail(seed: u64, planted: Planted) -> Vec<String> {
    let mut cluster = Cluster::new(seed, 3, planted);
    let leader = cluster.elect();
    cluster.propose(leader).unwrap();
    cluster.settle();
    cluster.stall_disk(leader);
    let lost = cluster.propose(leader).unwrap();
    let everywhere = |cluster: &Cluster| cluster.ids().iter().all(|id| cluster.executed(*id).len() == 2);
    assert!(
        cluster.run_until(Duration::from_secs(1), everywhere),
        "write {lost} is not committed by the followers"
    );

    cluster.crash(leader);
    cluster.start(leader);
    cluster.run_for(Duration::from_millis(2));
    for _ in 0..5 {
        if let Some(leader) = cluster.leader() {
            cluster.propose(leader);
        }
        cluster.run_for(Duration::from_millis(300));
    }
    cluster.violations()
}

#[test]
fn leader_restore_on_is_caught() {
    check_caught(
        Planted {
            leader_restore: true,
            ..Planted::default()
        },
        leader_returns_without_its_tail,
    );
}

/// One follower hears from the leader and forgets it in a crash; the other has not heard from it for long. Together they
/// could elect a new leader while the old one still reads by the lease that the first follower's answer gave it.
fn follower_forgets_the_lease(seed: u64, planted: Planted) -> Vec<String> {
    let mut cluster = Cluster::new(seed, 3, planted);
    let leader = cluster.elect();
    cluster.settle();
    let [faithful, deaf] = cluster.ids().into_iter().filter(|id| *id != leader).collect::<Vec<_>>()[..] else {
        unreachable!("three replicas")
    };
    cluster.net.partition(&[Cluster::node(leader)], &[Cluster::node(deaf)]);
    cluster.run_for(Duration::from_millis(700));
    cluster.crash(faithful);
    cluster
        .net
        .partition(&[Cluster::node(leader)], &[Cluster::node(faithful)]);
    cluster.start(faithful);
    for _ in 0..60 {
        cluster.run_for(Duration::from_millis(10));
        if let Some(new) = cluster.leader().filter(|new| *new != leader) {
            cluster.propose(new);
        }
    }
    cluster.net.heal();
    cluster.run_for(Duration::from_secs(2));
    cluster.violations()
}

#[test]
fn vote_without_holdoff_is_caught() {
    check_caught(
        Planted {
            no_vote_hold_off: true,
            ..Planted::default()
        },
        follower_forgets_the_lease,
    );
}

/// On a network as quick as the leader's own tasks a follower may have executed an entry that its leader has not.
fn follower_executes_first(seed: u64, planted: Planted) -> Vec<String> {
    let mut cluster = Cluster::new(seed, 3, planted);
    let at_once = LinkQuality {
        delay_min: Duration::ZERO,
        delay_max: Duration::ZERO,
        ..LinkQuality::default()
    };
    cluster.net.set_quality(at_once);
    let leader = cluster.elect();
    for _ in 0..100 {
        cluster.propose(leader);
        cluster.run_for(Duration::from_micros(700));
    }
    cluster.violations()
}

/// A slow leader is cut off; two quick voters have waited as long as they promised, by their clocks, and elect another.
fn leader_with_a_slow_clock(seed: u64, seconds: [u32; 2], planted: Planted) -> Vec<String> {
    let [slow, quick] = seconds;
    let mut cluster = Cluster::with_clocks(seed, 3, planted, vec![slow, quick, quick]);
    for _ in 0..20 {
        if cluster.elect() == 1 {
            break;
        }
        let leader = cluster.leader().unwrap();
        let _ = cluster.ask(leader, |group| group.transfer_leader(ReplicaId(1)));
        cluster.run_for(Duration::from_millis(50));
    }
    cluster.settle();
    cluster
        .net
        .partition(&[Cluster::node(1)], &[Cluster::node(2), Cluster::node(3)]);
    for _ in 0..100 {
        cluster.run_for(Duration::from_millis(10));
        if let Some(new) = cluster.leader().filter(|new| *new != 1) {
            cluster.propose(new);
        }
    }
    cluster.net.heal();
    cluster.run_for(Duration::from_secs(2));
    cluster.violations()
}

/// Lease reads rest on clocks that run almost alike: within the margin nothing happens, beyond it somebody reads what
/// is no longer so. The lease is a tenth and 5 ms shorter than the promise: clocks may differ by an eighth.
#[test]
fn clocks_that_differ_beyond_the_bound_are_caught() {
    for seed in SEEDS {
        for clocks in [[105, 95], [95, 105]] {
            let violations = leader_with_a_slow_clock(seed, clocks, Planted::default());
            assert_eq!(violations, [""; 0], "seed {seed}");
        }
    }
    let mut caught = 0;
    for seed in SEEDS {
        let violations = leader_with_a_slow_clock(seed, [160, 60], Planted::default());
        caught += u32::from(!violations.is_empty());
        // Whoever asks a quorum trusts no clock.
        let by_quorum = |what: &String| what.contains(BY_READ_INDEX) || what.contains(BY_ANOTHERS_QUORUM);
        assert!(!violations.iter().any(by_quorum), "{violations:?}");
    }
    assert!(caught > 0, "stale reads go unnoticed");
}

#[test]
fn read_index_that_takes_an_older_answer_is_caught() {
    check_caught(
        Planted {
            any_answer_confirms: true,
            ..Planted::default()
        },
        |seed, planted| leader_with_a_slow_clock(seed, [100, 100], planted),
    );
}

/// Answers take their time, and what is written meanwhile is news to whoever asked.
fn slow_answers(seed: u64, planted: Planted) -> Vec<String> {
    let mut cluster = Cluster::new(seed, 3, planted);
    let slow = LinkQuality {
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(20),
        ..LinkQuality::default()
    };
    cluster.net.set_quality(slow);
    let leader = cluster.elect();
    for _ in 0..100 {
        cluster.propose(leader);
        cluster.run_for(Duration::from_millis(3));
    }
    cluster.settle();
    cluster.violations()
}

#[test]
fn freshness_that_counts_from_the_answer_is_caught() {
    check_caught(
        Planted {
            counts_from_answers: true,
            ..Planted::default()
        },
        slow_answers,
    );
}

#[test]
fn lease_read_without_max_commit_sent_is_caught() {
    check_caught(
        Planted {
            ignore_commit_sent: true,
            ..Planted::default()
        },
        follower_executes_first,
    );
}
