//! Commands about keys of several cores that cannot be taken apart: carried out on copies of their values.
//!
//! Whoever carries one out asks the owners of its keys for copies ([`asked_by`]), runs the command on a keyspace that holds
//! nothing else ([`carry_out`]), and has the owners store what has become different ([`stored_by`]). That nothing else happens
//! to the keys from the first copy to the last change is the caller's to see to; the server holds the cores concerned
//! (`docs/decisions/0011-transactions-over-cores.md`).
//!
//! A copy is what `DUMP` gives, with the moment at which the key expires.

use super::parse::is;
use super::waiting::may_wait;
use super::{Args, CommandSpec, Exec, Flags, Reply, Run, keys, lookup};
use crate::keyspace::{Expire, Keyspace, KeyspaceOptions, Kind};
use crate::rdb::{PayloadError, Value, dump_collection, dump_str, restore};

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// As `DUMP` gives it.
    pub payload: Vec<u8>,
    /// Milliseconds since 1970; `None`: it lives until deleted.
    pub expires_at_ms: Option<u64>,
}

/// What a key has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place among the arguments of the command.
    pub place: u32,
    /// `None`: it is gone.
    pub value: Option<Copied>,
}

/// True for a command that may be carried out on copies: all that it looks at is named by its keys, and it does not wait.
pub fn works_on_copies(spec: &CommandSpec, args: &Args<'_>) -> bool {
    matches!(spec.run, Run::Data(_))
        && !spec.flags.has(Flags::LOGGED)
        && !may_wait(spec, args)
        && !sorts_by_other_keys(spec, args)
}

/// `SORT` may name keys by patterns, which nobody can ask for beforehand.
fn sorts_by_other_keys(spec: &CommandSpec, args: &Args<'_>) -> bool {
    let sorts = matches!(spec.name, "sort" | "sort_ro");
    sorts && args.iter_from(2).any(|arg| is(arg, "BY") || is(arg, "GET"))
}

/// Carries out a command on `copies`: those of the keys at these places among its arguments, `None` where there is no such
/// key. `now_ms`: its moment, milliseconds since 1970. Returns what has changed, by place.
///
/// # Errors
/// A copy cannot be read: nothing was carried out.
///
/// # Panics
/// When [`works_on_copies`] says no.
pub fn carry_out(
    spec: &CommandSpec,
    args: Args<'_>,
    copies: &[(u32, Option<Copied>)],
    now_ms: u64,
    seed: u64,
    reply: &mut dyn Reply,
) -> Result<Vec<Change>, PayloadError> {
    let Run::Data(run) = spec.run else {
        panic!("{} does not work on copies", spec.name)
    };
    let mut ks = Keyspace::new(KeyspaceOptions::default());
    ks.set_time(now_ms, now_ms);
    for (place, copy) in copies {
        if let Some(copy) = copy {
            store(&mut ks, args.get(*place as usize), copy)?;
        }
    }
    // Copied again: where the order of elements says nothing, an owner's copy may have another one.
    let mut before = Vec::new();
    if spec.is_write() {
        for (place, _) in copies {
            // A key that is named twice changes once.
            let key = args.get(*place as usize);
            if !before.iter().any(|(other, _)| args.get(*other as usize) == key) {
                before.push((*place, copy_of(&mut ks, key)));
            }
        }
    }
    run(&mut Exec::nested(&mut ks, args, seed), reply);
    let changes = before.into_iter().filter_map(|(place, before)| {
        let value = copy_of(&mut ks, args.get(place as usize));
        (value != before).then_some(Change { place, value })
    });
    Ok(changes.collect())
}

/// The places of a command's keys among its arguments, in order.
pub fn places(spec: &CommandSpec, args: &Args<'_>) -> Vec<u32> {
    let mut numbers = Vec::new();
    keys(spec, args, &mut numbers);
    numbers
}

/// The commands that ask the owner of a key for a copy, each with the key alone: their replies are a payload or nil, and the
/// moment at which it expires, negative if it does not.
pub fn asked_by() -> [&'static CommandSpec; 2] {
    [named("dump"), named("pexpiretime")]
}

fn named(name: &str) -> &'static CommandSpec {
    lookup(name.as_bytes()).expect("the table has it")
}

/// The command by which the owner of `key` stores a change, and its arguments behind the name.
pub fn stored_by(change: &Change, key: &[u8]) -> (&'static CommandSpec, Vec<Vec<u8>>) {
    match &change.value {
        None => (named("del"), vec![key.to_vec()]),
        Some(Copied { payload, expires_at_ms }) => {
            let moment = expires_at_ms.unwrap_or(0).to_string().into_bytes();
            let words = [key, &moment, payload, b"REPLACE", b"ABSTTL"];
            (named("restore"), words.map(<[u8]>::to_vec).to_vec())
        }
    }
}

fn store(ks: &mut Keyspace, key: &[u8], copy: &Copied) -> Result<(), PayloadError> {
    match restore(&copy.payload)? {
        Value::Str(text) => ks.set_str(key, &text, copy.expires_at_ms.map_or(Expire::Clear, Expire::At)),
        Value::Collection(collection) => drop(ks.put_collection(key, collection, copy.expires_at_ms)),
    }
    Ok(())
}

fn copy_of(ks: &mut Keyspace, key: &[u8]) -> Option<Copied> {
    let payload = match ks.kind(key)? {
        Kind::Str => dump_str(ks.get_str(key).ok()??),
        _ => dump_collection(ks.peek(key).ok()??),
    };
    Some(Copied {
        payload,
        expires_at_ms: ks.expire_at(key).flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::{NoReply, resolve};

    fn with_args<T>(line: &str, f: impl FnOnce(&'static CommandSpec, Args<'_>) -> T) -> T {
        let (mut at, mut spans) = (0, Vec::new());
        for word in line.split(' ') {
            spans.push((at, word.len() as u32));
            at += word.len() as u32 + 1;
        }
        let args = Args::new(line.as_bytes(), &spans);
        f(resolve(&args).unwrap(), args)
    }

    fn copies(ks: &mut Keyspace, spec: &CommandSpec, args: &Args<'_>) -> Vec<(u32, Option<Copied>)> {
        let copy = |place: u32| (place, copy_of(ks, args.get(place as usize)));
        places(spec, args).into_iter().map(copy).collect()
    }

    fn run(ks: &mut Keyspace, spec: &CommandSpec, args: Args<'_>) {
        let Run::Data(f) = spec.run else {
            panic!("{}", spec.name)
        };
        f(&mut Exec::new(ks, args, 7), &mut NoReply);
    }

    /// Carried out on copies and stored again, a command leaves what it leaves where all keys are at hand.
    #[test]
    fn copies_become_what_the_keys_would() {
        let setup = [
            "rpush l 1 2 3",
            "sadd s a b c",
            "sadd t b c d",
            "set text hello",
            "set other HELLO px 5000",
            "zadd z 1 a 2 b",
            "zadd y 5 b 6 c",
            "pfadd p x",
            "pfadd q y",
            "xadd x 5-5 f v",
        ];
        let commands = [
            ("rename l m", 2),
            ("rename other text", 2),
            ("renamenx l text", 0),
            ("rename missing text", 0),
            ("rename l l", 0),
            ("copy other new", 1),
            ("copy text other replace", 1),
            ("msetnx n1 1 n2 2", 2),
            ("msetnx n1 1 text 2", 0),
            ("sinterstore d s t", 1),
            ("sdiffstore s s s", 1),
            ("smove s t a", 2),
            ("smove s t nobody", 0),
            ("lmove l l left right", 1),
            ("rpoplpush l k", 2),
            ("zunionstore u 2 z y", 1),
            ("zrangestore u z 0 0", 1),
            ("lmpop 2 none l left count 3", 1),
            ("zmpop 2 z y min", 1),
            ("pfmerge p q", 1),
            ("bitop and r text other", 1),
            ("sort l store sorted", 1),
            ("sunion s t", 0),
            ("sintercard 2 s t", 0),
            ("xread streams x l 0 0", 0),
        ];
        let fresh = || {
            let mut ks = Keyspace::new(KeyspaceOptions::default());
            ks.set_time(1_000, 1_000);
            for line in setup {
                with_args(line, |spec, args| run(&mut ks, spec, args));
            }
            ks
        };
        for (line, changes_expected) in commands {
            let (mut direct, mut by_copies) = (fresh(), fresh());
            with_args(line, |spec, args| {
                assert!(works_on_copies(spec, &args), "{line}");
                run(&mut direct, spec, args);
                let copies = copies(&mut by_copies, spec, &args);
                let changes = carry_out(spec, args, &copies, 1_000, 7, &mut NoReply).unwrap();
                assert_eq!(changes.len(), changes_expected, "{line}");
                for change in changes {
                    let (spec, words) = stored_by(&change, args.get(change.place as usize));
                    let (mut bytes, mut spans) = (Vec::new(), vec![(0, 0)]);
                    for word in words {
                        spans.push((bytes.len() as u32, word.len() as u32));
                        bytes.extend_from_slice(&word);
                    }
                    run(&mut by_copies, spec, Args::new(&bytes, &spans));
                }
                assert_eq!(by_copies.digest(), direct.digest(), "{line}");
            });
        }
    }

    #[test]
    fn what_waits_or_looks_elsewhere_is_left_alone() {
        for line in [
            "blpop a b 0",
            "xread block 0 streams a b 0 0",
            "sort a by w_* store b",
            "sort a get # store b",
            "eval return 2 a b",
        ] {
            assert!(!with_args(line, |spec, args| works_on_copies(spec, &args)), "{line}");
        }
    }

    #[test]
    fn a_copy_that_cannot_be_read_is_an_error() {
        let broken = Copied {
            payload: b"nothing".to_vec(),
            expires_at_ms: None,
        };
        with_args("rename a b", |spec, args| {
            let copies = [(1, Some(broken)), (2, None)];
            assert!(carry_out(spec, args, &copies, 1_000, 7, &mut NoReply).is_err());
        });
    }
}
