//! Fields that expire: a replica that removes them at once and one that never does answer alike, nothing is left behind,
//! and no step of removing them is long.

mod cmd_support;

use cmd_support::machine::Machine;
use cmd_support::random::Random;
use cmd_support::script;
use cmd_support::wire::Value;

const COMMANDS: &[&str] = &[
    "hset K F V",
    "hset K F V F V F V",
    "hsetnx K F V",
    "hincrby K F 1",
    "hdel K F F",
    "hpexpire K T FIELDS 2 F F",
    "hpexpire K T O(NX|XX|GT|LT) FIELDS 1 F",
    "hpersist K FIELDS 2 F F",
    "hgetex K PX T FIELDS 1 F",
    "hgetex K PERSIST FIELDS 1 F",
    "hgetdel K FIELDS 2 F F",
    "hsetex K O(FNX|FXX) PX T FIELDS 2 F V F V",
    "hsetex K KEEPTTL FIELDS 1 F V",
    "hpttl K FIELDS 3 F F F",
    "hgetall K",
    "hlen K",
    "hmget K F F F",
    "hrandfield K 1000 WITHVALUES",
    "hscan K 0 COUNT 100000",
    "exists K K K",
    "type K",
    "rename K K",
    "renamenx K K",
    "copy K K",
    "copy K K REPLACE",
    "set K V KEEPTTL",
    "setnx K V",
    "append K V",
    "sadd K V",
    "del K",
    "del K",
    "pexpire K T",
    "keys *",
    "scan 0 COUNT 1000",
    "object encoding K",
];

fn line(r: &mut Random, fields: usize) -> String {
    let words = r.one(COMMANDS).split(' ').map(|word| match word {
        "K" => format!("k{}", r.below(5)),
        "F" => format!("f{}", r.below(fields)),
        "V" => r.below(100).to_string(),
        "T" => (1 + r.below(60)).to_string(),
        word => match word.strip_prefix("O(").and_then(|w| w.strip_suffix(')')) {
            Some(choices) => r.one(&choices.split('|').collect::<Vec<_>>()).to_string(),
            None => word.to_string(),
        },
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The reply with fields and values sorted together: their order follows from what was removed when.
fn comparable(command: &str, reply: Value) -> Value {
    match (command, reply) {
        ("hrandfield", Value::Array(mut items)) => {
            items.sort_by(|a, b| a.partial_cmp(b).expect("comparable"));
            Value::Array(items)
        }
        (_, reply) => reply,
    }
}

#[test]
fn when_fields_are_removed_does_not_matter() {
    for seed in 0..16 {
        let (mut eager, mut lazy, mut r) = (Machine::new(), Machine::new(), Random::new(seed));
        let fields = [3, 12, 200, 2000][seed as usize % 4];
        let mut now = 1_700_000_000_000;
        for step in 0..4000 {
            now += r.below(4) as u64;
            eager.set_time(now);
            lazy.set_time(now);
            if r.below(3) == 0 {
                eager.ks.expire_work(1 + r.below(4));
                eager.ks.free_work(r.below(20));
            }
            let line = line(&mut r, fields);
            let words = script::words(&line);
            let command = line.split(' ').next().expect("a name");
            let expected = comparable(command, lazy.execute(&words));
            let actual = comparable(command, eager.execute(&words));
            assert_eq!(actual, expected, "seed {seed}, step {step}: {line}");
            if step % 64 == 0 {
                assert_eq!(eager.ks.digest(), lazy.ks.digest(), "seed {seed}, step {step}: {line}");
            }
        }
        // In the end nothing lies there that cannot be seen.
        eager.set_time(now + 100_000);
        while eager.ks.expire_work(1000) >= 1000 {}
        let Value::Array(keys) = eager.execute(&script::words("keys *")) else {
            panic!("KEYS is an array")
        };
        assert_eq!(eager.ks.len(), keys.len() as u64, "seed {seed}");
        eager.execute(&script::words("flushall"));
        assert_eq!(eager.ks.next_deadline(), None);
    }
}

#[test]
fn many_fields_that_expire_together_are_removed_in_small_steps() {
    const FIELDS: usize = 20_000;
    let mut machine = Machine::new();
    let now = machine.ks.now_ms();
    machine.execute(&script::words("hset h stays 1"));
    for n in 0..FIELDS {
        machine.execute(&script::words(&format!("hsetex h PX 50 FIELDS 1 field{n} value")));
    }
    assert_eq!(machine.execute(&script::words("hlen h")), Value::Int(FIELDS as i64 + 1));
    let full = machine.ks.memory().objects;
    machine.set_time(now + 50);
    assert_eq!(machine.execute(&script::words("hlen h")), Value::Int(1), "gone at once");
    assert!(machine.ks.memory().objects >= full, "and removed later");
    machine.set_time(now + 100);
    let mut steps = 0;
    while machine.ks.expire_work(100) >= 100 {
        steps += 1;
    }
    assert!((FIELDS / 100..FIELDS / 50).contains(&steps), "{steps} steps");
    let left = machine.ks.memory().objects;
    assert!(left < full / 2, "{left} of {full} bytes");
    assert_eq!(machine.ks.next_deadline(), None);
    assert_eq!(
        machine.execute(&script::words("hgetall h")).to_string(),
        "[\"stays\", \"1\"]"
    );
}

#[test]
fn a_read_between_the_clocks_asks_for_a_tick() {
    let mut machine = Machine::new();
    let now = machine.ks.now_ms();
    for line in [
        "hset h a 1 b 2",
        "hpexpire h 10 FIELDS 1 a",
        "hset spent x 1",
        "hpexpire spent 10 FIELDS 1 x",
    ] {
        machine.execute(&script::words(line));
    }
    let mut asks = |wall: u64, line: &str| {
        machine.ks.set_time(now, wall);
        machine.execute(&script::words(line));
        machine.ks.take_needs_tick()
    };
    assert!(!asks(now + 9, "hget h a") && !asks(now + 9, "exists spent"));
    for line in ["hget h a", "hlen h", "hgetall h", "exists spent", "keys *"] {
        assert!(asks(now + 10, line), "{line}");
    }
    assert!(!asks(now + 10, "get nokey"));
    machine.set_time(now + 10);
    assert_eq!(machine.execute(&script::words("keys *")).to_string(), "[\"h\"]");
    assert!(!machine.ks.take_needs_tick());
}
