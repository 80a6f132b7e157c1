//! Commands about keys of several cores that cannot be taken apart: carried out on copies of their values.
//!
//! Whoever carries one out, or a transaction with such commands in it, asks the owners of the keys for copies ([`asked_by`]), runs the command on a keyspace that holds
//! nothing else ([`carry_out`]), and has the owners store what has become different ([`stored_by`]). That nothing else happens
//! to the keys from the first copy to the last change is the caller's to see to; the server holds the cores concerned
//! (`docs/decisions/0011-transactions-over-cores.md`).
//!
//! A copy is what `DUMP` gives, with the moment at which the key expires.

use super::op::{decode_op, op_seed};
use super::parse::is;
use super::waiting::Waiting;
use super::{Args, CommandSpec, Exec, Group, Reply, Run, by_id, lookup};
use crate::keyspace::{Expire, Keyspace, KeyspaceOptions, Kind};
use crate::rdb::{PayloadError, Value, dump_collection, dump_str, restore};
use crate::waiters::Waiter;

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// As `DUMP` gives it.
    pub payload: Vec<u8>,
    /// Milliseconds since 1970; `None`: it lives until deleted.
    pub expires_at_ms: Option<u64>,
}

/// Keys, each with a copy of its value; `None` where there is no such key.
pub type Copies = Vec<(Vec<u8>, Option<Copied>)>;

/// What a key has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which it is.
    pub key: Vec<u8>,
    /// `None`: it is gone.
    pub value: Option<Copied>,
}

/// What becomes of commands that find nothing and would wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// They answer as if their time were up: those of a transaction.
    Never,
    /// The command, which is the only one, waits.
    May,
    /// It has waited already, and is tried again as it was registered ([`Waiter::op`]).
    Again,
}

/// What carrying out has led to.
#[derive(Debug)]
pub enum CarriedOut {
    /// All have answered; this has changed, in the order of the copies.
    Answered(Vec<Change>),
    /// The command waits, and has answered nothing: so long, in milliseconds, 0 for ever.
    Waits(Waiter, u64),
    /// It waits on.
    WaitsOn,
    /// A script has asked for these keys, too: nothing has happened, and it is to be carried out again with copies of them.
    Lacks(Vec<Box<[u8]>>),
}

/// True for a command that may be carried out on copies: all that it looks at is named by its keys, or, of a script, is
/// asked for when it is met.
pub fn works_on_copies(spec: &CommandSpec, args: &Args<'_>) -> bool {
    matches!(spec.run, Run::Data(_)) && !sorts_by_other_keys(spec, args)
}

/// `SORT` may name keys by patterns, which nobody can ask for beforehand.
pub(crate) fn sorts_by_other_keys(spec: &CommandSpec, args: &Args<'_>) -> bool {
    let sorts = matches!(spec.name, "sort" | "sort_ro");
    sorts && args.iter_from(2).any(|arg| is(arg, "BY") || is(arg, "GET"))
}

/// Carries out commands, one after the other, on `copies`: those of all their keys, each once, `None` where there is no such
/// key. `operations`: the commands, encoded as operations ([`super::op`]). `now_ms`: their moment, milliseconds since 1970.
/// Each writes one reply, unless it waits, as `patience` says whether it may, or lacks keys. Scripts and functions are those of
/// `lender`, which also gets what they do besides changing keys; without it none of them may be one.
///
/// # Errors
/// A copy cannot be read: nothing was carried out.
///
/// # Panics
/// When [`works_on_copies`] says no to one of them.
pub fn carry_out(
    operations: &[Vec<u8>],
    copies: &[(Vec<u8>, Option<Copied>)],
    patience: Patience,
    now_ms: u64,
    seed: u64,
    lender: Option<&mut Keyspace>,
    reply: &mut dyn Reply,
) -> Result<CarriedOut, PayloadError> {
    let mut ks = Keyspace::new(KeyspaceOptions::default());
    ks.set_time(now_ms, now_ms);
    for (key, copy) in copies {
        if let Some(copy) = copy {
            store(&mut ks, key, copy)?;
        }
    }
    // Copied again: where the order of elements says nothing, an owner's copy may have another one.
    let before: Vec<Option<Copied>> = match operations
        .iter()
        .any(|operation| with(operation, |spec, _| spec.is_write()))
    {
        true => copies.iter().map(|(key, _)| copy_of(&mut ks, key)).collect(),
        false => Vec::new(),
    };
    let runs_script = |operation: &Vec<u8>| with(operation, |spec, _| spec.group == Group::Scripting);
    let mut lender = lender.filter(|_| operations.iter().any(runs_script));
    if let Some(lender) = &mut lender {
        lender.lend_scripts(&mut ks);
        ks.bring_only(copies.iter().map(|(key, _)| key.as_slice()));
    }
    let waits = run_all(&mut ks, operations, patience, seed, reply);
    if let Some(lender) = lender {
        ks.return_scripts(lender);
    }
    if let Some(waits) = waits {
        return Ok(waits);
    }
    let changes = before.into_iter().zip(copies).filter_map(|(before, (key, _))| {
        let value = copy_of(&mut ks, key);
        (value != before).then(|| Change {
            key: key.clone(),
            value,
        })
    });
    Ok(CarriedOut::Answered(changes.collect()))
}

/// Carries out all of them, until one waits or lacks keys: that is returned.
fn run_all(
    ks: &mut Keyspace,
    operations: &[Vec<u8>],
    patience: Patience,
    seed: u64,
    reply: &mut dyn Reply,
) -> Option<CarriedOut> {
    for (number, operation) in operations.iter().enumerate() {
        let waits = with(operation, |spec, args| {
            let Run::Data(run) = spec.run else {
                panic!("{} does not work on copies", spec.name)
            };
            let mut exec = Exec {
                waiting: match patience {
                    Patience::Never => Waiting::Never,
                    Patience::May => Waiting::May(0),
                    Patience::Again => Waiting::Again,
                },
                ..Exec::nested(ks, args, op_seed(seed, number as u64))
            };
            run(&mut exec, reply);
            exec.waiting == Waiting::Waits
        });
        if waits {
            let waiters = ks.waiters_mut();
            let Some(registered) = waiters.take_registered() else {
                return Some(CarriedOut::WaitsOn);
            };
            let waiter = waiters.take(registered.id).expect("it was registered just now");
            return Some(CarriedOut::Waits(waiter, registered.timeout_ms));
        }
        let lacking = ks.take_lacking();
        if !lacking.is_empty() {
            return Some(CarriedOut::Lacks(lacking));
        }
    }
    None
}

/// Calls `f` with an encoded operation.
///
/// # Panics
/// When it cannot be read: it was encoded by this process.
pub fn with<T>(operation: &[u8], f: impl FnOnce(&'static CommandSpec, Args<'_>) -> T) -> T {
    let mut spans = Vec::new();
    let spec = decode_op(operation, &mut spans).ok().and_then(|(id, _)| by_id(id));
    f(spec.expect("encoded by this process"), Args::new(operation, &spans))
}

/// The commands that ask the owner of a key for a copy, each with the key alone: their replies are a payload or nil, and the
/// moment at which it expires, negative if it does not.
pub fn asked_by() -> [&'static CommandSpec; 2] {
    [named("dump"), named("pexpiretime")]
}

fn named(name: &str) -> &'static CommandSpec {
    lookup(name.as_bytes()).expect("the table has it")
}

/// The command by which the owner of a key stores its change, and the arguments behind the name.
pub fn stored_by(change: &Change) -> (&'static CommandSpec, Vec<Vec<u8>>) {
    let key = change.key.as_slice();
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::cmd::op::encode_op;
    use crate::cmd::{NoReply, for_each_key, resolve};

    fn with_args<T>(line: &str, f: impl FnOnce(&'static CommandSpec, Args<'_>) -> T) -> T {
        let (mut at, mut spans) = (0, Vec::new());
        for word in line.split(' ') {
            spans.push((at, word.len() as u32));
            at += word.len() as u32 + 1;
        }
        let args = Args::new(line.as_bytes(), &spans);
        f(resolve(&args).unwrap(), args)
    }

    fn copies(ks: &mut Keyspace, spec: &'static CommandSpec, args: &Args<'_>) -> Copies {
        let mut keys = BTreeSet::new();
        for_each_key(spec, args, |_, at| {
            keys.insert(args.get(at).to_vec());
        });
        let copy = |key: Vec<u8>| {
            let copy = copy_of(ks, &key);
            (key, copy)
        };
        keys.into_iter().map(copy).collect()
    }

    fn changes(operations: &[Vec<u8>], copies: &[(Vec<u8>, Option<Copied>)]) -> Vec<Change> {
        match carry_out(operations, copies, Patience::Never, 1_000, 7, None, &mut NoReply).unwrap() {
            CarriedOut::Answered(changes) => changes,
            other => panic!("{other:?}"),
        }
    }

    fn operation(spec: &CommandSpec, args: &Args<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_op(&mut bytes, spec.id, args);
        bytes
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
            // In a transaction nobody waits.
            ("blpop nothing l 0", 1),
            ("blpop none nothing 0", 0),
            ("brpoplpush l k 0", 2),
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
                let changes = changes(&[operation(spec, &args)], &copies);
                assert_eq!(changes.len(), changes_expected, "{line}");
                for change in changes {
                    let (spec, words) = stored_by(&change);
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
    fn several_commands_see_what_those_before_have_done() {
        let operations: Vec<Vec<u8>> = ["rename a b", "append b x", "sunionstore s t u", "del t", "get b"]
            .map(|line| with_args(line, |spec, args| operation(spec, &args)))
            .to_vec();
        let mut ks = Keyspace::new(KeyspaceOptions::default());
        for line in ["set a 1", "sadd t m"] {
            with_args(line, |spec, args| run(&mut ks, spec, args));
        }
        let copies = ["a", "b", "s", "t", "u"].map(|key| (key.into(), copy_of(&mut ks, key.as_bytes())));
        let changes = changes(&operations, &copies);
        let changed: Vec<(&[u8], bool)> = changes.iter().map(|c| (c.key.as_slice(), c.value.is_some())).collect();
        assert_eq!(changed, [(&b"a"[..], false), (b"b", true), (b"s", true), (b"t", false)]);
        assert_eq!(changes[1].value.as_ref().unwrap().payload, dump_str(b"1x"));
    }

    #[test]
    fn who_finds_nothing_waits_where_it_may() {
        let mut ks = Keyspace::new(KeyspaceOptions::default());
        with_args("xadd x 5-5 f v", |spec, args| run(&mut ks, spec, args));
        for (line, resumed, timeout_ms) in [
            ("blpop b a 1.5", "blpop b a 1.5", 1500),
            ("xread block 7 streams x a $ 3", "xread block 7 streams x a 5-5 3-0", 7),
        ] {
            let (operation, copies) = with_args(line, |spec, args| {
                (operation(spec, &args), copies(&mut ks, spec, &args))
            });
            let carry = |operation: Vec<u8>, copies: &[_], patience| {
                carry_out(&[operation], copies, patience, 1_000, 7, None, &mut NoReply).unwrap()
            };
            let CarriedOut::Waits(waiter, ms) = carry(operation, &copies, Patience::May) else {
                panic!("{line}")
            };
            assert_eq!(ms, timeout_ms);
            assert_eq!(waiter.keys.len(), 2);
            let words: Vec<String> = with(&waiter.op, |spec, args| {
                let words = args.iter_from(1).map(|word| String::from_utf8_lossy(word).into_owned());
                std::iter::once(spec.name.to_string()).chain(words).collect()
            });
            assert_eq!(words.join(" "), resumed);
            let again = carry(waiter.op.to_vec(), &copies, Patience::Again);
            assert!(matches!(again, CarriedOut::WaitsOn), "{line}");
        }
    }

    #[test]
    fn what_looks_elsewhere_is_left_alone() {
        for line in ["sort a by w_* store b", "sort a get # store b"] {
            assert!(!with_args(line, |spec, args| works_on_copies(spec, &args)), "{line}");
        }
    }

    fn words(words: &[&str]) -> Vec<u8> {
        let (mut at, mut spans) = (0, Vec::new());
        for word in words {
            spans.push((at, word.len() as u32));
            at += word.len() as u32;
        }
        let bytes = words.concat();
        let args = Args::new(bytes.as_bytes(), &spans);
        operation(resolve(&args).unwrap(), &args)
    }

    #[test]
    fn a_script_asks_for_the_keys_it_has_not_named() {
        let script = "redis.call('set', KEYS[1], 1); redis.call('publish', 'c', 'm')
            if type(redis.pcall('exists', KEYS[2] .. 'x')) == 'table' then return 'lost' end
            return redis.call('incrby', KEYS[2] .. 'x', redis.call('get', KEYS[1]))";
        let operations = [words(&["eval", script, "2", "a", "b"])];
        let mut lender = Keyspace::new(KeyspaceOptions::default());
        let mut copies: Copies = [b"a", b"b"].map(|key| (key.to_vec(), None)).to_vec();
        let mut carry = |copies: &[_]| {
            carry_out(
                &operations,
                copies,
                Patience::May,
                1_000,
                7,
                Some(&mut lender),
                &mut NoReply,
            )
            .unwrap()
        };
        let CarriedOut::Lacks(lacking) = carry(&copies) else {
            panic!("it has all it wants")
        };
        assert_eq!(lacking, [b"bx".as_slice().into()]);
        copies.push((b"bx".to_vec(), None));
        let CarriedOut::Answered(changes) = carry(&copies) else {
            panic!("it lacks something")
        };
        let changed: Vec<&[u8]> = changes.iter().map(|change| change.key.as_slice()).collect();
        assert_eq!(changed, [&b"a"[..], b"bx"]);
        assert_eq!(changes[1].value.as_ref().unwrap().payload, dump_str(b"1"));
        // Its messages came back with the interpreter, those of the first try as well: the caller drops them.
        assert_eq!(lender.take_script_effects().unwrap().published.len(), 2);
    }

    #[test]
    fn a_script_on_copies_does_not_take_them_for_all_keys() {
        let mut lender = Keyspace::new(KeyspaceOptions::default());
        let copies = [(b"a".to_vec(), None), (b"b".to_vec(), None)];
        for call in ["'keys', '*'", "'dbsize'", "'flushall'", "'sort', KEYS[1], 'by', 'w_*'"] {
            let script = format!("local r = redis.pcall({call}); redis.call('set', KEYS[1], r.err)");
            let operations = [words(&["eval", &script, "2", "a", "b"])];
            let carried = carry_out(
                &operations,
                &copies,
                Patience::May,
                1_000,
                7,
                Some(&mut lender),
                &mut NoReply,
            );
            let CarriedOut::Answered(changes) = carried.unwrap() else {
                panic!("{call}")
            };
            let payload = &changes[0].value.as_ref().unwrap().payload;
            let text = String::from_utf8_lossy(payload);
            assert!(text.contains("Script with keys of several cores"), "{call}: {text}");
        }
    }

    #[test]
    fn a_copy_that_cannot_be_read_is_an_error() {
        let broken = Copied {
            payload: b"nothing".to_vec(),
            expires_at_ms: None,
        };
        with_args("rename a b", |spec, args| {
            let copies = [(b"a".to_vec(), Some(broken)), (b"b".to_vec(), None)];
            let carried_out = carry_out(
                &[operation(spec, &args)],
                &copies,
                Patience::Never,
                1_000,
                7,
                None,
                &mut NoReply,
            );
            assert!(carried_out.is_err());
        });
    }
}
