//! Three nodes as their clients meet them: what one was told another knows, whoever is stopped or killed meanwhile.

use crate::client::{Client, Reply, request};
use crate::cluster::{Cluster, Follower, wait_until};

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

#[test]
fn a_node_that_was_away_knows_what_was_written_meanwhile() {
    let mut cluster = Cluster::start(3, 1);
    let mut client = cluster.client();
    assert_eq!(client.call(&["SET", "mykey", "myvalue"]), Reply::Simple("OK".into()));
    cluster.stop_node(1);
    assert_eq!(client.call(&["SET", "mykey", "new-value"]), Reply::Simple("OK".into()));
    cluster.start_node(1);
    // The others end, one by one: with the second node, what it knows is all there is.
    cluster.kill_node(0);
    assert_eq!(client.call(&["GET", "mykey"]), bulk("new-value"));
    cluster.start_node(0);
    cluster.kill_node(2);
    assert_eq!(client.call(&["KEYS", "*"]), Reply::Array(vec![bulk("mykey")]));
    assert_eq!(client.call(&["GET", "mykey"]), bulk("new-value"));
}

/// The first thing that anybody tried with three nodes of the predecessor.
#[test]
fn the_second_node_comes_back_and_answers_for_what_it_missed() {
    let mut cluster = Cluster::start(3, 1);
    let mut first = Client::connect(cluster.port(0));
    assert_eq!(first.call(&["SET", "mykey", "myvalue"]), Reply::Simple("OK".into()));
    cluster.stop_node(1);
    assert_eq!(first.call(&["SET", "mykey", "new-value"]), Reply::Simple("OK".into()));
    cluster.start_node(1);
    let mut second = Client::connect(cluster.port(1));
    assert_eq!(second.call(&["KEYS", "*"]), Reply::Array(vec![bulk("mykey")]));
    assert_eq!(second.call(&["GET", "mykey"]), bulk("new-value"));
}

/// The port of the master of each range, as a node tells it.
fn masters(port: u16) -> Vec<Reply> {
    let Reply::Array(ranges) = Client::connect(port).ok(&["CLUSTER", "SLOTS"]) else {
        panic!("ranges are an array");
    };
    let master = |range: &Reply| match range {
        Reply::Array(parts) => match &parts[2] {
            Reply::Array(endpoint) => endpoint[1].clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    ranges.iter().map(master).collect()
}

#[test]
fn cores_that_follow_send_clients_on_and_read_for_those_who_may() {
    let cluster = Cluster::start(3, 2);
    let mut client = cluster.client();
    for key in ["a", "b"] {
        assert_eq!(client.call(&["SET", key, "1"]), Reply::Simple("OK".into()));
        let core = cluster.core_of(key);
        let leader = cluster.leader_of(core);
        let to = format!(" 127.0.0.1:{}", cluster.core_port(leader, core));
        for node in cluster.running().into_iter().filter(|&node| node != leader) {
            let mut follower = Client::connect(cluster.core_port(node, core));
            for words in [&["GET", key][..], &["SET", key, "2"], &["DBSIZE"]] {
                let text = follower.call(words).text();
                assert!(text.starts_with("MOVED ") && text.ends_with(&to), "{words:?}: {text}");
            }
            follower.ok(&["READONLY"]);
            wait_until("it learns that it has a replica, and lags behind", || {
                follower.call(&["GET", key]) == bulk("1")
            });
            assert_eq!(follower.ok(&["EXISTS", key]), Reply::Integer(1));
            assert!(follower.call(&["SET", key, "2"]).text().starts_with("MOVED "));
            follower.ok(&["READWRITE"]);
            assert!(follower.call(&["GET", key]).text().starts_with("MOVED "));
        }
    }
    let leads = |core| Reply::Integer(i64::from(cluster.core_port(cluster.leader_of(core), core)));
    let told = [leads(0), leads(1)];
    for node in cluster.running() {
        wait_until("all know who leads", || masters(cluster.port(node)) == told);
    }
    let text = Client::connect(cluster.port(0)).ok(&["CLUSTER", "NODES"]).text();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert_eq!(
        text.matches(" master - ").count() + text.matches("myself,master - ").count(),
        2,
        "{text}"
    );
}

#[test]
fn who_waits_for_a_key_is_told_that_another_node_leads() {
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    let mut waiting = cluster.node(leader).client();
    waiting.send(&request(&["BLPOP", "queue", "0"])).unwrap();
    let mut watching = Client::connect(cluster.core_port(leader, 0));
    watching.ok(&["WATCH", "watched"]);
    watching.ok(&["MULTI"]);
    watching.ok(&["GET", "watched"]);
    wait_until("it waits", || {
        cluster.node(leader).client().info("blocked_clients") == "1"
    });
    cluster.node(leader).freeze();
    let others = cluster.running().into_iter().filter(|&node| node != leader);
    let mut others = Follower::new(others.map(|node| cluster.core_port(node, 0)).collect());
    assert_eq!(others.call(&["SET", "watched", "1"]), Reply::Simple("OK".into()));
    cluster.node(leader).thaw();
    assert!(waiting.reply().unwrap().text().starts_with("UNBLOCKED "));
    // Nobody takes what comes now.
    assert_eq!(others.call(&["RPUSH", "queue", "element"]), Reply::Integer(1));
    assert_eq!(others.call(&["LLEN", "queue"]), Reply::Integer(1));
    let reply = watching.call(&["EXEC"]);
    assert!(reply == Reply::Nil || reply.is_error(), "{reply:?}");
}
