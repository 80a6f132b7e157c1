//! Differential tests against a real redis-server 7.0, which must be installed: `cargo test -- --ignored cmd_redis`.

mod cmd_support;

use cmd_support::wire::Value;
use cmd_support::{machine::Machine, redis::Redis, script};
use script::Line;
use slotcore_engine::cmd::op::op_seed;

#[test]
#[ignore = "needs redis-server 7.0"]
fn redis_gives_the_replies_the_scripts_hold() {
    let mut redis = Redis::start("scripts");
    for (path, text) in script::all() {
        if path.file_name().unwrap().to_string_lossy().starts_with("time") {
            continue;
        }
        redis.text("flushall");
        redis.text("hello 2");
        let actual = script::replay(&text, |line| match line {
            Line::Command { words, .. } => redis.execute(&words).to_string(),
            Line::Proto(n) => redis.text(&format!("hello {n}")).to_string(),
            _ => String::new(),
        });
        script::check(&path, &text, &actual);
    }
}

struct Random(u64, u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.1 += 1;
        (op_seed(self.0, self.1) % limit as u64) as usize
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// (No lifetimes of milliseconds: they would end at another command here than there.) Commands with `K` for a key, `N` for a number, `V` for a value, `F` for a score, `O(a|b)` for maybe one of these words.
const COMMANDS: &[&str] = &[
    "set K V",
    "set K V O(EX|EXAT|PXAT|NX|XX|KEEPTTL|GET) N",
    "set K V O(NX|XX|GET) O(GET|KEEPTTL|NX)",
    "set K N EX 1000 O(GET|NX|KEEPTTL)",
    "get K",
    "getdel K",
    "getex K",
    "getex K O(PERSIST|EX) O(1000|PERSIST)",
    "getset K V",
    "setnx K V",
    "setex K N V",
    "psetex K 100000 V",
    "append K V",
    "strlen K",
    "getrange K N N",
    "substr K N N",
    "setrange K N V",
    "incr K",
    "decr K",
    "incrby K N",
    "decrby K N",
    "incrbyfloat K F",
    "mget K K K",
    "mset K V K V",
    "mset K V K",
    "msetnx K V K V",
    "lcs K K",
    "lcs K K LEN",
    "lcs K K IDX O(WITHMATCHLEN|LEN)",
    "lcs K K IDX MINMATCHLEN N WITHMATCHLEN",
    "del K",
    "del K K",
    "unlink K K",
    "exists K K K",
    "expire K 1000",
    "expire K N O(NX|XX)",
    "pexpire K 100000 O(NX|XX)",
    "expireat K 9000000000 O(NX|XX|GT|LT) O(NX|XX|GT|LT)",
    "expireat K 9000000001 O(GT|LT)",
    "pexpireat K N O(GT|LT)",
    "ttl K",
    "expiretime K",
    "persist K",
    "type K",
    "touch K K",
    "keys *",
    "keys k[1-3]",
    "scan 0 COUNT 1000",
    "scan 0 COUNT 1000 TYPE O(list|hash|set|zset|string|foo)",
    "scan 0 MATCH k? COUNT 1000",
    "rename K K",
    "renamenx K K",
    "copy K K",
    "copy K K REPLACE",
    "object encoding K",
    "object refcount K",
    "lpush K V V V",
    "rpush K V V",
    "lpush K V",
    "lpop K",
    "rpop K",
    "lpop K N",
    "rpop K N",
    "lrange K N N",
    "lrange K 0 -1",
    "llen K",
    "sadd K N N V",
    "sadd K N",
    "sadd K V V",
    "scard K",
    "smembers K",
    "sismember K V",
    "spop K 100000",
    "hset K V V",
    "hset K V N V V",
    "hget K V",
    "hgetall K",
    "hdel K V V",
    "hlen K",
    "zadd K F V F V",
    "zadd K O(NX|XX|GT|LT|CH|INCR) F V",
    "zadd K O(NX|XX|CH) O(GT|LT|CH|INCR) F V",
    "zpopmin K",
    "zpopmin K N",
    "zcard K",
    "zscore K V",
    "zrange K N N",
    "zrange K 0 -1 WITHSCORES",
    "zrange K N N REV WITHSCORES",
    "zadd K F V",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-2",
    "-5",
    "100",
    "007",
    "x",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "4",
    "6",
    "7",
];
const VALUES: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "abc",
    "ohmytext",
    "mynewtext",
    "10",
    "-3",
    "3.25",
    "\"\"",
    "\"x y\\x00z\"",
    "hello",
];
const SCORES: &[&str] = &[
    "0", "1", "-1", "1.5", "2.25", "inf", "-inf", "1e3", "x", "3", "0.1", "1e20",
];

fn random_command(r: &mut Random) -> String {
    let words = r.one(COMMANDS).split(' ').map(|word| match word {
        "K" => format!("k{}", r.below(6)),
        "N" => r.one(NUMBERS).to_string(),
        "V" => match r.below(30) {
            0 => "long".repeat(r.below(60)) + "x",
            1 => "huge".repeat(r.below(3000)) + "x",
            _ => r.one(VALUES).to_string(),
        },
        "F" => r.one(SCORES).to_string(),
        word => match word.strip_prefix("O(").and_then(|w| w.strip_suffix(')')) {
            Some(choices) if r.below(4) > 0 => r.one(&choices.split('|').collect::<Vec<_>>()).to_string(),
            Some(_) => String::new(),
            None => word.to_string(),
        },
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Redis calls a string `raw` because of how it was made; we go by its length alone.
fn comparable(line: &str, reply: Value) -> String {
    let text = reply.to_string();
    if line.starts_with("object encoding") && ["\"raw\"", "\"embstr\"", "\"int\""].contains(&text.as_str()) {
        return "a string".to_string();
    }
    if line.starts_with("object refcount") {
        "a count".to_string()
    } else {
        text
    }
}

#[test]
#[ignore = "needs redis-server 7.0"]
fn random_commands_get_the_replies_of_redis() {
    let mut redis = Redis::start("random");
    for seed in 0..60 {
        redis.text("flushall");
        let proto = 2 + seed % 2;
        redis.text(&format!("hello {proto}"));
        let (mut machine, mut r) = (Machine::new(), Random(seed, 0));
        machine.proto = proto as u8;
        let mut story = Vec::new();
        for _ in 0..1500 {
            let line = random_command(&mut r);
            let words = script::words(&line);
            machine.set_time(redis.time_ms());
            let expected = comparable(&line, redis.execute(&words));
            let actual = comparable(&line, machine.execute(&words));
            story.push(format!(
                "{} -> {}",
                line.chars().take(200).collect::<String>(),
                expected
            ));
            if actual == expected {
                continue;
            }
            let recent = story[story.len().saturating_sub(40)..].join("\n");
            panic!("seed {seed}: {actual:.300} instead of {expected:.300}, after\n{recent:.8000}");
        }
    }
}

/// More elements than any compact form holds.
#[test]
#[ignore = "needs redis-server 7.0"]
fn large_collections_behave_like_those_of_redis() {
    let mut redis = Redis::start("large");
    let (mut machine, mut r) = (Machine::new(), Random(1, 0));
    for step in 0..40_000 {
        let n = r.below(3000);
        let line = match r.below(14) {
            0..=1 => format!("zadd z {} m{n}", r.below(50)),
            2 => format!("zadd z INCR {} m{n}", r.below(9)),
            3 => "zpopmin z".to_string(),
            4 => format!("zrange z {} {} O REV", r.below(2000), r.below(2000))
                .replace(" O REV", if n % 2 == 0 { " REV" } else { "" }),
            5 => format!("hset h f{n} {}", "v".repeat(r.below(80))),
            6 => format!("hdel h f{n} f{}", r.below(3000)),
            7 => format!("sadd s m{n}"),
            8 => format!("sadd i {}", n / 4),
            9 => format!(
                "{} l {}",
                if n % 2 == 0 { "lpush" } else { "rpush" },
                "e".repeat(n / 10)
            ),
            10 => format!("{} l", if n % 5 == 0 { "lpop" } else { "rpop" }),
            11 => format!("lrange l {} {}", r.below(2000), n),
            12 => format!("hget h f{n}"),
            _ => format!("zscore z m{n}"),
        };
        let words = script::words(&line);
        assert_eq!(
            machine.execute(&words).to_string(),
            redis.execute(&words).to_string(),
            "step {step}: {line}"
        );
    }
    for line in [
        "hgetall h",
        "smembers s",
        "smembers i",
        "lrange l 0 -1",
        "zrange z 0 -1 WITHSCORES",
        "object encoding z",
        "object encoding h",
        "object encoding s",
        "object encoding i",
    ] {
        let words = script::words(line);
        assert_eq!(
            machine.execute(&words).to_string(),
            redis.execute(&words).to_string(),
            "{line}"
        );
    }
}
