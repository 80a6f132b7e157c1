//! Single commands whose keys live on several cores and which cannot be taken apart: what one core alone would answer, seen
//! whole by everybody, and whole after a crash.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use slotcore_engine::ord::slot_of;
use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::pubsub::speaking;
use crate::scratch::Scratch;
use crate::server::Server;

fn start(dir: &Path, cores: u16, more: &[&str]) -> Server {
    let cores = cores.to_string();
    Server::start(dir, &[&["--cores", &cores], more].concat())
}

/// Keys by what they hold, so that many commands meet the right type; now and then another one.
fn key(rng: &mut SeededRng, kind: &str) -> String {
    let kind = if rng.chance(1, 20) { "any" } else { kind };
    format!("{kind}{}", rng.below(6))
}

/// A random command about several keys, or one that gives such a command something to do.
fn command(rng: &mut SeededRng) -> Vec<String> {
    if rng.chance(1, 8) {
        return script(rng);
    }
    let value = rng.below(12).to_string();
    let kind = ["l", "s", "z", "t", "h", "p", "x"][rng.below(7) as usize];
    let (a, b, c) = (key(rng, kind), key(rng, kind), key(rng, kind));
    let line = match (kind, rng.below(8)) {
        (_, 0) => format!("RENAME {a} {b}"),
        (_, 1) if rng.chance(1, 2) => format!("COPY {a} {b} REPLACE"),
        (_, 1) => format!("RENAMENX {a} {b}"),
        ("l", 2) => format!("LMOVE {a} {b} LEFT RIGHT"),
        ("l", 3) => format!("RPOPLPUSH {a} {b}"),
        ("l", 4) => format!("LMPOP 3 {a} {b} {c} LEFT COUNT 2"),
        ("l", 5) => format!("SORT {a} ALPHA STORE {b}"),
        ("l", _) => format!("RPUSH {a} {value}"),
        ("s", 2) => format!("SINTERSTORE {a} {b} {c}"),
        ("s", 3) => format!("SUNIONSTORE {a} {b} {c}"),
        ("s", 4) => format!("SMOVE {a} {b} {value}"),
        ("s", 5) => format!("SINTERCARD 2 {a} {b}"),
        ("s", _) => format!("SADD {a} {value}"),
        ("z", 2) => format!("ZUNIONSTORE {a} 2 {b} {c}"),
        ("z", 3) => format!("ZDIFF 2 {a} {b} WITHSCORES"),
        ("z", 4) => format!("ZRANGESTORE {a} {b} 0 2"),
        ("z", 5) => format!("ZMPOP 2 {a} {b} MIN"),
        ("z", _) => format!("ZADD {a} {value} m{value}"),
        ("t", 2) => format!("MSETNX {a} 1 {b} 2"),
        ("t", 3) => format!("BITOP XOR {a} {b} {c}"),
        ("t", 4) => format!("LCS {a} {b}"),
        ("t", 5) => format!("SET {a} v{value} PXAT 99999999999999"),
        ("t", _) => format!("APPEND {a} v{value}"),
        ("p", 2) => format!("PFMERGE {a} {b} {c}"),
        ("p", 3) => format!("PFCOUNT {a} {b}"),
        ("p", _) => format!("PFADD {a} e{value}"),
        ("x", 2) => format!("XREAD COUNT 2 STREAMS {a} {b} 0 0"),
        ("x", 3) => format!("XGROUP CREATE {a} g 0 MKSTREAM"),
        // Without noting who got what and when: the two servers' clocks differ.
        ("x", 4) => format!("XREADGROUP GROUP g me NOACK STREAMS {a} {b} > >"),
        ("x", _) => format!("XADD {a} * f v{value}"),
        _ => format!("HSET {a} f{value} v"),
    };
    line.split(' ').map(str::to_string).collect()
}

/// Keys of the first core and of the last one, however many there are.
fn ends() -> [String; 2] {
    let slots = [0..4096, 12_288..16_384];
    slots.map(|slots| {
        let mut names = (0..).map(|n| format!("end{n}"));
        names.find(|name| slots.contains(&slot_of(name.as_bytes()))).unwrap()
    })
}

/// A script with keys of several cores; it touches others, too, and may fail when it has written something.
fn script(rng: &mut SeededRng) -> Vec<String> {
    let bodies = [
        "redis.call('append', KEYS[1], ARGV[2]) return redis.call('append', KEYS[2], ARGV[2])",
        "redis.call('rpush', KEYS[1], redis.call('exists', ARGV[1])) return redis.call('rename', KEYS[1], ARGV[1])",
        "local n = redis.call('incr', KEYS[3])
         if redis.call('exists', ARGV[1] .. 'x') == 0 then redis.call('set', ARGV[1] .. 'x', n, 'pxat', 99999999999999) end
         return {n, redis.call('get', ARGV[1] .. 'x'), redis.call('del', KEYS[1])}",
        "local r = redis.pcall('sadd', KEYS[1], ARGV[2]) redis.call('zadd', KEYS[2], 1, ARGV[2])
         redis.call('hset', ARGV[1], 'f', 'v') return r",
        "redis.call('incr', KEYS[4]) error('stops here')",
        "return {KEYS, ARGV, redis.call('mget', KEYS[1], KEYS[4], ARGV[1]), redis.call('type', KEYS[2])}",
    ];
    let body = bodies[rng.below(bodies.len() as u64) as usize];
    let kind = ["l", "s", "z", "t", "h", "any"][rng.below(6) as usize];
    let (a, b, c) = (key(rng, kind), key(rng, kind), key(rng, kind));
    let [first, last] = ends();
    let value = rng.below(12).to_string();
    let words = ["EVAL", body, "4", &a, &b, &first, &last, &c, &value];
    words.map(str::to_string).to_vec()
}

/// Every key with a digest of its value; of streams the entries, as their consumers have been seen at different times.
fn contents(server: &Server) -> Vec<(String, String)> {
    let mut client = server.client();
    let Reply::Array(keys) = client.ok(&["KEYS", "*"]) else {
        panic!("no array")
    };
    let mut contents: Vec<(String, String)> = keys
        .iter()
        .map(|key| {
            let key = key.text();
            let value = match client.ok(&["TYPE", &key]).text().as_str() {
                "stream" => client.ok(&["XRANGE", &key, "-", "+"]),
                _ => client.ok(&["DEBUG", "DIGEST-VALUE", &key]),
            };
            let expires = client.ok(&["PEXPIRETIME", &key]);
            (key, format!("{value:?} {expires:?}"))
        })
        .collect();
    contents.sort();
    contents
}

/// A transaction of a few commands on both; what is read has an order.
fn in_multi(rng: &mut SeededRng, n: usize, clients: [&mut Client<TcpStream>; 2]) {
    let mut commands = vec![vec!["MULTI".to_string()]];
    for at in 0..1 + rng.below(5) {
        let mut words = command(rng);
        if words[0] == "XADD" {
            words[2] = format!("{}-{}", n + 1, 10 + at);
        }
        commands.push(words);
    }
    commands.push(vec!["EXEC".to_string()]);
    let replies = clients.map(|client| {
        let pipeline: Vec<u8> = commands
            .iter()
            .flat_map(|words| request(&words.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        client.send(&pipeline).unwrap();
        commands.iter().map(|_| client.reply().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(replies[1], replies[0], "{commands:?}");
}

#[test]
fn several_cores_answer_what_one_does() {
    for (seed, cores, more) in [
        (1, 2, &["--durability", "everysec"][..]),
        (2, 4, &["--durability", "everysec"]),
        (3, 3, &["--durability", "everysec", "--memory", "64mb"]),
    ] {
        let (one_dir, dir) = (Scratch::new(), Scratch::new());
        let (one, several) = (start(one_dir.path(), 1, more), start(dir.path(), cores, more));
        let mut rng = SeededRng::new(seed);
        let protos: Vec<u8> = (0..cores).map(|_| 2 + rng.below(2) as u8).collect();
        let mut clients: Vec<_> = protos
            .iter()
            .map(|&proto| (speaking(&one, proto), speaking(&several, proto)))
            .collect();
        for n in 0..3000 {
            let mut words = command(&mut rng);
            if words[0] == "XADD" {
                // The two servers' clocks differ.
                words[2] = format!("{}-1", n + 1);
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let (to_one, to_several) = &mut clients[rng.below(u64::from(cores)) as usize];
            if rng.chance(1, 10) {
                in_multi(&mut rng, n, [to_one, to_several]);
            }
            let (expected, got) = (to_one.call(&words), to_several.call(&words));
            // Sets have no order.
            let sorted = |reply: &Reply| match reply {
                Reply::Array(values) if words[0].starts_with('S') => {
                    let mut texts: Vec<String> = values.iter().map(Reply::text).collect();
                    texts.sort();
                    format!("{texts:?}")
                }
                other => format!("{other:?}"),
            };
            assert_eq!(sorted(&got), sorted(&expected), "{n}: {words:?}, {cores} cores");
        }
        let expected = contents(&one);
        assert_eq!(contents(&several), expected, "{cores} cores");
        // And the log says the same.
        several.stop();
        let several = start(dir.path(), cores, more);
        assert_eq!(contents(&several), expected, "{cores} cores");
        one.stop();
        several.stop();
    }
}

#[test]
fn what_is_moved_is_never_lost_nor_doubled_even_by_a_kill() {
    const LISTS: u64 = 6;
    const ELEMENTS: usize = 60;
    let dir = Scratch::new();
    let more = ["--durability", "everysec"];
    let mut server = start(dir.path(), 3, &more);
    let lists: Vec<String> = (0..LISTS).map(|n| format!("list{n}")).collect();
    let mut client = server.client();
    for n in 0..ELEMENTS {
        client.ok(&["RPUSH", &lists[n % lists.len()], &n.to_string()]);
    }
    let all: Vec<Vec<&str>> = lists
        .iter()
        .map(|list| vec!["LRANGE", list.as_str(), "0", "-1"])
        .collect();
    for round in 0..3 {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for mover in 0..4 {
                let (lists, stop, mut client) = (&lists, &stop, server.client());
                scope.spawn(move || {
                    let mut rng = SeededRng::new(round * 10 + mover);
                    while !stop.load(Ordering::Relaxed) {
                        let list = |rng: &mut SeededRng| lists[rng.below(LISTS) as usize].clone();
                        let words = ["LMOVE", &list(&mut rng), &list(&mut rng), "LEFT", "RIGHT"];
                        if client.send(&request(&words)).is_err() || client.reply().is_err() {
                            return;
                        }
                    }
                });
            }
            let mut reader = server.client();
            for _ in 0..100 {
                reader.ok(&["MULTI"]);
                for words in &all {
                    reader.ok(words);
                }
                let Reply::Array(contents) = reader.ok(&["EXEC"]) else {
                    panic!("no array")
                };
                assert_complete(&contents, ELEMENTS);
            }
            server.kill_at_once();
            stop.store(true, Ordering::Relaxed);
        });
        server.kill();
        server = start(dir.path(), 3, &more);
        let mut reader = server.client();
        let contents: Vec<Reply> = all.iter().map(|words| reader.ok(words)).collect();
        assert_complete(&contents, ELEMENTS);
    }
    server.stop();
}

fn assert_complete(contents: &[Reply], elements: usize) {
    let mut found = Vec::new();
    for list in contents {
        let Reply::Array(values) = list else { panic!("{list:?}") };
        found.extend(values.iter().map(|value| value.text().parse::<usize>().unwrap()));
    }
    assert_eq!(found.len(), elements);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), elements);
}

#[test]
fn what_comes_before_and_behind_keeps_its_place_and_watches_stay() {
    let dir = Scratch::new();
    let server = start(dir.path(), 4, &["--durability", "everysec"]);
    for _ in 0..4 {
        let mut client = server.client();
        client.ok(&["FLUSHALL"]);
        let pipeline: Vec<u8> = [
            &["SET", "a", "1"][..],
            &["WATCH", "other"],
            &["RENAME", "a", "b"],
            &["GET", "a"],
            &["GET", "b"],
            &["RENAME", "a", "b"],
            &["MSETNX", "c", "1", "d", "2", "e", "3", "f", "4"],
            &["INCR", "c"],
        ]
        .iter()
        .flat_map(|words| request(words))
        .collect();
        client.send(&pipeline).unwrap();
        let text = |reply: Reply| {
            if reply == Reply::Nil {
                "nil".into()
            } else {
                reply.text()
            }
        };
        let replies: Vec<String> = (0..8).map(|_| text(client.reply().unwrap())).collect();
        assert_eq!(
            replies,
            ["OK", "OK", "OK", "nil", "1", "ERR no such key", "1", "2"],
            "in order"
        );
        // The watch of before is still there.
        server.client().ok(&["SET", "other", "1"]);
        client.ok(&["MULTI"]);
        client.ok(&["PING"]);
        assert_eq!(client.ok(&["EXEC"]), Reply::Nil);
        // Others that watch are told, too.
        let mut watcher = server.client();
        watcher.ok(&["WATCH", "b"]);
        client.ok(&["RENAME", "b", "a"]);
        watcher.ok(&["MULTI"]);
        watcher.ok(&["PING"]);
        assert_eq!(watcher.ok(&["EXEC"]), Reply::Nil);
        // Nothing else is taken for a reason.
        client.send(&request(&["CLIENT", "REPLY", "SKIP"])).unwrap();
        client.send(&request(&["RENAME", "a", "b"])).unwrap();
        assert_eq!(client.ok(&["GET", "b"]).text(), "1");
        // Somebody who waits for a list gets what is moved there.
        let mut waiter = server.client();
        waiter.send(&request(&["BLPOP", "queue", "0"])).unwrap();
        client.ok(&["RPUSH", "source", "x"]);
        assert_eq!(client.ok(&["LMOVE", "source", "queue", "LEFT", "LEFT"]).text(), "x");
        let Reply::Array(got) = waiter.reply().unwrap() else {
            panic!("no array")
        };
        assert_eq!(got[1].text(), "x");
    }
    server.stop();
}

#[test]
fn a_key_without_its_value_is_an_error_on_however_many_cores() {
    let dir = Scratch::new();
    let server = start(dir.path(), 4, &["--durability", "everysec"]);
    let mut client = server.client();
    for name in ["MSET", "MSETNX"] {
        let expected = format!("ERR wrong number of arguments for '{}' command", name.to_lowercase());
        for words in [
            &["a", "1", "b"][..],
            &["a", "1", "b", "2", "c"],
            &["a", "1", "b", "2", "c", "3", "d"],
        ] {
            let words = [&[name], words].concat();
            assert_eq!(client.call(&words).text(), expected, "{words:?}");
            client.ok(&["MULTI"]);
            client.ok(&words);
            let Reply::Array(replies) = client.ok(&["EXEC"]) else {
                panic!("no array")
            };
            assert_eq!(replies[0].text(), expected, "{words:?}");
        }
    }
    assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(0));
    server.stop();
}

#[test]
fn what_no_log_takes_is_refused_and_nobody_is_held_for_it() {
    const MIB: usize = 1 << 20;
    let dir = Scratch::new();
    let server = start(dir.path(), 2, &["--durability", "everysec", "--segment-bytes", "1mb"]);
    let mut client = server.client();
    let on = |core: u16| {
        let mut names = (0..).map(|n| format!("key{n}"));
        names.find(|name| slot_of(name.as_bytes()) / 8192 == core).unwrap()
    };
    let (from, to) = (on(0), on(1));
    let chunk = "v".repeat(MIB);
    let (mut moved, mut refused) = (0, 0);
    for mib in [1, 8, 40, 70] {
        client.ok(&["DEL", &from, &to]);
        for _ in 0..mib {
            client.ok(&["APPEND", &from, &chunk]);
        }
        let reply = client.call(&["RENAME", &from, &to]);
        let now_at = match reply {
            Reply::Simple(_) => {
                moved += 1;
                &to
            }
            _ => {
                assert!(reply.text().starts_with("ERR "), "{reply:?}");
                refused += 1;
                &from
            }
        };
        assert_eq!(client.ok(&["STRLEN", now_at]), Reply::Integer((mib * MIB) as i64));
        assert_eq!(client.ok(&["EXISTS", &from, &to]), Reply::Integer(1));
        // Both cores go on.
        client.ok(&["SET", &on(0), "1"]);
        client.ok(&["SET", &on(1), "1"]);
    }
    assert!(moved > 0 && refused > 0, "{moved} moved, {refused} refused");
    server.stop();
}
