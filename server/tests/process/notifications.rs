//! Keyspace notifications: every command tells what redis-server tells, class by class.
//!
//! `notifications.txt` holds commands and what redis-server 7.0.15 notified of after each.

use std::net::TcpStream;

use crate::client::{Client, Reply, request};
use crate::pubsub::{push, speaking};
use crate::scratch::Scratch;
use crate::server::Server;

const SCRIPT: &str = include_str!("notifications.txt");
const CHANNEL: &str = "__keyevent@0__:";

/// A line of the script and what follows it: class, event, key.
struct Step {
    line: &'static str,
    heard: Vec<[&'static str; 3]>,
}

fn script() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in SCRIPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            None => steps.push(Step {
                line,
                heard: Vec::new(),
            }),
            Some(event) => {
                let words: Vec<&str> = event.split(' ').collect();
                let words = words.try_into().unwrap();
                steps.last_mut().unwrap().heard.push(words);
            }
        }
    }
    steps
}

/// Runs a step, and tells what was heard of it.
fn run(
    step: &Step,
    client: &mut Client<TcpStream>,
    listener: &mut Client<TcpStream>,
    awaited: usize,
) -> Vec<(String, String)> {
    let words: Vec<&str> = step.line.split(' ').collect();
    match words[0] {
        ">" => drop(client.call(&words[1..])),
        _ => while client.ok(&["EXISTS", words[2]]) == Reply::Integer(1) {},
    }
    client.ok(&["PUBLISH", &format!("{CHANNEL}end"), ""]);
    let (mut heard, mut ended) = (Vec::new(), false);
    // What the key's core tells and the end, which comes from the client's, may overtake each other.
    while !ended || heard.len() < awaited {
        let Reply::Push(message) = listener.reply().unwrap() else {
            panic!("only messages come")
        };
        let channel = message[2].text();
        let event = channel.strip_prefix(CHANNEL).unwrap();
        if event == "end" {
            ended = true;
            continue;
        }
        // Asking whether a key is there yet tells nothing about it.
        if words[0] == ">" || event != "keymiss" {
            heard.push((event.to_string(), message[3].text()));
        }
    }
    heard
}

#[test]
fn every_command_tells_what_redis_tells_class_by_class() {
    let steps = script();
    assert!(steps.len() > 200);
    for (cores, classes) in [
        (1, &["AnmE", "gE", "$E", "lE", "sE", "hE", "zE", "xE", "nE", "mE"][..]),
        (3, &["AnmE"]),
    ] {
        let dir = Scratch::new();
        let options = ["--cores", &cores.to_string(), "--durability", "everysec"];
        let server = Server::start(dir.path(), &options);
        let mut wrong = Vec::new();
        for letters in classes {
            let mut client = server.client();
            client.ok(&["FLUSHALL"]);
            client.ok(&["CONFIG", "SET", "notify-keyspace-events", letters]);
            let mut listener = speaking(&server, 3);
            listener.call(&["PSUBSCRIBE", &format!("{CHANNEL}*")]);
            for step in &steps {
                let wanted = |class: &str| letters.contains(class) || letters.contains('A');
                let expected: Vec<(String, String)> = step
                    .heard
                    .iter()
                    .filter(|[class, ..]| wanted(class))
                    .map(|[_, event, key]| (event.to_string(), key.to_string()))
                    .collect();
                let heard = run(step, &mut client, &mut listener, expected.len());
                if heard != expected {
                    wrong.push(format!(
                        "{} with {letters} on {cores} cores: {heard:?}, not {expected:?}",
                        step.line
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        server.stop();
    }
}

#[test]
fn fields_that_expire_are_told_as_by_redis_74() {
    let dir = Scratch::new();
    let server = Server::start(dir.path(), &["--notify-keyspace-events", "KA"]);
    let (mut client, mut listener) = (server.client(), speaking(&server, 3));
    listener.call(&["SUBSCRIBE", "__keyspace@0__:h"]);
    let mut hears = |events: &[&str]| {
        for event in events {
            assert_eq!(
                listener.reply().unwrap(),
                push(3, &["message", "__keyspace@0__:h", event])
            );
        }
    };
    client.ok(&["HSET", "h", "a", "1", "b", "2", "c", "3"]);
    client.ok(&["HEXPIRE", "h", "100", "FIELDS", "1", "a"]);
    client.ok(&["HPERSIST", "h", "FIELDS", "1", "a"]);
    client.ok(&["HPERSIST", "h", "FIELDS", "1", "a"]);
    client.ok(&["HEXPIREAT", "h", "1", "FIELDS", "1", "a"]);
    hears(&["hset", "hexpire", "hpersist", "hdel"]);
    client.ok(&["HPEXPIRE", "h", "20", "FIELDS", "1", "b"]);
    hears(&["hexpire", "hexpired"]);
    client.ok(&["HGETEX", "h", "PX", "20", "FIELDS", "1", "c"]);
    hears(&["hexpire", "hexpired", "del"]);
    client.ok(&["HSETEX", "h", "EX", "100", "FIELDS", "1", "d", "1"]);
    client.ok(&["HGETEX", "h", "PERSIST", "FIELDS", "1", "d"]);
    client.ok(&["HGETDEL", "h", "FIELDS", "1", "d"]);
    hears(&["hset", "hexpire", "hpersist", "hdel", "del"]);
    server.stop();
}

#[test]
fn both_channels_and_what_config_shows() {
    for cores in [1, 2] {
        let dir = Scratch::new();
        let server = Server::start(dir.path(), &["--cores", &cores.to_string()]);
        let (mut client, mut listener) = (server.client(), server.client());
        listener.call(&["PSUBSCRIBE", "*"]);
        let mut set = |letters: &str| client.call(&["CONFIG", "SET", "notify-keyspace-events", letters]);
        assert!(
            set("q")
                .text()
                .contains("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        );
        set("KEA");
        client
            .send(&[request(&["SET", "foo", "1"]), request(&["SET", "foo", "2", "PX", "30"])].concat())
            .unwrap();
        for [channel, message] in [
            ["__keyspace@0__:foo", "set"],
            ["__keyevent@0__:set", "foo"],
            ["__keyspace@0__:foo", "set"],
            ["__keyevent@0__:set", "foo"],
            ["__keyspace@0__:foo", "expire"],
            ["__keyevent@0__:expire", "foo"],
            // Nobody asks for it: it is removed at its time.
            ["__keyspace@0__:foo", "expired"],
            ["__keyevent@0__:expired", "foo"],
        ] {
            assert_eq!(listener.reply().unwrap(), push(2, &["pmessage", "*", channel, message]));
        }
        for _ in 0..2 {
            client.reply().unwrap();
        }
        let shown = client.ok(&["CONFIG", "GET", "notify-keyspace-events"]);
        assert_eq!(shown, push(2, &["notify-keyspace-events", "AKE"]));
        server.stop();
    }
}
