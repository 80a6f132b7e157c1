//! Zones: replicas of each group are spread over them, and a node is in the one that it told last.

use serde_json::Value;

use crate::client::Reply;
use crate::cluster::{Cluster, wait_until};
use crate::ctl::{json, said, start_each};
use crate::metrics::{free_port, http_get};
use crate::repair::{deciders, voters};

const GROUPS: usize = 4;

/// The zones of the nodes, as one of them shows them.
fn zones(admin: u16) -> Vec<String> {
    let shown = json(admin, &["nodes"]);
    let nodes = shown.as_array().unwrap().iter();
    nodes
        .map(|node| node["zone"].as_str().unwrap_or("none").to_owned())
        .collect()
}

/// Those of the nodes with these numbers, in order.
fn of(zones: &[&str], nodes: &[u64]) -> Vec<String> {
    let zone = |node: &u64| zones[*node as usize - 1].to_owned();
    let mut found: Vec<String> = nodes.iter().map(zone).collect();
    found.sort();
    found
}

/// What `CLUSTER SHARDS` says of each replica of a core.
fn shown_to_clients(cluster: &Cluster, core: usize) -> Vec<String> {
    let Reply::Array(shards) = cluster.node(0).client().call(&["CLUSTER", "SHARDS"]) else {
        panic!("there are shards")
    };
    let field = |reply: &Reply, name: &str| {
        let Reply::Array(fields) = reply else {
            panic!("{reply:?}")
        };
        let at = fields.iter().position(|field| *field == Reply::Bulk(name.into()));
        at.map(|at| fields[at + 1].clone())
    };
    let Some(Reply::Array(nodes)) = field(&shards[core], "nodes") else {
        panic!("{shards:?}")
    };
    let zone = |node| field(node, "availability-zone").map_or("none".to_owned(), |zone| zone.text());
    let mut found: Vec<String> = nodes.iter().map(zone).collect();
    found.sort();
    found
}

#[test]
fn each_group_gets_a_replica_in_every_zone_and_zones_are_kept() {
    let (mut cluster, mut admin) = start_each(GROUPS as u16, [&["--zone", "a"], &["--zone", "a"], &["--zone", "b"]]);
    // Others cannot know where a node is: each has told it.
    for &port in &admin {
        wait_until("all know the zones", || zones(port) == ["a", "a", "b"]);
    }
    admin.push(free_port());
    let port = admin[3].to_string();
    let joins = cluster.add_node(&["--admin-port", &port, "--zone", "c"]);
    cluster.start_joining(joins, &[0]);
    let there = ["a", "a", "b", "c"];
    for &port in &admin {
        wait_until("all know the fourth", || zones(port) == there);
    }
    let each = ["a", "b", "c"];
    for group in 0..GROUPS {
        wait_until("one replica in each zone", || {
            voters(&admin, group).is_some_and(|nodes| of(&there, &nodes) == each)
        });
        wait_until("clients are told", || shown_to_clients(&cluster, group) == each);
    }
    for &port in &admin {
        wait_until("those who decide are in each zone", || {
            of(&there, &deciders(port)) == each
        });
    }
    assert_eq!(cluster.node(2).client().info("availability_zone"), "b");
    let (code, text) = said(admin[0], &["nodes"]);
    assert_eq!(
        (code, text.lines().next().unwrap().contains("  ZONE  ")),
        (0, true),
        "{text}"
    );

    // The machine is carried to another rack; and then it is started without a word about it.
    let port = admin[1].to_string();
    for options in [&["--admin-port", &port, "--zone", "d"][..], &["--admin-port", &port]] {
        cluster.kill_node(1);
        cluster.set_options(1, options);
        cluster.start_node_untold_with(1);
        for &port in &admin {
            wait_until("all is well", || said(port, &["status"]).0 == 0);
            wait_until("all know where it is", || zones(port) == ["a", "d", "b", "c"]);
        }
    }
    let metadata: Value = serde_json::from_str(&http_get(admin[3], "/metadata").1).unwrap();
    assert_eq!(metadata["nodes"][1]["zone"], "d");
}
