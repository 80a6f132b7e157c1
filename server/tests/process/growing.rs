//! A cluster that changes: nodes are drained and removed, and what is decided survives restarts.

use serde_json::Value;

use crate::client::Reply;
use crate::cluster::{Cluster, Follower, wait_until};
use crate::ctl::{ctl, json, said, start};
use crate::damaged_copies::check;

/// The numbers of the nodes with replicas of a group, as its leader's node knows them.
pub fn replicas(admin: u16, group: usize) -> Vec<(u64, String)> {
    let shown = json(admin, &["groups"])[group].clone();
    let of = |replica: &Value| {
        (
            replica["node"].as_u64().unwrap(),
            replica["vote"].as_str().unwrap().to_owned(),
        )
    };
    shown["replicas"].as_array().unwrap().iter().map(of).collect()
}

/// The lines of what a node keeps of its cluster that begin with `word`.
fn kept(cluster: &Cluster, node: usize, word: &str) -> Vec<String> {
    let text = std::fs::read_to_string(cluster.node_dir(node).join("cluster")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(word));
    lines.map(ToString::to_string).collect()
}

/// What an error says.
fn error(reply: &Reply) -> &str {
    match reply {
        Reply::Error(text) => text,
        other => panic!("{other:?}"),
    }
}

fn write(cluster: &Cluster, from: usize, to: usize) {
    let mut client = cluster.client();
    for number in from..to {
        let written = client.call(&["SET", &format!("key:{number}"), &format!("value:{number}")]);
        assert!(!written.is_error(), "{written:?}");
    }
}

fn read(cluster: &Cluster, to: usize) {
    let mut client = cluster.client();
    for number in 0..to {
        assert_eq!(
            client.call(&["GET", &format!("key:{number}")]).text(),
            format!("value:{number}")
        );
    }
}

#[test]
fn a_node_is_drained_and_removed_and_the_others_serve_on() {
    let (mut cluster, admin) = start(2, &[]);
    for node in 0..3 {
        wait_until("all know the list", || kept(&cluster, node, "epoch 1").len() == 1);
    }
    write(&cluster, 0, 200);
    // Not with three replicas of each group on two nodes.
    let output = ctl(admin[0], None, &["drain", "3"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(said(admin[0], &["drain", "4"]).0, 2);
    assert_eq!(said(admin[0], &["remove-node", "3"]).0, 2, "it was not drained");

    // The same in the words of Redis.
    let mut redis = cluster.node(0).client();
    let mut ask = |words: &[&str]| redis.call(words);
    let id = |node| {
        Follower::to(vec![cluster.core_address(node, 1)])
            .call(&["CLUSTER", "MYID"])
            .text()
    };
    let (first, third) = (id(0), id(2));
    let forgotten = ask(&["CLUSTER", "FORGET", &third]);
    assert!(error(&forgotten).contains("CLUSTER DRAIN 3"), "{forgotten:?}");
    let myself = ask(&["CLUSTER", "FORGET", &first]);
    assert!(error(&myself).contains("can't forget myself"), "{myself:?}");
    for port in [cluster.port(2), cluster.core_port(2, 1)] {
        let met = ask(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string()]);
        assert_eq!(met, Reply::Simple("OK".into()));
    }
    let unmet = ask(&["CLUSTER", "MEET", "127.0.0.1", "1"]);
    assert!(error(&unmet).contains("--join 127.0.0.1:"), "{unmet:?}");
    drop(redis);

    // Killed and started again in the middle, all of them.
    let (code, text) = said(admin[1], &["drain", "3", "--replicas", "2", "--wait", "0"]);
    assert!(code < 2, "{text}");
    wait_until("it is heard", || {
        said(admin[1], &["drain", "3", "--replicas", "2", "--wait", "1"]);
        json(admin[0], &["nodes"])[2]["state"] == "draining"
    });
    for node in 0..3 {
        cluster.kill_node(node);
        let (code, text) = check(&cluster.node_dir(node));
        assert_eq!(code, Some(0), "{text}");
    }
    for node in 0..3 {
        cluster.start_node_untold_with(node);
    }
    for &port in &admin[..2] {
        wait_until("all is well", || said(port, &["status"]).0 == 0);
    }
    let (code, text) = said(admin[0], &["drain", "3"]);
    assert_eq!(
        (code, text.as_str()),
        (0, "node 3 holds no replicas any more: it can be removed\n")
    );
    for group in 0..2 {
        let both = [(1, "voter".to_owned()), (2, "voter".to_owned())];
        for &port in &admin[..2] {
            wait_until("two replicas are left", || replicas(port, group) == both);
        }
    }
    read(&cluster, 200);
    write(&cluster, 200, 300);
    wait_until("it is forgotten", || {
        let asked = cluster.node(0).client().call(&["CLUSTER", "FORGET", &third]);
        assert_eq!(asked, Reply::Simple("OK".into()), "as often as it is asked");
        json(admin[1], &["nodes"]).as_array().unwrap().len() == 2
    });
    let (code, text) = said(admin[1], &["remove-node", "3"]);
    assert_eq!(code, 2, "{text}");
    for &port in &admin[..2] {
        wait_until("both know", || json(port, &["nodes"]).as_array().unwrap().len() == 2);
    }
    read(&cluster, 300);
}
