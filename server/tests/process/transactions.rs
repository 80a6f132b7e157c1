//! MULTI, EXEC, DISCARD, WATCH, UNWATCH on the real binary, on one core and on several.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

fn server(dir: &Scratch, cores: u16) -> Server {
    let cores = cores.to_string();
    Server::start(dir.path(), &["--cores", &cores, "--durability", "everysec"])
}

/// What comes back for commands written with bars between them; line ends as `;`.
fn answers(server: &Server, commands: &str) -> String {
    let mut client = server.client();
    let bytes: Vec<u8> = commands
        .split('|')
        .flat_map(|line| format!("{line}\r\n").into_bytes())
        .collect();
    client.send(&bytes).unwrap();
    client.send(b"quit\r\n").unwrap();
    let text = String::from_utf8(client.rest()).unwrap().replace("\r\n", ";");
    text.strip_suffix("+OK;").expect("the quit is answered").to_string()
}

/// Sessions in one packet each, and what redis-server 7.0.15 answers.
const SESSIONS: &[(&str, &str)] = &[
    (
        "WATCH|MULTI|MULTI|WATCH a|UNWATCH|EXEC|EXEC|DISCARD",
        "-ERR wrong number of arguments for 'watch' command;+OK;-ERR MULTI calls can not be nested;\
         -ERR WATCH inside MULTI is not allowed;+QUEUED;*1;+OK;-ERR EXEC without MULTI;-ERR DISCARD without MULTI;",
    ),
    (
        "multi|foo|set a|set a 1|exec|get a",
        "+OK;-ERR unknown command 'foo', with args beginning with: ;\
         -ERR wrong number of arguments for 'set' command;+QUEUED;\
         -EXECABORT Transaction discarded because of previous errors.;$-1;",
    ),
    (
        "multi|shutdown nosave|exec",
        "+OK;-ERR Command not allowed inside a transaction;-EXECABORT Transaction discarded because of previous errors.;",
    ),
    (
        "multi|exec x|exec",
        "+OK;-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command;\
         -ERR EXEC without MULTI;",
    ),
    (
        "multi|multi x|exec",
        "+OK;-ERR wrong number of arguments for 'multi' command;\
         -EXECABORT Transaction discarded because of previous errors.;",
    ),
    (
        "multi|set a b|reset|exec|get a",
        "+OK;+QUEUED;+RESET;-ERR EXEC without MULTI;$-1;",
    ),
    (
        "multi|set a b|discard|get a|exec",
        "+OK;+QUEUED;+OK;$-1;-ERR EXEC without MULTI;",
    ),
    ("multi|set a b", "+OK;+QUEUED;"),
    ("get a", "$-1;"),
    ("multi|exec|ping", "+OK;*0;+PONG;"),
    (
        "multi|set a 0|lpush a x|incr a|get a|exec|get a",
        "+OK;+QUEUED;+QUEUED;+QUEUED;+QUEUED;*4;+OK;\
         -WRONGTYPE Operation against a key holding the wrong kind of value;:1;$1;1;$1;1;",
    ),
    (
        "multi|set a 1|ping|get a|echo hi|select 0|client getname|exec|ping",
        "+OK;+QUEUED;+QUEUED;+QUEUED;+QUEUED;+QUEUED;+QUEUED;*6;+OK;+PONG;$1;1;$2;hi;+OK;$-1;+PONG;",
    ),
    (
        "multi|client setname me|client getname|exec",
        "+OK;+QUEUED;+QUEUED;*2;+OK;$2;me;",
    ),
    (
        "set a 1|multi|get a|exec|multi|exec|get a|multi|incr a|incr a|exec|get a",
        "+OK;+OK;+QUEUED;*1;$1;1;+OK;*0;$1;1;+OK;+QUEUED;+QUEUED;*2;:2;:3;$1;3;",
    ),
    ("set a 0|watch a|multi|incr a|exec", "+OK;+OK;+OK;+QUEUED;*1;:1;"),
    (
        "watch a|set a 5|multi|incr a|exec|get a",
        "+OK;+OK;+OK;+QUEUED;*-1;$1;5;",
    ),
    ("watch a|set a 6|multi|ping|exec|get a", "+OK;+OK;+OK;+QUEUED;*-1;$1;6;"),
    (
        "watch a|set a 5|unwatch|multi|incr a|exec",
        "+OK;+OK;+OK;+OK;+QUEUED;*1;:6;",
    ),
    (
        "watch a|set a 5|multi|discard|multi|incr a|exec",
        "+OK;+OK;+OK;+OK;+OK;+QUEUED;*1;:6;",
    ),
    (
        "watch a|set a 5|multi|foo|exec|multi|incr a|exec",
        "+OK;+OK;+OK;-ERR unknown command 'foo', with args beginning with: ;\
         -EXECABORT Transaction discarded because of previous errors.;+OK;+QUEUED;*1;:6;",
    ),
    (
        "watch a|set a 5|reset|multi|incr a|exec",
        "+OK;+OK;+RESET;+OK;+QUEUED;*1;:6;",
    ),
    (
        "watch a|multi|exec|set a 5|multi|incr a|exec",
        "+OK;+OK;*0;+OK;+OK;+QUEUED;*1;:6;",
    ),
    // What changes nothing is no change, and what writes the same value is one.
    (
        "set a 1|watch a|setnx a 2|multi|ping|exec",
        "+OK;+OK;:0;+OK;+QUEUED;*1;+PONG;",
    ),
    (
        "set a 1|watch a|set a 2 nx|multi|ping|exec",
        "+OK;+OK;$-1;+OK;+QUEUED;*1;+PONG;",
    ),
    (
        "set a 1|watch a|lpush a x|multi|ping|exec",
        "+OK;+OK;-WRONGTYPE Operation against a key holding the wrong kind of value;+OK;+QUEUED;*1;+PONG;",
    ),
    (
        "set a 1|watch a|set a 1|multi|ping|exec",
        "+OK;+OK;+OK;+OK;+QUEUED;*-1;",
    ),
    (
        "set a 1|watch a|expire a 100|multi|ping|exec",
        "+OK;+OK;:1;+OK;+QUEUED;*-1;",
    ),
    (
        "watch a|persist a|persist a|multi|ping|exec",
        "+OK;:1;:0;+OK;+QUEUED;*-1;",
    ),
    ("watch none|del none|multi|ping|exec", "+OK;:0;+OK;+QUEUED;*1;+PONG;"),
    (
        "del s|sadd s x|watch s|sadd s x|srem s y|multi|ping|exec",
        ":0;:1;+OK;:0;:0;+OK;+QUEUED;*1;+PONG;",
    ),
    ("watch s|srem s x|multi|ping|exec", "+OK;:1;+OK;+QUEUED;*-1;"),
    (
        "set {a}r 1|watch a|rename {a}r a|multi|ping|exec",
        "+OK;+OK;+OK;+OK;+QUEUED;*-1;",
    ),
    ("watch {a}r|copy a {a}r|multi|ping|exec", "+OK;:1;+OK;+QUEUED;*-1;"),
    ("watch a|copy a {a}q|multi|ping|exec", "+OK;:1;+OK;+QUEUED;*1;+PONG;"),
    (
        "del {a}l|lpush {a}l 1|watch {a}l|sort {a}none store {a}l|multi|ping|exec",
        ":0;:1;+OK;:0;+OK;+QUEUED;*-1;",
    ),
    (
        "rpush {a}l 1 2|watch {a}m|lmove {a}l {a}m left right|multi|ping|exec",
        ":2;+OK;$1;1;+OK;+QUEUED;*-1;",
    ),
    ("watch a|flushall|multi|ping|exec", "+OK;+OK;+OK;+QUEUED;*-1;"),
    ("watch a|flushdb|multi|ping|exec", "+OK;+OK;+OK;+QUEUED;*1;+PONG;"),
    // Replies that are not wanted.
    ("client reply skip|multi|set a 1|exec|ping", "+QUEUED;*1;+OK;+PONG;"),
    (
        "multi|set a 2|client reply off|exec|ping|client reply on|get a",
        "+OK;+QUEUED;+QUEUED;*2;+OK;+OK;$1;2;",
    ),
    (
        "multi|set a 3|client reply skip|exec|get a|get a",
        "+OK;+QUEUED;+QUEUED;*2;+OK;$1;3;",
    ),
    (
        "multi|client reply off|set a 4|exec|client reply on|get a",
        "+OK;+QUEUED;+QUEUED;*2;+OK;$1;4;",
    ),
    (
        "client reply off|multi|set a 5|ping|exec|client reply on|get a",
        "+OK;$1;5;",
    ),
    (
        "client reply off|watch a|multi|incr a|exec|client reply on|get a",
        "+OK;$1;6;",
    ),
    ("del a", ":1;"),
];

#[test]
fn sessions_in_one_packet_are_answered_as_by_redis() {
    for cores in [1, 3] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        // Connections are dealt to the cores in turn: each core has each session once.
        for _ in 0..cores {
            for (commands, expected) in SESSIONS {
                let expected = expected.replace("         ", "");
                assert_eq!(answers(&server, commands), expected, "{commands} on {cores} cores");
            }
            server.client().ok(&["FLUSHALL"]);
        }
        server.stop();
    }
}

/// Clients on every core of a server.
fn clients(server: &Server, cores: u16) -> Vec<Client<TcpStream>> {
    (0..cores).map(|_| server.client()).collect()
}

fn queued(client: &mut Client<TcpStream>, commands: &[&[&str]]) {
    client.ok(&["MULTI"]);
    for command in commands {
        assert_eq!(client.ok(command), Reply::Simple("QUEUED".into()));
    }
}

#[test]
fn a_write_of_another_connection_is_noticed_wherever_both_are() {
    for cores in [1, 2, 3] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let (mut watchers, mut writers) = (clients(&server, cores), clients(&server, cores));
        for key in ["a", "b", "c", "foo"] {
            for watcher in &mut watchers {
                for writer in &mut writers {
                    watcher.ok(&["SET", key, "1"]);
                    watcher.ok(&["WATCH", key]);
                    assert_eq!(watcher.info("watching_clients"), "1");
                    assert_eq!(watcher.info("total_watched_keys"), "1");
                    queued(watcher, &[&["INCR", key], &["GET", key]]);
                    writer.ok(&["INCR", key]);
                    assert_eq!(watcher.ok(&["EXEC"]), Reply::Nil);
                    // Nothing is watched any more, and what others write later is no matter.
                    writer.ok(&["INCR", key]);
                    queued(watcher, &[&["INCR", key], &["GET", key]]);
                    let done = Reply::Array(vec![Reply::Integer(4), Reply::Bulk(b"4".to_vec())]);
                    assert_eq!(watcher.ok(&["EXEC"]), done);
                    assert_eq!(watcher.info("watching_clients"), "0");
                    assert_eq!(watcher.info("total_watched_keys"), "0");
                }
            }
        }
        // Whoever has gone watches nothing.
        for watcher in &mut watchers {
            watcher.ok(&["WATCH", "a", "b", "c", "foo", "a"]);
        }
        let line = watchers[0].ok(&["CLIENT", "INFO"]).text();
        assert!(
            line.contains(" multi=-1 ") && line.trim_end().ends_with(" watch=4"),
            "{line}"
        );
        queued(&mut watchers[0], &[&["GET", "a"]]);
        let list = writers[0].ok(&["CLIENT", "LIST"]).text();
        assert!(
            list.lines()
                .any(|line| line.contains(" flags=x ") && line.contains(" multi=1 ") && line.ends_with(" watch=4")),
            "{list}"
        );
        drop(watchers);
        while writers[0].info("total_watched_keys") != "0" {}
        assert_eq!(writers[0].info("watching_clients"), "0");
        server.stop();
    }
}

#[test]
fn a_watched_key_that_expires_has_changed() {
    for cores in [1, 3] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        for mut client in clients(&server, cores) {
            // Watched while it was there, however slow the machine is.
            loop {
                client.ok(&["SET", "a", "1", "PX", "20"]);
                client.ok(&["WATCH", "a"]);
                if client.ok(&["GET", "a"]) != Reply::Nil {
                    break;
                }
                client.ok(&["UNWATCH"]);
            }
            let mut other = server.client();
            while other.ok(&["GET", "a"]) != Reply::Nil {}
            queued(&mut client, &[&["SET", "b{a}", "1"]]);
            assert_eq!(client.ok(&["EXEC"]), Reply::Nil);
            // One that had expired before has not.
            client.ok(&["WATCH", "a"]);
            other.ok(&["DEL", "a"]);
            queued(&mut client, &[&["SET", "b{a}", "1"]]);
            assert_eq!(client.ok(&["EXEC"]), Reply::Array(vec![Reply::Simple("OK".into())]));
        }
        server.stop();
    }
}

#[test]
fn a_connection_stays_where_it_is_while_it_watches_or_keeps_commands() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let mut other = server.client();
    for mut client in clients(&server, 2) {
        client.ok(&["WATCH", "a"]);
        // So many commands for one core that the connection would move there.
        for _ in 0..1000 {
            client.ok(&["GET", "a"]);
        }
        client.ok(&["MULTI"]);
        for _ in 0..1000 {
            client.ok(&["INCR", "a"]);
        }
        other.ok(&["SET", "a", "0"]);
        assert_eq!(client.ok(&["EXEC"]), Reply::Nil);
        client.ok(&["MULTI"]);
        for _ in 0..1000 {
            client.ok(&["INCR", "a"]);
        }
        let Reply::Array(counts) = client.ok(&["EXEC"]) else {
            panic!("EXEC answers an array")
        };
        assert_eq!(counts, (1..=1000).map(Reply::Integer).collect::<Vec<_>>());
        for _ in 0..1000 {
            client.ok(&["INCR", "a"]);
        }
        queued(&mut client, &[&["GET", "a"]]);
        assert_eq!(client.ok(&["EXEC"]), Reply::Array(vec![Reply::Bulk(b"2000".to_vec())]));
    }
    server.stop();
}

#[test]
fn a_cores_own_port_redirects_when_a_command_is_kept_and_wants_one_slot() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let Reply::Array(ranges) = server.client().ok(&["CLUSTER", "SLOTS"]) else {
        panic!("CLUSTER SLOTS answers an array")
    };
    let ports: Vec<u16> = ranges
        .iter()
        .map(|range| {
            let Reply::Array(parts) = range else {
                panic!("{range:?}")
            };
            let Reply::Array(node) = &parts[2] else {
                panic!("{parts:?}")
            };
            node[1].text().parse().unwrap()
        })
        .collect();
    // Slots: a 15495, b 3300, c 7365.
    let mut client = Client::connect(ports[0]);
    queued(&mut client, &[&["SET", "b", "1"]]);
    let moved = format!("MOVED 15495 127.0.0.1:{}", ports[1]);
    assert_eq!(client.call(&["SET", "a", "1"]), Reply::Error(moved.clone()));
    assert!(client.call(&["EXEC"]).text().starts_with("EXECABORT"));
    assert_eq!(client.ok(&["GET", "b"]), Reply::Nil);
    assert_eq!(client.call(&["WATCH", "a"]), Reply::Error(moved));
    assert!(client.call(&["WATCH", "b", "c"]).text().starts_with("CROSSSLOT"));
    queued(&mut client, &[&["SET", "b", "1"], &["SET", "c", "1"]]);
    assert!(client.call(&["EXEC"]).text().starts_with("CROSSSLOT"));
    assert_eq!(client.call(&["EXEC"]), Reply::Error("ERR EXEC without MULTI".into()));
    queued(&mut client, &[&["SET", "b", "1"], &["SET", "{b}c", "1"], &["DBSIZE"]]);
    let done = vec![
        Reply::Simple("OK".into()),
        Reply::Simple("OK".into()),
        Reply::Integer(2),
    ];
    assert_eq!(client.ok(&["EXEC"]), Reply::Array(done));
    server.stop();
}

/// A command over a few keys of one slot, and over others that lie anywhere; or a step of a transaction.
fn any_command(rng: &mut SeededRng, inside: &mut bool) -> Vec<String> {
    let tagged = *inside || rng.chance(1, 2);
    let mut key = || format!("{}k{}", if tagged { "{t}" } else { "" }, rng.below(6));
    let (a, b) = (key(), key());
    let value = rng.below(1000).to_string();
    let (words, still): (&[&str], bool) = match rng.below(24) {
        0..=2 => (&["MULTI"], true),
        3..=5 => (&["EXEC"], false),
        6 => (&["DISCARD"], false),
        7 if !*inside => (&["WATCH", "{t}k1", "{t}k2"], false),
        8 if rng.chance(1, 3) => (&["UNWATCH"], *inside),
        9 if rng.chance(1, 3) => (&["RESET"], false),
        10 => (&["PING", &value], *inside),
        11 => (&["NOSUCH", &a], *inside),
        12 => (&["SETNX", &a, &value], *inside),
        13 => (&["DEL", &a, &b], *inside),
        14 => (&["LPUSH", &a, &value], *inside),
        15 => (&["MGET", &a, &b, &a], *inside),
        16 | 17 => (&["INCR", &a], *inside),
        18 => (&["APPEND", &a, "0"], *inside),
        19 => (&["SET", &a, &value], *inside),
        20 => (&["EXISTS", &a, &b], *inside),
        _ => (&["GET", &a], *inside),
    };
    *inside = still;
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn random_sessions_over_several_cores_are_answered_like_those_of_one() {
    let one_dir = Scratch::new();
    let one = server(&one_dir, 1);
    for cores in [2, 3] {
        let dir = Scratch::new();
        let many = server(&dir, cores);
        let mut rng = SeededRng::new(u64::from(cores));
        for _ in 0..6 {
            let (mut expected, mut found) = (one.client(), many.client());
            let mut inside = false;
            for _ in 0..60 {
                let pipeline: Vec<_> = (0..1 + rng.below(40))
                    .map(|_| any_command(&mut rng, &mut inside))
                    .collect();
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
        assert!(!many.client().info("transactions_executed").starts_with('0'));
        assert_eq!(
            many.client().info("transactions_failed_watches"),
            one.client().info("transactions_failed_watches")
        );
        one.client().ok(&["FLUSHALL"]);
        one.client().ok(&["CONFIG", "RESETSTAT"]);
        many.stop();
    }
    one.stop();
}

const ACCOUNTS: u64 = 8;
const BALANCE: i64 = 1000;

fn account(tag: &str, number: u64) -> String {
    format!("account:{number}{{{tag}}}")
}

/// Moves money between two accounts: at once, or after having looked, only if nobody else has moved any.
fn transfer(client: &mut Client<TcpStream>, rng: &mut SeededRng, tag: &str) -> bool {
    let (from, to) = (account(tag, rng.below(ACCOUNTS)), account(tag, rng.below(ACCOUNTS)));
    let amount = rng.below(10).to_string();
    if rng.chance(1, 2) {
        queued(client, &[&["DECRBY", &from, &amount], &["INCRBY", &to, &amount]]);
        return client.ok(&["EXEC"]) != Reply::Nil;
    }
    client.ok(&["WATCH", &from, &to]);
    let balance = |client: &mut Client<TcpStream>, key: &str| client.ok(&["GET", key]).text().parse::<i64>().unwrap();
    let (has, gets) = (balance(client, &from), balance(client, &to));
    let amount: i64 = amount.parse().unwrap();
    if from == to || has < amount {
        client.ok(&["UNWATCH"]);
        return false;
    }
    let (left, grown) = ((has - amount).to_string(), (gets + amount).to_string());
    queued(client, &[&["SET", &from, &left], &["SET", &to, &grown]]);
    client.ok(&["EXEC"]) != Reply::Nil
}

fn total(client: &mut Client<TcpStream>, tag: &str) -> i64 {
    client.ok(&["MULTI"]);
    for number in 0..ACCOUNTS {
        client.ok(&["GET", &account(tag, number)]);
    }
    let Reply::Array(balances) = client.ok(&["EXEC"]) else {
        panic!("EXEC answers an array")
    };
    balances
        .iter()
        .map(|balance| balance.text().parse::<i64>().unwrap())
        .sum()
}

#[test]
fn money_is_neither_made_nor_lost_and_nobody_sees_it_on_its_way() {
    for (cores, seed) in [(1, 1), (3, 2)] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let tags = ["a", "b"];
        for tag in tags {
            for number in 0..ACCOUNTS {
                server
                    .client()
                    .ok(&["SET", &account(tag, number), &BALANCE.to_string()]);
            }
        }
        let all = BALANCE * ACCOUNTS as i64;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let movers: Vec<_> = (0..6)
                .map(|mover| {
                    let (tag, mut client) = (tags[mover % 2], server.client());
                    let mut rng = SeededRng::new(seed * 100 + mover as u64);
                    scope.spawn(move || (0..300).filter(|_| transfer(&mut client, &mut rng, tag)).count())
                })
                .collect();
            for tag in tags {
                let (mut client, done) = (server.client(), &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(total(&mut client, tag), all);
                    }
                });
            }
            let moved: usize = movers.into_iter().map(|mover| mover.join().unwrap()).sum();
            done.store(true, Ordering::Relaxed);
            assert!(moved > 0);
        });
        for tag in tags {
            assert_eq!(total(&mut server.client(), tag), all);
        }
        server.stop();
    }
}

#[test]
fn after_a_kill_a_transaction_is_there_as_a_whole_or_not_at_all() {
    for cores in ["1", "2"] {
        let dir = Scratch::new();
        let options = ["--cores", cores, "--segment-bytes", "1mb"];
        let server = Server::start(dir.path(), &options);
        let port = server.port;
        let writers: Vec<_> = (0..4)
            .map(|writer: u32| {
                thread::spawn(move || {
                    let mut client = Client::connect(port);
                    let keys: Vec<String> = (0..5).map(|n| format!("{n}{{{writer}}}")).collect();
                    let mut acknowledged = 0;
                    for round in 1u64.. {
                        let value = round.to_string();
                        let mut bytes = request(&["MULTI"]);
                        for key in &keys {
                            bytes.extend(request(&["SET", key, &value]));
                        }
                        bytes.extend(request(&["EXEC"]));
                        if client.send(&bytes).is_err() {
                            break;
                        }
                        let replies: Result<Vec<Reply>, _> = (0..keys.len() + 2).map(|_| client.reply()).collect();
                        match replies {
                            Ok(replies) => assert!(matches!(replies.last(), Some(Reply::Array(_)))),
                            Err(_) => break,
                        }
                        acknowledged = round;
                    }
                    (keys, acknowledged)
                })
            })
            .collect();
        let mut operator = server.client();
        while operator.info("transactions_executed").parse::<u64>().unwrap() < 400 {}
        server.kill();
        let known: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        let server = Server::start(dir.path(), &options);
        let mut client = server.client();
        for (keys, acknowledged) in known {
            let values: Vec<u64> = keys
                .iter()
                .map(|key| client.ok(&["GET", key]).text().parse().unwrap())
                .collect();
            assert!(values.iter().all(|value| *value == values[0]), "{keys:?} {values:?}");
            assert!(
                (acknowledged..=acknowledged + 1).contains(&values[0]),
                "{values:?} after {acknowledged}"
            );
        }
        server.stop();
    }
}
