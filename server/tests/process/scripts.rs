//! Scripts and functions on the real binary: what a crash leaves, what cores know of each other's scripts, and that a script
//! without end ends.

use slotcore_engine::ord::slot_of;
use slotcore_engine::script::sha1_hex;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

fn server(dir: &Scratch, cores: &str) -> Server {
    Server::start(dir.path(), &["--cores", cores])
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

/// Some key of `core` of `cores`.
fn key_on(core: u32, cores: u32) -> String {
    let owned = |key: &String| u32::from(slot_of(key.as_bytes())) * cores / 16_384 == core;
    (0..).map(|n| format!("key:{n}")).find(owned).unwrap()
}

const LIBRARY: &str = "#!lua name=lib
redis.register_function('add', function(keys, args) return redis.call('incrby', keys[1], args[1]) end)
redis.register_function{function_name='see', callback=function(keys) return redis.call('get', keys[1]) end, flags={'no-writes'}}";

#[test]
fn what_scripts_wrote_and_functions_survive_a_kill_and_cached_scripts_do_not() {
    let dir = Scratch::new();
    let running = server(&dir, "1");
    let mut client = running.client();
    let random = "redis.call('set', KEYS[1], math.random(1e9) .. redis.call('time')[1] .. tostring({}))";
    for n in 0..20 {
        client.ok(&["EVAL", random, "1", &format!("r{n}")]);
    }
    let sum = "for i = 1, ARGV[1] do redis.call('incr', KEYS[1]) end redis.call('lpush', KEYS[1], 'x')";
    assert!(client.call(&["EVAL", sum, "1", "n", "7"]).is_error());
    assert_eq!(client.ok(&["GET", "n"]), bulk("7"), "writes before an error stay");
    assert!(
        client
            .call(&["EVALSHA", &sha1_hex(sum.as_bytes()), "1", "n", "2"])
            .is_error()
    );
    assert_eq!(client.ok(&["GET", "n"]), bulk("9"));
    assert_eq!(client.ok(&["FUNCTION", "LOAD", LIBRARY]), bulk("lib"));
    assert_eq!(client.ok(&["FCALL", "add", "1", "f", "5"]), Reply::Integer(5));
    let digest = client.ok(&["FUNCTION", "DUMP"]);
    let random_values = |client: &mut Client<_>| {
        (0..20)
            .map(|n| client.ok(&["GET", &format!("r{n}")]))
            .collect::<Vec<_>>()
    };
    let values = random_values(&mut client);
    running.kill();

    let running = server(&dir, "1");
    let mut client = running.client();
    assert_eq!(random_values(&mut client), values, "a replay computes the same");
    assert_eq!(client.ok(&["GET", "n"]), bulk("9"));
    let missing = client.call(&["EVALSHA", &sha1_hex(sum.as_bytes()), "1", "n", "2"]);
    assert_eq!(
        missing,
        Reply::Error("NOSCRIPT No matching script. Please use EVAL.".into())
    );
    assert_eq!(client.ok(&["FUNCTION", "DUMP"]), digest);
    assert_eq!(client.ok(&["FCALL", "add", "1", "f", "5"]), Reply::Integer(10));
    assert_eq!(client.ok(&["FCALL_RO", "see", "1", "f"]), bulk("10"));
    running.stop();
}

#[test]
fn every_core_knows_a_script_once_it_was_sent_and_every_function() {
    let dir = Scratch::new();
    let running = server(&dir, "3");
    let mut client = running.client();
    let keys: Vec<String> = (0..3).map(|core| key_on(core, 3)).collect();
    let body = "return redis.call('append', KEYS[1], ARGV[1])";
    let sha = sha1_hex(body.as_bytes());
    // In one pipeline: the script is not even executed when its SHA-1 is sent.
    let mut bytes = request(&["EVAL", body, "1", &keys[0], "a"]);
    for _ in 0..2 {
        for key in &keys {
            bytes.extend(request(&["EVALSHA", &sha, "1", key, "bc"]));
        }
    }
    bytes.extend(request(&["SCRIPT", "EXISTS", &sha, &sha1_hex(b"none")]));
    client.send(&bytes).unwrap();
    for expected in [1, 3, 2, 2, 5, 4, 4] {
        assert_eq!(client.reply().unwrap(), Reply::Integer(expected));
    }
    let exists = |sent| Reply::Array(vec![Reply::Integer(sent), Reply::Integer(0)]);
    assert_eq!(client.reply().unwrap(), exists(1));
    assert_eq!(client.ok(&["SCRIPT", "FLUSH"]), Reply::Simple("OK".into()));
    assert_eq!(client.ok(&["SCRIPT", "EXISTS", &sha, "x"]), exists(0));
    assert_eq!(client.ok(&["SCRIPT", "LOAD", body]), bulk(&sha));
    assert_eq!(client.ok(&["FUNCTION", "LOAD", LIBRARY]), bulk("lib"));
    for key in &keys {
        assert_eq!(
            client.ok(&["FCALL", "add", "1", &format!("{{{key}}}n"), "5"]),
            Reply::Integer(5)
        );
        client.ok(&["EVALSHA", &sha, "1", key, "d"]);
    }
    // With a hash tag a script reaches the keys of its core, named or not, and no others.
    let other = format!("return redis.call('get', '{}')", keys[1]);
    assert_eq!(client.ok(&["EVAL", &other, "1", &keys[1]]), bulk("bcbcd"));
    let tagged = format!("{{{}}}", keys[0]);
    let refused = client.call(&["EVAL", &other, "1", &tagged]).text();
    assert!(
        refused.contains("Script attempted to access a non local key in a cluster node"),
        "{refused}"
    );
    // Without one, or with keys of several cores, it reaches any.
    for count in ["0", "1"] {
        assert_eq!(client.ok(&["EVAL", &other, count, &keys[0]]), bulk("bcbcd"));
    }
    assert_eq!(client.ok(&["EVAL", &other, "2", &keys[0], &keys[1]]), bulk("bcbcd"));
    running.stop();
}

#[test]
fn a_script_without_end_is_stopped_and_others_are_served() {
    let dir = Scratch::new();
    let running = server(&dir, "1");
    let (mut client, mut other) = (running.client(), running.client());
    client
        .send(&request(&[
            "EVAL",
            "redis.call('set', 'k', 'v') while true do end",
            "0",
        ]))
        .unwrap();
    assert_eq!(other.ok(&["SET", "other", "1"]), Reply::Simple("OK".into()));
    let ended = client.reply().unwrap().text();
    assert!(ended.contains("Script killed after"), "{ended}");
    assert_eq!(other.ok(&["GET", "k"]), bulk("v"));
    assert!(other.call(&["SCRIPT", "KILL"]).text().contains("NOTBUSY"));
    let greedy = client.call(&[
        "EVAL",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
        "0",
    ]);
    assert!(greedy.is_error(), "{greedy:?}");
    assert_eq!(other.ok(&["INCR", "other"]), Reply::Integer(2));
    running.stop();
}

#[test]
fn messages_of_scripts_reach_subscribers_of_all_cores() {
    let dir = Scratch::new();
    let running = server(&dir, "2");
    let mut listeners: Vec<_> = (0..4).map(|_| running.client()).collect();
    for listener in &mut listeners {
        listener.ok(&["SUBSCRIBE", "news"]);
    }
    let mut client = running.client();
    let sent = client.ok(&["EVAL", "return redis.call('publish', 'news', ARGV[1])", "0", "hello"]);
    assert_eq!(sent, Reply::Integer(0), "nobody is counted");
    for listener in &mut listeners {
        let message = listener.reply().unwrap();
        assert_eq!(
            message,
            Reply::Array(vec![bulk("message"), bulk("news"), bulk("hello")])
        );
    }
    running.stop();
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

#[test]
fn an_exec_fails_when_a_script_has_written_a_watched_key_and_only_then() {
    let dir = Scratch::new();
    let running = server(&dir, "1");
    let (mut client, mut other) = (running.client(), running.client());
    let write = "return redis.call(ARGV[1], ARGV[2], 'v')";
    for (scripted, expected) in [
        // Named nowhere, and named.
        (["0", "set", "watched"], Reply::Nil),
        (["0", "setnx", "watched"], Reply::Array(vec![bulk("v")])),
        (["0", "set", "other"], Reply::Array(vec![bulk("v")])),
    ] {
        client.ok(&["SET", "watched", "v"]);
        client.ok(&["WATCH", "watched"]);
        let mut words = vec!["EVAL", write];
        words.extend(scripted);
        other.ok(&words);
        client.ok(&["MULTI"]);
        client.ok(&["GET", "watched"]);
        assert_eq!(client.ok(&["EXEC"]), expected, "{scripted:?}");
    }
    // The same from inside a transaction.
    client.ok(&["WATCH", "watched"]);
    other.ok(&["MULTI"]);
    other.ok(&["EVAL", write, "0", "set", "watched"]);
    assert_eq!(other.ok(&["EXEC"]), Reply::Array(vec![ok()]));
    client.ok(&["MULTI"]);
    client.ok(&["GET", "watched"]);
    assert_eq!(client.ok(&["EXEC"]), Reply::Nil);
    running.stop();
}

#[test]
fn scripts_in_transactions_are_logged_with_their_text() {
    let dir = Scratch::new();
    let running = server(&dir, "1");
    let mut client = running.client();
    let body = "return redis.call('incrby', KEYS[1], 5)";
    let sha = sha1_hex(body.as_bytes());
    client.ok(&["SCRIPT", "LOAD", body]);
    client.ok(&["MULTI"]);
    client.ok(&["EVALSHA", &sha, "1", "n"]);
    client.ok(&["EVALSHA", &sha1_hex(b"none"), "1", "n"]);
    client.ok(&["BLPOP", "empty", "0"]);
    let Reply::Array(replies) = client.ok(&["EXEC"]) else {
        panic!("a transaction answers with an array")
    };
    assert_eq!((&replies[0], &replies[2]), (&Reply::Integer(5), &Reply::Nil));
    assert!(replies[1].text().starts_with("NOSCRIPT"));
    running.kill();

    let running = server(&dir, "1");
    assert_eq!(running.client().ok(&["GET", "n"]), bulk("5"));
    running.stop();
}

#[test]
fn a_script_serves_those_who_wait_when_it_has_ended_and_may_not_wait() {
    let dir = Scratch::new();
    let running = server(&dir, "1");
    let (mut client, mut waiter) = (running.client(), running.client());
    client.ok(&["CONFIG", "SET", "notify-keyspace-events", "KEl"]);
    let mut listener = running.client();
    listener.ok(&["SUBSCRIBE", "__keyevent@0__:rpush"]);
    waiter.send(&request(&["BLPOP", "list", "0"])).unwrap();
    while client.info("blocked_clients") != "1" {}
    let script = "redis.call('rpush', 'list', 'a', 'b') redis.call('lpop', 'list') \
                  return redis.pcall('blpop', 'none', 0).err";
    let refused = client.ok(&["EVAL", script, "0"]);
    assert_eq!(refused, bulk("ERR This Redis command is not allowed from script"));
    let blocks = "return redis.call('XREAD', 'BLOCK', 0, 'STREAMS', 'none', '$')";
    let refused = client.call(&["EVAL", blocks, "0"]).text();
    assert!(
        refused.contains("XREAD command is not allowed with BLOCK option from scripts"),
        "{refused}"
    );
    let served = waiter.reply().unwrap();
    assert_eq!(served, Reply::Array(vec![bulk("list"), bulk("b")]));
    let told = listener.reply().unwrap();
    assert_eq!(
        told,
        Reply::Array(vec![bulk("message"), bulk("__keyevent@0__:rpush"), bulk("list")])
    );
    running.stop();
}

#[test]
fn a_script_may_do_what_its_caller_may_and_a_replay_asks_nobody() {
    let dir = Scratch::new();
    let running = server(&dir, "3");
    let mut admin = running.client();
    let keys: Vec<String> = (0..3).map(|core| key_on(core, 3)).collect();
    let mut rules = vec!["ACL", "SETUSER", "app", "on", ">secret", "~allowed*", "+@all", "-del"];
    let granted: Vec<String> = keys.iter().map(|key| format!("~{key}")).collect();
    rules.extend(granted.iter().map(String::as_str));
    admin.ok(&rules);
    let mut app = running.client();
    app.ok(&["AUTH", "app", "secret"]);
    let text = |reply: Reply| reply.text();
    for key in &keys {
        assert_eq!(
            app.ok(&["EVAL", "return redis.call('incr', KEYS[1])", "1", key]),
            Reply::Integer(1)
        );
        assert_eq!(
            app.ok(&["EVAL_RO", "return redis.call('get', KEYS[1])", "1", key]),
            bulk("1")
        );
        let refused = text(app.call(&[
            "EVAL",
            "redis.call('incr', KEYS[1]) redis.call('del', KEYS[1])",
            "1",
            key,
        ]));
        let expected = "ERR The user executing the script can't run this command or subcommand script: ";
        assert!(refused.starts_with(expected), "{refused}");
        for command in ["EVAL", "EVAL_RO"] {
            let foreign = format!("return redis.call('get', '{{{key}}}secret')");
            let refused = text(app.call(&[command, &foreign, "1", key]));
            let expected = "ERR The user executing the script can't access at least one of the keys mentioned";
            assert!(refused.starts_with(expected), "{refused}");
        }
    }
    // In a transaction, and by SHA-1.
    let body = "return {redis.acl_check_cmd('del', KEYS[1]), redis.call('incr', KEYS[1]), redis.pcall('del', KEYS[1])}";
    let sha = app.ok(&["SCRIPT", "LOAD", body]);
    app.ok(&["MULTI"]);
    app.ok(&["EVALSHA", &sha.text(), "1", &keys[2]]);
    let Reply::Array(replies) = app.ok(&["EXEC"]) else {
        panic!("a transaction answers with an array")
    };
    let Reply::Array(parts) = &replies[0] else {
        panic!("{replies:?}")
    };
    assert_eq!((&parts[0], &parts[1]), (&Reply::Nil, &Reply::Integer(3)));
    assert!(parts[2].is_error());
    let Reply::Array(log) = admin.ok(&["ACL", "LOG"]) else {
        panic!("the log is an array")
    };
    assert!(format!("{log:?}").contains(&format!("{:?}", bulk("lua"))), "{log:?}");
    admin.ok(&["ACL", "SETUSER", "app", "resetkeys", "-@all"]);
    running.kill();

    // The user is gone; what he did is there.
    let running = server(&dir, "3");
    let mut admin = running.client();
    let left: Vec<_> = keys.iter().map(|key| admin.ok(&["GET", key])).collect();
    assert_eq!(left, [bulk("2"), bulk("2"), bulk("3")]);
    running.stop();
}

/// What `INFO` says of errors, and of failures of a command.
fn counted(client: &mut Client<std::net::TcpStream>, command: &str) -> String {
    let page = client.ok(&["INFO", "everything"]).text();
    let lines = page.lines();
    let wanted = [
        format!("cmdstat_{command}:"),
        "errorstat_".into(),
        "total_error_replies:".into(),
    ];
    let found = lines.filter(|line| wanted.iter().any(|start| line.starts_with(start)));
    let words = found.flat_map(|line| line.split([',', ' ']));
    let words = words.filter(|word| !word.contains("usec") && !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn an_error_that_a_script_meets_is_counted_once_whether_it_is_caught_or_not() {
    // Script, command whose counts are looked at, and what redis-server 7.0.15 counts.
    let cases = [
        ("return redis.call('select', 99)", "select", "1 ERR 1 0 1"),
        ("redis.pcall('select', 99) return 1", "select", "1 ERR 1 0 1"),
        ("return redis.pcall('select', 99)", "select", "1 ERR 1 0 1"),
        (
            "redis.pcall('select', 99) return redis.pcall('select', 99)",
            "select",
            "2 ERR 2 0 2",
        ),
        (
            "redis.pcall('select', 99) return redis.error_reply('MINE x')",
            "select",
            "2 ERR MINE 1 0 1",
        ),
        ("redis.pcall('blpop', KEYS[1], 0) return 1", "blpop", "1 ERR 0 1 0"),
        ("return redis.call('lpush', KEYS[1], 'x')", "lpush", "1 WRONGTYPE 1 0 1"),
        (
            "redis.pcall('nothing') redis.pcall('lpush', KEYS[1], 'x') return 1",
            "lpush",
            "2 ERR WRONGTYPE 1 0 1",
        ),
    ];
    for cores in ["1", "3"] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut client = server.client();
        client.ok(&["SET", "s", "text"]);
        for (script, command, wanted) in cases {
            client.ok(&["CONFIG", "RESETSTAT"]);
            client.call(&["EVAL", script, "1", "s"]);
            let found = counted(&mut client, command);
            let number = |name: &str| {
                let at = found.find(name).map_or(found.len(), |at| at + name.len());
                let digits: String = found[at..].chars().take_while(char::is_ascii_digit).collect();
                digits
            };
            let kinds = ["ERR", "MINE", "WRONGTYPE"]
                .into_iter()
                .filter(|kind| found.contains(&format!("errorstat_{kind}:")));
            let kinds = kinds.collect::<Vec<_>>().join(" ");
            let calls = number(&format!("cmdstat_{command}:calls="));
            let (rejected, failed) = (number("rejected_calls="), number("failed_calls="));
            let total = number("total_error_replies:");
            assert_eq!(
                format!("{total} {kinds} {calls} {rejected} {failed}"),
                wanted,
                "{script}: {found}"
            );
        }
        server.stop();
    }
}
