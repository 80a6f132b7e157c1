//! Which arguments of a command are keys.

use super::spec::{KeyFind, KeyFlags, KeySearch, KeySpec};
use super::{Args, CommandSpec};
use crate::number::parse_i64;

/// Calls `f` with the argument number of every key, key spec by key spec. Every number is below `args.len()`; a number of
/// keys that makes no sense names none. Channels of sharded publishing are no keys.
#[inline]
pub fn for_each_key(spec: &CommandSpec, args: &Args<'_>, mut f: impl FnMut(&'static KeySpec, usize)) {
    for keys in spec.key_specs.iter().filter(|keys| !keys.flags.has(KeyFlags::NOT_KEY)) {
        match keys.search {
            KeySearch::Index(index) => for_each_from(keys, index as usize, args, &mut f),
            KeySearch::Keyword { word, from } => {
                // Behind the first such word there are but keys, where the rest is halved.
                let words_max = if keys.find == KeyFind::FirstHalf { 1 } else { usize::MAX };
                let behind = (from as usize..args.len())
                    .filter(|at| args.get(*at).eq_ignore_ascii_case(word.as_bytes()))
                    .map(|at| at + 1);
                behind
                    .take(words_max)
                    .for_each(|at| for_each_from(keys, at, args, &mut f));
            }
            KeySearch::SortStore => sort_store(args).into_iter().for_each(|at| f(keys, at)),
            KeySearch::Unknown => {}
        }
    }
}

fn for_each_from(keys: &'static KeySpec, first: usize, args: &Args<'_>, f: &mut impl FnMut(&'static KeySpec, usize)) {
    let len = args.len();
    let (first, end, step) = match keys.find {
        KeyFind::Range { last: last @ 0.., step } => (first, (first + last as usize + 1).min(len), step),
        KeyFind::Range { last, step } => (first, (len + 1).saturating_sub(last.unsigned_abs() as usize), step),
        KeyFind::Counted { step } => {
            let count = args.try_get(first).and_then(parse_i64).unwrap_or(0);
            let count = usize::try_from(count).unwrap_or(0);
            let end = (first + 1).saturating_add(count.saturating_mul(step as usize));
            (first + 1, if end <= len { end } else { 0 }, step)
        }
        KeyFind::FirstHalf => (first, first + len.saturating_sub(first) / 2, 1),
        KeyFind::Unknown => return,
    };
    (first..end).step_by(step as usize).for_each(|at| f(keys, at));
}

/// The argument of a SORT behind the last STORE that is an option: it is the one that counts.
fn sort_store(args: &Args<'_>) -> Option<usize> {
    let (mut at, mut target) = (2, None);
    while let Some(word) = args.try_get(at) {
        let skipped = [("LIMIT", 2), ("GET", 1), ("BY", 1), ("STORE", 1)]
            .into_iter()
            .find(|(option, _)| word.eq_ignore_ascii_case(option.as_bytes()));
        if skipped.is_some_and(|(option, _)| option == "STORE") && at + 1 < args.len() {
            target = Some(at + 1);
        }
        at += 1 + skipped.map_or(0, |(_, arguments)| arguments);
    }
    target
}

/// Appends the argument numbers of all keys to `out`.
pub fn keys(spec: &CommandSpec, args: &Args<'_>, out: &mut Vec<u32>) {
    for_each_key(spec, args, |_, at| out.push(at as u32));
}
