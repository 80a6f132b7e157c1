//! Scripts and functions whose keys live on several cores: what they may touch, what comes of an error, and what they do
//! besides changing keys. That they answer what one core answers is a test of `together.rs`.

use std::thread;

use crate::blocking::{bulk, key_on};
use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

const CORES: u16 = 3;

fn start(dir: &Scratch) -> Server {
    let cores = CORES.to_string();
    Server::start(dir.path(), &["--cores", &cores, "--durability", "everysec"])
}

/// `EVAL` of a script with a key of each core.
fn eval<'a>(script: &'a str, keys: &'a [String], args: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["EVAL", script, "3"];
    words.extend(keys.iter().map(String::as_str));
    words.extend(args);
    words
}

fn keys() -> Vec<String> {
    (0..CORES).map(|core| key_on(core, CORES)).collect()
}

const LIBRARY: &str = "#!lua name=lib
redis.register_function('total', function(keys)
  local sum = 0
  for _, key in ipairs(keys) do sum = sum + redis.call('incr', key) end
  return sum
end)
redis.register_function{function_name='look', flags={'no-writes'}, callback=function(keys)
  return redis.call('mget', unpack(keys))
end}";

#[test]
fn scripts_and_functions_reach_keys_of_all_cores() {
    let (dir, keys) = (Scratch::new(), keys());
    let mut server = start(&dir);
    let (a, b, c) = (keys[0].as_str(), keys[1].as_str(), keys[2].as_str());
    server.client().ok(&["FUNCTION", "LOAD", LIBRARY]);
    let sha = server
        .client()
        .ok(&["SCRIPT", "LOAD", "return redis.call('mget', unpack(KEYS))"]);
    for round in 1..=3 {
        // Each core coordinates once.
        let mut client = server.client();
        assert_eq!(client.ok(&["FCALL", "total", "3", a, b, c]), Reply::Integer(3 * round));
        let count = round.to_string();
        let all = Reply::Array(vec![bulk(&count), bulk(&count), bulk(&count)]);
        assert_eq!(client.ok(&["FCALL_RO", "look", "3", a, b, c]), all);
        assert_eq!(client.ok(&["FCALL", "look", "3", a, b, c]), all);
        assert_eq!(client.ok(&["EVALSHA", &sha.text(), "3", a, b, c]), all);
        assert_eq!(client.ok(&["EVALSHA_RO", &sha.text(), "3", a, b, c]), all);
        assert!(
            client
                .call(&["EVALSHA", "x", "3", a, b, c])
                .text()
                .starts_with("NOSCRIPT")
        );
        let refused = client.call(&["FCALL_RO", "total", "3", a, b, c]).text();
        assert!(refused.contains("write flag"), "{refused}");
        // In a transaction.
        client.ok(&["MULTI"]);
        client.ok(&["APPEND", a, "0"]);
        client.ok(&["EVALSHA", &sha.text(), "3", a, b, c]);
        client.ok(&["SET", a, &count]);
        let Reply::Array(replies) = client.ok(&["EXEC"]) else {
            panic!("no array")
        };
        assert_eq!(
            replies[1],
            Reply::Array(vec![bulk(&format!("{count}0")), bulk(&count), bulk(&count)])
        );
    }
    // What has come of it is in the logs.
    server.kill();
    server = start(&dir);
    let three = Reply::Array(vec![bulk("3"), bulk("3"), bulk("3")]);
    assert_eq!(server.client().ok(&["MGET", a, b, c]), three);
    server.stop();
}

#[test]
fn what_a_script_wrote_before_its_error_stays_and_what_it_may_not_touch_it_is_told() {
    let (dir, keys) = (Scratch::new(), keys());
    let server = start(&dir);
    let mut client = server.client();
    let failing = "redis.call('set', KEYS[1], 'x') redis.call('set', ARGV[1], 'y') error('on purpose')";
    let said = client.call(&eval(failing, &keys, &["elsewhere"])).text();
    assert!(said.contains("on purpose"), "{said}");
    assert_eq!(
        client.ok(&["MGET", &keys[0], "elsewhere"]),
        Reply::Array(vec![bulk("x"), bulk("y")])
    );
    for call in ["'keys', '*'", "'dbsize'", "'flushall'", "'sort', KEYS[1], 'by', 'w_*'"] {
        let script = format!("redis.call('set', KEYS[2], 'z') return redis.call({call})");
        let said = client.call(&eval(&script, &keys, &[])).text();
        assert!(said.contains("Script with keys of several cores"), "{said}");
        assert_eq!(client.ok(&["GETDEL", &keys[1]]), bulk("z"));
    }
    // Far too many keys that it does not declare: nothing of it has happened.
    let many = "for n = 1, 2000 do redis.pcall('set', 'many' .. n, n) end";
    let said = client.call(&eval(many, &keys, &[])).text();
    assert!(said.contains("too many keys"), "{said}");
    assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(2));
    let twenty = "for n = 1, 20 do redis.call('set', 'many' .. n, n) end";
    client.ok(&["SET", "many1", "old"]);
    assert_eq!(client.call(&eval(twenty, &keys, &[])), Reply::Nil);
    assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(22));
    assert_eq!(client.ok(&["GET", "many1"]), bulk("1"));
    server.stop();
}

#[test]
fn a_message_is_published_once_however_often_its_script_is_tried() {
    let (dir, keys) = (Scratch::new(), keys());
    let server = start(&dir);
    let mut listener = server.client();
    listener.ok(&["SUBSCRIBE", "news"]);
    let script = "redis.call('publish', 'news', ARGV[1])
        return redis.call('exists', 'not1') + redis.call('exists', 'not2') + redis.call('exists', 'not3')";
    let mut client = server.client();
    for n in ["1", "2"] {
        assert_eq!(client.ok(&eval(script, &keys, &[n])), Reply::Integer(0));
        let Reply::Array(message) = listener.reply().unwrap() else {
            panic!("no message")
        };
        assert_eq!(message[2], bulk(n));
    }
    server.stop();
}

#[test]
fn a_script_may_do_what_its_caller_may() {
    let (dir, keys) = (Scratch::new(), keys());
    let server = start(&dir);
    let mut admin = server.client();
    admin.ok(&[
        "ACL",
        "SETUSER",
        "some",
        "on",
        ">pw",
        "+@all",
        "-flushall",
        "~queue:*",
        "~open",
    ]);
    let mut client: Client<_> = server.client();
    client.ok(&["AUTH", "some", "pw"]);
    let script = "redis.call('set', KEYS[1], 1) return redis.call('set', ARGV[1], 1)";
    assert_eq!(client.ok(&eval(script, &keys, &["open"])).text(), "OK");
    let said = client.call(&eval(script, &keys, &["closed"])).text();
    assert!(said.contains("can't access at least one of the keys"), "{said}");
    assert_eq!(admin.ok(&["EXISTS", "open", "closed"]), Reply::Integer(1));
    server.stop();
}

#[test]
fn nobody_sees_a_part_of_what_scripts_do() {
    let (dir, keys) = (Scratch::new(), keys());
    let server = start(&dir);
    let script = "for _, key in ipairs(KEYS) do redis.call('incr', key) end
        return redis.call('incr', 'undeclared')";
    thread::scope(|scope| {
        for _ in 0..3 {
            let (mut client, keys) = (server.client(), &keys);
            scope.spawn(move || {
                for _ in 0..50 {
                    client.ok(&eval(script, keys, &[]));
                }
            });
        }
        let mut reader = server.client();
        for _ in 0..50 {
            let words = [
                &["MULTI"][..],
                &["MGET", &keys[0], &keys[1], &keys[2], "undeclared"],
                &["EXEC"],
            ];
            let pipeline: Vec<u8> = words.iter().flat_map(|words| request(words)).collect();
            reader.send(&pipeline).unwrap();
            (0..2).for_each(|_| drop(reader.reply().unwrap()));
            let Reply::Array(replies) = reader.reply().unwrap() else {
                panic!("no array")
            };
            let Reply::Array(values) = &replies[0] else {
                panic!("no array")
            };
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        }
    });
    assert_eq!(server.client().ok(&["GET", "undeclared"]), bulk("150"));
    server.stop();
}
