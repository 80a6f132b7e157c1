//! COMMAND: the table says the same as redis-server 7.0.15 of every command that both have.
//!
//! `cmd_command/transcript.txt` holds, for each command, what COMMAND INFO of a redis-server gave in RESP2 and RESP3, in
//! our lossless text form; subcommands have lines of their own. SLOTCORE_UPDATE=1 with `--ignored` captures it anew.

mod cmd_support;

use cmd_support::redis::Redis;
use cmd_support::wire::{Value, Wire, parse};
use slotcore_engine::cmd::{CommandSpec, Flags, KeyFind, KeySearch, commands, introspect};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

/// Commands that came after Redis 7.0, or that Redis does not have.
const YOUNGER: [&str; 24] = [
    "backup",
    "client|no-touch",
    "client|readmode",
    "client|setinfo",
    "delex",
    "digest",
    "msetex",
    "cluster|drain",
    "cluster|myshardid",
    "cluster|remove-node",
    "cluster|set-replicas",
    "hexpire",
    "hpexpire",
    "hexpireat",
    "hpexpireat",
    "httl",
    "hpttl",
    "hexpiretime",
    "hpexpiretime",
    "hpersist",
    "hgetex",
    "hsetex",
    "hgetdel",
    "waitaof",
];

/// Commands that took no option in Redis 7.0, and later took one: their arity differs.
const GREW: [&str; 2] = ["zrank", "zrevrank"];

fn all() -> Vec<&'static CommandSpec> {
    commands()
        .flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
        .collect()
}

/// A line of the transcript: the description, with the names of those subcommands that both have in place of their
/// descriptions. Redis gives them in an order that differs from run to run.
fn line(proto: u8, value: Value) -> String {
    let Value::Array(mut parts) = value else {
        panic!("a description is an array")
    };
    assert_eq!(parts.len(), 10);
    if GREW
        .iter()
        .any(|name| parts[0] == Value::Bulk(name.as_bytes().to_vec()))
    {
        parts[1] = Value::Null;
    }
    if let Some(Value::Array(subs)) = parts.last_mut() {
        for sub in subs.iter_mut() {
            let Value::Array(description) = sub else {
                panic!("a description is an array")
            };
            *sub = description.remove(0);
        }
        let known: BTreeSet<_> = all()
            .iter()
            .map(|s| s.full_name)
            .filter(|name| !YOUNGER.contains(name))
            .collect();
        subs.retain(|name| known.iter().any(|k| *name == Value::Bulk(k.as_bytes().to_vec())));
        subs.sort_by(|a, b| a.partial_cmp(b).unwrap());
    }
    format!("{proto} {}", Value::Array(parts))
}

fn ours() -> String {
    let mut out = String::new();
    for proto in [2, 3] {
        for spec in all().into_iter().filter(|s| !YOUNGER.contains(&s.full_name)) {
            let mut wire = Wire::new(proto);
            introspect::command_info(spec, &mut wire);
            let (value, rest) = parse(&wire.bytes).unwrap();
            assert!(rest.is_empty());
            writeln!(out, "{}", line(proto, value)).unwrap();
        }
    }
    out
}

fn transcript() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cmd_command/transcript.txt")
}

#[test]
fn the_table_says_what_redis_says() {
    let expected = std::fs::read_to_string(transcript()).unwrap();
    let actual = ours();
    for (e, a) in expected.lines().zip(actual.lines()) {
        assert_eq!(a, e);
    }
    assert_eq!(actual.lines().count(), expected.lines().count());
}

#[test]
#[ignore = "needs redis-server 7.0"]
#[allow(clippy::disallowed_methods, reason = "a test that captures its own expectations")]
fn redis_says_what_the_transcript_holds() {
    let mut redis = Redis::start("command");
    let mut out = String::new();
    for proto in [2, 3] {
        redis.text(&format!("hello {proto}"));
        for spec in all().into_iter().filter(|s| !YOUNGER.contains(&s.full_name)) {
            let Value::Array(mut found) = redis.text(&format!("command info {}", spec.full_name)) else {
                panic!("COMMAND INFO is an array")
            };
            writeln!(out, "{}", line(proto, found.remove(0))).unwrap();
        }
    }
    if std::env::var_os("SLOTCORE_UPDATE").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(transcript().parent().unwrap()).unwrap();
        std::fs::write(transcript(), out).unwrap();
    } else {
        assert_eq!(out, std::fs::read_to_string(transcript()).unwrap());
    }
}

#[test]
fn every_row_is_complete_and_makes_sense() {
    let mut ids = BTreeSet::new();
    for spec in all() {
        let name = spec.full_name;
        assert!(ids.insert(spec.id), "{name}: number used twice");
        assert!(
            !spec.summary.is_empty() && !spec.since.is_empty() && !spec.complexity.is_empty(),
            "{name}"
        );
        assert!(
            !(spec.flags.has(Flags::WRITE) && spec.flags.has(Flags::READONLY)),
            "{name}"
        );
        assert!(spec.arity != 0, "{name}");
        let least = i32::from(spec.arity.unsigned_abs());
        for keys in spec.key_specs {
            let last = match keys.find {
                KeyFind::Range { last, step } => {
                    assert!(step > 0, "{name}");
                    // Keys up to the last argument may be none at all.
                    last.max(-1)
                }
                KeyFind::Counted { .. } | KeyFind::FirstHalf | KeyFind::Unknown => 0,
            };
            if let KeySearch::Index(index) = keys.search {
                assert!(index > 0 && index + last < least, "{name}: a key may be missing");
            }
        }
        for sub in spec.subcommands {
            assert!(sub.subcommands.is_empty(), "{name}");
        }
    }
}

/// The numbers are in every log: this list only ever grows.
#[test]
fn numbers_of_writes_never_change() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cmd_command/numbers.txt");
    let expected = std::fs::read_to_string(path).unwrap();
    let writes: BTreeSet<_> = all()
        .iter()
        .filter(|s| s.is_write())
        .map(|s| (s.id.0, s.full_name))
        .collect();
    let actual: String = writes.iter().map(|(id, name)| format!("{id} {name}\n")).collect();
    assert_eq!(actual, expected);
}

#[test]
fn docs_are_a_name_and_a_map_in_both_protocols() {
    for proto in [2, 3] {
        for spec in commands() {
            let mut wire = Wire::new(proto);
            introspect::command_docs(spec, &mut wire);
            let (name, rest) = parse(&wire.bytes).unwrap();
            assert_eq!(name, Value::Bulk(spec.full_name.as_bytes().to_vec()));
            let (docs, rest) = parse(rest).unwrap();
            assert!(
                rest.is_empty() && matches!(docs, Value::Map(_)) == (proto == 3),
                "{name}"
            );
        }
    }
}
