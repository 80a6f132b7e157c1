//! `--read-mode read-index`: reads ask a majority, and take no place in the log.

use std::net::TcpStream;

use crate::client::{Client, Reply, request};
use crate::cluster::{Cluster, wait_until};

/// Reads, one after another and in pipelines.
const READS: usize = 100;

fn start(cores: u16) -> Cluster {
    let mut cluster = Cluster::prepare_with(3, cores, &["--read-mode", "read-index"]);
    (0..3).for_each(|node| cluster.start_node(node));
    cluster
}

/// The last entry that was executed, once there are so many: it is told some time later.
fn executed(client: &mut Client<TcpStream>, least: usize) -> usize {
    let mut last = 0;
    wait_until("it is told what is executed", || {
        last = client.info("raft_applied_index").parse().expect("a number");
        last >= least
    });
    last
}

#[test]
fn reads_see_what_was_written_and_are_no_entries() {
    let cluster = start(1);
    let leader = cluster.leader_of(0);
    let mut client = Client::connect(cluster.core_port(leader, 0));
    client.ok(&["SET", "{k}number", "0"]);
    for n in 0..READS {
        assert_eq!(client.ok(&["INCR", "{k}number"]), Reply::Integer(n as i64 + 1));
        let mut other = Client::connect(cluster.port((leader + n) % 3));
        assert_eq!(other.ok(&["GET", "{k}number"]).text(), (n + 1).to_string());
    }
    let before = executed(&mut client, READS);
    for _ in 0..READS {
        assert_eq!(client.ok(&["GET", "{k}number"]).text(), READS.to_string());
    }
    for _ in 0..READS {
        client.send(&request(&["STRLEN", "{k}number"])).unwrap();
    }
    for _ in 0..READS {
        assert_eq!(client.reply().unwrap(), Reply::Integer(3));
    }
    for _ in 0..READS / 2 {
        client.ok(&["INCR", "{k}number"]);
    }
    let after = executed(&mut client, before + READS / 2);
    assert!(
        after < before + READS,
        "reads were entries: {before} before, {after} after"
    );

    // Writes and reads of one pipeline keep their order.
    let pipeline = [
        &["SET", "{k}word", "a"][..],
        &["GET", "{k}word"],
        &["SET", "{k}word", "b"],
        &["GET", "{k}word"],
    ];
    client.send(&pipeline.map(request).concat()).unwrap();
    let replies: Vec<String> = pipeline.iter().map(|_| client.reply().unwrap().text()).collect();
    assert_eq!(replies, ["OK", "a", "OK", "b"]);
    // What all of it sees is one moment.
    for words in [&["MULTI"][..], &["GET", "{k}word"], &["GET", "{k}number"]] {
        client.ok(words);
    }
    let found = [
        Reply::Bulk("b".into()),
        Reply::Bulk((READS + READS / 2).to_string().into()),
    ];
    assert_eq!(client.ok(&["EXEC"]), Reply::Array(found.into()));
    // Time passes by entries: a read of what has expired brings one.
    client.ok(&["SET", "brief", "1", "PX", "1"]);
    wait_until("it expires", || client.ok(&["GET", "brief"]) == Reply::Nil);

    client.ok(&["CONFIG", "SET", "read-mode", "lease"]);
    assert_eq!(client.ok(&["GET", "{k}word"]).text(), "b");
}

#[test]
fn nobody_reads_without_a_majority() {
    let cluster = start(1);
    let leader = cluster.leader_of(0);
    let (mut client, mut other) = (cluster.node(leader).client(), cluster.node(leader).client());
    client.ok(&["SET", "key", "value"]);
    assert_eq!(client.ok(&["GET", "key"]).text(), "value");
    let others = || cluster.running().into_iter().filter(|&node| node != leader);
    others().for_each(|node| cluster.node(node).freeze());
    client.send(&request(&["GET", "key"])).unwrap();
    // The core takes its turns, and the read waits.
    (0..READS).for_each(|_| drop(other.ok(&["PING"])));
    assert!(!client.has_reply(), "it was answered by nobody's leave");
    others().for_each(|node| cluster.node(node).thaw());
    assert_eq!(client.reply().unwrap().text(), "value");
}
