//! Replicas whose state is not what their log says: they are found, answer nothing, and get another's state.

use std::time::Duration;

use crate::support::cluster::Cluster;
use slotcore_raft_shard::Finding;
use slotcore_raft_shard::options::Planted;
use slotcore_rt::rng::SeededRng;

const MS: Duration = Duration::from_millis(1);

/// Writes through whoever leads, until `done` or for ten seconds.
fn write_until(cluster: &mut Cluster, done: impl Fn(&Cluster) -> bool) -> bool {
    for _ in 0..10_000 {
        if let Some(leader) = cluster.leader() {
            cluster.propose(leader);
        }
        cluster.run_for(MS);
        if done(cluster) {
            return true;
        }
    }
    false
}

fn has_found(cluster: &Cluster, replica: u64, is_it: impl Fn(Finding) -> bool) -> bool {
    let findings = cluster.findings.borrow();
    findings.iter().any(|&(by, finding)| by == replica && is_it(finding))
}

fn is_rebuilt(cluster: &Cluster, replica: u64) -> bool {
    has_found(cluster, replica, |finding| matches!(finding, Finding::Rebuilt(_)))
}

fn is_equal(cluster: &Cluster) -> bool {
    cluster.settle();
    let ids = cluster.ids();
    ids.iter().all(|id| cluster.executed(*id) == cluster.executed(ids[0]))
}

#[test]
fn whoever_is_wrong_is_found_and_becomes_right_while_writes_go_on() {
    for seed in 0..6 {
        let mut cluster = Cluster::new(seed, 3, Planted::default());
        let leader = cluster.elect();
        assert!(write_until(&mut cluster, |cluster| cluster.executed(leader).len() > 20));
        cluster.settle();
        assert!(has_found(&cluster, leader, |finding| matches!(
            finding,
            Finding::Same(_, 3)
        )));
        // Every second time the leader itself.
        let wrong = match seed % 2 {
            0 => cluster.ids().into_iter().find(|id| *id != leader).unwrap(),
            _ => leader,
        };
        cluster.corrupt(wrong);
        assert!(!is_equal(&cluster));
        assert!(
            write_until(&mut cluster, |cluster| is_rebuilt(cluster, wrong)),
            "seed {seed}: {:?}",
            cluster.findings.borrow()
        );
        let differs = |finding| matches!(finding, Finding::Differs(_, replica) if replica.0 == wrong);
        assert!(has_found(&cluster, leader, differs));
        assert!(has_found(&cluster, wrong, |finding| matches!(
            finding,
            Finding::Diverged(_)
        )));
        if wrong == leader {
            assert_ne!(cluster.elect(), wrong, "it went on leading");
        }
        assert!(is_equal(&cluster), "seed {seed}");
        cluster.findings.borrow_mut().clear();
        // From here on it is as good as anyone: it leads when the others cannot do without it.
        let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != wrong).collect();
        cluster.crash(others[0]);
        cluster.elect();
        let two_agree = |cluster: &Cluster| {
            let findings = cluster.findings.borrow();
            let of_two = findings
                .iter()
                .filter(|(_, finding)| matches!(finding, Finding::Same(_, 2)));
            of_two.count() > 2
        };
        assert!(write_until(&mut cluster, two_agree));
        let is_right = |finding| matches!(finding, Finding::Same(..));
        let all_right = cluster.findings.borrow().iter().all(|&(_, finding)| is_right(finding));
        assert!(all_right, "{:?}", cluster.findings.borrow());
        cluster.start(others[0]);
        assert!(is_equal(&cluster));
        assert_eq!(cluster.violations(), [""; 0], "seed {seed}");
    }
}

#[test]
fn of_two_that_differ_nobody_is_taken_for_wrong_until_a_third_one_speaks() {
    let mut cluster = Cluster::new(11, 3, Planted::default());
    let leader = cluster.elect();
    assert!(write_until(&mut cluster, |cluster| cluster.executed(leader).len() > 20));
    cluster.settle();
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    cluster.crash(others[0]);
    cluster.corrupt(others[1]);
    let is_undecided = |cluster: &Cluster| has_found(cluster, leader, |f| matches!(f, Finding::Undecided(_)));
    assert!(write_until(&mut cluster, is_undecided));
    let differs = |cluster: &Cluster| has_found(cluster, leader, |f| matches!(f, Finding::Differs(..)));
    assert!(!differs(&cluster));
    cluster.start(others[0]);
    assert!(write_until(&mut cluster, |cluster| is_rebuilt(cluster, others[1])));
    assert!(is_equal(&cluster));
    assert_eq!(cluster.violations(), [""; 0]);
}

#[test]
fn amid_crashes_and_partitions_all_states_become_equal_again() {
    for seed in 100..112 {
        let mut cluster = Cluster::new(seed, 3, Planted::default());
        let mut rng = SeededRng::new(seed).derive("faults");
        let leader = cluster.elect();
        assert!(write_until(&mut cluster, |cluster| cluster.executed(leader).len() > 10));
        cluster.settle();
        let wrong = 1 + rng.below(3);
        cluster.corrupt(wrong);
        for _ in 0..6 {
            let id = 1 + rng.below(3);
            match rng.below(3) {
                // What breaks in memory is gone with it.
                0 => {
                    cluster.crash(id);
                    cluster.run_for(MS * rng.below(700) as u32);
                    cluster.start(id);
                }
                1 => {
                    let all = cluster.ids();
                    let others: Vec<_> = all
                        .into_iter()
                        .filter(|other| *other != id)
                        .map(Cluster::node)
                        .collect();
                    cluster.net.partition(&[Cluster::node(id)], &others);
                    cluster.run_for(MS * rng.below(700) as u32);
                    cluster.net.heal();
                }
                _ => {}
            }
            let mut left = rng.below(60);
            while left > 0 {
                left -= 1;
                if let Some(leader) = cluster.leader() {
                    cluster.propose(leader);
                }
                cluster.run_for(MS);
            }
        }
        cluster.elect();
        let agree = |cluster: &Cluster| {
            let ids = cluster.ids();
            let common = ids.iter().map(|id| cluster.executed(*id).len()).min().unwrap();
            common > 10
                && ids
                    .iter()
                    .all(|id| cluster.executed(*id)[..common] == cluster.executed(ids[0])[..common])
        };
        assert!(
            write_until(&mut cluster, agree),
            "seed {seed}: {wrong} of {:?}",
            cluster.findings.borrow()
        );
        assert!(is_equal(&cluster), "seed {seed}");
        assert_eq!(cluster.violations(), [""; 0], "seed {seed}");
    }
}
