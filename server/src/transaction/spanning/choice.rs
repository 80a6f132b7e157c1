//! [`Choice`]: commands over cores that take an element from the first of several keys which has one (`BLPOP`, `ZMPOP`), or
//! move one between two lists (`LMOVE`). Pure.
//!
//! Copies of the values would be as long as the lists are. So the owners, held, are only asked how long they are or what
//! stands at their end, and then carry out the part of the command that is theirs.

use slotcore_engine::cmd::together::{Patience, with};
use slotcore_engine::cmd::{Args, CommandSpec, Reply, for_each_key, lookup};

use super::Plan;
use super::together::{bulk, number, push};
use crate::reply::RespReply;

/// What a command does with its keys.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It takes elements of the first one that has any. `length`: the command that says how many; `counted`: the argument
    /// that says how many keys there are.
    TakesFromFirst {
        length: &'static str,
        counted: Option<usize>,
    },
    /// It moves an element. What looks at it and what takes it away, and what puts it down.
    Moves {
        place: &'static str,
        pop: &'static str,
        push: &'static str,
    },
}

/// See the module's text.
#[derive(Debug)]
pub struct Choice {
    kind: Kind,
    /// In the order of the arguments, each with its owner.
    keys: Vec<(Vec<u8>, u16)>,
}

/// What the answers have led to.
#[derive(Debug)]
pub enum Chosen {
    /// The client is answered with this; nothing changes.
    Answer(Vec<u8>),
    /// There is nothing to take.
    Nothing,
    /// The owners carry out this; the reply is there, or is what this core answers.
    Stores(Plan, Result<Vec<u8>, u16>),
}

impl Choice {
    /// `None`: the command is another one. `owner_of`: the core of a key.
    pub fn of(spec: &CommandSpec, args: &Args<'_>, owner_of: impl Fn(&[u8]) -> u16) -> Option<Self> {
        let from_first = |length, counted| Kind::TakesFromFirst { length, counted };
        let kind = match spec.name {
            "blpop" | "brpop" => from_first("llen", None),
            "lmpop" => from_first("llen", Some(1)),
            "blmpop" => from_first("llen", Some(2)),
            "bzpopmin" | "bzpopmax" => from_first("zcard", None),
            "zmpop" => from_first("zcard", Some(1)),
            "bzmpop" => from_first("zcard", Some(2)),
            "lmove" | "blmove" => moves(args.try_get(3)?, args.try_get(4)?),
            "rpoplpush" | "brpoplpush" => moves(b"right", b"left"),
            _ => return None,
        };
        let mut keys = Vec::new();
        for_each_key(spec, args, |_, at| {
            keys.push((args.get(at).to_vec(), owner_of(args.get(at))))
        });
        Some(Self { kind, keys })
    }

    /// What the owners are asked: a core's questions in the order of its keys.
    pub fn questions(&self) -> Plan {
        let mut plan = Plan::default();
        for (at, (key, owner)) in self.keys.iter().enumerate() {
            let words: Vec<&[u8]> = match self.kind {
                Kind::TakesFromFirst { length, .. } => vec![length.as_bytes(), key],
                Kind::Moves { place, .. } if at == 0 => vec![b"lindex", key, place.as_bytes()],
                Kind::Moves { .. } => vec![b"llen", key],
            };
            push(&mut plan, *owner, named(words[0]), &words[1..]);
        }
        plan
    }

    /// `answer`: the next one of a core. `operation`: the command. Keys that hold something else do not concern one that has
    /// waited.
    pub fn decide<'a>(
        &self,
        operation: &[u8],
        patience: Patience,
        proto: u8,
        mut answer: impl FnMut(u16) -> &'a [u8],
    ) -> Chosen {
        let answers: Vec<&[u8]> = self.keys.iter().map(|(_, owner)| answer(*owner)).collect();
        let is_error = |answer: &[u8]| answer.first() == Some(&b'-');
        match self.kind {
            Kind::TakesFromFirst { counted, .. } => {
                for ((key, owner), answer) in self.keys.iter().zip(answers) {
                    if is_error(answer) {
                        if patience == Patience::Again {
                            continue;
                        }
                        return Chosen::Answer(answer.to_vec());
                    }
                    if number(answer).is_some_and(|length| length > 0) {
                        let mut plan = Plan::default();
                        with(operation, |spec, args| {
                            let words = self.for_one_key(&args, counted, key);
                            push(&mut plan, *owner, spec, &words);
                        });
                        return Chosen::Stores(plan, Err(*owner));
                    }
                }
                Chosen::Nothing
            }
            Kind::Moves { pop, push: put, .. } => {
                let (source, destination) = (&self.keys[0], &self.keys[1]);
                if is_error(answers[0]) && patience != Patience::Again {
                    return Chosen::Answer(answers[0].to_vec());
                }
                let Some(element) = bulk(answers[0]) else {
                    return Chosen::Nothing;
                };
                if is_error(answers[1]) {
                    return Chosen::Answer(answers[1].to_vec());
                }
                let (mut plan, mut reply) = (Plan::default(), Vec::new());
                push(&mut plan, source.1, named(pop.as_bytes()), &[&source.0]);
                push(
                    &mut plan,
                    destination.1,
                    named(put.as_bytes()),
                    &[&destination.0, element],
                );
                RespReply::new(&mut reply, proto).bulk(element);
                Chosen::Stores(plan, Ok(reply))
            }
        }
    }

    /// The arguments of the command behind its name, with this key alone.
    fn for_one_key<'a>(&'a self, args: &Args<'a>, counted: Option<usize>, key: &'a [u8]) -> Vec<&'a [u8]> {
        match counted {
            None => vec![key, args.get(args.len() - 1)],
            Some(count) => {
                let before = (1..count).map(|at| args.get(at));
                let behind = args.iter_from(count + 1 + self.keys.len());
                before.chain([b"1".as_slice(), key]).chain(behind).collect()
            }
        }
    }
}

/// Of two ends; what is neither is refused by the command itself.
fn moves(from: &[u8], to: &[u8]) -> Kind {
    let is_left = |end: &[u8]| end.eq_ignore_ascii_case(b"left");
    let (place, pop) = if is_left(from) { ("0", "lpop") } else { ("-1", "rpop") };
    let push = if is_left(to) { "lpush" } else { "rpush" };
    Kind::Moves { place, pop, push }
}

fn named(name: &[u8]) -> &'static CommandSpec {
    lookup(name).expect("the table has it")
}
