//! Every node answers every key: those it does not lead by asking whoever leads, and each write counts once whoever is
//! killed meanwhile.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use crate::client::{Client, Reply, request};
use crate::cluster::Cluster;

/// Increments that are acknowledged before and after each blow.
const BETWEEN: i64 = 300;
/// Commands that a client of the second kind sends at once.
const DEPTH: usize = 8;

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn simple(text: &str) -> Reply {
    Reply::Simple(text.into())
}

/// A connection to a node's port for every key.
fn any_slot(cluster: &Cluster, node: usize) -> Client<TcpStream> {
    Client::connect(cluster.port(node))
}

fn sorted(reply: Reply) -> Vec<String> {
    let Reply::Array(items) = reply else {
        panic!("{reply:?} is no array");
    };
    let mut texts: Vec<String> = items.iter().map(Reply::text).collect();
    texts.sort();
    texts
}

#[test]
fn every_node_answers_for_all_keys_of_all_nodes() {
    let cluster = Cluster::start(3, 2);
    let mut clients: Vec<_> = (0..3).map(|node| any_slot(&cluster, node)).collect();
    let keys = ["a", "b", "c", "foo"];
    let cores: Vec<u16> = keys.iter().map(|key| cluster.core_of(key)).collect();
    assert!(cores.contains(&0) && cores.contains(&1));
    for (writer, reader) in [(0, 1), (1, 2), (2, 0)] {
        let value = format!("by {writer}");
        let mset: Vec<&str> = ["MSET"]
            .into_iter()
            .chain(keys.iter().flat_map(|key| [*key, &value]))
            .collect();
        assert_eq!(clients[writer].call(&mset), simple("OK"));
        let reader = &mut clients[reader];
        assert_eq!(reader.call(&["GET", "a"]), bulk(&value));
        assert_eq!(
            reader.call(&["MGET", "b", "none", "foo"]),
            Reply::Array(vec![bulk(&value), Reply::Nil, bulk(&value)])
        );
        assert_eq!(sorted(reader.call(&["KEYS", "*"])), keys);
        assert_eq!(reader.call(&["DBSIZE"]), Reply::Integer(4));
        let mut found = Vec::new();
        let mut cursor = "0".to_string();
        loop {
            let Reply::Array(mut answer) = reader.call(&["SCAN", &cursor, "COUNT", "100"]) else {
                panic!("SCAN answers two things");
            };
            found.extend(sorted(answer.pop().unwrap()));
            cursor = answer.pop().unwrap().text();
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        assert_eq!(found, keys);
        // What was sent at once is answered in its order, wherever it went.
        let pipeline: Vec<u8> = ["a", "b", "c", "foo", "a"]
            .iter()
            .flat_map(|key| {
                [
                    request(&["APPEND", key, "!"]),
                    request(&["GET", key]),
                    request(&["PING"]),
                ]
                .concat()
            })
            .collect();
        reader.send(&pipeline).unwrap();
        for marks in ["!", "!", "!", "!", "!!"] {
            let expected = format!("{value}{marks}");
            assert_eq!(reader.reply().unwrap(), Reply::Integer(expected.len() as i64));
            assert_eq!(reader.reply().unwrap(), bulk(&expected));
            assert_eq!(reader.reply().unwrap(), simple("PONG"));
        }
        assert_eq!(reader.call(&["DEL", "a", "b", "none"]), Reply::Integer(2));
    }
    for client in &mut clients {
        assert!(client.call(&["LPUSH", "c", "x"]).text().starts_with("WRONGTYPE"));
        assert!(client.call(&["RENAME", "a", "b"]).text().starts_with("CROSSSLOT"));
    }
}

#[test]
fn transactions_waits_and_messages_go_from_node_to_node() {
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader_of(0);
    let nodes = [leader, (leader + 1) % 3, (leader + 2) % 3];
    let mut clients: Vec<_> = nodes.iter().map(|&node| any_slot(&cluster, node)).collect();
    let mut others: Vec<_> = nodes.iter().map(|&node| any_slot(&cluster, node)).collect();
    for at in 0..3 {
        let (client, other) = (&mut clients[at], &mut others[(at + 1) % 3]);
        assert_eq!(client.call(&["SET", "n", "1"]), simple("OK"));
        for words in [&["MULTI"][..], &["INCR", "n"], &["GET", "n"]] {
            assert!(!client.call(words).is_error());
        }
        assert_eq!(client.call(&["EXEC"]), Reply::Array(vec![Reply::Integer(2), bulk("2")]));
        // A watched key is changed by way of another node; is not; is watched no more.
        for (changed, unwatched, expected) in [
            (true, false, Reply::Nil),
            (false, false, Reply::Array(vec![simple("OK")])),
            (true, true, Reply::Array(vec![simple("OK")])),
        ] {
            assert_eq!(client.call(&["WATCH", "n"]), simple("OK"));
            if changed {
                assert!(!other.call(&["INCR", "n"]).is_error());
            }
            if unwatched {
                assert_eq!(client.call(&["UNWATCH"]), simple("OK"));
            }
            assert_eq!(client.call(&["MULTI"]), simple("OK"));
            assert_eq!(client.call(&["SET", "n", "5"]), simple("QUEUED"));
            assert_eq!(client.call(&["EXEC"]), expected);
        }
        // It waits until somebody pushes; its time is up; it is unblocked.
        client.send(&request(&["BLPOP", "list", "0"])).unwrap();
        assert_eq!(other.call(&["RPUSH", "list", "x"]), Reply::Integer(1));
        assert_eq!(client.reply().unwrap(), Reply::Array(vec![bulk("list"), bulk("x")]));
        assert_eq!(client.call(&["BLPOP", "list", "0.01"]), Reply::Nil);
        let id = client.call(&["CLIENT", "ID"]).text();
        client.send(&request(&["BLPOP", "list", "0"])).unwrap();
        let mut near = any_slot(&cluster, nodes[at]);
        while near.call(&["CLIENT", "UNBLOCK", &id, "ERROR"]) == Reply::Integer(0) {}
        assert!(client.reply().unwrap().text().starts_with("UNBLOCKED"));
        assert_eq!(other.call(&["LLEN", "list"]), Reply::Integer(0));
    }
    for at in 0..3 {
        let channel = format!("news {at}");
        let subscribed = Reply::Array(vec![bulk("subscribe"), bulk(&channel), Reply::Integer(1)]);
        assert_eq!(clients[at].call(&["SUBSCRIBE", &channel]), subscribed);
        assert!(!others[(at + 1) % 3].call(&["PUBLISH", &channel, "hello"]).is_error());
        let message = Reply::Array(vec![bulk("message"), bulk(&channel), bulk("hello")]);
        assert_eq!(clients[at].reply().unwrap(), message);
        assert!(!clients[at].call(&["UNSUBSCRIBE"]).is_error());
    }
}

/// What clients that increment have been told.
#[derive(Default)]
struct Counted {
    acknowledged: AtomicI64,
    unknown: AtomicI64,
    ended: AtomicBool,
}

impl Counted {
    /// Waits until so many more were acknowledged.
    fn let_pass(&self, more: i64) {
        let until = self.acknowledged.load(Ordering::SeqCst) + more;
        while self.acknowledged.load(Ordering::SeqCst) < until {
            thread::yield_now();
        }
    }
}

/// Increments `key` by way of a node until the end, so many at once.
fn increment(port: u16, key: &str, depth: usize, counted: &Counted) {
    let commands = request(&["INCR", key]).repeat(depth);
    let mut client: Option<Client<TcpStream>> = None;
    let mut last = 0;
    while !counted.ended.load(Ordering::SeqCst) {
        let conn = match &mut client {
            Some(conn) => conn,
            None => match Client::try_connect(port) {
                Ok(conn) => client.insert(conn),
                Err(_) => {
                    thread::yield_now();
                    continue;
                }
            },
        };
        let mut answered = 0;
        if conn.send(&commands).is_ok() {
            while answered < depth
                && let Ok(reply) = conn.reply()
            {
                answered += 1;
                match reply {
                    Reply::Integer(value) => {
                        assert!(value > last, "{key} went from {last} to {value}");
                        last = value;
                        counted.acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                    Reply::Error(text) if text.starts_with("TIMEOUT ") => {
                        counted.unknown.fetch_add(1, Ordering::SeqCst);
                    }
                    // Whoever says so promises that it was not.
                    Reply::Error(text) => assert!(text.contains("not executed"), "{text}"),
                    reply => panic!("INCR is answered {reply:?}"),
                }
            }
        }
        if answered < depth {
            // The node that was asked was killed.
            client = None;
            counted.unknown.fetch_add((depth - answered) as i64, Ordering::SeqCst);
        }
    }
}

#[test]
fn an_increment_counts_once_whichever_leader_is_killed() {
    let mut cluster = Cluster::start(3, 2);
    let (keys, counted) = (["a", "b"], Counted::default());
    assert_ne!(cluster.core_of(keys[0]), cluster.core_of(keys[1]));
    let ports: Vec<u16> = (0..3).map(|node| cluster.port(node)).collect();
    thread::scope(|scope| {
        for &port in &ports {
            for (key, depth) in [(keys[0], 1), (keys[1], DEPTH)] {
                let counted = &counted;
                scope.spawn(move || increment(port, key, depth, counted));
            }
        }
        for core in [0, 1, 0] {
            counted.let_pass(BETWEEN);
            let leader = cluster.leader_of(core);
            cluster.kill_node(leader);
            counted.let_pass(BETWEEN);
            cluster.start_node(leader);
        }
        counted.let_pass(BETWEEN);
        counted.ended.store(true, Ordering::SeqCst);
    });
    let acknowledged = counted.acknowledged.load(Ordering::SeqCst);
    let unknown = counted.unknown.load(Ordering::SeqCst);
    for node in 0..3 {
        let mut client = any_slot(&cluster, node);
        let total: i64 = keys
            .iter()
            .map(|key| client.call(&["GET", key]).text().parse::<i64>().unwrap())
            .sum();
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&total),
            "node {node}: {total} counted, {acknowledged} acknowledged, {unknown} unknown"
        );
    }
}

/// Commands sent at once, every second of which has a value of so many bytes.
const FLOOD: i64 = 128;
const FLOOD_VALUE_BYTES: usize = 4000;

#[test]
fn writes_that_a_leader_holds_back_are_carried_out_once() {
    let mut cluster = Cluster::prepare_with(3, 1, &["--segment-bytes", "1mb", "--log-target", "8mb"]);
    (0..3).for_each(|node| cluster.start_node(node));
    let asked = (cluster.leader_of(0) + 1) % 3;
    let mut client = any_slot(&cluster, asked);
    let others = (0..3).filter(|node| *node != asked);
    let mut others: Vec<_> = others.map(|node| Client::connect(cluster.core_port(node, 0))).collect();
    let value = "v".repeat(FLOOD_VALUE_BYTES);
    let mut counted = 0;
    // More comes than is flushed.
    while others.iter_mut().all(|node| node.info("writes_held_back") == "0") {
        let mut flood = Vec::new();
        for number in 0..FLOOD {
            let key = format!("k:{}", (counted * 31 + number * 7) % 5000);
            flood.extend(request(&["INCR", "n"]));
            flood.extend(request(&["SET", &key, &value]));
        }
        client.send(&flood).unwrap();
        for _ in 0..FLOOD {
            counted += 1;
            assert_eq!(client.reply().unwrap(), Reply::Integer(counted));
            assert_eq!(client.reply().unwrap(), simple("OK"));
        }
        assert!(counted < 500_000, "nothing is held back");
    }
    assert_eq!(client.call(&["GET", "n"]), bulk(&counted.to_string()));
}
