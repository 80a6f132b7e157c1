//! Data many times the memory: right answers under random commands, kills and restarts; a log that stays small; and files
//! that are missing or damaged, which are refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::{Ended, Server};

/// Keys get a quarter of this, 4 MiB a core: what is not for buffers of a core.
const TINY: &[&str] = &["--memory", "16mb", "--segment-bytes", "1mb", "--log-target", "8mb"];
/// The same for two cores.
const TINY_TWICE: &[&str] = &[
    "--memory",
    "32mb",
    "--segment-bytes",
    "1mb",
    "--log-target",
    "16mb",
    "--cores",
    "2",
];
/// Files of the log beyond what `--log-target` says: one that is written, two that are prepared, and what was written while
/// the flush ran.
const LOG_SLACK_BYTES: u64 = 6 << 20;
/// Commands sent before their replies are read.
const PIPELINE: usize = 64;

/// What a key should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    List(Vec<String>),
    Hash(BTreeMap<String, String>),
}

/// Random commands on `keys` keys, and what they should answer.
struct Model {
    rng: SeededRng,
    keys: u64,
    /// Bytes that values of strings have about.
    value_bytes: usize,
    data: BTreeMap<String, Value>,
}

/// A command and its right answers; `None`: any.
type Step = (Vec<String>, Option<Reply>);

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_string()).collect()
}

fn bulk(text: Option<&String>) -> Reply {
    text.map_or(Reply::Nil, |text| Reply::Bulk(text.clone().into_bytes()))
}

impl Model {
    fn new(seed: u64, keys: u64, value_bytes: usize) -> Self {
        Self {
            rng: SeededRng::new(seed),
            keys,
            value_bytes,
            data: BTreeMap::new(),
        }
    }

    /// The kind of a key is in its name, so that no command meets another kind.
    fn key(&mut self) -> (String, u64) {
        let kind = self.rng.below(8);
        let number = self.rng.below(self.keys);
        (
            format!("{}:{number}", ["s", "s", "s", "s", "s", "c", "l", "h"][kind as usize]),
            kind,
        )
    }

    fn text(&mut self) -> String {
        let len = self.value_bytes / 2 + self.rng.index(self.value_bytes);
        let word = format!("{:016x}", self.rng.next_u64());
        word.repeat(len / word.len() + 1)
    }

    fn step(&mut self) -> Step {
        let (key, kind) = self.key();
        let found = self.data.get(&key).cloned();
        match (kind, found) {
            (5, found) => {
                let before = match found {
                    Some(Value::Text(text)) => text.parse::<i64>().unwrap(),
                    _ => 0,
                };
                self.data.insert(key.clone(), Value::Text((before + 1).to_string()));
                (words(&["INCR", &key]), Some(Reply::Integer(before + 1)))
            }
            (6, found) => self.list_step(key, found),
            (7, found) => self.hash_step(key, found),
            (_, found) => self.string_step(key, found),
        }
    }

    fn string_step(&mut self, key: String, found: Option<Value>) -> Step {
        let before = match &found {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        match self.rng.below(20) {
            0..=7 => (words(&["GET", &key]), Some(bulk(before))),
            8 => (
                words(&["EXISTS", &key]),
                Some(Reply::Integer(i64::from(before.is_some()))),
            ),
            9 => {
                self.data.remove(&key);
                (words(&["DEL", &key]), Some(Reply::Integer(i64::from(before.is_some()))))
            }
            10 => {
                let whole = format!("{}tail", before.cloned().unwrap_or_default());
                let len = whole.len() as i64;
                self.data.insert(key.clone(), Value::Text(whole));
                (words(&["APPEND", &key, "tail"]), Some(Reply::Integer(len)))
            }
            11 => {
                let answer = bulk(before);
                let text = self.text();
                self.data.insert(key.clone(), Value::Text(text.clone()));
                (words(&["GETSET", &key, &text]), Some(answer))
            }
            // A moment in the past: a deletion by expiry.
            12 => {
                self.data.remove(&key);
                let there = Reply::Integer(i64::from(before.is_some()));
                (words(&["PEXPIREAT", &key, "1000"]), Some(there))
            }
            13 => {
                let there = Reply::Integer(i64::from(before.is_some()));
                (words(&["EXPIRE", &key, "100000"]), Some(there))
            }
            _ => {
                let text = self.text();
                self.data.insert(key.clone(), Value::Text(text.clone()));
                (words(&["SET", &key, &text]), Some(Reply::Simple("OK".into())))
            }
        }
    }

    fn list_step(&mut self, key: String, found: Option<Value>) -> Step {
        let mut list = match found {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        };
        if self.rng.chance(1, 3) {
            let first = if list.is_empty() { None } else { Some(list.remove(0)) };
            match list.is_empty() {
                true => drop(self.data.remove(&key)),
                false => drop(self.data.insert(key.clone(), Value::List(list))),
            }
            return (words(&["LPOP", &key]), Some(bulk(first.as_ref())));
        }
        let item = format!("item-{}", self.rng.next_u64());
        list.push(item.clone());
        let len = list.len() as i64;
        self.data.insert(key.clone(), Value::List(list));
        (words(&["RPUSH", &key, &item]), Some(Reply::Integer(len)))
    }

    fn hash_step(&mut self, key: String, found: Option<Value>) -> Step {
        let mut hash = match found {
            Some(Value::Hash(hash)) => hash,
            _ => BTreeMap::new(),
        };
        let field = format!("f{}", self.rng.below(12));
        if self.rng.chance(1, 2) {
            return (words(&["HGET", &key, &field]), Some(bulk(hash.get(&field))));
        }
        let text = format!("{:x}", self.rng.next_u64());
        let new = hash.insert(field.clone(), text.clone()).is_none();
        self.data.insert(key.clone(), Value::Hash(hash));
        (
            words(&["HSET", &key, &field, &text]),
            Some(Reply::Integer(i64::from(new))),
        )
    }

    /// What brings back the whole of a key.
    fn look_at(&self, key: &str) -> Step {
        match self.data.get(key) {
            Some(Value::List(list)) => {
                let items = list.iter().map(|item| bulk(Some(item))).collect();
                (words(&["LRANGE", key, "0", "-1"]), Some(Reply::Array(items)))
            }
            Some(Value::Hash(hash)) => (words(&["HLEN", key]), Some(Reply::Integer(hash.len() as i64))),
            Some(Value::Text(text)) => (words(&["GET", key]), Some(bulk(Some(text)))),
            None => (words(&["EXISTS", key]), Some(Reply::Integer(0))),
        }
    }
}

fn send(client: &mut Client<TcpStream>, steps: &[Step]) {
    let mut bytes = Vec::new();
    for (command, _) in steps {
        bytes.extend(request(&command.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    client.send(&bytes).unwrap();
}

fn check(client: &mut Client<TcpStream>, steps: &[Step], seed: u64) {
    send(client, steps);
    for (command, expected) in steps {
        let reply = client.reply().unwrap();
        if let Some(expected) = expected {
            assert_eq!(reply, *expected, "seed {seed}: {command:?}");
        }
    }
}

fn run(client: &mut Client<TcpStream>, model: &mut Model, commands: usize, seed: u64) {
    for _ in 0..commands / PIPELINE {
        let steps: Vec<Step> = (0..PIPELINE).map(|_| model.step()).collect();
        check(client, &steps, seed);
    }
}

/// Every key there is, and none besides.
fn check_all(client: &mut Client<TcpStream>, model: &Model, seed: u64) {
    let keys: Vec<&String> = model.data.keys().collect();
    for some in keys.chunks(PIPELINE) {
        let steps: Vec<Step> = some.iter().map(|key| model.look_at(key)).collect();
        check(client, &steps, seed);
    }
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_string();
    loop {
        let Reply::Array(answer) = client.ok(&["SCAN", &cursor, "COUNT", "500"]) else {
            panic!("SCAN answers with an array");
        };
        cursor = answer[0].text();
        let Reply::Array(found) = &answer[1] else {
            panic!("and that holds the keys");
        };
        seen.extend(found.iter().map(Reply::text));
        if cursor == "0" {
            break;
        }
    }
    let expected: BTreeSet<String> = model.data.keys().cloned().collect();
    assert_eq!(seen, expected, "seed {seed}: SCAN");
    let Reply::Array(found) = client.ok(&["KEYS", "c:*"]) else {
        panic!("KEYS answers with an array");
    };
    let found: BTreeSet<String> = found.iter().map(Reply::text).collect();
    let expected = expected.into_iter().filter(|key| key.starts_with("c:")).collect();
    assert_eq!(found, expected, "seed {seed}: KEYS");
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn store_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("core-0/store")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn larger_than_memory(options: &[&str], cores: usize, seed: u64) {
    const KEYS: u64 = 20_000;
    const VALUE_BYTES: usize = 1_500;
    let scratch = Scratch::new();
    let mut server = Server::start(scratch.path(), options);
    let mut model = Model::new(seed, KEYS, VALUE_BYTES);
    for round in 0..4 {
        let mut client = server.client();
        run(&mut client, &mut model, 40_000, seed);
        for core in 0..cores {
            let log = bytes_in(&scratch.join(&format!("core-{core}/log")));
            assert!(
                log <= (8 << 20) + LOG_SLACK_BYTES,
                "round {round}: the log has {log} bytes"
            );
        }
        // Sent and not answered: either the old or the new, and from then on that.
        let torn: Vec<String> = (0..32).map(|n| format!("s:{}", (round * 32 + n) % KEYS)).collect();
        let steps: Vec<Step> = torn.iter().map(|key| (words(&["SET", key, "torn"]), None)).collect();
        send(&mut client, &steps);
        server.kill();
        server = Server::start(scratch.path(), options);
        let mut client = server.client();
        for key in torn {
            let found = client.ok(&["GET", &key]);
            let before = match model.data.get(&key) {
                Some(Value::Text(text)) => Some(text),
                _ => None,
            };
            if found != bulk(before) {
                assert_eq!(found, Reply::Bulk(b"torn".to_vec()), "seed {seed}: {key}");
                model.data.insert(key, Value::Text("torn".into()));
            }
        }
    }
    let mut client = server.client();
    check_all(&mut client, &model, seed);
    let in_files: u64 = (0..cores)
        .map(|core| bytes_in(&scratch.join(&format!("core-{core}/store"))))
        .sum();
    println!("{in_files} bytes are in files");
    assert!(
        in_files > 12 << 20,
        "only {in_files} bytes are in files: nothing was tested"
    );
    server.stop();
    let server = Server::start(scratch.path(), options);
    check_all(&mut server.client(), &model, seed);
    server.stop();
}

#[test]
fn ten_times_the_memory_answers_rightly_and_survives_kills() {
    larger_than_memory(TINY, 1, 1);
}

#[test]
fn ten_times_the_memory_answers_rightly_on_two_cores() {
    larger_than_memory(TINY_TWICE, 2, 2);
}

#[test]
fn missing_and_damaged_files_are_refused_by_name() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), TINY);
    let mut model = Model::new(3, 4_000, 1_500);
    run(&mut server.client(), &mut model, 20_000, 3);
    server.stop();
    let file = store_files(scratch.path()).pop().expect("there are files");
    let name = file.file_name().unwrap().to_str().unwrap().to_string();
    let sound = fs::read(&file).unwrap();

    // Gone, shorter, or with a flipped bit where a start looks.
    for damage in ["gone", "short", "footer"] {
        match damage {
            "gone" => fs::remove_file(&file).unwrap(),
            "short" => fs::write(&file, &sound[..sound.len() - 4096]).unwrap(),
            _ => {
                let mut bytes = sound.clone();
                let at = bytes.len() - 2048;
                bytes[at] ^= 4;
                fs::write(&file, &bytes).unwrap();
            }
        }
        let ended = Server::refused(scratch.path(), TINY);
        assert_eq!(ended.status.code(), Some(1), "{damage}: {}", ended.log);
        for said in ["the files of keys are damaged", &name] {
            assert!(
                ended.log.contains(said),
                "{damage}: '{said}' is not said\n{}",
                ended.log
            );
        }
        fs::write(&file, &sound).unwrap();
    }

    // A flipped bit in the blocks of the first half: found when one of them is read, and then nothing more is answered.
    let mut bytes = sound.clone();
    let half = bytes.len() / 2;
    for page in bytes[4096..half].chunks_mut(4096) {
        page[1000] ^= 1;
    }
    fs::write(&file, &bytes).unwrap();
    let ended = match Server::launch(scratch.path(), TINY) {
        // An entry of the log needed one of them.
        Err(ended) => ended,
        Ok(server) => meet_damage(server, &model),
    };
    assert!(!ended.status.success() && ended.log.contains(&name), "{}", ended.log);
    fs::write(&file, &sound).unwrap();
    let server = Server::start(scratch.path(), TINY);
    check_all(&mut server.client(), &model, 3);
    server.stop();
}

/// Reads all keys until the server ends.
fn meet_damage(server: Server, model: &Model) -> Ended {
    let mut client = server.client();
    let answered = model.data.keys().all(|key| {
        let (command, expected) = model.look_at(key);
        let asked = client.send(&request(&command.iter().map(String::as_str).collect::<Vec<_>>()));
        match asked.and_then(|()| client.reply()) {
            Ok(reply) => {
                assert_eq!(Some(reply), expected, "{command:?}");
                true
            }
            Err(_) => false,
        }
    });
    assert!(!answered, "no damaged block was read");
    server.ended()
}

/// A server whose keys are all in files and none in memory: after a start. `s:N` is "N" and padding, `n:N` the number, `l:N`
/// a list of "c", "a", "b", of which `w:a` to `w:c` say the order.
fn all_cold(dir: &Path) -> Server {
    let server = Server::start(dir, TINY);
    let mut client = server.client();
    let pad = "x".repeat(2_000);
    for n in 0..3_000 {
        let (s, number) = (format!("s:{n}"), n.to_string());
        let steps = [
            (words(&["SET", &s, &format!("{n}{pad}")]), None),
            (words(&["SET", &format!("n:{n}"), &number]), None),
            (words(&["RPUSH", &format!("l:{n}"), "c", "a", "b"]), None),
        ];
        check(&mut client, &steps, 0);
    }
    for (name, weight) in [("w:a", "2"), ("w:b", "3"), ("w:c", "1")] {
        client.ok(&["SET", name, weight]);
    }
    server.stop();
    Server::start(dir, TINY)
}

fn texts(list: &[&str]) -> Reply {
    Reply::Array(list.iter().map(|text| Reply::Bulk(text.as_bytes().to_vec())).collect())
}

#[test]
fn what_transactions_and_waiters_need_is_read_from_files() {
    let scratch = Scratch::new();
    let server = all_cold(scratch.path());
    let (mut client, mut other) = (server.client(), server.client());

    for command in [
        &["MULTI"][..],
        &["INCR", "n:7"],
        &["RPOPLPUSH", "l:1", "l:2"],
        &["SORT", "l:2", "BY", "w:*"],
        &["KEYS", "w:*"],
        &["STRLEN", "s:12"],
        &["SET", "s:13", "new"],
        &["DBSIZE"],
    ] {
        client.ok(command);
    }
    let Reply::Array(replies) = client.ok(&["EXEC"]) else {
        panic!("EXEC answers with an array");
    };
    assert_eq!(replies[..2], [Reply::Integer(8), Reply::Bulk(b"b".to_vec())]);
    assert_eq!(replies[2], texts(&["c", "a", "b", "b"]));
    let Reply::Array(found) = &replies[3] else {
        panic!("KEYS answers with an array");
    };
    let found: BTreeSet<String> = found.iter().map(Reply::text).collect();
    assert_eq!(found, ["w:a", "w:b", "w:c"].map(String::from).into());
    assert_eq!(replies[4..6], [Reply::Integer(2_002), Reply::Simple("OK".into())]);
    // A new key whose absence the filters did not know is not counted (docs/operating.md).
    let Reply::Integer(size) = replies[6] else {
        panic!("DBSIZE answers with a number");
    };
    assert!((8_700..=9_003).contains(&size), "{size} keys");

    // A watched key that only files have, changed by another and not.
    for (touched, expected) in [("n:20", Reply::Nil), ("n:21", Reply::Array(vec![Reply::Integer(23)]))] {
        client.ok(&["WATCH", "n:20", "n:22"]);
        other.ok(&["SET", touched, "5"]);
        client.ok(&["MULTI"]);
        client.ok(&["INCR", "n:22"]);
        assert_eq!(client.ok(&["EXEC"]), expected, "{touched}");
    }

    // Whoever waits needs keys, too, when he is served.
    client
        .send(&request(&["BLMOVE", "queue", "l:30", "LEFT", "RIGHT", "0"]))
        .unwrap();
    while other.info("blocked_clients") != "1" {}
    assert_eq!(other.ok(&["RPUSH", "queue", "z"]), Reply::Integer(1));
    assert_eq!(client.reply().unwrap(), Reply::Bulk(b"z".to_vec()));
    assert_eq!(client.ok(&["LRANGE", "l:30", "0", "-1"]), texts(&["c", "a", "b", "z"]));
    let stored = ["SORT", "l:31", "BY", "w:*", "STORE", "l:32"];
    assert_eq!(client.ok(&stored), Reply::Integer(3));
    assert_eq!(client.ok(&["LRANGE", "l:32", "0", "-1"]), texts(&["c", "a", "b"]));

    // A script names no key, and looks at everything.
    let script = "redis.call('RPOPLPUSH', 'l:41', 'l:40') redis.call('INCR', 'n:41')
        local all, cursor = 0, '0'
        repeat
            local page = redis.call('SCAN', cursor, 'MATCH', 'n:*')
            cursor, all = page[1], all + #page[2]
        until cursor == '0'
        return {redis.call('GET', 'n:40'), all, #redis.call('KEYS', 'w:*')}";
    let found = Reply::Array(vec![bulk(Some(&"40".into())), Reply::Integer(3_000), Reply::Integer(3)]);
    assert_eq!(client.ok(&["EVAL", script, "0"]), found);
    let reads = "return {redis.call('GET', 'n:42'), #redis.call('KEYS', 'l:*')}";
    let found = Reply::Array(vec![bulk(Some(&"42".into())), Reply::Integer(3_000)]);
    assert_eq!(client.ok(&["EVAL_RO", reads, "0"]), found);

    // All of it again, from the log, over files that have none of it.
    server.kill();
    let server = Server::start(scratch.path(), TINY);
    let mut client = server.client();
    assert_eq!(client.ok(&["LRANGE", "l:30", "0", "-1"]), texts(&["c", "a", "b", "z"]));
    assert_eq!(client.ok(&["LRANGE", "l:2", "0", "-1"]), texts(&["b", "c", "a", "b"]));
    assert_eq!(client.ok(&["MGET", "n:7", "n:22", "s:13"]), texts(&["8", "23", "new"]));
    assert_eq!(client.ok(&["EXISTS", "queue"]), Reply::Integer(0));
    assert_eq!(client.ok(&["LRANGE", "l:40", "0", "-1"]), texts(&["b", "c", "a", "b"]));
    assert_eq!(client.ok(&["GET", "n:41"]), Reply::Bulk(b"42".to_vec()));
    let Reply::Integer(size) = client.ok(&["DBSIZE"]) else {
        panic!("DBSIZE answers with a number");
    };
    assert!((8_700..=9_003).contains(&size), "{size} keys");
    server.stop();
}

#[test]
fn waiters_and_functions_are_still_known_when_the_log_is_read_that_follows_the_files() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), TINY);
    let (mut client, mut other) = (server.client(), server.client());
    let library = "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)";
    other.ok(&["FUNCTION", "LOAD", library]);
    client.send(&request(&["BLPOP", "queue", "0"])).unwrap();
    while other.info("blocked_clients") != "1" {}
    let mut model = Model::new(5, 4_000, 1_500);
    run(&mut other, &mut model, 20_000, 5);
    assert!(!store_files(scratch.path()).is_empty(), "nothing was flushed");
    other.ok(&["RPUSH", "queue", "a", "b"]);
    assert_eq!(client.reply().unwrap(), texts(&["queue", "a"]));
    server.kill();
    let server = Server::start(scratch.path(), TINY);
    let mut client = server.client();
    assert_eq!(client.ok(&["LRANGE", "queue", "0", "-1"]), texts(&["b"]));
    assert_eq!(client.ok(&["FCALL", "twice", "0", "21"]), Reply::Integer(42));
    server.stop();
}

/// Flushes and merges take files away under a walk over all keys: what it has read of them then counts for nothing, and is
/// read again.
#[test]
fn keys_shows_every_key_while_files_change() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.path(), TINY);
    let mut client = server.client();
    client.ok(&["CONFIG", "SET", "durability", "off"]);
    let value = "v".repeat(1_000);
    for round in 0..4 {
        for first in (0..6_000).step_by(PIPELINE) {
            let keys: Vec<String> = (first..first + PIPELINE).map(|n| format!("k:{n}")).collect();
            let requests: Vec<u8> = keys.iter().flat_map(|key| request(&["SET", key, &value])).collect();
            client.send(&requests).unwrap();
            keys.iter().for_each(|_| assert!(!client.reply().unwrap().is_error()));
            // Amid the writes of the later rounds, whose flushes are under way.
            if round > 0 && first.is_multiple_of(20 * PIPELINE) {
                let Reply::Array(found) = client.ok(&["KEYS", "*"]) else {
                    panic!("KEYS answers a list")
                };
                assert_eq!(found.len(), 6_016, "round {round}, key {first}");
            }
        }
    }
    server.stop();
}
