//! A node that does not answer: its replicas are rebuilt on the others by themselves, and it comes back as a node with fewer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cluster::wait_until;
use crate::ctl::{json, said, start};
use crate::joining::{load, nodes, read};
use crate::metrics::{free_port, http_get};

const GROUPS: usize = 2;

/// The nodes that decide who belongs to the cluster.
pub fn deciders(admin: u16) -> Vec<u64> {
    let page: serde_json::Value = serde_json::from_str(&http_get(admin, "/metadata").1).unwrap();
    let voters = page["voters"].as_array().unwrap().iter();
    voters.map(|node| node.as_u64().unwrap()).collect()
}

/// The nodes that replicate a group as its leader knows it, if one of these leads and all of them vote: others may have no replica.
pub fn voters(admin: &[u16], group: usize) -> Option<Vec<u64>> {
    let pages = admin.iter().map(|&port| json(port, &["groups"])[group].clone());
    let leader = pages
        .filter(|page| page["role"] == "leader")
        .max_by_key(|page| page["term"].as_u64())?;
    let replicas = leader["replicas"].as_array()?.iter();
    replicas
        .map(|replica| replica["node"].as_u64().filter(|_| replica["vote"] == "voter"))
        .collect()
}

/// Waits until each group has these replicas, and no others.
fn wait_for(admin: &[u16], nodes: &[u64]) {
    for group in 0..GROUPS {
        wait_until(&format!("group {group} is on {nodes:?}"), || {
            voters(admin, group).is_some_and(|voters| voters == nodes)
        });
    }
}

#[test]
fn replicas_of_a_node_that_is_lost_are_rebuilt_and_it_may_come_back() {
    let (mut cluster, mut admin) = start(GROUPS as u16, &["--repair-after", "3"]);
    let stop = Arc::new(AtomicBool::new(false));
    let addresses = (0..3).map(|node| cluster.core_address(node, 0)).collect();
    let writer = load(addresses, stop.clone());
    admin.push(free_port());
    let port = admin[3].to_string();
    let joins = cluster.add_node(&["--admin-port", &port, "--repair-after", "3"]);
    cluster.start_joining(joins, &[1]);
    for &port in &admin[..3] {
        wait_until("all know four nodes", || nodes(port) == [1, 2, 3, 4]);
    }
    // Nobody is told that the first is gone.
    cluster.kill_node(0);
    wait_for(&admin[1..], &[2, 3, 4]);
    wait_until("it is missed", || {
        json(admin[1], &["status"])["nodes_unreachable"] == serde_json::json!([1])
    });

    // It comes back with what it had, and is one of four: whoever goes next is replaced by it.
    cluster.start_node_untold_with(0);
    for &port in &admin {
        wait_until("all is well", || said(port, &["status"]).0 == 0);
    }
    cluster.kill_node(1);
    wait_for(&[admin[0], admin[2], admin[3]], &[1, 3, 4]);
    for at in [0, 2, 3] {
        wait_until("three that are there decide", || deciders(admin[at]) == [1, 3, 4]);
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.join().unwrap();
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    read(&cluster, &[0, 2, 3], &acknowledged);

    // Two of three are enough, the one that was away among them. They can still decide, too.
    cluster.kill_node(2);
    read(&cluster, &[0, 3], &acknowledged);
    let (code, text) = said(admin[3], &["set-replicas", "2", "--wait", "60"]);
    assert_eq!(code, 0, "{text}");
    wait_for(&[admin[0], admin[3]], &[1, 4]);
    read(&cluster, &[0, 3], &acknowledged);
}
