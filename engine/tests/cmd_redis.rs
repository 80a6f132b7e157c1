//! Differential tests against a real redis-server 7.0, which must be installed: `cargo test -- --ignored cmd_redis`.

mod cmd_support;

use cmd_support::collections::COLLECTIONS;
use cmd_support::families::FAMILIES;
use cmd_support::random::{Random, random_command, random_of_family};
use cmd_support::wire::Value;
use cmd_support::{machine::Machine, redis::Redis, script};
use script::Line;

#[test]
#[ignore = "needs redis-server 7.0"]
fn redis_gives_the_replies_the_scripts_hold() {
    let mut redis = Redis::start("scripts");
    for (path, text) in script::all() {
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with("time") || name.starts_with("newer") {
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
        compare(&mut redis, seed, 1500, random_command);
    }
}

#[test]
#[ignore = "needs redis-server 7.0"]
fn random_commands_of_a_family_get_the_replies_of_redis() {
    let mut redis = Redis::start("families");
    for (n, family) in FAMILIES.iter().enumerate() {
        for seed in 0..12 {
            compare(&mut redis, 100 * n as u64 + seed, 1500, |r| random_of_family(r, family));
        }
    }
}

#[test]
#[ignore = "needs redis-server 7.0"]
fn random_commands_on_lists_sets_and_hashes_get_the_replies_of_redis() {
    let mut redis = Redis::start("collections");
    for (n, family) in COLLECTIONS.iter().enumerate() {
        for seed in 0..12 {
            compare(&mut redis, 1000 * (n as u64 + 1) + seed, 1500, |r| {
                random_of_family(r, family)
            });
        }
    }
}

/// Executes random commands here and there.
fn compare(redis: &mut Redis, seed: u64, steps: usize, mut next: impl FnMut(&mut Random) -> String) {
    redis.text("flushall");
    let proto = 2 + seed % 2;
    redis.text(&format!("hello {proto}"));
    let (mut machine, mut r) = (Machine::new(), Random::new(seed));
    machine.proto = proto as u8;
    let mut story = Vec::new();
    for _ in 0..steps {
        let line = next(&mut r);
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

/// More elements than any compact form holds.
#[test]
#[ignore = "needs redis-server 7.0"]
fn large_collections_behave_like_those_of_redis() {
    let mut redis = Redis::start("large");
    let (mut machine, mut r) = (Machine::new(), Random::new(1));
    for step in 0..40_000 {
        let n = r.below(3000);
        let line = match r.below(32) {
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
            13 => format!("zrangebyscore z {} ({} WITHSCORES", r.below(50), r.below(50)),
            14 => format!(
                "zrevrangebyscore z {} {} LIMIT {} 10",
                r.below(50),
                r.below(50),
                n / 100
            ),
            15 => format!("zrank z m{n}"),
            16 => format!("zrevrank z m{n}"),
            17 => format!("zcount z {} {}", r.below(50), r.below(50)),
            18 => format!("zremrangebyrank z {n} {}", n + r.below(9)),
            19 => format!("lset l {} {}", r.below(4000) as i64 - 2000, "x".repeat(n / 8)),
            20 => format!(
                "linsert l {} {} {n}",
                if n % 2 == 0 { "before" } else { "after" },
                "e".repeat(r.below(300))
            ),
            21 => format!("lrem l {} {}", n as i64 % 7 - 3, "e".repeat(r.below(300))),
            22 => format!(
                "lpos l {} rank {} count 3",
                "e".repeat(r.below(300)),
                n as i64 % 5 * 2 - 5
            ),
            23 => format!("lindex l {}", n as i64 - 1500),
            24 if step % 16 == 0 => format!("ltrim l {} {}", r.below(20), -1 - r.below(20) as i64),
            24 => format!("rpush l {n} {} {n}", "e".repeat(r.below(300))),
            25 => format!("hincrby h n{} {n}", n % 900),
            26 => format!("hmget h f{n} n{} nofield", r.below(900)),
            27 => format!("hsetnx h f{n} {n}"),
            28 => format!("smove s t m{n}"),
            29 => format!("srem {} m{n} {}", if n % 2 == 0 { "s" } else { "t" }, n / 4),
            30 if step % 8 == 0 => format!("{} u s t i", r.one(&["sunionstore", "sdiffstore", "sinterstore"])),
            30 => format!("smismember s m{n} m{} m{}", n / 2, n / 3),
            31 if step % 32 == 0 => format!("{} s t i", r.one(&["sunion", "sdiff", "sinter"])),
            31 => format!("sintercard 2 s t limit {}", n / 100),
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
        "smembers t",
        "smembers u",
        "hkeys h",
        "hvals h",
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

/// Values of all types, made by random commands, travel from here to Redis and back.
#[test]
#[ignore = "needs redis-server 7.0"]
fn redis_restores_what_we_dump_and_we_what_it_dumps() {
    let mut redis = Redis::start("dump");
    let (mut strings, mut collections) = (0, 0);
    for seed in 0..24 {
        redis.text("flushall");
        redis.text(&format!(
            "config set rdbcompression {}",
            if seed % 2 == 0 { "no" } else { "yes" }
        ));
        let (mut machine, mut r) = (Machine::new(), Random::new(seed));
        for n in 0..400 {
            let size = [1, 8, 60, 700][r.below(4)];
            let text = match r.below(4) {
                0 => "word".repeat(r.below(60) + 1),
                1 => "huge".repeat(r.below(2000) + 1),
                2 => (r.below(1 << 62) as i64 >> r.below(62)).to_string(),
                _ => format!("m{}", r.below(size)),
            };
            let key = r.below(3);
            let line = match r.below(7) {
                0 => format!("set s{key} {text}"),
                1 | 2 => format!("rpush l{key} {text} {}", r.below(size)),
                3 => format!("sadd t{key} {text} {n}"),
                4 => format!("sadd i{key} {} {}", r.below(1 << (seed + 4)), n),
                5 => format!("hset h{key} {} {text} {n} {n}", r.below(size)),
                _ => format!("zadd z{key} {}.5 {text} {n} {}", r.below(99), r.below(size)),
            };
            let words = script::words(&line);
            assert_eq!(machine.execute(&words).to_string(), redis.execute(&words).to_string());
        }
        for name in ["s", "l", "t", "i", "h", "z"] {
            let key = format!("{name}{}", r.below(3));
            let (Value::Bulk(ours), Value::Bulk(theirs)) =
                (machine.text(&format!("dump {key}")), redis.text(&format!("dump {key}")))
            else {
                continue;
            };
            let ordered = machine.text(&format!("object encoding {key}")).to_string() != "\"hashtable\"";
            if ordered && seed % 2 == 0 {
                assert_eq!(
                    ours.escape_ascii().to_string(),
                    theirs.escape_ascii().to_string(),
                    "{key}"
                );
            }
            let restore = |payload| {
                [
                    b"restore".to_vec(),
                    b"copy".to_vec(),
                    b"0".to_vec(),
                    payload,
                    b"replace".to_vec(),
                ]
            };
            assert_eq!(redis.execute(&restore(ours)).to_string(), "OK");
            assert_eq!(machine.execute(&restore(theirs)).to_string(), "OK");
            let read = match name {
                "s" => "get copy",
                "l" => "lrange copy 0 -1",
                "h" => "hgetall copy",
                "z" => "zrange copy 0 -1 withscores",
                _ => "smembers copy",
            };
            for line in [read, "object encoding copy", &read.replace("copy", &key)] {
                let expected = comparable(line, redis.text(line));
                assert_eq!(comparable(line, machine.text(line)), expected, "{line}");
            }
            *(if name == "s" { &mut strings } else { &mut collections }) += 1;
        }
    }
    assert!(strings > 10 && collections > 60);
}
