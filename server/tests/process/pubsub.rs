//! Publishing and subscribing, on one core and on several.

use std::net::TcpStream;

use slotcore_engine::ord::slot_of;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

type Conn = Client<TcpStream>;

fn server(dir: &Scratch, cores: usize) -> Server {
    let cores = cores.to_string();
    Server::start(dir.path(), &["--cores", &cores, "--durability", "everysec"])
}

/// A connection that speaks this version of the protocol.
pub fn speaking(server: &Server, proto: u8) -> Conn {
    let mut client = server.client();
    client.ok(&["HELLO", &proto.to_string()]);
    client
}

/// Bulk strings, and numbers where a word begins with a colon; nil for the word `nil`.
pub fn words(words: &[&str]) -> Vec<Reply> {
    let reply = |word: &&str| match word.strip_prefix(':') {
        Some(number) => Reply::Integer(number.parse().unwrap()),
        None if *word == "nil" => Reply::Nil,
        None => Reply::Bulk(word.as_bytes().to_vec()),
    };
    words.iter().map(reply).collect()
}

/// What a client that speaks `proto` is sent without having asked.
pub fn push(proto: u8, text: &[&str]) -> Reply {
    if proto == 2 {
        Reply::Array(words(text))
    } else {
        Reply::Push(words(text))
    }
}

/// Sends a command and reads what it must be answered with, push by push.
fn says(client: &mut Conn, proto: u8, command: &[&str], answers: &[&[&str]]) {
    client.send(&request(command)).unwrap();
    hears(client, proto, answers);
}

fn hears(client: &mut Conn, proto: u8, pushes: &[&[&str]]) {
    for expected in pushes {
        assert_eq!(client.reply().unwrap(), push(proto, expected));
    }
}

fn number(n: i64) -> Reply {
    Reply::Integer(n)
}

#[test]
fn every_command_answers_as_redis_does() {
    for cores in [1, 3] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        for proto in [2, 3] {
            let (mut sub, mut other) = (speaking(&server, proto), server.client());
            says(&mut sub, proto, &["UNSUBSCRIBE"], &[&["unsubscribe", "nil", ":0"]]);
            says(&mut sub, proto, &["PUNSUBSCRIBE"], &[&["punsubscribe", "nil", ":0"]]);
            says(&mut sub, proto, &["SUNSUBSCRIBE"], &[&["sunsubscribe", "nil", ":0"]]);
            says(
                &mut sub,
                proto,
                &["UNSUBSCRIBE", "x", "y"],
                &[&["unsubscribe", "x", ":0"], &["unsubscribe", "y", ":0"]],
            );
            says(
                &mut sub,
                proto,
                &["SUBSCRIBE", "a", "b", "a"],
                &[
                    &["subscribe", "a", ":1"],
                    &["subscribe", "b", ":2"],
                    &["subscribe", "a", ":2"],
                ],
            );
            says(
                &mut sub,
                proto,
                &["PSUBSCRIBE", "a*", "[b-c]"],
                &[&["psubscribe", "a*", ":3"], &["psubscribe", "[b-c]", ":4"]],
            );
            says(
                &mut sub,
                proto,
                &["SSUBSCRIBE", "a", "s"],
                &[&["ssubscribe", "a", ":1"], &["ssubscribe", "s", ":2"]],
            );
            assert_eq!(other.ok(&["PUBLISH", "a", "1"]), number(2));
            assert_eq!(other.ok(&["PUBLISH", "c", "2"]), number(1));
            assert_eq!(other.ok(&["PUBLISH", "s", "3"]), number(0));
            assert_eq!(other.ok(&["SPUBLISH", "a", "4"]), number(1));
            assert_eq!(other.ok(&["SPUBLISH", "c", "5"]), number(0));
            hears(
                &mut sub,
                proto,
                &[
                    &["message", "a", "1"],
                    &["pmessage", "a*", "a", "1"],
                    &["pmessage", "[b-c]", "c", "2"],
                    &["smessage", "a", "4"],
                ],
            );
            let sorted = |reply: Reply| match reply {
                Reply::Array(mut names) => {
                    names.sort_by_key(Reply::text);
                    names
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(sorted(other.ok(&["PUBSUB", "CHANNELS"])), words(&["a", "b"]));
            assert_eq!(sorted(other.ok(&["PUBSUB", "CHANNELS", "[b-z]"])), words(&["b"]));
            assert_eq!(sorted(other.ok(&["PUBSUB", "SHARDCHANNELS"])), words(&["a", "s"]));
            assert_eq!(other.ok(&["PUBSUB", "NUMPAT"]), number(2));
            let expected = Reply::Array(words(&["a", ":1", "z", ":0"]));
            assert_eq!(other.ok(&["PUBSUB", "NUMSUB", "a", "z"]), expected);
            assert_eq!(other.ok(&["PUBSUB", "NUMSUB"]), Reply::Array(Vec::new()));
            assert_eq!(other.ok(&["PUBSUB", "SHARDNUMSUB", "a", "z"]), expected);
            assert_eq!(
                other.call(&["PUBSUB", "CHANNELS", "a", "b"]).text(),
                "ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP."
            );
            let listed = other.ok(&["CLIENT", "LIST", "TYPE", "PUBSUB"]).text();
            assert!(listed.contains(" flags=P db=0 sub=2 psub=2 ssub=2 "), "{listed}");
            assert!(
                !other
                    .ok(&["CLIENT", "LIST", "TYPE", "NORMAL"])
                    .text()
                    .contains("flags=P")
            );
            says(
                &mut sub,
                proto,
                &["SUNSUBSCRIBE"],
                &[&["sunsubscribe", "a", ":1"], &["sunsubscribe", "s", ":0"]],
            );
            says(
                &mut sub,
                proto,
                &["UNSUBSCRIBE"],
                &[&["unsubscribe", "a", ":3"], &["unsubscribe", "b", ":2"]],
            );
            says(
                &mut sub,
                proto,
                &["PUNSUBSCRIBE", "a*"],
                &[&["punsubscribe", "a*", ":1"]],
            );
            says(
                &mut sub,
                proto,
                &["PUNSUBSCRIBE", "[b-c]"],
                &[&["punsubscribe", "[b-c]", ":0"]],
            );
            assert_eq!(other.ok(&["PUBLISH", "a", "gone"]), number(0));
            assert_eq!(sub.call(&["ECHO", "free"]).text(), "free");
        }
        server.stop();
    }
}

#[test]
fn who_listens_in_resp2_may_do_nothing_else() {
    for cores in [1, 2] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut sub = server.client();
        says(&mut sub, 2, &["SUBSCRIBE", "a"], &[&["subscribe", "a", ":1"]]);
        for (command, name) in [
            (&["GET", "k"][..], "get"),
            (&["SET", "k2", "v"], "set"),
            (&["HELLO", "3"], "hello"),
            (&["CLIENT", "ID"], "client|id"),
            (&["PUBLISH", "a", "b"], "publish"),
        ] {
            assert_eq!(
                sub.call(command),
                Reply::Error(format!(
                    "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed \
                     in this context"
                ))
            );
        }
        assert_eq!(sub.call(&["PING"]), push(2, &["pong", ""]));
        assert_eq!(sub.call(&["PING", "x"]), push(2, &["pong", "x"]));
        // Free at once behind the last UNSUBSCRIBE of the same pipeline, and bound behind a SUBSCRIBE.
        let mut pipeline = Vec::new();
        for command in [
            &["UNSUBSCRIBE"][..],
            &["SET", "k", "1"],
            &["GET", "k"],
            &["SSUBSCRIBE", "s"],
            &["GET", "k"],
            &["RESET"],
            &["GET", "k"],
            &["DBSIZE"],
        ] {
            pipeline.extend(request(command));
        }
        sub.send(&pipeline).unwrap();
        hears(&mut sub, 2, &[&["unsubscribe", "a", ":0"]]);
        assert_eq!(sub.reply().unwrap().text(), "OK");
        assert_eq!(sub.reply().unwrap().text(), "1");
        hears(&mut sub, 2, &[&["ssubscribe", "s", ":1"]]);
        assert!(sub.reply().unwrap().is_error());
        assert_eq!(sub.reply().unwrap().text(), "RESET");
        assert_eq!(sub.reply().unwrap().text(), "1");
        assert_eq!(sub.reply().unwrap(), number(1));
        assert_eq!(sub.ok(&["SPUBLISH", "s", "x"]), number(0));
        server.stop();
    }
}

#[test]
fn in_resp3_commands_and_messages_go_together() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut client = speaking(&server, 3);
        says(&mut client, 3, &["SUBSCRIBE", "a"], &[&["subscribe", "a", ":1"]]);
        // Its own messages come where they were sent.
        let mut pipeline = Vec::new();
        for n in 0..200 {
            let n = n.to_string();
            pipeline.extend(request(&["SET", &format!("k{n}"), &n]));
            pipeline.extend(request(&["PUBLISH", "a", &n]));
            pipeline.extend(request(&["GET", &format!("k{n}")]));
        }
        client.send(&pipeline).unwrap();
        let (mut pushes, mut replies) = (Vec::new(), Vec::new());
        while pushes.len() + replies.len() < 800 {
            match client.reply().unwrap() {
                Reply::Push(message) => pushes.push(message),
                reply => replies.push(reply),
            }
        }
        for n in 0..200 {
            let text = n.to_string();
            assert_eq!(pushes[n], words(&["message", "a", &text]));
            assert_eq!(replies[3 * n].text(), "OK");
            assert_eq!(replies[3 * n + 1], number(1));
            assert_eq!(replies[3 * n + 2].text(), text);
        }
        // Whatever the client wants no replies to, it is told what it hears.
        client.send(&request(&["CLIENT", "REPLY", "OFF"])).unwrap();
        client.send(&request(&["PING"])).unwrap();
        says(&mut client, 3, &["PSUBSCRIBE", "b*"], &[&["psubscribe", "b*", ":2"]]);
        assert_eq!(server.client().ok(&["PUBLISH", "bb", "x"]), number(1));
        hears(&mut client, 3, &[&["pmessage", "b*", "bb", "x"]]);
        says(&mut client, 3, &["PUNSUBSCRIBE"], &[&["punsubscribe", "b*", ":1"]]);
        server.stop();
    }
}

#[test]
fn what_follows_a_transaction_that_publishes_comes_behind_its_replies() {
    const ROUNDS: usize = 50;
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        // One at least on another core than the publisher: its answer is waited for.
        let mut subscribers: Vec<Conn> = (0..3 * cores).map(|_| speaking(&server, 3)).collect();
        for sub in &mut subscribers {
            says(sub, 3, &["SUBSCRIBE", "ch"], &[&["subscribe", "ch", ":1"]]);
        }
        let heard = || number(3 * cores as i64);
        let commands: &[&[&str]] = &[
            &["MULTI"],
            &["PUBLISH", "ch", "1"],
            &["SET", "{k}a", "1"],
            &["PUBLISH", "ch", "2"],
            &["EXEC"],
            &["APPEND", "{k}b", "x"],
            &["PUBLISH", "ch", "3"],
            &["STRLEN", "{k}b"],
        ];
        let pipeline: Vec<u8> = commands.iter().flat_map(|words| request(words)).collect();
        for _ in 0..2 * cores {
            let mut publisher = server.client();
            publisher.ok(&["DEL", "{k}b"]);
            for _ in 0..ROUNDS {
                publisher.send(&pipeline).unwrap();
            }
            for round in 1..=ROUNDS as i64 {
                for _ in 0..4 {
                    let reply = publisher.reply().unwrap();
                    assert!(
                        matches!(&reply, Reply::Simple(text) if text == "OK" || text == "QUEUED"),
                        "{reply:?}"
                    );
                }
                let exec = Reply::Array(vec![heard(), Reply::Simple("OK".into()), heard()]);
                for expected in [exec, number(round), heard(), number(round)] {
                    assert_eq!(publisher.reply().unwrap(), expected, "{cores} cores, round {round}");
                }
            }
        }
        server.stop();
    }
}

#[test]
fn messages_of_a_publisher_come_in_order_to_all_on_every_core() {
    const CHANNELS: usize = 1000;
    const SUBSCRIBERS: usize = 12;
    for cores in [1, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let names: Vec<String> = (0..CHANNELS).map(|n| format!("ch:{n}")).collect();
        let mut subscribers: Vec<Conn> = (0..SUBSCRIBERS)
            .map(|n| {
                let proto = 2 + (n % 2) as u8;
                let mut sub = speaking(&server, proto);
                let command: Vec<&str> = ["SUBSCRIBE"]
                    .into_iter()
                    .chain(names.iter().map(String::as_str))
                    .collect();
                sub.send(&request(&command)).unwrap();
                for (at, name) in names.iter().enumerate() {
                    hears(&mut sub, proto, &[&["subscribe", name, &format!(":{}", at + 1)]]);
                }
                sub
            })
            .collect();
        let mut publisher = server.client();
        let mut pipeline = Vec::new();
        for (n, name) in names.iter().enumerate() {
            // Writes between them, on all cores.
            pipeline.extend(request(&["SET", name, "x"]));
            pipeline.extend(request(&["PUBLISH", name, &n.to_string()]));
        }
        publisher.send(&pipeline).unwrap();
        for _ in 0..CHANNELS {
            assert_eq!(publisher.reply().unwrap().text(), "OK");
            assert_eq!(publisher.reply().unwrap(), number(SUBSCRIBERS as i64));
        }
        for (n, sub) in subscribers.iter_mut().enumerate() {
            for (n_message, name) in names.iter().enumerate() {
                hears(sub, 2 + (n % 2) as u8, &[&["message", name, &n_message.to_string()]]);
            }
        }
        // Who has gone is counted no longer, however it went.
        subscribers.truncate(2);
        subscribers[1].send(&request(&["QUIT"])).unwrap();
        subscribers[1].rest();
        let expected = Reply::Array(words(&["ch:7", ":1"]));
        while publisher.ok(&["PUBSUB", "NUMSUB", "ch:7"]) != expected {}
        drop(subscribers);
        while publisher.ok(&["PUBSUB", "CHANNELS"]) != Reply::Array(Vec::new()) {}
        assert_eq!(publisher.ok(&["PUBLISH", "ch:7", "x"]), number(0));
        server.stop();
    }
}

#[test]
fn a_message_is_behind_the_writes_that_came_before_it() {
    let dir = Scratch::new();
    let server = server(&dir, 4);
    let (mut sub, mut publisher, mut reader) = (server.client(), server.client(), server.client());
    says(&mut sub, 2, &["SUBSCRIBE", "done"], &[&["subscribe", "done", ":1"]]);
    for n in 0..100 {
        let value = n.to_string();
        let mut pipeline = Vec::new();
        for key in 0..8 {
            pipeline.extend(request(&["SET", &format!("key:{key}"), &value]));
        }
        pipeline.extend(request(&["PUBLISH", "done", &value]));
        publisher.send(&pipeline).unwrap();
        hears(&mut sub, 2, &[&["message", "done", &value]]);
        for key in 0..8 {
            assert_eq!(reader.ok(&["GET", &format!("key:{key}")]).text(), value);
        }
        for _ in 0..8 {
            assert_eq!(publisher.reply().unwrap().text(), "OK");
        }
        assert_eq!(publisher.reply().unwrap(), number(1));
    }
    server.stop();
}

#[test]
fn sharded_channels_belong_to_slots_on_the_ports_of_cores() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let Reply::Array(ranges) = server.client().ok(&["CLUSTER", "SLOTS"]) else {
        panic!("not an array")
    };
    let ports: Vec<u16> = ranges
        .iter()
        .map(|range| match range {
            Reply::Array(parts) => match &parts[2] {
                Reply::Array(node) => node[1].text().parse().unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    let owner = |channel: &str| usize::from(slot_of(channel.as_bytes()) >= 8192);
    let (first, second) = ("b", "a");
    assert_eq!((owner(first), owner(second)), (0, 1));
    let mut cores: Vec<Conn> = ports.iter().map(|&port| Client::connect(port)).collect();
    let moved = format!("MOVED {} 127.0.0.1:{}", slot_of(second.as_bytes()), ports[1]);
    assert_eq!(cores[0].call(&["SSUBSCRIBE", second]).text(), moved);
    assert_eq!(cores[0].call(&["SPUBLISH", second, "x"]).text(), moved);
    assert!(
        cores[0]
            .call(&["SSUBSCRIBE", first, second])
            .text()
            .starts_with("CROSSSLOT")
    );
    says(
        &mut cores[0],
        2,
        &["SSUBSCRIBE", first],
        &[&["ssubscribe", first, ":1"]],
    );
    let mut any = server.client();
    says(
        &mut any,
        2,
        &["SSUBSCRIBE", first, second],
        &[&["ssubscribe", first, ":1"], &["ssubscribe", second, ":2"]],
    );
    assert_eq!(cores[1].ok(&["SPUBLISH", second, "1"]), number(1));
    assert_eq!(server.client().ok(&["SPUBLISH", first, "2"]), number(2));
    hears(&mut cores[0], 2, &[&["smessage", first, "2"]]);
    hears(&mut any, 2, &[&["smessage", second, "1"], &["smessage", first, "2"]]);
    server.stop();
}

#[test]
fn a_subscriber_that_does_not_read_is_bounded_and_cut() {
    for cores in [1, 2] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let (mut slow, mut control) = (server.client(), server.client());
        control.ok(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 0 0"]);
        says(&mut slow, 2, &["SUBSCRIBE", "a"], &[&["subscribe", "a", ":1"]]);
        let message = "x".repeat(100_000);
        let mut sent = 0;
        while control.ok(&["PUBLISH", "a", &message]) == number(1) {
            sent += 1;
            assert!(sent < 1000, "nobody cut it off");
        }
        assert!(sent > 40, "cut off after {sent} messages");
        assert_eq!(control.info("client_output_buffer_limit_disconnections"), "1");
        // It was cut off: what had left the server comes, and no more.
        assert!(slow.rest().len() < (sent + 1) * 100_100);
        // A soft limit ends it, too, when it lasts.
        control.ok(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 1mb 1"]);
        let mut slow = server.client();
        says(&mut slow, 2, &["SUBSCRIBE", "a"], &[&["subscribe", "a", ":1"]]);
        for _ in 0..100 {
            control.ok(&["PUBLISH", "a", &message]);
        }
        while control.info("client_output_buffer_limit_disconnections") != "2" {}
        server.stop();
    }
}

#[test]
fn a_subscriber_stays_on_its_core_whatever_its_keys() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let mut clients: Vec<Conn> = (0..2).map(|_| speaking(&server, 3)).collect();
    for client in &mut clients {
        says(client, 3, &["SUBSCRIBE", "a"], &[&["subscribe", "a", ":1"]]);
        // One of them is on the other core: it would be moved for this.
        for _ in 0..2000 {
            client.send(&request(&["GET", "b"])).unwrap();
        }
        for _ in 0..2000 {
            assert_eq!(client.reply().unwrap(), Reply::Nil);
        }
    }
    assert_eq!(server.client().ok(&["PUBLISH", "a", "x"]), number(2));
    for client in &mut clients {
        hears(client, 3, &[&["message", "a", "x"]]);
    }
    server.stop();
}

#[test]
fn redis_rs_hears_what_it_subscribed_to() {
    let dir = Scratch::new();
    let server = server(&dir, 3);
    let open = || redis::Client::open(format!("redis://127.0.0.1:{}/", server.port)).unwrap();
    let mut con = open().get_connection().unwrap();
    con.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let mut pubsub = con.as_pubsub();
    pubsub.subscribe("news").unwrap();
    pubsub.psubscribe("n?ws.*").unwrap();
    let mut publisher = open().get_connection().unwrap();
    for n in 0..50 {
        let channel = if n % 2 == 0 { "news" } else { "news.x" };
        let receivers: i64 = redis::cmd("PUBLISH").arg(channel).arg(n).query(&mut publisher).unwrap();
        assert_eq!(receivers, 1);
        let message = pubsub.get_message().unwrap();
        assert_eq!(message.get_channel_name(), channel);
        assert_eq!(message.get_payload::<i64>().unwrap(), n);
        assert_eq!(message.from_pattern(), n % 2 == 1);
    }
    pubsub.unsubscribe("news").unwrap();
    pubsub.punsubscribe("n?ws.*").unwrap();
    drop(pubsub);
    assert_eq!(redis::cmd("PING").query::<String>(&mut con).unwrap(), "PONG");
    server.stop();
}
