//! Who leads is chosen: a replica that is told so takes over from its leader, and nothing acknowledged is lost by it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::client::{Client, Reply};
use crate::cluster::{Cluster, wait_until};

/// Writes between two changes.
const WRITES: u64 = 50;

/// Sets a flag when dropped.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The lines of CLUSTER NODES as a port tells it.
fn nodes(port: u16) -> Vec<String> {
    let text = Client::connect(port).ok(&["CLUSTER", "NODES"]).text();
    text.lines().map(ToString::to_string).collect()
}

/// Whether the node that listens at `to` is a master, as the one at `port` knows.
fn is_master(port: u16, to: u16) -> bool {
    let named = format!(":{to}@");
    let lines = nodes(port);
    let line = lines.iter().find(|line| line.contains(&named)).expect("all are named");
    line.contains("master - ")
}

#[test]
fn a_replica_takes_over_when_it_is_told_to() {
    let cluster = Cluster::start(3, 2);
    let key = (0..)
        .map(|n| format!("k{n}"))
        .find(|key| cluster.core_of(key) == 1)
        .unwrap();
    let (written, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // Ends the writer, also when the test fails meanwhile.
        let _ending = Ending(&ended);
        let port = cluster.port(0);
        let (written, ended) = (&written, &ended);
        let writer = scope.spawn(move || {
            // Any port, and writes that count once: each is answered, whoever leads.
            let mut client = Client::connect(port);
            while !ended.load(Ordering::SeqCst) {
                let next = written.load(Ordering::SeqCst) + 1;
                assert_eq!(client.call(&["INCR", &key]), Reply::Integer(next as i64));
                written.store(next, Ordering::SeqCst);
            }
        });
        let let_pass = || {
            let until = written.load(Ordering::SeqCst) + WRITES;
            wait_until("writes go on", || {
                writer.is_finished() || written.load(Ordering::SeqCst) >= until
            });
        };
        for round in 0..4 {
            let leader = cluster.leader_of(1);
            let heir = (leader + 1 + round % 2) % 3;
            let (leads, follows) = (cluster.core_port(leader, 1), cluster.core_port(heir, 1));
            let_pass();
            // Until it is heard from and near, it is refused: whoever asks asks again.
            // On a machine that is busy an election may give it to yet another one meanwhile: then it is asked once more.
            wait_until("it takes over, and the others follow", || {
                let mut client = Client::connect(follows);
                let text = client.call(&["CLUSTER", "FAILOVER"]).text();
                assert!(text == "OK" || text.contains("FAILOVER"), "{text}");
                is_master(follows, follows) && is_master(leads, follows)
            });
            let_pass();
        }
    });
    assert!(written.load(Ordering::SeqCst) >= 8 * WRITES);
}

#[test]
fn only_replicas_take_over_and_masters_name_theirs() {
    let mut cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    let port = cluster.core_port(leader, 0);
    wait_until("it knows that it leads", || is_master(port, port));
    let mut client = Client::connect(port);
    assert_eq!(
        client.call(&["CLUSTER", "FAILOVER"]).text(),
        "ERR You should send CLUSTER FAILOVER to a replica"
    );
    let id = client.ok(&["CLUSTER", "MYID"]).text();
    let Reply::Array(replicas) = client.ok(&["CLUSTER", "REPLICAS", &id]) else {
        panic!("replicas are an array");
    };
    let followers: Vec<usize> = cluster.running().into_iter().filter(|&node| node != leader).collect();
    for (line, &node) in replicas.iter().zip(&followers) {
        let (line, named) = (line.text(), format!(":{}@", cluster.core_port(node, 0)));
        assert!(
            line.contains(&named) && line.contains(&format!(" slave {id} ")),
            "{line}"
        );
        let follower = line.split(' ').next().unwrap().to_string();
        assert_eq!(
            client.call(&["CLUSTER", "REPLICAS", &follower]).text(),
            "ERR The specified node is not a master"
        );
    }
    assert_eq!(replicas.len(), 2);

    // Without a majority nobody leads, and nobody is made to.
    cluster.kill_node(leader);
    cluster.kill_node(followers[0]);
    let mut last = Client::connect(cluster.core_port(followers[1], 0));
    wait_until("it knows that nobody leads", || {
        last.call(&["CLUSTER", "FAILOVER"]).text() == "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE"
    });
    last.ok(&["CLUSTER", "FAILOVER", "FORCE"]);
    assert!(last.call(&["SET", "a", "1"]).text().starts_with("CLUSTERDOWN "));
}

/// A field of INFO.
fn field(info: &str, name: &str) -> Option<String> {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(ToString::to_string)
}

#[test]
fn masters_and_replicas_say_what_they_are() {
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    let (leads, follows) = (cluster.core_port(leader, 0), cluster.core_port((leader + 1) % 3, 0));
    wait_until("all know it", || is_master(leads, leads) && is_master(follows, leads));

    let mut client = Client::connect(leads);
    let followers = |role: &Reply| match role {
        Reply::Array(role) => match &role[2] {
            Reply::Array(followers) => followers.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    wait_until("both have all of the log", || {
        let role = client.ok(&["ROLE"]);
        let Reply::Array(parts) = &role else { panic!("{role:?}") };
        let Reply::Integer(offset) = parts[1] else {
            panic!("{role:?}")
        };
        assert_eq!(parts[0].text(), "master");
        let held = |follower: &Reply| match follower {
            Reply::Array(parts) => parts[2].text() == offset.to_string(),
            other => panic!("{other:?}"),
        };
        let followers = followers(&role);
        followers.len() == 2 && followers.iter().all(held)
    });
    let info = client.ok(&["INFO", "replication"]).text();
    assert_eq!(field(&info, "role").as_deref(), Some("master"));
    assert_eq!(field(&info, "connected_slaves").as_deref(), Some("2"));
    let named = format!("port={},state=online", cluster.core_port((leader + 1) % 3, 0));
    assert!(info.contains(&named), "{info}");

    let mut replica = Client::connect(follows);
    let Reply::Array(role) = replica.ok(&["ROLE"]) else {
        panic!("an array")
    };
    assert_eq!(
        (role[0].text(), &role[2]),
        ("slave".into(), &Reply::Integer(leads.into()))
    );
    let info = replica.ok(&["INFO", "replication"]).text();
    assert_eq!(field(&info, "role").as_deref(), Some("slave"));
    assert_eq!(field(&info, "master_port"), Some(leads.to_string()));
    assert!(format!("{:?}", replica.ok(&["HELLO", "2"])).contains(&format!("{:?}", Reply::Bulk(b"replica".to_vec()))));

    // Who may be asked for any key is no replica, wherever the keys are.
    let mut any = Client::connect(cluster.port((leader + 1) % 3));
    assert_eq!(
        field(&any.ok(&["INFO", "replication"]).text(), "role").as_deref(),
        Some("master")
    );
    assert_eq!(
        any.call(&["REPLICAOF", "NO", "ONE"]).text(),
        "ERR REPLICAOF not allowed in cluster mode."
    );
}
