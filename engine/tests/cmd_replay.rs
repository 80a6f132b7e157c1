//! Commands depend on nothing but the state, their arguments, the entry's time and its seed; and no arguments, however
//! wild, make one panic or answer with anything but one reply.

mod cmd_support;

use cmd_support::collections::COLLECTIONS;
use cmd_support::families::FAMILIES;
use cmd_support::machine::Machine;
use cmd_support::random::{NUMBERS, Random, random_command, random_of_family};
use cmd_support::script;
use slotcore_engine::cmd::{Run, commands};

#[test]
fn replicas_that_execute_the_same_commands_stay_the_same() {
    for seed in 0..8 {
        let (mut leader, mut twin, mut replica) = (Machine::new(), Machine::new(), Machine::new());
        (leader.proto, twin.proto) = (2 + seed as u8 % 2, 2 + seed as u8 % 2);
        let (mut r, mut now) = (Random::new(seed), 1_700_000_000_000);
        for step in 0..3000 {
            now += r.below(400) as u64;
            for machine in [&mut leader, &mut twin, &mut replica] {
                machine.set_time(now);
            }
            let line = match r.below(12) {
                0 => format!("spop k{} {}", r.below(6), r.below(4)),
                1 => format!("spop k{}", r.below(6)),
                2 => "randomkey".to_string(),
                3 => format!("sadd k{} m{} m{} {}", r.below(6), r.below(90), r.below(90), r.below(90)),
                4 => format!("pexpire k{} {}", r.below(6), r.below(2000)),
                5..=8 => {
                    let family = r.below(FAMILIES.len());
                    random_of_family(&mut r, &FAMILIES[family])
                }
                _ => random_command(&mut r),
            };
            let words = script::words(&line);
            let reply = leader.execute(&words);
            assert_eq!(twin.execute(&words), reply, "seed {seed}: {line}");
            replica.apply(&words);
            if step % 100 == 99 {
                let digest = leader.ks.digest();
                assert_eq!(
                    (twin.ks.digest(), replica.ks.digest()),
                    (digest, digest),
                    "seed {seed}: {line} -> {reply}"
                );
            }
        }
    }
}

/// What a set holds in which position shows in what SPOP takes, so it must not depend on anything local.
#[test]
fn replicas_agree_on_the_order_of_sets_that_others_were_made_of() {
    for (n, family) in COLLECTIONS.iter().enumerate() {
        for seed in 0..6 {
            let (mut leader, mut replica) = (Machine::new(), Machine::new());
            let mut r = Random::new(100 * n as u64 + seed);
            for step in 0..3000 {
                let line = match r.below(10) {
                    0 => format!("spop s{} {}", r.below(6), r.below(3)),
                    1 => format!(
                        "sadd s{} m{} m{} m{}",
                        r.below(6),
                        r.below(90),
                        r.below(90),
                        r.below(90)
                    ),
                    2 => format!("srandmember s{} {}", r.below(6), r.below(9)),
                    _ => random_of_family(&mut r, family),
                };
                let words = script::words(&line);
                let reply = leader.execute(&words);
                if r.below(2) == 0 {
                    assert_eq!(replica.execute(&words), reply, "seed {seed}: {line}");
                } else {
                    replica.apply(&words);
                }
                if step % 100 == 99 {
                    assert_eq!(
                        leader.ks.digest(),
                        replica.ks.digest(),
                        "seed {seed}: {line} -> {reply}"
                    );
                }
            }
        }
    }
}

#[test]
fn wild_arguments_get_one_reply() {
    let options = [
        "FIELDS",
        "FNX",
        "FXX",
        "LEFT",
        "RIGHT",
        "BEFORE",
        "AFTER",
        "RANK",
        "MAXLEN",
        "LIMIT",
        "WITHVALUES",
        "NOVALUES",
        "NX",
        "XX",
        "GT",
        "LT",
        "CH",
        "INCR",
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "KEEPTTL",
        "PERSIST",
        "GET",
        "MATCH",
        "COUNT",
        "TYPE",
        "LEN",
        "IDX",
        "MINMATCHLEN",
        "WITHMATCHLEN",
        "WITHSCORES",
        "REV",
        "REPLACE",
        "DB",
        "SAMPLES",
        "ASYNC",
        "BYSCORE",
        "BYLEX",
        "LIMIT",
        "WEIGHTS",
        "AGGREGATE",
        "MAX",
        "MIN",
        "SUM",
        "WITHSCORE",
        "AND",
        "NOT",
        "ONE",
        "BIT",
        "u8",
        "i64",
        "INCRBY",
        "OVERFLOW",
        "FROMMEMBER",
        "FROMLONLAT",
        "BYRADIUS",
        "BYBOX",
        "km",
        "ANY",
        "STORE",
        "STOREDIST",
        "BY",
        "ALPHA",
        "IFEQ",
        "IFDEQ",
        "ABSTTL",
    ];
    let data: Vec<_> = commands()
        .flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
        .filter(|spec| matches!(spec.run, Run::Data(_)))
        .collect();
    let (mut machine, mut r) = (Machine::new(), Random::new(3));
    for step in 0..200_000 {
        machine.proto = 2 + (step % 2) as u8;
        let spec = data[r.below(data.len())];
        let mut words: Vec<Vec<u8>> = spec.full_name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        for _ in 0..r.below(9) {
            words.push(match r.below(8) {
                0..=3 => vec![b'k', b'0' + r.below(8) as u8],
                4 => r.one(&options).as_bytes().to_vec(),
                5 => r.one(NUMBERS).as_bytes().to_vec(),
                6 => (0..r.below(12)).map(|_| r.below(256) as u8).collect(),
                _ => b"*?[^a-\\".to_vec(),
            });
        }
        machine.execute(&words);
        if step % 1000 == 0 {
            machine.set_time(machine.ks.now_ms() + 1000);
        }
    }
    machine.ks.digest();
}
