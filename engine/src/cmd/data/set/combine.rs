//! Several sets made into one: SINTER, SUNION, SDIFF, their storing forms, and SINTERCARD.
//!
//! The order of what comes out follows from the order of the keys and from positions in the sets, which are alike on all
//! replicas: so a stored result is, too.

use crate::cmd::data::scan::Found;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{at_least_one, integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::{Collection, Elements, Set};
use crate::keyspace::{EventClasses, Keyspace, WrongType};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Inter,
    Union,
    Diff,
}

/// The sets at these keys, `None` where there is no key. All keys are looked at, so that a wrong type anywhere is found.
fn sets_at<'k>(
    ks: &'k mut Keyspace,
    keys: impl Iterator<Item = &'k [u8]> + Clone,
) -> Result<Vec<Option<&'k Set>>, WrongType> {
    // Sees to expired keys, which looking at several keys at once cannot.
    keys.clone().for_each(|key| {
        ks.kind(key);
    });
    let ks = &*ks;
    keys.map(|key| match ks.peek(key)? {
        None => Ok(None),
        Some(Collection::Set(set)) => Ok(Some(set)),
        Some(_) => Err(WrongType),
    })
    .collect()
}

/// Calls `f` for members that all sets have, until it says true.
fn intersect(sets: &[Option<&Set>], mut f: impl FnMut(&[u8]) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else {
        return;
    };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else {
        return;
    };
    smallest.any(|member| others.iter().all(|set| set.contains(member)) && f(member));
}

/// Calls `f` for every member of the first set that no other has.
fn subtract(sets: &[Option<&Set>], mut f: impl FnMut(&[u8])) {
    let Some((Some(first), others)) = sets.split_first() else {
        return;
    };
    first.for_each(|member| {
        if !others.iter().flatten().any(|set| set.contains(member)) {
            f(member);
        }
    });
}

/// All members of all sets.
fn unite(sets: &[Option<&Set>]) -> Set {
    let mut all = Set::default();
    sets.iter().flatten().for_each(|set| {
        set.for_each(|member| {
            all.insert(member);
        });
    });
    all
}

fn combine(x: &mut Exec<'_>, reply: &mut dyn Reply, operation: Operation) {
    answer(reply, |reply| {
        let sets = sets_at(x.ks, x.args.iter_from(1))?;
        if operation == Operation::Union {
            let all = unite(&sets);
            reply.set(all.len());
            all.for_each(|member| reply.bulk(member));
            return Ok(());
        }
        let mut found = Found::default();
        match operation {
            Operation::Inter => intersect(&sets, |member| {
                found.push(member);
                false
            }),
            _ => subtract(&sets, |member| found.push(member)),
        }
        found.reply_set(reply);
        Ok(())
    });
}

fn store(x: &mut Exec<'_>, reply: &mut dyn Reply, operation: Operation) {
    answer(reply, |reply| {
        let sets = sets_at(x.ks, x.args.iter_from(2))?;
        let mut result = Set::default();
        match operation {
            Operation::Union => result = unite(&sets),
            Operation::Inter => intersect(&sets, |member| {
                result.insert(member);
                false
            }),
            Operation::Diff => subtract(&sets, |member| {
                result.insert(member);
            }),
        }
        let (target, is_empty) = (x.args.get(1), result.is_empty());
        reply.int(result.len() as i64);
        let existed = x.ks.replace_set(target, result);
        let event = match operation {
            Operation::Inter => "sinterstore",
            Operation::Union => "sunionstore",
            Operation::Diff => "sdiffstore",
        };
        x.ks.note_stored(EventClasses::SET, event, target, is_empty, existed);
        Ok(())
    });
}

pub(in crate::cmd) fn sinter(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    combine(x, reply, Operation::Inter);
}

pub(in crate::cmd) fn sunion(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    combine(x, reply, Operation::Union);
}

pub(in crate::cmd) fn sdiff(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    combine(x, reply, Operation::Diff);
}

pub(in crate::cmd) fn sinterstore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    store(x, reply, Operation::Inter);
}

pub(in crate::cmd) fn sunionstore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    store(x, reply, Operation::Union);
}

pub(in crate::cmd) fn sdiffstore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    store(x, reply, Operation::Diff);
}

/// SINTERCARD numkeys key [key ...] [LIMIT limit]: counting ends at the limit; 0 means none.
pub(in crate::cmd) fn sintercard(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let keys = at_least_one(x.args.get(1), "ERR numkeys should be greater than 0")?;
        if keys > x.args.len() - 2 {
            return Err(CmdError::Other(
                "ERR Number of keys can't be greater than number of args",
            ));
        }
        let mut limit = 0;
        for i in (2 + keys..x.args.len()).step_by(2) {
            let number = x.args.try_get(i + 1).filter(|_| is(x.args.get(i), "LIMIT"));
            let number = integer(number.ok_or(CmdError::Syntax)?).ok();
            limit = number
                .and_then(|n| usize::try_from(n).ok())
                .ok_or(CmdError::Other("ERR LIMIT can't be negative"))?;
        }
        let sets = sets_at(x.ks, x.args.iter_from(2).take(keys))?;
        let mut count = 0;
        intersect(&sets, |_| {
            count += 1;
            count == limit
        });
        reply.int(count as i64);
        Ok(())
    });
}
