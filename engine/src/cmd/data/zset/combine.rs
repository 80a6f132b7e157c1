//! Several sorted sets, or sets, made into one: ZUNION, ZINTER, ZDIFF, their storing forms, and ZINTERCARD.

use super::read::reply_members;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::{Collection, Elements, Set, ZSet};
use crate::keyspace::{EventClasses, Keyspace};
use crate::number::parse_f64;
use std::cmp::Ordering;
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the scores that a member has in several sets.
#[derive(Clone, Copy, Default)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities that cancel each other out make zero.
            Aggregate::Sum => number_or_zero(a + b),
            Aggregate::Min => a.min(b),
            Aggregate::Max => a.max(b),
        }
    }
}

fn number_or_zero(n: f64) -> f64 {
    if n.is_nan() { 0.0 } else { n }
}

/// What a call may say behind its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Weights, aggregate and scores.
    Reply,
    /// Weights and aggregate.
    Store,
    /// A limit.
    Count,
}

struct Query<'a> {
    keys: Vec<&'a [u8]>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    scores: bool,
    /// 0: none.
    limit: usize,
}

/// Where members come from; those of a set all have score 1.
#[derive(Clone, Copy)]
enum Source<'k> {
    Absent,
    Set(&'k Set),
    ZSet(&'k ZSet),
}

impl<'k> Source<'k> {
    fn at(ks: &'k Keyspace, key: &[u8]) -> Result<Self, CmdError> {
        Ok(match ks.peek(key)? {
            None => Source::Absent,
            Some(Collection::Set(set)) => Source::Set(set),
            Some(Collection::ZSet(zset)) => Source::ZSet(zset),
            Some(_) => return Err(CmdError::WrongType),
        })
    }

    fn len(self) -> usize {
        match self {
            Source::Absent => 0,
            Source::Set(set) => set.len(),
            Source::ZSet(zset) => zset.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Absent => None,
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::ZSet(zset) => zset.score(member),
        }
    }

    fn for_each(self, mut f: impl FnMut(&[u8], f64)) {
        match self {
            Source::Absent => {}
            Source::Set(set) => set.for_each(|member| f(member, 1.0)),
            Source::ZSet(zset) => zset.range(0, usize::MAX, false, f),
        }
    }
}

/// Members with scores, in the order of a sorted set.
type Members = Vec<(Vec<u8>, f64)>;

impl<'a> Query<'a> {
    /// The number of keys is argument `at`. Wrong types are found before wrong options, as in Redis.
    fn parse(x: &mut Exec<'a>, at: usize, operation: Operation, form: Form, command: &str) -> Result<Self, Refusal> {
        let count = integer(x.args.get(at))?;
        if count < 1 {
            return Err(Refusal::NoKeys(format!(
                "ERR at least 1 input key is needed for '{command}' command"
            )));
        }
        let first = at + 1;
        let count = usize::try_from(count).ok().filter(|n| *n <= x.args.len() - first);
        let count = count.ok_or(CmdError::Syntax)?;
        let keys: Vec<&[u8]> = x.args.iter_from(first).take(count).collect();
        for key in &keys {
            x.ks.kind(key);
            Source::at(x.ks, key)?;
        }
        let mut query = Query {
            weights: vec![1.0; count],
            keys,
            aggregate: Aggregate::Sum,
            scores: false,
            limit: 0,
        };
        query.parse_options(x, first + count, operation, form)?;
        Ok(query)
    }

    fn parse_options(&mut self, x: &Exec<'a>, at: usize, operation: Operation, form: Form) -> Result<(), CmdError> {
        let (weighted, mut at) = (operation != Operation::Diff && form != Form::Count, at);
        while let Some(word) = x.args.try_get(at) {
            let left = x.args.len() - at - 1;
            at += 1;
            if weighted && left >= self.weights.len() && is(word, "WEIGHTS") {
                for weight in &mut self.weights {
                    let wrong = CmdError::Other("ERR weight value is not a float");
                    *weight = parse_f64(x.args.get(at)).ok_or(wrong)?;
                    at += 1;
                }
            } else if weighted && left >= 1 && is(word, "AGGREGATE") {
                self.aggregate = match x.args.get(at) {
                    name if is(name, "SUM") => Aggregate::Sum,
                    name if is(name, "MIN") => Aggregate::Min,
                    name if is(name, "MAX") => Aggregate::Max,
                    _ => return Err(CmdError::Syntax),
                };
                at += 1;
            } else if form == Form::Reply && is(word, "WITHSCORES") {
                self.scores = true;
            } else if form == Form::Count && left >= 1 && is(word, "LIMIT") {
                let limit = crate::number::parse_i64(x.args.get(at)).and_then(|n| usize::try_from(n).ok());
                self.limit = limit.ok_or(CmdError::Other("ERR LIMIT can't be negative"))?;
                at += 1;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(())
    }

    /// The sources and their weights; those of a union or an intersection smallest first, which also decides in which
    /// order scores are added up.
    fn sources<'k>(&self, ks: &'k Keyspace, operation: Operation) -> Result<Vec<(Source<'k>, f64)>, CmdError> {
        let sources = self.keys.iter().zip(&self.weights);
        let mut sources = sources
            .map(|(key, weight)| Ok((Source::at(ks, key)?, *weight)))
            .collect::<Result<Vec<_>, CmdError>>()?;
        if operation != Operation::Diff {
            sources.sort_by_key(|(source, _)| source.len());
        }
        Ok(sources)
    }

    fn run(&self, ks: &Keyspace, operation: Operation) -> Result<Members, CmdError> {
        let sources = self.sources(ks, operation)?;
        let mut members = match operation {
            Operation::Union => self.union(&sources),
            Operation::Inter => self.inter(&sources),
            Operation::Diff => diff(&sources),
        };
        members.sort_by(|(a, x), (b, y)| x.partial_cmp(y).unwrap_or(Ordering::Equal).then_with(|| a.cmp(b)));
        Ok(members)
    }

    fn union(&self, sources: &[(Source<'_>, f64)]) -> Members {
        let mut scores = BTreeMap::<Vec<u8>, f64>::new();
        for (source, weight) in sources {
            source.for_each(|member, score| {
                let score = number_or_zero(weight * score);
                match scores.get_mut(member) {
                    Some(sum) => *sum = self.aggregate.join(*sum, score),
                    None => drop(scores.insert(member.to_vec(), score)),
                }
            });
        }
        scores.into_iter().collect()
    }

    fn inter(&self, sources: &[(Source<'_>, f64)]) -> Members {
        let mut members = Members::new();
        let ((smallest, weight), others) = sources.split_first().expect("there is at least one key");
        smallest.for_each(|member, score| {
            let first = Some(number_or_zero(weight * score));
            let score = others.iter().fold(first, |sum, (source, weight)| {
                Some(self.aggregate.join(sum?, source.score(member)? * weight))
            });
            members.extend(score.map(|score| (member.to_vec(), score)));
        });
        members
    }
}

fn diff(sources: &[(Source<'_>, f64)]) -> Members {
    let mut members = Members::new();
    let ((first, _), others) = sources.split_first().expect("there is at least one key");
    first.for_each(|member, score| {
        if others.iter().all(|(source, _)| source.score(member).is_none()) {
            members.push((member.to_vec(), score));
        }
    });
    members
}

/// Why a call was refused.
enum Refusal {
    Common(CmdError),
    /// Names the command.
    NoKeys(String),
}

impl From<CmdError> for Refusal {
    fn from(error: CmdError) -> Self {
        Refusal::Common(error)
    }
}

fn answer_or_refuse(reply: &mut dyn Reply, body: impl FnOnce(&mut dyn Reply) -> Result<(), Refusal>) {
    match body(reply) {
        Ok(()) => {}
        Err(Refusal::Common(error)) => answer(reply, |_| Err(error)),
        Err(Refusal::NoKeys(text)) => reply.error(&text),
    }
}

fn answer_members(x: &mut Exec<'_>, reply: &mut dyn Reply, operation: Operation, command: &str) {
    answer_or_refuse(reply, |reply| {
        let query = Query::parse(x, 1, operation, Form::Reply, command)?;
        let members = query.run(x.ks, operation)?;
        reply_members(reply, members.len(), query.scores, |each| {
            members.iter().for_each(|(member, score)| each(member, *score));
        });
        Ok(())
    });
}

fn store(x: &mut Exec<'_>, reply: &mut dyn Reply, operation: Operation, command: &'static str) {
    answer_or_refuse(reply, |reply| {
        let query = Query::parse(x, 2, operation, Form::Store, command)?;
        let mut zset = ZSet::default();
        for (member, score) in query.run(x.ks, operation)? {
            zset.insert(&member, score);
        }
        let (target, is_empty) = (x.args.get(1), zset.is_empty());
        reply.int(zset.len() as i64);
        let existed = x.ks.replace_zset(target, zset);
        x.ks.note_stored(EventClasses::ZSET, command, target, is_empty, existed);
        Ok(())
    });
}

pub(in crate::cmd) fn zunion(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_members(x, reply, Operation::Union, "zunion");
}

pub(in crate::cmd) fn zinter(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_members(x, reply, Operation::Inter, "zinter");
}

pub(in crate::cmd) fn zdiff(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_members(x, reply, Operation::Diff, "zdiff");
}

pub(in crate::cmd) fn zunionstore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    store(x, reply, Operation::Union, "zunionstore");
}

pub(in crate::cmd) fn zinterstore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    store(x, reply, Operation::Inter, "zinterstore");
}

pub(in crate::cmd) fn zdiffstore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    store(x, reply, Operation::Diff, "zdiffstore");
}

pub(in crate::cmd) fn zintercard(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| {
        let query = Query::parse(x, 1, Operation::Inter, Form::Count, "zintercard")?;
        let sources = query.sources(x.ks, Operation::Inter)?;
        let ((smallest, _), others) = sources.split_first().expect("there is at least one key");
        let (mut found, most) = (0, if query.limit == 0 { usize::MAX } else { query.limit });
        smallest.for_each(|member, _| {
            found += usize::from(found < most && others.iter().all(|(source, _)| source.score(member).is_some()));
        });
        reply.int(found as i64);
        Ok(())
    });
}
