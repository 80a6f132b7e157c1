//! `CLIENT READMODE`: each connection says how fresh what it reads has to be.

use std::net::TcpStream;

use crate::client::{Client, Reply, request};
use crate::cluster::{Cluster, Follower, wait_until};

/// Reads, one after another.
const READS: usize = 100;

fn others(cluster: &Cluster, leader: usize) -> Vec<usize> {
    cluster.running().into_iter().filter(|&node| node != leader).collect()
}

/// A connection to the core port of a node, with its mode.
fn reader(cluster: &Cluster, node: usize, mode: &[&str]) -> Client<TcpStream> {
    let mut client = Client::connect(cluster.core_port(node, 0));
    client.ok(&["READONLY"]);
    wait_until("a node that has just started learns that it has a replica", || {
        !client.call(&["GET", "key"]).is_error()
    });
    client.ok(&[&["CLIENT", "READMODE"][..], mode].concat());
    client
}

fn integer(reply: &Reply) -> i64 {
    reply.text().parse().expect("a number")
}

#[test]
fn a_core_that_follows_misses_nothing_that_was_written_before_it_was_asked() {
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    let mut writer = Client::connect(cluster.core_port(leader, 0));
    writer.ok(&["SET", "number", "0"]);
    for mode in [&["linearizable"][..], &["bounded", "0"]] {
        for node in others(&cluster, leader) {
            let mut follower = reader(&cluster, node, mode);
            for _ in 0..READS {
                let Reply::Integer(written) = writer.ok(&["INCR", "number"]) else {
                    panic!("a number is counted up")
                };
                assert_eq!(integer(&follower.ok(&["GET", "number"])), written, "{mode:?}");
            }
            // In a pipeline they keep their order.
            let pipeline = [
                &["GET", "number"][..],
                &["PING"],
                &["STRLEN", "number"],
                &["SET", "number", "1"],
                &["EXISTS", "number"],
            ];
            follower.send(&pipeline.map(request).concat()).unwrap();
            let replies: Vec<Reply> = pipeline.iter().map(|_| follower.reply().unwrap()).collect();
            let number = writer.ok(&["GET", "number"]).text();
            assert_eq!(replies[0].text(), number);
            assert_eq!(replies[1].text(), "PONG");
            assert!(replies[3].text().starts_with("MOVED "), "{:?}", replies[3]);
            assert_eq!(replies[2], Reply::Integer(number.len() as i64));
            assert_eq!(replies[4], Reply::Integer(1));
        }
    }
}

#[test]
fn who_wants_a_majority_waits_for_one_and_who_does_not_is_answered() {
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    let node = others(&cluster, leader)[0];
    Client::connect(cluster.core_port(leader, 0)).ok(&["SET", "key", "value"]);
    // It knows from now on how old its state is.
    let mut strict = reader(&cluster, node, &["linearizable"]);
    assert_eq!(strict.ok(&["GET", "key"]).text(), "value");
    let mut bounded = reader(&cluster, node, &["bounded", "3600000"]);
    let mut narrow = reader(&cluster, node, &["bounded", "1"]);
    let mut usual = reader(&cluster, node, &["lease"]);
    let mut content = Client::connect(cluster.core_port(node, 0));
    content.ok(&["CLIENT", "READMODE", "any"]);

    others(&cluster, node)
        .iter()
        .for_each(|&other| cluster.node(other).freeze());
    for client in [&mut strict, &mut narrow] {
        client.send(&request(&["GET", "key"])).unwrap();
    }
    let mut other = Client::connect(cluster.core_port(node, 0));
    wait_until("it knows of no leader, and holds what is usually answered", || {
        usual.send(&request(&["GET", "key"])).unwrap();
        (0..READS).for_each(|_| drop(other.ok(&["PING"])));
        !usual.has_reply() || usual.reply().unwrap().text() != "value"
    });
    for client in [&mut bounded, &mut content] {
        assert_eq!(client.ok(&["GET", "key"]).text(), "value");
        assert_eq!(client.ok(&["EXISTS", "key"]), Reply::Integer(1));
    }
    assert!(!strict.has_reply(), "it was answered by nobody's leave");
    assert!(!narrow.has_reply(), "the state is older than it may be");
    others(&cluster, node)
        .iter()
        .for_each(|&other| cluster.node(other).thaw());
    // It is too late by then, or another leads.
    for client in [&mut strict, &mut narrow] {
        let text = client.reply().unwrap().text();
        assert!(
            ["value", "CLUSTERDOWN", "MOVED"]
                .iter()
                .any(|start| text.starts_with(start)),
            "{text}"
        );
    }
}

#[test]
fn a_leader_does_not_read_by_its_lease_for_who_trusts_no_clock() {
    let cluster = Cluster::start(3, 2);
    let leader = cluster.leader_of(0);
    let key = (0..)
        .map(|n| format!("key{n}"))
        .find(|key| cluster.core_of(key) == 0)
        .unwrap();
    // By the core itself, by a core of the same node, and by another node.
    let mut clients = [
        cluster.core_port(leader, 0),
        cluster.port(leader),
        cluster.port((leader + 1) % 3),
    ]
    .map(|port| {
        let mut client = Client::connect(port);
        client.ok(&["SET", &key, "value"]);
        client.ok(&["CLIENT", "READMODE", "linearizable"]);
        assert_eq!(client.ok(&["GET", &key]).text(), "value");
        client
    });
    for words in [&["MULTI"][..], &["GET", &key], &["STRLEN", &key]] {
        clients[0].ok(words);
    }
    let found = Reply::Array(vec![Reply::Bulk("value".into()), Reply::Integer(5)]);
    assert_eq!(clients[0].ok(&["EXEC"]), found);
    others(&cluster, leader)
        .iter()
        .for_each(|&node| cluster.node(node).freeze());
    let mut other = cluster.node(leader).client();
    for client in &mut clients[..2] {
        client.send(&request(&["GET", &key])).unwrap();
    }
    (0..READS).for_each(|_| drop(other.ok(&["PING"])));
    for client in &mut clients[..2] {
        assert!(!client.has_reply(), "it was answered by nobody's leave");
    }
    others(&cluster, leader)
        .iter()
        .for_each(|&node| cluster.node(node).thaw());
    for client in &mut clients[..2] {
        let text = client.reply().unwrap().text();
        assert!(["value", "MOVED"].iter().any(|start| text.starts_with(start)), "{text}");
    }
}

#[test]
fn who_reads_from_replicas_goes_on_while_a_leader_is_elected() {
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    Client::connect(cluster.core_port(leader, 0)).ok(&["SET", "key", "value"]);
    let nodes = others(&cluster, leader);
    let mut readers: Vec<_> = nodes.iter().map(|&node| reader(&cluster, node, &["lease"])).collect();
    for client in &mut readers {
        wait_until("it lags behind", || client.ok(&["GET", "key"]).text() == "value");
    }
    cluster.node(leader).freeze();
    let mut writer = Follower::new(nodes.iter().map(|&node| cluster.core_port(node, 0)).collect());
    let elected = std::thread::spawn(move || writer.call(&["SET", "other", "1"]));
    while !elected.is_finished() {
        for client in &mut readers {
            // Held while no leader is known, and that is bounded.
            let text = client.call(&["GET", "key"]).text();
            assert!(text == "value" || text.starts_with("CLUSTERDOWN "), "{text}");
        }
    }
    assert_eq!(elected.join().unwrap(), Reply::Simple("OK".into()));
    for client in &mut readers {
        wait_until("it knows who leads", || client.call(&["GET", "key"]).text() == "value");
    }
    cluster.node(leader).thaw();
}

#[test]
fn modes_are_asked_for_and_refused_like_other_settings() {
    let cluster = Cluster::start(1, 1);
    let mut client = cluster.node(0).client();
    let mode = |client: &mut Client<TcpStream>| client.ok(&["CLIENT", "READMODE"]).text();
    assert_eq!(mode(&mut client), "lease");
    for words in [&["linearizable"][..], &["BOUNDED", "250"], &["Any"], &["lease"]] {
        client.ok(&[&["CLIENT", "READMODE"][..], words].concat());
        assert_eq!(mode(&mut client), words.join(" ").to_lowercase());
        client.ok(&["SET", "key", "value"]);
        assert_eq!(client.ok(&["GET", "key"]).text(), "value");
    }
    for words in [
        &["bounded"][..],
        &["bounded", "1", "2"],
        &["any", "1"],
        &["fresh"],
        &["lease", ""],
    ] {
        let text = client.call(&[&["CLIENT", "READMODE"][..], words].concat()).text();
        assert_eq!(text, "ERR syntax error", "{words:?}");
    }
    for ms in ["-1", "4294967296", "x", ""] {
        let text = client.call(&["CLIENT", "READMODE", "bounded", ms]).text();
        assert_eq!(
            text, "ERR staleness is not a number of milliseconds or out of range",
            "{ms}"
        );
    }
    assert_eq!(mode(&mut client), "lease");
    client.ok(&["CLIENT", "READMODE", "any"]);
    client.ok(&["READWRITE"]);
    assert_eq!(mode(&mut client), "lease");
    client.ok(&["CLIENT", "READMODE", "linearizable"]);
    client.ok(&["READWRITE"]);
    assert_eq!(mode(&mut client), "linearizable");
    client.ok(&["RESET"]);
    assert_eq!(mode(&mut client), "lease");
}
