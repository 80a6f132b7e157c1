//! The bound on the data set: what is refused at it, which keys go, and that what has gone stays gone.

use std::collections::BTreeSet;
use std::net::TcpStream;

use crate::client::{Client, Reply, request};
use crate::cluster::wait_until;
use crate::scratch::Scratch;
use crate::server::Server;

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
/// Commands sent before their replies are read.
const PIPELINE: usize = 64;

/// Sets the keys `from..to` to values of `bytes` bytes that begin with the number. How many were refused.
fn fill(client: &mut Client<TcpStream>, from: u64, to: u64, bytes: usize) -> usize {
    let numbers: Vec<u64> = (from..to).collect();
    let mut refused = 0;
    for chunk in numbers.chunks(PIPELINE) {
        let requests: Vec<u8> = chunk
            .iter()
            .flat_map(|n| request(&["SET", &format!("k:{n}"), &value(*n, bytes)]))
            .collect();
        client.send(&requests).unwrap();
        for _ in chunk {
            match client.reply().unwrap() {
                Reply::Simple(text) => assert_eq!(text, "OK"),
                other => {
                    assert_eq!(other, Reply::Error(OOM.into()));
                    refused += 1;
                }
            }
        }
    }
    refused
}

fn value(n: u64, bytes: usize) -> String {
    format!("{n}:{}", "v".repeat(bytes))
}

/// The keys `0..to` that are there; each must have its value.
fn there(client: &mut Client<TcpStream>, to: u64, bytes: usize) -> BTreeSet<u64> {
    let numbers: Vec<u64> = (0..to).collect();
    let mut found = BTreeSet::new();
    for chunk in numbers.chunks(PIPELINE) {
        let requests: Vec<u8> = chunk
            .iter()
            .flat_map(|n| request(&["GET", &format!("k:{n}")]))
            .collect();
        client.send(&requests).unwrap();
        for n in chunk {
            match client.reply().unwrap() {
                Reply::Nil => {}
                reply => {
                    assert_eq!(reply, Reply::Bulk(value(*n, bytes).into_bytes()));
                    found.insert(*n);
                }
            }
        }
    }
    found
}

fn dataset(client: &mut Client<TcpStream>) -> u64 {
    client.info("dataset").parse().unwrap()
}

#[test]
fn without_a_policy_what_needs_more_room_is_refused() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--dataset-limit", "4mb", "--cores", "2"]);
    let mut client = server.client();
    assert!(fill(&mut client, 0, 20_000, 1_000) > 10_000);
    let bytes = dataset(&mut client);
    // What one turn brings may come on top.
    assert!(bytes < 6 << 20, "{bytes}");
    assert_eq!(client.info("maxmemory"), (4 << 20).to_string());
    for words in [
        &["RPUSH", "k", "v"][..],
        &["EVAL", "return redis.call('set', KEYS[1], 1)", "1", "k"],
    ] {
        let reply = client.call(words).text();
        assert!(reply.starts_with("OOM"), "{words:?}: {reply}");
    }
    client.ok(&["MULTI"]);
    assert_eq!(client.call(&["SET", "k", "v"]), Reply::Error(OOM.into()));
    assert!(client.call(&["EXEC"]).text().starts_with("EXECABORT"));
    assert!(!there(&mut client, 20_000, 1_000).is_empty());
    client.ok(&["CONFIG", "SET", "maxmemory", "1gb"]);
    assert_eq!(fill(&mut client, 0, 5_000, 1_000), 0);
    client.ok(&["CONFIG", "SET", "dataset-limit", "1"]);
    assert!(client.call(&["SET", "k", "v"]).is_error());
    client.ok(&["FLUSHALL"]);
    client.ok(&["CONFIG", "SET", "maxmemory", "4mb"]);
    client.ok(&["SET", "k", "v"]);
    server.stop();
}

#[test]
fn keys_that_went_stay_gone_after_a_kill() {
    for (policy, cores) in [("allkeys-lru", "1"), ("allkeys-lfu", "2"), ("allkeys-random", "1")] {
        let scratch = Scratch::new();
        let options = ["--dataset-limit", "4mb", "--maxmemory-policy", policy, "--cores", cores];
        let server = Server::start(scratch.path(), &options);
        let mut client = server.client();
        assert_eq!(fill(&mut client, 0, 20_000, 1_000), 0, "{policy}: nothing is refused");
        client.ok(&["SET", "last", "v"]);
        let (bytes, evicted) = (dataset(&mut client), client.info("evicted_keys"));
        assert!(bytes < 5 << 20, "{policy}: {bytes}");
        assert!(evicted.parse::<u64>().unwrap() > 10_000, "{policy}: {evicted}");
        let left = there(&mut client, 20_000, 1_000);
        assert!(
            (1_500..6_000).contains(&left.len()),
            "{policy}: {} keys are left",
            left.len()
        );
        server.kill();
        // Without a limit nothing more goes.
        let server = Server::start(scratch.path(), &["--cores", cores]);
        assert_eq!(there(&mut server.client(), 20_000, 1_000), left, "{policy}");
        server.stop();
    }
}

#[test]
fn a_limit_above_the_memory_bounds_what_is_in_files() {
    let scratch = Scratch::new();
    let options = [
        "--memory",
        "16mb",
        "--segment-bytes",
        "1mb",
        "--log-target",
        "8mb",
        "--dataset-limit",
        "24mb",
        "--maxmemory-policy",
        "allkeys-lru",
    ];
    let server = Server::start(scratch.path(), &options);
    let mut client = server.client();
    assert_eq!(fill(&mut client, 0, 60_000, 1_000), 0);
    client.ok(&["SET", "last", "v"]);
    let bytes = dataset(&mut client);
    assert!(bytes < 32 << 20, "{bytes}");
    let mut left = BTreeSet::new();
    // Keys go until the data is within its limit, while others are answered.
    wait_until("no key goes any more", || {
        let before = std::mem::replace(&mut left, there(&mut client, 60_000, 1_000));
        before == left
    });
    assert!((15_000..33_000).contains(&left.len()), "{} keys are left", left.len());
    // Merges that go on may bring the data above its limit by a little once more.
    client.ok(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let left = there(&mut client, 60_000, 1_000);
    server.kill();
    let server = Server::start(scratch.path(), &options[..6]);
    let found = there(&mut server.client(), 60_000, 1_000);
    let differ: Vec<_> = found.symmetric_difference(&left).collect();
    assert!(differ.is_empty(), "{differ:?}");
    server.stop();
}

#[test]
fn those_who_watch_or_keep_copies_hear_of_keys_that_go() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--notify-keyspace-events", "Ee"]);
    let (mut client, mut listener) = (server.client(), server.client());
    listener.ok(&["SUBSCRIBE", "__keyevent@0__:evicted"]);
    client.ok(&["SET", "k", "v"]);
    client.ok(&["WATCH", "k"]);
    server
        .client()
        .ok(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1"]);
    let said = ["message", "__keyevent@0__:evicted", "k"].map(|word| Reply::Bulk(word.into()));
    assert_eq!(listener.reply().unwrap(), Reply::Array(said.to_vec()));
    client.ok(&["CONFIG", "SET", "maxmemory", "0"]);
    client.ok(&["MULTI"]);
    client.ok(&["PING"]);
    assert_eq!(client.call(&["EXEC"]), Reply::Nil);
    server.stop();
}

#[test]
fn uses_are_shown_as_the_policy_notes_them() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), &["--maxmemory-policy", "allkeys-lru"]);
    let mut client = server.client();
    client.ok(&["SET", "k", "v"]);
    let Reply::Bulk(_) = client.ok(&["DUMP", "k"]) else {
        panic!("DUMP answers bytes")
    };
    assert_eq!(client.ok(&["OBJECT", "IDLETIME", "k"]).text(), "0");
    assert!(client.call(&["OBJECT", "FREQ", "k"]).is_error());
    client.ok(&["CONFIG", "SET", "maxmemory-policy", "volatile-lfu"]);
    client.ok(&["SET", "new", "v"]);
    assert_eq!(client.ok(&["OBJECT", "FREQ", "new"]).text(), "5");
    assert!(client.call(&["OBJECT", "IDLETIME", "new"]).is_error());
    let in_script = "return redis.call('object', 'idletime', KEYS[1])";
    assert_eq!(
        client.ok(&["EVAL", in_script, "1", "new"]).text(),
        "0",
        "scripts are told nothing"
    );
    server.stop();
}
