//! Several cores behind one port: they answer like one, whatever moves between them.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use slotcore_engine::ord::slot_of;
use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

fn server(dir: &Scratch, cores: u16) -> Server {
    let cores = cores.to_string();
    Server::start(dir.path(), &["--cores", &cores, "--durability", "everysec"])
}

/// A key that lives on `core` of `cores`.
fn key_on(core: u16, cores: u16, nth: usize) -> String {
    let owned = |key: &String| u32::from(slot_of(key.as_bytes())) * u32::from(cores) / 16_384 == u32::from(core);
    (0..).map(|n| format!("key:{n}")).filter(owned).nth(nth).unwrap()
}

/// A command over a few keys that lie on all cores.
fn any_command(rng: &mut SeededRng) -> Vec<String> {
    let mut key = || format!("k{}", rng.below(24));
    let (a, b, c) = (key(), key(), key());
    let value = rng.below(1000).to_string();
    let words: &[&str] = match rng.below(21) {
        0 | 1 => &["SET", &a, &value],
        2 | 3 => &["GET", &a],
        4 => &["MGET", &a, &b, &c, &a],
        5 => &["MSET", &a, &value, &b, "7", &c, &value],
        6 => &["DEL", &a, &b],
        7 => &["EXISTS", &a, &a, &b, &c],
        8 => &["TOUCH", &a, &b],
        9 => &["UNLINK", &a, &b, &c],
        10 => &["INCR", &a],
        11 => &["APPEND", &a, "0"],
        12 => &["GETSET", &a, &value],
        13 => &["DBSIZE"],
        14 => &["PING", &value],
        15 => &["STRLEN", &a],
        16 => &["LPUSH", &a, &value],
        17 => &["NOSUCH", &a],
        18 => &["GET"],
        19 => &["CONFIG", "SET", "timeout", "0"],
        _ => &["SETNX", &a, &value],
    };
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn pipelines_over_several_cores_are_answered_like_those_of_one() {
    let one_dir = Scratch::new();
    let one = server(&one_dir, 1);
    for cores in [2, 3, 5] {
        let dir = Scratch::new();
        let many = server(&dir, cores);
        let mut rng = SeededRng::new(u64::from(cores));
        for _ in 0..4 {
            let (mut expected, mut found) = (one.client(), many.client());
            for _ in 0..40 {
                let pipeline: Vec<Vec<String>> = (0..1 + rng.below(60)).map(|_| any_command(&mut rng)).collect();
                let bytes: Vec<u8> = pipeline
                    .iter()
                    .flat_map(|words| request(&words.iter().map(String::as_str).collect::<Vec<_>>()))
                    .collect();
                expected.send(&bytes).unwrap();
                found.send(&bytes).unwrap();
                for words in &pipeline {
                    let (expected, found) = (expected.reply().unwrap(), found.reply().unwrap());
                    assert_eq!(found, expected, "{words:?} of {cores} cores");
                }
            }
        }
        assert_eq!(found_keys(&mut many.client()), found_keys(&mut one.client()));
        assert!(many.client().info("commands_forwarded").parse::<u64>().unwrap() > 0);
        one.client().ok(&["FLUSHALL"]);
        many.client().ok(&["FLUSHALL"]);
        assert_eq!(many.client().ok(&["DBSIZE"]), Reply::Integer(0));
        many.stop();
    }
    one.stop();
}

fn found_keys(client: &mut Client<TcpStream>) -> Vec<String> {
    let Reply::Array(keys) = client.ok(&["KEYS", "*"]) else {
        panic!("KEYS answers an array")
    };
    let mut keys: Vec<String> = keys.iter().map(Reply::text).collect();
    keys.sort();
    keys
}

#[test]
fn what_follows_a_quit_is_not_answered_whoever_is_waited_for() {
    let dir = Scratch::new();
    let server = server(&dir, 3);
    for _ in 0..20 {
        let mut client = server.client();
        client
            .send(b"SET k1 1\r\nSET k2 2\r\nMGET k1 k2\r\nQUIT\r\nGET k1\r\n")
            .unwrap();
        let rest = String::from_utf8(client.rest()).unwrap();
        assert_eq!(rest, "+OK\r\n+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n");
    }
    server.stop();
}

#[test]
fn a_scan_sees_every_key_of_every_core() {
    let dir = Scratch::new();
    let server = server(&dir, 4);
    let mut client = server.client();
    for n in 0..500 {
        client.ok(&["SET", &format!("key:{n}"), "1"]);
    }
    let (mut cursor, mut seen) = ("0".to_string(), Vec::new());
    loop {
        let Reply::Array(parts) = client.ok(&["SCAN", &cursor, "COUNT", "17"]) else {
            panic!("SCAN answers an array")
        };
        cursor = parts[0].text();
        let Reply::Array(keys) = &parts[1] else {
            panic!("SCAN answers keys")
        };
        seen.extend(keys.iter().map(Reply::text));
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    let mut all: Vec<String> = (0..500).map(|n| format!("key:{n}")).collect();
    all.sort();
    assert_eq!(seen, all);
    assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(500));
    assert!(client.ok(&["RANDOMKEY"]).text().starts_with("key:"));
    server.stop();
}

#[test]
fn core_ports_answer_for_their_slots_and_name_the_owner_of_others() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let Reply::Array(ranges) = server.client().ok(&["CLUSTER", "SLOTS"]) else {
        panic!("CLUSTER SLOTS answers an array")
    };
    let port = |core: usize| -> u16 {
        let Reply::Array(range) = &ranges[core] else {
            panic!("a range is an array")
        };
        let Reply::Array(node) = &range[2] else {
            panic!("a node is an array")
        };
        node[1].text().parse().unwrap()
    };
    let (first, second) = (key_on(0, 2, 0), key_on(1, 2, 0));
    let (mut at_first, mut at_second) = (Client::connect(port(0)), Client::connect(port(1)));
    at_first.ok(&["SET", &first, "1"]);
    at_second.ok(&["SET", &second, "2"]);
    let slot = slot_of(second.as_bytes());
    assert_eq!(
        at_first.call(&["GET", &second]),
        Reply::Error(format!("MOVED {slot} 127.0.0.1:{}", port(1)))
    );
    let crossing = at_first.call(&["MGET", &first, &second]);
    assert_eq!(
        crossing,
        Reply::Error("CROSSSLOT Keys in request don't hash to the same slot".into())
    );
    assert_eq!(at_first.ok(&["DBSIZE"]), Reply::Integer(1));
    assert_eq!(at_first.info("cluster_enabled"), "1");
    assert_eq!(at_first.info("commands_forwarded"), "0");
    assert_eq!(server.client().ok(&["MGET", &first, &second]), {
        Reply::Array(vec![Reply::Bulk(b"1".to_vec()), Reply::Bulk(b"2".to_vec())])
    });
    server.stop();
}

#[test]
fn settings_and_clients_are_those_of_all_cores() {
    let dir = Scratch::new();
    let server = server(&dir, 3);
    let mut clients: Vec<_> = (0..6).map(|_| server.client()).collect();
    let ids: Vec<String> = clients.iter_mut().map(|c| c.ok(&["CLIENT", "ID"]).text()).collect();
    clients[0].ok(&["CONFIG", "SET", "timeout", "77"]);
    for client in &mut clients {
        let Reply::Array(pair) = client.ok(&["CONFIG", "GET", "timeout"]) else {
            panic!("CONFIG GET answers an array")
        };
        assert_eq!(pair[1].text(), "77");
        let list = client.ok(&["CLIENT", "LIST"]).text();
        let listed: Vec<&str> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(
            ids.iter().all(|id| listed.contains(&format!("id={id}").as_str())),
            "{list}"
        );
    }
    assert_eq!(clients[0].info("connected_clients"), "6");
    for id in &ids[1..] {
        assert_eq!(
            clients[0].ok(&["CLIENT", "KILL", "ID", id]),
            Reply::Integer(1),
            "client {id}"
        );
    }
    assert!(clients[1..].iter_mut().all(|client| client.rest().is_empty()));
    assert_eq!(clients[0].call(&["PING"]).text(), "PONG");
    server.stop();
}

/// Enough commands on keys of one core that a connection which came in elsewhere is handed over to it.
fn get_used_to(client: &mut Client<TcpStream>, key: &str) {
    for _ in 0..40 {
        let burst: Vec<u8> = (0..16).flat_map(|_| request(&["EXISTS", key])).collect();
        client.send(&burst).unwrap();
        (0..16).for_each(|_| drop(client.reply().unwrap()));
    }
}

#[test]
fn connections_move_to_their_keys_and_nothing_is_lost_or_done_twice() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let counters = [key_on(0, 2, 1), key_on(1, 2, 1)];
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    for round in 0..6 {
        let counter = &counters[round % 2];
        for client in &mut clients {
            client.ok(&["CLIENT", "SETNAME", "mover"]);
            get_used_to(client, counter);
            // Commands are on their way while the connection moves.
            let burst: Vec<u8> = (0..300).flat_map(|_| request(&["INCR", counter])).collect();
            client.send(&burst).unwrap();
        }
        for client in &mut clients {
            let mut last = 0;
            for _ in 0..300 {
                let Reply::Integer(count) = client.reply().unwrap() else {
                    panic!("INCR answers a number")
                };
                assert!(count > last, "{count} after {last}");
                last = count;
            }
            assert_eq!(client.ok(&["CLIENT", "GETNAME"]).text(), "mover");
        }
    }
    for counter in &counters {
        assert_eq!(clients[0].ok(&["GET", counter]).text(), (3 * 4 * 300).to_string());
    }
    let given: u64 = clients[0].info("connections_given").parse().unwrap();
    assert!(given >= 4, "{given} connections were handed over");
    assert_eq!(clients[0].info("connections_taken"), given.to_string());
    server.stop();
}

#[test]
fn reads_never_see_less_than_was_acknowledged_while_connections_move() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let keys = [key_on(0, 2, 2), key_on(1, 2, 2)];
    // By key: the highest value sent, and the highest acknowledged. Values only rise.
    let sent: Arc<[AtomicU64; 2]> = Arc::default();
    let acknowledged: Arc<[AtomicU64; 2]> = Arc::default();
    thread::scope(|scope| {
        for writer in 0..2 {
            let (mut client, keys) = (server.client(), keys.clone());
            let (sent, acknowledged) = (sent.clone(), acknowledged.clone());
            scope.spawn(move || {
                for value in 1..=3000u64 {
                    sent[writer].store(value, Ordering::SeqCst);
                    client.ok(&["SET", &keys[writer], &value.to_string()]);
                    acknowledged[writer].store(value, Ordering::SeqCst);
                }
            });
        }
        for reader in 0..3 {
            let (mut client, keys) = (server.client(), keys.clone());
            let (sent, acknowledged) = (sent.clone(), acknowledged.clone());
            scope.spawn(move || {
                for n in 0..3000 {
                    // Long enough on one key to be moved, then on the other.
                    let which = (n / 400 + reader) % 2;
                    let low = acknowledged[which].load(Ordering::SeqCst);
                    let found = match client.ok(&["GET", &keys[which]]) {
                        Reply::Nil => 0,
                        reply => reply.text().parse().unwrap(),
                    };
                    let high = sent[which].load(Ordering::SeqCst);
                    assert!((low..=high).contains(&found), "{found} is not in {low}..={high}");
                }
            });
        }
    });
    assert!(server.client().info("connections_given").parse::<u64>().unwrap() > 0);
    server.stop();
}

#[test]
fn a_kill_leaves_each_cores_part_of_a_command_whole_and_the_cores_as_they_were() {
    let dir = Scratch::new();
    let start = |cores: &str| Server::start(dir.path(), &["--cores", cores]);
    let running = start("3");
    // Two keys of each core, so that a torn part shows.
    let keys: Vec<String> = (0..3)
        .flat_map(|core| [key_on(core, 3, 0), key_on(core, 3, 1)])
        .collect();
    let mset = |value: u64| -> Vec<u8> {
        let value = value.to_string();
        let mut words = vec!["MSET"];
        keys.iter().for_each(|key| words.extend([key.as_str(), value.as_str()]));
        request(&words)
    };
    let mut client = running.client();
    for value in 1..=500 {
        client.send(&mset(value)).unwrap();
        assert_eq!(client.reply().unwrap(), Reply::Simple("OK".into()));
    }
    // The last ones are cut off at any point.
    client.send(&(501..=900).flat_map(mset).collect::<Vec<u8>>()).unwrap();
    client.reply().unwrap();
    running.kill();

    let running = start("1");
    let mut client = running.client();
    assert_eq!(client.info("cores"), "3", "the data directory decides");
    for pair in keys.chunks(2) {
        let values: Vec<u64> = pair
            .iter()
            .map(|key| client.ok(&["GET", key]).text().parse().unwrap())
            .collect();
        assert!(values[0] >= 501, "acknowledged: {values:?}");
        assert_eq!(values[0], values[1], "one core's part of one command");
    }
    running.stop();
}

#[test]
fn a_core_that_stands_still_is_named_and_the_others_go_on() {
    let dir = Scratch::new();
    let mut running = server(&dir, 2);
    let Reply::Array(ranges) = running.client().ok(&["CLUSTER", "SLOTS"]) else {
        panic!("CLUSTER SLOTS answers an array")
    };
    let mut at_core: Vec<_> = ranges
        .iter()
        .map(|range| match range {
            Reply::Array(range) => match &range[2] {
                Reply::Array(node) => Client::connect(node[1].text().parse().unwrap()),
                other => panic!("{other:?} is no node"),
            },
            other => panic!("{other:?} is no range"),
        })
        .collect();
    at_core[1].send(&request(&["DEBUG", "SLEEP", "2"])).unwrap();
    let line = running.next_line_with("a core does not turn").unwrap();
    assert!(line.contains("\"core\":1"), "{line}");
    at_core[0].ok(&["SET", &key_on(0, 2, 0), "1"]);
    let line = running.next_line_with("the core turns again").unwrap();
    assert!(line.contains("\"core\":1"), "{line}");
    at_core[1].reply().unwrap();
    running.stop();
}
