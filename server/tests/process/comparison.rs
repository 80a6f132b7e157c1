//! A replica whose state is not what its log says: it is found, answers nothing, and gets its leader's state; on real nodes.

use crate::client::{Client, request};
use crate::cluster::{Cluster, wait_until};

/// Written before and meanwhile.
const KEYS: usize = 2_000;

/// A number that a node tells of its core.
fn told(cluster: &Cluster, node: usize, name: &str) -> u64 {
    Client::connect(cluster.port(node)).info(name).parse().unwrap()
}

/// What a replica itself has; the digest of all nodes is the same when their states are.
fn digest(cluster: &Cluster, node: usize) -> String {
    Client::connect(cluster.core_port(node, 0))
        .ok(&["DEBUG", "DIGEST"])
        .text()
}

/// Sets every key once more, in a pipeline.
fn write(cluster: &Cluster, leader: usize, value: &str) {
    let mut client = Client::connect(cluster.core_port(leader, 0));
    for from in (0..KEYS).step_by(200) {
        let keys = (from..from + 200).map(|n| request(&["SET", &format!("k:{n}"), value]));
        client.send(&keys.collect::<Vec<_>>().concat()).unwrap();
        (0..200).for_each(|_| assert_eq!(client.reply().unwrap().text(), "OK"));
    }
}

#[test]
fn a_replica_that_is_wrong_is_found_and_gets_its_leaders_state() {
    let mut cluster = Cluster::prepare_with(3, 1, &["--compare-every", "1"]);
    (0..3).for_each(|node| cluster.start_node(node));
    let mut leader = cluster.leader_of(0);
    write(&cluster, leader, "one");
    wait_until("replicas are found alike", || {
        told(&cluster, leader, "replicas_found_alike") > 20
    });

    for wrong in [(leader + 1) % 3, leader] {
        let before = told(&cluster, wrong, "replicas_rebuilt");
        Client::connect(cluster.port(wrong)).ok(&["DEBUG", "DIVERGE"]);
        cluster.wait_for_line(leader, "a replica does not have what most have");
        cluster.wait_for_line(wrong, "is not what most replicas have");
        if wrong == leader {
            wait_until("another one leads", || cluster.leader_of(0) != wrong);
            leader = cluster.leader_of(0);
        }
        write(&cluster, leader, "two");
        cluster.wait_for_line(wrong, "takes part again");
        wait_until("that is counted", || {
            told(&cluster, wrong, "replicas_rebuilt") == before + 1
        });
        assert_eq!(told(&cluster, wrong, "replicas_diverged"), 0);
        wait_until("all have the same", || {
            (1..3).all(|node| digest(&cluster, node) == digest(&cluster, 0))
        });
        let found = told(&cluster, leader, "replicas_found_alike");
        wait_until("and are found to", || {
            told(&cluster, leader, "replicas_found_alike") > found + 20
        });
    }

    // What it got is what it begins with.
    let wrong = (0..3)
        .find(|&node| told(&cluster, node, "replicas_rebuilt") > 0)
        .unwrap();
    cluster.kill_node(wrong);
    cluster.start_node_untold_with(wrong);
    wait_until("it has all again", || {
        digest(&cluster, wrong) == digest(&cluster, leader)
    });
    let mut client = Client::connect(cluster.port(wrong));
    assert_eq!(client.ok(&["GET", &format!("k:{}", KEYS - 1)]).text(), "two");
    assert_eq!(client.ok(&["EXISTS", "debug:diverged"]).text(), "0");
}
