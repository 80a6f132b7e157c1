//! Transactions whose keys live on several cores: seen whole or not at all, by other clients and after a crash.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use slotcore_engine::ord::slot_of;
use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

/// The `n`th key with this beginning that lives on a core.
fn key_on(name: &str, core: u16, cores: u16) -> String {
    let owned = |key: &String| u32::from(slot_of(key.as_bytes())) * u32::from(cores) / 16_384 == u32::from(core);
    (0..)
        .map(|n| format!("{name}:{n}"))
        .find(owned)
        .expect("some key lives there")
}

fn keys_on_all(name: &str, cores: u16) -> Vec<String> {
    (0..cores).map(|core| key_on(name, core, cores)).collect()
}

fn start(dir: &Path, cores: u16, durability: &str) -> Server {
    let cores = cores.to_string();
    let options = ["--cores", &cores, "--durability", durability, "--segment-bytes", "1mb"];
    Server::start(dir, &options)
}

/// A transaction in one packet; the reply to its EXEC, `None` when the connection broke.
fn exec(client: &mut Client<TcpStream>, commands: &[Vec<&str>]) -> Option<Reply> {
    let mut bytes = request(&["MULTI"]);
    commands.iter().for_each(|command| bytes.extend(request(command)));
    bytes.extend(request(&["EXEC"]));
    client.send(&bytes).ok()?;
    for _ in 0..=commands.len() {
        client.reply().ok()?;
    }
    client.reply().ok()
}

fn numbers(reply: &Reply) -> Vec<i64> {
    let Reply::Array(values) = reply else {
        panic!("{reply:?}")
    };
    values.iter().map(|value| value.text().parse().unwrap()).collect()
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

#[test]
fn commands_of_all_kinds_are_taken_apart_and_answered_in_order() {
    for cores in [2, 3] {
        let dir = Scratch::new();
        let server = start(dir.path(), cores, "everysec");
        let keys = keys_on_all("k", cores);
        let (a, b) = (keys[0].as_str(), keys[1].as_str());
        // Connections are dealt out: each core coordinates once.
        for _ in 0..cores {
            let mut client = server.client();
            client.ok(&["FLUSHALL"]);
            let reply = exec(
                &mut client,
                &[
                    vec!["MSET", a, "1", b, "2", "other", "3"],
                    vec!["INCR", b],
                    vec!["LPUSH", a, "x"],
                    vec!["PING"],
                    vec!["MGET", b, "nothing", a],
                    vec!["DBSIZE"],
                    vec!["EXISTS", a, b, "nothing"],
                    vec!["DEL", a, b],
                    vec!["KEYS", "*"],
                    vec!["UNWATCH"],
                    vec!["FLUSHALL"],
                    vec!["RANDOMKEY"],
                ],
            );
            let bulk = |text: &str| Reply::Bulk(text.into());
            let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
            let expected = vec![
                ok(),
                Reply::Integer(3),
                Reply::Error(wrong.into()),
                Reply::Simple("PONG".into()),
                Reply::Array(vec![bulk("3"), Reply::Nil, bulk("1")]),
                Reply::Integer(3),
                Reply::Integer(2),
                Reply::Integer(2),
                Reply::Array(vec![bulk("other")]),
                ok(),
                ok(),
                Reply::Nil,
            ];
            assert_eq!(reply, Some(Reply::Array(expected)));
            // What cannot be taken apart is carried out on values brought together, with all that stands beside it.
            let reply = exec(
                &mut client,
                &[
                    vec!["SET", a, "1"],
                    vec!["RENAME", a, b],
                    vec!["PING"],
                    vec!["INCR", b],
                    vec!["LPUSH", b, "x"],
                    vec!["MGET", a, b],
                    vec!["RENAME", a, b],
                ],
            );
            let expected = vec![
                ok(),
                ok(),
                Reply::Simple("PONG".into()),
                Reply::Integer(2),
                Reply::Error(wrong.into()),
                Reply::Array(vec![Reply::Nil, bulk("2")]),
                Reply::Error("ERR no such key".into()),
            ];
            assert_eq!(reply, Some(Reply::Array(expected)));
            assert_eq!(client.ok(&["MGET", a, b]), Reply::Array(vec![Reply::Nil, bulk("2")]));
            // But not beside what is about all keys.
            let reply = exec(&mut client, &[vec!["DBSIZE"], vec!["RENAME", b, a]]);
            assert!(reply.unwrap().text().starts_with("CROSSSLOT"));
            // A watched key that changed stops it.
            let mut other = server.client();
            client.ok(&["WATCH", a, b]);
            other.ok(&["SET", a, "9"]);
            assert_eq!(exec(&mut client, &[vec!["RENAME", b, a]]), Some(Reply::Nil));
            assert_eq!(
                exec(&mut client, &[vec!["RENAME", b, a]]),
                Some(Reply::Array(vec![ok()]))
            );
            client.ok(&["DEL", a]);
        }
        server.stop();
    }
}

#[test]
fn what_was_sent_before_comes_before_and_what_was_sent_behind_comes_behind() {
    let dir = Scratch::new();
    let server = start(dir.path(), 2, "always");
    let keys = keys_on_all("k", 2);
    let (a, b) = (keys[0].as_str(), keys[1].as_str());
    for _ in 0..2 {
        let mut client = server.client();
        client.ok(&["FLUSHALL"]);
        let session: &[&[&str]] = &[
            &["SET", a, "1"],
            &["SET", b, "1"],
            &["MULTI"],
            &["INCR", a],
            &["INCR", b],
            &["EXEC"],
            &["INCR", a],
            &["INCR", b],
            &["MULTI"],
            &["GET", a],
            &["GET", b],
            &["EXEC"],
        ];
        let bytes: Vec<u8> = session.iter().flat_map(|words| request(words)).collect();
        client.send(&bytes).unwrap();
        let replies: Vec<Reply> = session.iter().map(|_| client.reply().unwrap()).collect();
        assert_eq!(numbers(&replies[5]), [2, 2]);
        assert_eq!(replies[6..8], [Reply::Integer(3), Reply::Integer(3)]);
        assert_eq!(numbers(&replies[11]), [3, 3]);
    }
    server.stop();
}

#[test]
fn a_watched_key_on_any_core_stops_all_of_it() {
    let dir = Scratch::new();
    let server = start(dir.path(), 3, "everysec");
    let keys = keys_on_all("k", 3);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut other = server.client();
    for _ in 0..3 {
        let mut client = server.client();
        for changed in [None, Some(0), Some(1), Some(2)] {
            client.ok(&["MSET", keys[0], "0", keys[1], "0", keys[2], "0"]);
            client.ok(&["WATCH", keys[0], keys[1], keys[2]]);
            if let Some(changed) = changed {
                other.ok(&["SET", keys[changed], "9"]);
            }
            // The third is only watched.
            let reply = exec(&mut client, &[vec!["INCR", keys[0]], vec!["INCR", keys[1]]]).unwrap();
            let both = Reply::Array(vec![Reply::Integer(1), Reply::Integer(1)]);
            assert_eq!(reply, if changed.is_some() { Reply::Nil } else { both });
            let sum: i64 = numbers(&client.ok(&["MGET", keys[0], keys[1]])).iter().sum();
            assert_eq!(sum, [9, 9, 0, 2][changed.unwrap_or(3)]);
            // Nothing is watched any more.
            other.ok(&["SET", keys[2], "7"]);
            let reply = exec(&mut client, &[vec!["GET", keys[2]], vec!["STRLEN", keys[0]]]).unwrap();
            assert_eq!(numbers(&reply), [7, 1]);
        }
        // Watched keys on two cores, and nothing to do.
        client.ok(&["WATCH", keys[0], keys[1]]);
        assert_eq!(exec(&mut client, &[]), Some(Reply::Array(vec![])));
    }
    assert_eq!(server.client().info("total_watched_keys"), "0");
    server.stop();
}

const ACCOUNTS: usize = 8;
const EACH: i64 = 100;

fn accounts(cores: u16) -> Vec<String> {
    (0..ACCOUNTS)
        .map(|n| key_on(&format!("account{n}"), n as u16 % cores, cores))
        .collect()
}

fn open_accounts(client: &mut Client<TcpStream>, accounts: &[String]) {
    for account in accounts {
        client.ok(&["SET", account, &EACH.to_string()]);
    }
}

/// Moves money between two accounts, now and then only if nobody else touches the first; `None` when the connection broke.
fn transfer(client: &mut Client<TcpStream>, rng: &mut SeededRng, accounts: &[String]) -> Option<()> {
    let from = rng.below(ACCOUNTS as u64) as usize;
    let to = (from + 1 + rng.below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
    let amount = (1 + rng.below(20)).to_string();
    if rng.below(3) == 0 {
        client.send(&request(&["WATCH", &accounts[from]])).ok()?;
        client.reply().ok()?;
    }
    let commands = [
        vec!["DECRBY", &accounts[from], &amount],
        vec!["INCRBY", &accounts[to], &amount],
    ];
    exec(client, &commands).map(|_| ())
}

/// What is in all accounts, seen at one moment.
fn total(client: &mut Client<TcpStream>, accounts: &[String]) -> Option<i64> {
    let gets: Vec<Vec<&str>> = accounts.iter().map(|account| vec!["GET", account.as_str()]).collect();
    Some(numbers(&exec(client, &gets)?).iter().sum())
}

#[test]
fn readers_never_see_a_transfer_half_done() {
    for (cores, durability) in [(2, "always"), (4, "everysec")] {
        let dir = Scratch::new();
        let server = start(dir.path(), cores, durability);
        let (accounts, all) = (accounts(cores), ACCOUNTS as i64 * EACH);
        open_accounts(&mut server.client(), &accounts);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let movers: Vec<_> = (0..4)
                .map(|mover| {
                    let (accounts, mut client) = (&accounts, server.client());
                    let mut rng = SeededRng::new(u64::from(cores) * 100 + mover);
                    scope.spawn(move || (0..100).for_each(|_| transfer(&mut client, &mut rng, accounts).unwrap()))
                })
                .collect();
            for _ in 0..2 {
                let (accounts, mut client, done) = (&accounts, server.client(), &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(total(&mut client, accounts), Some(all));
                    }
                });
            }
            // Others go on with the same cores meanwhile.
            let (mut client, done_too) = (server.client(), &done);
            scope.spawn(move || {
                for n in 0u64.. {
                    let key = format!("noise:{}", n % 50);
                    client.ok(&["INCR", &key]);
                    if done_too.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            movers.into_iter().for_each(|mover| mover.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
        server.stop();
    }
}

#[test]
fn after_kills_every_transfer_is_whole_and_none_that_was_answered_is_gone() {
    for (cores, durability) in [(2, "always"), (2, "off"), (4, "everysec")] {
        let dir = Scratch::new();
        let (accounts, all) = (accounts(cores), ACCOUNTS as i64 * EACH);
        let mut server = start(dir.path(), cores, durability);
        open_accounts(&mut server.client(), &accounts);
        // Accounts of `everysec` and `off` are opened by a transaction, too: it is durable when it is answered.
        let sets: Vec<Vec<&str>> = accounts.iter().map(|account| vec!["INCRBY", account, "0"]).collect();
        assert!(exec(&mut server.client(), &sets).is_some());
        for round in 0..3u64 {
            let port = server.port;
            let movers: Vec<_> = (0..3u64)
                .map(|mover| {
                    let accounts = accounts.clone();
                    thread::spawn(move || {
                        let mut client = Client::connect(port);
                        let mut rng = SeededRng::new(round * 10 + mover);
                        while transfer(&mut client, &mut rng, &accounts).is_some() {}
                    })
                })
                .collect();
            let counter = {
                let keys = keys_on_all("round", cores);
                thread::spawn(move || {
                    let mut client = Client::connect(port);
                    let increments: Vec<Vec<&str>> = keys.iter().map(|key| vec!["INCR", key.as_str()]).collect();
                    let mut last = 0;
                    while let Some(reply) = exec(&mut client, &increments) {
                        let values = numbers(&reply);
                        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
                        last = values[0];
                    }
                    last
                })
            };
            let mut operator = server.client();
            while operator.info("transactions_executed").parse::<u64>().unwrap() < 300 {}
            server.kill();
            movers.into_iter().for_each(|mover| mover.join().unwrap());
            let acknowledged = counter.join().unwrap();
            server = start(dir.path(), cores, durability);
            let mut client = server.client();
            assert_eq!(total(&mut client, &accounts), Some(all), "{cores} cores, {durability}");
            let keys = keys_on_all("round", cores);
            let counted: Vec<i64> = keys
                .iter()
                .map(|key| client.ok(&["GET", key]).text().parse().unwrap())
                .collect();
            assert!(counted.iter().all(|value| *value == counted[0]), "{counted:?}");
            assert!(
                (acknowledged..=acknowledged + 1).contains(&counted[0]),
                "{counted:?} after {acknowledged}"
            );
        }
        server.stop();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_core_whose_log_has_lost_it_gets_it_from_another_once() {
    for loser in [0, 1] {
        let (dir, aside) = (Scratch::new(), Scratch::new());
        let keys = keys_on_all("k", 2);
        let increments: Vec<Vec<&str>> = keys.iter().map(|key| vec!["INCR", key.as_str()]).collect();
        let server = start(dir.path(), 2, "always");
        let mut client = server.client();
        assert_eq!(
            exec(&mut client, &increments).map(|reply| numbers(&reply)),
            Some(vec![1, 1])
        );
        server.kill();
        // What the core will find after the next crash, as if the machine had lost the rest.
        let log = dir.path().join(format!("core-{loser}"));
        copy(&log, aside.path());

        let server = start(dir.path(), 2, "always");
        let mut client = server.client();
        assert_eq!(
            exec(&mut client, &increments).map(|reply| numbers(&reply)),
            Some(vec![2, 2])
        );
        server.kill();
        fs::remove_dir_all(&log).unwrap();
        copy(aside.path(), &log);
        for _ in 0..2 {
            let server = start(dir.path(), 2, "always");
            let mut client = server.client();
            let gets: Vec<Vec<&str>> = keys.iter().map(|key| vec!["GET", key.as_str()]).collect();
            assert_eq!(exec(&mut client, &gets).map(|reply| numbers(&reply)), Some(vec![2, 2]));
            server.kill();
        }
        // And the numbers go on behind it.
        let server = start(dir.path(), 2, "always");
        let mut client = server.client();
        assert_eq!(
            exec(&mut client, &increments).map(|reply| numbers(&reply)),
            Some(vec![3, 3])
        );
        server.stop();
        let server = start(dir.path(), 2, "always");
        assert_eq!(numbers(&server.client().ok(&["MGET", &keys[0], &keys[1]])), [3, 3]);
        server.stop();
    }
}
