//! Nodes of a cluster that are started again: they know what they were told, and are known.

use std::fs;

use crate::client::Reply;
use crate::cluster::Cluster;
use crate::server::Server;

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

#[test]
fn nodes_need_not_be_told_of_each_other_twice() {
    let mut cluster = Cluster::start(3, 1);
    let mut client = cluster.client();
    assert_eq!(client.call(&["SET", "k", "v"]), ok());
    (0..3).for_each(|node| drop(cluster.kill_node(node)));
    (0..3).rev().for_each(|node| cluster.start_node_untold(node));
    assert_eq!(client.call(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
    cluster.stop_node(1);
    let other = "127.0.0.1:7000,127.0.0.1:7001";
    let announce = [
        "--initial-cluster",
        other,
        "--announce",
        "127.0.0.1:7000",
        "--port",
        "7000",
    ];
    let ended = Server::refused(&cluster.node_dir(1), &announce);
    assert!(ended.log.contains("belong to another cluster"), "{}", ended.log);
    cluster.start_node(1);
    assert_eq!(client.call(&["SET", "k", "w"]), ok());
}

#[test]
fn a_node_that_has_lost_its_directory_does_not_pass_for_the_old_one() {
    let mut cluster = Cluster::start(3, 2);
    let mut client = cluster.client();
    assert_eq!(client.call(&["SET", "k", "v"]), ok());
    // The others have written down whom they have met, also for a later start.
    cluster.kill_node(2);
    cluster.kill_node(1);
    fs::remove_dir_all(cluster.node_dir(2)).unwrap();
    cluster.start_node(1);
    cluster.start_node(2);
    cluster.wait_for_line(2, "this node has lost its data directory");
    for node in [0, 1] {
        cluster.wait_for_line(
            node,
            "a node has lost its data directory, and with it what it had promised",
        );
    }
    assert_eq!(client.call(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
    // Together with one that knows nothing, a single node is no quorum: nor one that was met by none that still runs.
    cluster.kill_node(0);
    cluster.kill_node(1);
    cluster.start_node(1);
    let refused = cluster.node(1).client().call(&["SET", "k", "w"]);
    assert!(refused.is_error(), "{refused:?}");
    cluster.kill_node(2);
    cluster.start_node(0);
    assert_eq!(client.call(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
}

#[test]
fn nothing_counts_before_every_node_knows_every_other() {
    let mut cluster = Cluster::prepare(3, 1);
    (0..2).for_each(|node| cluster.start_node(node));
    // Two of three would do for a quorum: but one of them, lost and made anew, would be a new one for the third.
    let refused = cluster.node(0).client().call(&["SET", "k", "v"]);
    assert!(refused.is_error(), "{refused:?}");
    cluster.start_node(2);
    assert_eq!(cluster.client().call(&["SET", "k", "v"]), ok());
    // From now on two are enough, also for a start.
    (0..3).for_each(|node| drop(cluster.kill_node(node)));
    (1..3).for_each(|node| cluster.start_node(node));
    assert_eq!(cluster.client().call(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
}
