//! SORT and SORT_RO: the elements of a list, set or sorted set in an order of their own, or of the values that other keys
//! hold for them.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Args, Exec, Reply, Waiting};
use crate::collections::{Collection, Elements, End, List};
use crate::database::{Database, split, stored};
use crate::keyspace::{EventClasses, Keyspace, Kind};
use crate::number::parse_f64;
use std::cmp::Ordering;
use std::ops::Range;

/// Where a value belonging to an element is found.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// A key with the element in place of the star; a field of the hash there, if one is named.
    Key {
        before: &'a [u8],
        after: &'a [u8],
        field: Option<&'a [u8]>,
    },
    /// No star: nothing.
    Nowhere,
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|c| *c == b'*') else {
            return Pattern::Nowhere;
        };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        // An arrow with nothing behind it belongs to the key.
        let arrow = rest
            .windows(2)
            .position(|w| w == b"->")
            .filter(|at| at + 2 < rest.len());
        Pattern::Key {
            before,
            after: &rest[..arrow.unwrap_or(rest.len())],
            field: arrow.map(|at| &rest[at + 2..]),
        }
    }

    /// The value for `element`, a string or a field of a hash, in `database`.
    fn value(self, ks: &mut Keyspace, database: Database, element: &[u8]) -> Option<Vec<u8>> {
        match self {
            Pattern::Element => Some(element.to_vec()),
            Pattern::Nowhere => None,
            Pattern::Key { before, after, field } => {
                let key = [before, element, after].concat();
                let key = stored(database, &key);
                let value = match field {
                    Some(field) => ks.hash(&key).ok()??.get(field),
                    None => ks.get_str(&key).ok()?,
                };
                value.map(<[u8]>::to_vec)
            }
        }
    }
}

struct Query<'a> {
    descending: bool,
    alpha: bool,
    by: Option<Pattern<'a>>,
    get: Vec<Pattern<'a>>,
    offset: i64,
    /// Negative: all.
    limit: i64,
    store: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    fn parse(args: &Args<'a>, may_store: bool) -> Result<Self, CmdError> {
        let mut q = Query {
            descending: false,
            alpha: false,
            by: None,
            get: Vec::new(),
            offset: 0,
            limit: -1,
            store: None,
        };
        let mut at = 2;
        while let Some(word) = args.try_get(at) {
            at += 1;
            match args.try_get(at) {
                _ if is(word, "ASC") => q.descending = false,
                _ if is(word, "DESC") => q.descending = true,
                _ if is(word, "ALPHA") => q.alpha = true,
                Some(offset) if is(word, "LIMIT") && at + 1 < args.len() => {
                    (q.offset, q.limit) = (integer(offset)?, integer(args.get(at + 1))?);
                    at += 2;
                }
                Some(target) if may_store && is(word, "STORE") => {
                    q.store = Some(target);
                    at += 1;
                }
                Some(pattern) if is(word, "BY") => {
                    q.by = Some(match Pattern::parse(pattern) {
                        // Only GET takes it for the element itself.
                        Pattern::Element => Pattern::Nowhere,
                        pattern => pattern,
                    });
                    at += 1;
                }
                Some(pattern) if is(word, "GET") => {
                    q.get.push(Pattern::parse(pattern));
                    at += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
        }
        Ok(q)
    }

    /// Which of `len` elements are wanted, once they are in order.
    fn range(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.limit).unwrap_or(len).min(len - start);
        start..start + count
    }
}

/// What an element is sorted by.
enum Weight {
    Number(f64),
    /// `None`: there is no value for it, which comes before all others.
    Text(Option<Vec<u8>>),
}

/// A number as C's `strtod` reads it, which may start with spaces or be missing altogether.
fn number(text: &[u8]) -> Result<f64, CmdError> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let error = CmdError::Other("ERR One or more scores can't be converted into double");
    parse_f64(text.trim_ascii_start()).ok_or(error)
}

impl Weight {
    fn of(
        ks: &mut Keyspace,
        database: Database,
        element: &[u8],
        by: Option<Pattern<'_>>,
        alpha: bool,
    ) -> Result<Self, CmdError> {
        let value = match by {
            Some(pattern) => pattern.value(ks, database, element),
            None if alpha => Some(element.to_vec()),
            None => return number(element).map(Weight::Number),
        };
        if alpha {
            return Ok(Weight::Text(value));
        }
        value.map_or(Ok(0.0), |text| number(&text)).map(Weight::Number)
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Weight::Number(a), Weight::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Weight::Text(a), Weight::Text(b)) => a.cmp(b),
            _ => unreachable!("all elements are sorted by the same"),
        }
    }
}

fn elements_of(ks: &mut Keyspace, key: &[u8], kind: Option<Kind>) -> Result<Vec<Vec<u8>>, CmdError> {
    let mut elements = Vec::new();
    match kind {
        None => {}
        Some(Kind::List) => {
            let list = ks.list(key)?;
            elements.extend(
                list.into_iter()
                    .flat_map(|list| list.range(0, list.len()))
                    .map(<[u8]>::to_vec),
            );
        }
        Some(Kind::Set) => {
            if let Some(set) = ks.set(key)? {
                set.for_each(|member| elements.push(member.to_vec()));
            }
        }
        Some(Kind::ZSet) => {
            if let Some(zset) = ks.zset(key)? {
                zset.range(0, usize::MAX, false, |member, _| elements.push(member.to_vec()));
            }
        }
        Some(_) => return Err(CmdError::WrongType),
    }
    Ok(elements)
}

/// The elements wanted, in order.
fn sorted(x: &mut Exec<'_>, q: &Query<'_>) -> Result<Vec<Vec<u8>>, CmdError> {
    let key = x.args.get(1);
    let (database, _) = split(key);
    let kind = x.ks.kind(key);
    let mut elements = elements_of(x.ks, key, kind)?;
    let unsorted = matches!(q.by, Some(Pattern::Nowhere));
    // Nor has the answer to a script, which may write what it gets.
    let kept = q.store.is_some() || x.waiting == Waiting::Never;
    if unsorted && !(kind == Some(Kind::Set) && kept) {
        if q.descending && kind != Some(Kind::Set) {
            elements.reverse();
        }
        let range = q.range(elements.len());
        return Ok(elements.drain(range).collect());
    }
    // A set has no order that could be kept: what is stored of it is sorted by name.
    let (alpha, by) = if unsorted { (true, None) } else { (q.alpha, q.by) };
    let weighted = elements.into_iter().map(|element| {
        let weight = Weight::of(x.ks, database, &element, by, alpha)?;
        Ok((weight, element))
    });
    let mut weighted = weighted.collect::<Result<Vec<_>, CmdError>>()?;
    weighted.sort_by(|(a, x), (b, y)| {
        let order = a.compare(b);
        // Equal numbers are told apart by the elements themselves, equal texts are not.
        let order = if alpha { order } else { order.then_with(|| x.cmp(y)) };
        if q.descending { order.reverse() } else { order }
    });
    let range = q.range(weighted.len());
    Ok(weighted.drain(range).map(|(_, element)| element).collect())
}

fn run(x: &mut Exec<'_>, reply: &mut dyn Reply, may_store: bool) -> Result<(), CmdError> {
    let q = Query::parse(&x.args, may_store)?;
    let elements = sorted(x, &q)?;
    let (database, _) = split(x.args.get(1));
    let (store, mut list) = (q.store.is_some(), List::default());
    let count = elements.len() * q.get.len().max(1);
    if !store {
        reply.array(count);
    }
    let mut put = |value: Option<&[u8]>| match value {
        value if store => list.push(value.unwrap_or_default(), End::Back),
        Some(value) => reply.bulk(value),
        None => reply.null(),
    };
    for element in &elements {
        if q.get.is_empty() {
            put(Some(element));
        }
        for pattern in &q.get {
            put(pattern.value(x.ks, database, element).as_deref());
        }
    }
    if let Some(target) = q.store {
        let existed = x.ks.put_collection(target, Collection::List(list.into()), None);
        x.ks.note_stored(EventClasses::LIST, "sortstore", target, count == 0, existed);
        reply.int(count as i64);
    }
    Ok(())
}

/// Looks at everything that SORT looks at, and changes nothing.
pub(in crate::cmd) fn rehearse(x: &mut Exec<'_>) {
    let Ok(q) = Query::parse(&x.args, true) else { return };
    // An error of the elements is for the command itself to report.
    let Ok(elements) = sorted(x, &q) else { return };
    let (database, _) = split(x.args.get(1));
    for element in &elements {
        for pattern in &q.get {
            pattern.value(x.ks, database, element);
        }
    }
}

pub(in crate::cmd) fn sort(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| run(x, reply, true));
}

pub(in crate::cmd) fn sort_ro(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| run(x, reply, false));
}
