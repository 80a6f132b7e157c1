//! `slotcore ctl` on one node and on three: what it shows, what it changes, and how it says that it cannot.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, Place, wait_until};
use crate::metrics::free_port;
use crate::scratch::Scratch;
use crate::server::{Server, binary};

const SERVED: &str = "serving /metrics";

/// Carries out `slotcore ctl`.
pub fn ctl(admin: u16, password: Option<&str>, words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .arg("ctl")
        .args(words)
        .arg("--admin")
        .arg(format!("127.0.0.1:{admin}"));
    match password {
        Some(password) => command.env("SLOTCORE_PASSWORD", password),
        None => command.env_remove("SLOTCORE_PASSWORD"),
    };
    command.output().unwrap()
}

/// Its code, and what it wrote.
pub fn said(admin: u16, words: &[&str]) -> (i32, String) {
    let output = ctl(admin, None, words);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// What it wrote as JSON.
pub fn json(admin: u16, words: &[&str]) -> Value {
    let output = ctl(admin, None, &[words, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {output:?}"))
}

/// Three nodes with admin ports, and a leader for each group.
pub fn start(cores: u16, options: &[&str]) -> (Cluster, Vec<u16>) {
    start_each(cores, [options; 3])
}

/// The same with options of its own for each node.
pub fn start_each(cores: u16, options: [&[&str]; 3]) -> (Cluster, Vec<u16>) {
    let admin: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let place = |(port, options): (&u16, &[&str])| Place {
        options: [&["--admin-port", &port.to_string()], options]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect(),
        ..Place::default()
    };
    let mut cluster = Cluster::prepare_at(admin.iter().zip(options).map(place).collect(), cores);
    (0..3).for_each(|node| cluster.start_node(node));
    (0..3).for_each(|node| cluster.wait_for_line(node, SERVED));
    for &port in &admin {
        wait_until("all is well", || said(port, &["status"]).0 == 0);
    }
    (cluster, admin)
}

/// The number of the node that leads a group, as a node knows it.
fn leader(admin: u16, group: usize) -> Option<u64> {
    json(admin, &["groups"])[group]["leader"].as_u64()
}

#[test]
fn a_cluster_is_shown_and_leadership_is_handed_over() {
    let (mut cluster, admin) = start(2, &[]);
    let nodes = json(admin[1], &["nodes"]);
    for (number, node) in (1..).zip(nodes.as_array().unwrap()) {
        assert_eq!(node["node"], number);
        assert_eq!(node["port"], cluster.port(number - 1));
        assert_eq!(node["core_port_base"], cluster.core_port(number - 1, 0));
        assert_eq!(
            (&node["me"], &node["reachable"]),
            (&Value::from(number == 2), &Value::from(true))
        );
    }
    let (code, text) = said(admin[1], &["nodes"]);
    assert_eq!((code, text.lines().count()), (0, 4), "{text}");
    assert!(text.contains("this node") && text.contains("reached"), "{text}");

    // Each group in turn goes to the node after its leader, told to any of them.
    for (group, asked) in [(0, 0), (1, 1), (0, 2)] {
        let to = leader(admin[asked], group).expect("all is well") % 3 + 1;
        let words = [
            "transfer-leader",
            "--group",
            &group.to_string(),
            "--to",
            &to.to_string(),
        ];
        let (code, text) = said(admin[asked], &words);
        assert_eq!((code, text), (0, format!("node {to} leads group {group} now\n")));
        let (code, text) = said(admin[asked], &words);
        assert_eq!((code, text), (0, format!("node {to} leads group {group} already\n")));
        for &port in &admin {
            wait_until("all know it", || leader(port, group) == Some(to));
        }
        // Who leads knows how far the others are.
        let there = admin[usize::try_from(to).unwrap() - 1];
        wait_until("followers have told", || {
            let shown = json(there, &["groups"])[group].clone();
            let replicas = shown["replicas"].as_array().unwrap();
            assert_eq!((replicas.len(), &shown["role"]), (3, &Value::from("leader")));
            assert!(shown["applied_index"].as_u64() <= shown["last_index"].as_u64());
            replicas
                .iter()
                .all(|replica| replica["lag"].is_u64() || replica["node"] == to)
        });
        let other = json(admin[usize::try_from(to).unwrap() % 3], &["groups"])[group].clone();
        assert!(
            other["replicas"]
                .as_array()
                .unwrap()
                .iter()
                .all(|replica| replica["lag"].is_null())
        );
    }

    // What cannot be.
    let wrong = [
        (
            &["transfer-leader", "--group", "2", "--to", "1"][..],
            "there is no group 2: they have the numbers 0 to 1",
        ),
        (&["transfer-leader", "--group", "1", "--to", "4"], "there is no node 4"),
    ];
    for (words, told) in wrong {
        let (code, text) = said(admin[0], words);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(told), "{text}");
    }
    let nobody = free_port();
    let (code, text) = said(nobody, &["groups"]);
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains(&format!("no node answers at 127.0.0.1:{nobody}")),
        "{text}"
    );

    // How another node is started, and who is there already.
    let (code, text) = said(admin[1], &["add-node", "127.0.0.1:40000"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("--cores 2") && text.contains("--announce 127.0.0.1:40000@50000 --join 127.0.0.1:"));
    let there = format!("127.0.0.1:{}", cluster.port(2));
    let (code, text) = said(admin[1], &["add-node", &there, "--wait", "60"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("node 3 is one of the cluster: "), "{text}");

    // All is told at first, and then what changes.
    let (code, text) = said(admin[0], &["watch", "--count", "1"]);
    assert_eq!((code, text.lines().count()), (0, 1 + 3 + 2), "{text}");
    let mut watch = Command::new(binary())
        .args(["ctl", "watch", "--json", "--admin", &format!("127.0.0.1:{}", admin[0])])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut told = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut is_told = |reachable: bool| told.any(|thing| thing["node"] == 3 && thing["reachable"] == reachable);
    assert!(is_told(true));

    // A node that is gone is told, and cannot lead.
    cluster.kill_node(2);
    assert!(is_told(false));
    watch.kill().unwrap();
    watch.wait().unwrap();
    wait_until("it is missed", || {
        json(admin[0], &["status"])["nodes_unreachable"] == serde_json::json!([3])
    });
    let (code, text) = said(admin[0], &["status"]);
    assert_eq!(code, 1, "{text}");
    wait_until("others lead", || {
        [0, 1]
            .iter()
            .all(|&group| leader(admin[0], group).is_some_and(|node| node != 3))
    });
    let (code, text) = said(admin[0], &["transfer-leader", "--group", "0", "--to", "3"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("cannot connect to 127.0.0.1:"), "{text}");

    // Without a majority nobody can be made to lead.
    cluster.kill_node(1);
    wait_until("nobody leads", || leader(admin[0], 0).is_none());
    let (code, text) = said(admin[0], &["transfer-leader", "--group", "0", "--to", "1"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("node 1 does not lead group 0 after 10 s, nobody does"),
        "{text}"
    );
}

#[test]
fn who_leads_is_changed_by_those_who_may() {
    let (_cluster, admin) = start(1, &["--requirepass", "known"]);
    let to = (leader(admin[0], 0).expect("all is well") % 3 + 1).to_string();
    let words = ["transfer-leader", "--group", "0", "--to", &to, "--json"];
    let refused = ctl(admin[0], None, &words);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("NOAUTH"));
    let wrong = ctl(admin[0], Some("guessed"), &words);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("WRONGPASS"));
    let done = ctl(admin[0], Some("known"), &words);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&told["done"], told["leader"].to_string()), (&Value::from(true), to));
}

#[test]
fn a_node_on_its_own_is_shown_too() {
    let (scratch, admin) = (Scratch::new(), free_port());
    let mut server = Server::start(scratch.path(), &["--cores", "2", "--admin-port", &admin.to_string()]);
    server.next_line_with(SERVED).expect("the admin port is served");
    assert_eq!(said(admin, &["status"]).0, 0);
    let groups = json(admin, &["groups"]);
    assert_eq!(
        (&groups[0]["slot_first"], &groups[1]["slot_last"]),
        (&Value::from(0), &Value::from(16_383))
    );
    assert_eq!(json(admin, &["nodes"])[0]["port"], server.port);
    let (code, text) = said(admin, &["transfer-leader", "--group", "1", "--to", "0"]);
    assert_eq!((code, text.as_str()), (0, "node 0 leads group 1 already\n"));
    let (code, text) = said(admin, &["transfer-leader", "--group", "1", "--to", "1"]);
    assert_eq!(code, 2, "{text}");
    server.stop();
}
