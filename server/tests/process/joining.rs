//! Nodes that join a cluster while it runs, and one that was removed from it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::Reply;
use crate::cluster::{Cluster, Follower, wait_until};
use crate::ctl::{json, said, start};
use crate::growing::replicas;
use crate::metrics::free_port;
use crate::server::Server;

const JOINED: &str = "this node has joined the cluster";

pub fn nodes(admin: u16) -> Vec<u64> {
    let shown = json(admin, &["nodes"]);
    let numbers = shown.as_array().unwrap().iter();
    numbers.map(|node| node["node"].as_u64().unwrap()).collect()
}

fn voters(nodes: &[u64]) -> Vec<(u64, String)> {
    nodes.iter().map(|&node| (node, "voter".to_owned())).collect()
}

/// Writes until it is told to stop. What was acknowledged for certain.
pub fn load(
    addresses: Vec<std::net::SocketAddr>,
    stop: Arc<AtomicBool>,
) -> thread::JoinHandle<BTreeMap<String, String>> {
    thread::spawn(move || {
        let (mut client, mut acknowledged) = (Follower::to(addresses), BTreeMap::new());
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (key, value) = (format!("load:{}", number % 500), number.to_string());
            if client.call(&["SET", &key, &value]) == Reply::Simple("OK".into()) {
                acknowledged.insert(key, value);
            }
        }
        acknowledged
    })
}

pub fn read(cluster: &Cluster, from: &[usize], wanted: &BTreeMap<String, String>) {
    let mut client = Follower::to(from.iter().map(|&node| cluster.core_address(node, 0)).collect());
    for (key, value) in wanted {
        assert_eq!(client.call(&["GET", key]).text(), *value, "{key}");
    }
}

#[test]
fn a_node_that_is_lost_is_replaced_while_clients_go_on() {
    let (mut cluster, mut admin) = start(2, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let first_three = (0..3).map(|node| cluster.core_address(node, 0)).collect();
    let writer = load(first_three, stop.clone());
    admin.push(free_port());
    let port = admin[3].to_string();
    let joins = cluster.add_node(&["--admin-port", &port]);
    cluster.start_joining(joins, &[1]);
    for &port in &admin[..3] {
        wait_until("all know four nodes", || nodes(port) == [1, 2, 3, 4]);
    }
    // It answers for every key, with replicas or without.
    let mut client = cluster.node(joins).client();
    assert_eq!(client.call(&["SET", "by the new one", "x"]), Reply::Simple("OK".into()));

    cluster.kill_node(2);
    let (code, text) = said(admin[0], &["drain", "3", "--wait", "60"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = said(admin[1], &["remove-node", "3", "--wait", "60"]);
    assert_eq!(code, 0, "{text}");
    for group in 0..2 {
        for at in [0, 1, 3] {
            wait_until("three replicas, one of them new", || {
                replicas(admin[at], group) == voters(&[1, 2, 4])
            });
        }
    }
    for at in [0, 1, 3] {
        wait_until("all is well", || said(admin[at], &["status"]).0 == 0);
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.join().unwrap();
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    read(&cluster, &[0, 1, 3], &acknowledged);

    // Who was removed ends by itself when it is started again, and takes part in nothing before.
    let ended = Server::refused(&cluster.node_dir(2), &[]);
    assert!(ended.log.contains("was removed from its cluster"), "{}", ended.log);
    assert_eq!(ended.status.code(), Some(1));

    // One of the old ones may fail now: what was acknowledged is on the new one.
    cluster.kill_node(0);
    read(&cluster, &[1, 3], &acknowledged);
    cluster.kill_node(3);
    cluster.start_node_untold(3);
    read(&cluster, &[1, 3], &acknowledged);
}

#[test]
fn who_may_not_join_is_told_why() {
    let secret = ["--cluster-secret", "known to the nodes of a test"];
    let mut cluster = Cluster::prepare_with(1, 1, &secret);
    cluster.start_node(0);
    cluster.leader_of(0);
    let mut refused = |options: &[&str], words: &str| {
        let node = cluster.add_node(options);
        let options = cluster.join_options(node, &[0]);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let ended = Server::refused(&cluster.node_dir(node), &options);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        assert!(ended.log.contains(words), "{words}: {}", ended.log);
    };
    refused(
        &["--cluster-secret", "something else, and long"],
        "another cluster secret",
    );
    refused(&[&secret[..], &["--cores", "2"]].concat(), "run 1 cores");
    refused(&[], "another cluster secret");

    // A directory with keys of its own.
    let lonely = cluster.add_node(&secret);
    Server::start(&cluster.node_dir(lonely), &[]).stop();
    let joins = |node| {
        let options = cluster.join_options(node, &[0]);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Server::refused(&cluster.node_dir(node), &options).log
    };
    let log = joins(lonely);
    assert!(log.contains("belong to another cluster"), "{log}");

    // A node of one cluster does not join another one.
    let mut other = Cluster::prepare_with(1, 1, &secret);
    other.start_node(0);
    other.leader_of(0);
    other.kill_node(0);
    let port = other.port(0).to_string();
    let options = cluster.join_options(lonely, &[0]);
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(["--port", &port]);
    let log = Server::refused(&other.node_dir(0), &options).log;
    assert!(log.contains("belong to another cluster"), "{log}");
}

#[test]
fn a_node_that_is_killed_while_it_joins_has_one_number() {
    let (mut cluster, mut admin) = start(1, &[]);
    admin.push(free_port());
    let port = admin[3].to_string();
    let node = cluster.add_node(&["--admin-port", &port]);
    let dir = cluster.node_dir(node);
    let options = cluster.join_options(node, &[2, 0]);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let killed_at = |options: &[&str], line: &str| {
        let mut server = Server::begin(&[], &dir, options);
        server.next_line_with(line).expect("it goes on");
        server.kill();
    };
    // Nobody has answered.
    let nowhere = [&options[..], &["--join", "127.0.0.1:1"]].concat();
    killed_at(&nowhere, "asking to join the cluster goes on");
    // It has a number, and could not write that down.
    fs::create_dir(dir.join("cluster.rewrite")).unwrap();
    let ended = Server::refused(&dir, &options);
    assert!(ended.log.contains("cannot be used"), "{}", ended.log);
    fs::remove_dir(dir.join("cluster.rewrite")).unwrap();
    wait_until("it has a number", || nodes(admin[0]) == [1, 2, 3, 4]);
    // It has written it down, and nothing else.
    killed_at(&options, JOINED);
    killed_at(&["--admin-port", &port], "ready to accept connections");
    killed_at(&options, "linked with another node");
    cluster.start_joining(node, &[0]);
    for &port in &admin {
        wait_until("all is well", || {
            nodes(port) == [1, 2, 3, 4] && said(port, &["status"]).0 == 0
        });
    }
    let (code, text) = said(admin[3], &["drain", "1", "--wait", "60"]);
    assert_eq!(code, 0, "{text}");
    wait_until("it has a replica", || replicas(admin[3], 0) == voters(&[2, 3, 4]));
    // Whoever asks for the same address with another directory gets none.
    let twice = cluster.add_node(&[]);
    let announce = format!("127.0.0.1:{}", cluster.port(node));
    let options = cluster.join_options(twice, &[0]);
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(["--announce", &announce]);
    let ended = Server::refused(&cluster.node_dir(twice), &options);
    assert!(ended.log.contains("has the same address"), "{}", ended.log);
}
