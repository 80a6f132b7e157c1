//! [`ZSet`]: a sorted set: members with scores, in the order of score and then bytes.
//!
//! Few members are packed in that order. Many are in a hash table, whose values are the scores, beside a counted tree that
//! holds scores and pair numbers, so that each member's bytes are stored once.
//!
//! OBJECT ENCODING names what Redis would use: `listpack` up to [`LISTPACK_LEN_MAX`] members of at most
//! [`LISTPACK_MEMBER_BYTES_MAX`]; `skiplist` once there was more.

use super::Elements;
use super::codec::{DecodeError, Source, form};
use super::members::{PACKED_BYTES_MAX, PACKED_LEN_MAX};
use super::ordered::{Entry, Ordered};
use super::packed::{Packed, Place};
use super::packed_or::{Form, FormMut, PackedOr};
use super::table::Table;
use crate::digest::{Digest, combine};
use crate::varint::put_bytes;
use std::cmp::Ordering;

/// Redis's `zset-max-listpack-entries`.
const LISTPACK_LEN_MAX: usize = 128;
/// Redis's `zset-max-listpack-value`, in bytes.
const LISTPACK_MEMBER_BYTES_MAX: usize = 64;

/// A sorted set. Scores are never NaN. Few members are packed, sorted, and their values are the scores; whether it has
/// outgrown what Redis calls a listpack is their mark then.
#[derive(Clone, Debug, Default)]
pub struct ZSet(PackedOr<Many>);

#[derive(Clone, Debug, Default)]
struct Many {
    table: Table,
    order: Ordered,
    outgrew_listpack: bool,
}

fn score_of(value: &[u8]) -> f64 {
    f64::from_le_bytes(
        value
            .try_into()
            .expect("the value of a member is its score, eight bytes"),
    )
}

/// Scores first, then bytes. -0 and 0 are equal scores.
fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    a.0.partial_cmp(&b.0)
        .expect("scores are never NaN")
        .then_with(|| a.1.cmp(b.1))
}

fn insert_sorted(p: &mut Packed, member: &[u8], score: f64) {
    let after = p
        .places()
        .find(|at| compare((score_of(p.value(*at)), p.key(*at)), (score, member)) == Ordering::Greater);
    let start = after.map_or(p.bytes(), Place::start);
    p.insert(start, member, &score.to_le_bytes());
}

impl Many {
    fn insert(&mut self, member: &[u8], score: f64) -> bool {
        let (n, added) = self.table.insert_new(member, &score.to_le_bytes());
        if !added {
            let old = score_of(self.table.value(n));
            if old == score {
                return false;
            }
            self.order.remove(Self::compare_with(&self.table, old, member));
            self.table.set_value(n, &score.to_le_bytes());
        }
        let entry = Entry { score, pair: n as u32 };
        self.order.insert(entry, Self::compare_with(&self.table, score, member));
        added
    }

    fn compare_with<'a>(table: &'a Table, score: f64, member: &'a [u8]) -> impl Fn(Entry) -> Ordering + 'a {
        // Only equal scores cost a look at the bytes.
        move |e| match { e.score }.partial_cmp(&score).expect("scores are never NaN") {
            Ordering::Equal => table.key(e.pair as usize).cmp(member),
            different => different,
        }
    }

    fn remove(&mut self, n: usize) {
        let score = score_of(self.table.value(n));
        self.order
            .remove(Self::compare_with(&self.table, score, self.table.key(n)));
        let last = self.table.len() - 1;
        if n != last {
            // The table is about to give the last pair this number.
            let score = score_of(self.table.value(last));
            self.order
                .renumber(n as u32, Self::compare_with(&self.table, score, self.table.key(last)));
        }
        self.table.swap_remove(n);
    }
}

impl ZSet {
    /// Sets a member's score; says whether the member is new.
    pub fn insert(&mut self, member: &[u8], score: f64) -> bool {
        // A negative zero is stored as zero, as Redis does while a set is small.
        let score = score + 0.0;
        let added = match self.0.get_mut() {
            FormMut::Other(many) => many.insert(member, score),
            FormMut::Packed(p) => match p.find(member) {
                Some(at) => {
                    if score_of(p.value(at)) != score {
                        p.remove(at);
                        insert_sorted(p, member, score);
                    }
                    false
                }
                None if p.len() < PACKED_LEN_MAX && p.bytes() + member.len() <= PACKED_BYTES_MAX => {
                    insert_sorted(p, member, score);
                    true
                }
                None => {
                    let mut many = Many::default();
                    for (k, v) in p.iter() {
                        many.insert(k, score_of(v));
                    }
                    many.insert(member, score);
                    many.outgrew_listpack = p.is_marked();
                    self.0 = PackedOr::other(many);
                    true
                }
            },
        };
        if added && (self.len() > LISTPACK_LEN_MAX || member.len() > LISTPACK_MEMBER_BYTES_MAX) {
            self.outgrow_listpack();
        }
        added
    }

    fn outgrow_listpack(&mut self) {
        match self.0.get_mut() {
            FormMut::Packed(p) => p.set_marked(true),
            FormMut::Other(many) => many.outgrew_listpack = true,
        }
    }

    fn outgrew_listpack(&self) -> bool {
        match self.0.get() {
            Form::Packed(p) => p.is_marked(),
            Form::Other(many) => many.outgrew_listpack,
        }
    }

    /// A member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0.get() {
            Form::Packed(p) => p.find(member).map(|at| score_of(p.value(at))),
            Form::Other(many) => many.table.find(member).map(|n| score_of(many.table.value(n))),
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.0.get_mut() {
            FormMut::Packed(p) => p.find(member).map(|at| p.remove(at)).is_some(),
            FormMut::Other(many) => many.table.find(member).map(|n| many.remove(n)).is_some(),
        }
    }

    /// Hands the member with the lowest score to `f`, or the one with the highest if `highest`, and removes it; says whether
    /// there was one.
    pub fn take_end(&mut self, highest: bool, f: impl FnOnce(&[u8], f64)) -> bool {
        match self.0.get_mut() {
            FormMut::Packed(p) => {
                let end = if highest { p.places().last() } else { p.at(0) };
                let Some(at) = end else { return false };
                f(p.key(at), score_of(p.value(at)));
                p.remove(at);
            }
            FormMut::Other(many) => {
                let mut end = None;
                many.order.walk(0, 1, highest, |e| end = Some(e));
                let Some(e) = end else { return false };
                f(many.table.key(e.pair as usize), e.score);
                many.remove(e.pair as usize);
            }
        }
        true
    }

    /// Hands members and scores to `f`, lowest first: up to `count`, from rank `start` on. If `reverse`, ranks count from
    /// the highest down.
    pub fn range(&self, start: usize, count: usize, reverse: bool, mut f: impl FnMut(&[u8], f64)) {
        match self.0.get() {
            Form::Other(many) => {
                many.order
                    .walk(start, count, reverse, |e| f(many.table.key(e.pair as usize), e.score));
            }
            Form::Packed(p) if reverse => {
                let all: Vec<Place> = p.places().collect();
                all.iter()
                    .rev()
                    .skip(start)
                    .take(count)
                    .for_each(|at| f(p.key(*at), score_of(p.value(*at))));
            }
            Form::Packed(p) => p.iter().skip(start).take(count).for_each(|(k, v)| f(k, score_of(v))),
        }
    }

    /// How many members come before the first one that `before` does not hold for, which must hold for no member behind that
    /// one.
    pub fn partition_point(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        match self.0.get() {
            Form::Packed(p) => p.iter().take_while(|(k, v)| before(score_of(v), k)).count(),
            Form::Other(many) => many
                .order
                .partition_point(|e| before(e.score, many.table.key(e.pair as usize))),
        }
    }

    /// How many members come before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        let rank = match self.0.get() {
            Form::Packed(p) => p.iter().take_while(|(k, _)| *k != member).count(),
            Form::Other(many) => {
                let compare = Many::compare_with(&many.table, score, member);
                many.order.partition_point(|e| compare(e) == Ordering::Less)
            }
        };
        Some((rank, score))
    }

    /// Removes `count` members from rank `start` on; there must be as many.
    pub fn remove_range(&mut self, start: usize, count: usize) {
        match self.0.get_mut() {
            FormMut::Packed(p) => {
                for _ in 0..count {
                    let at = p.nth(start).expect("the range lies inside");
                    p.remove(at);
                }
            }
            FormMut::Other(many) => {
                for _ in 0..count {
                    let mut pair = 0;
                    many.order.walk(start, 1, false, |e| pair = e.pair);
                    many.remove(pair as usize);
                }
            }
        }
    }

    /// Hands the member in position `n`, below `len`, to `f`. Which position a member has depends on the set's history alone.
    pub fn nth<T>(&self, n: usize, f: impl FnOnce(&[u8], f64) -> T) -> T {
        match self.0.get() {
            Form::Packed(p) => {
                let at = p.nth(n).expect("n is below len");
                f(p.key(at), score_of(p.value(at)))
            }
            Form::Other(many) => f(many.table.key(n), score_of(many.table.value(n))),
        }
    }

    /// One step of a walk through all members, about `count` of them, which are handed to `f`; begins and ends with cursor 0.
    /// A member that is there from the first to the last step is handed out at least once.
    ///
    /// A large set is walked from the last position to the first: a removal moves only the last member, to a position that
    /// either comes later or had its turn while that member had its turn, too.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], f64)) -> u64 {
        let Form::Other(many) = self.0.get() else {
            self.range(0, usize::MAX, false, f);
            return 0;
        };
        let len = many.table.len();
        let end = match usize::try_from(cursor) {
            Ok(0) | Err(_) => len,
            Ok(end) => end.min(len),
        };
        let start = end.saturating_sub(count);
        (start..end)
            .rev()
            .for_each(|n| f(many.table.key(n), score_of(many.table.value(n))));
        start as u64
    }

    pub(super) fn form(&self) -> u8 {
        u8::from(matches!(self.0.get(), Form::Other(_))) * form::MANY
            + u8::from(self.outgrew_listpack()) * form::OUTGREW_LISTPACK
    }

    /// Appends members and scores: in their order while few, in that of the table when many.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |(member, score): (&[u8], &[u8])| {
            put_bytes(out, member);
            out.extend_from_slice(score);
        };
        match self.0.get() {
            Form::Packed(p) => p.iter().for_each(&mut put),
            Form::Other(many) => many.table.iter().for_each(&mut put),
        }
    }

    /// An empty one that is about to have many members.
    pub(super) fn empty_of_many(form: u8) -> Self {
        ZSet(PackedOr::other(Many {
            outgrew_listpack: form & form::OUTGREW_LISTPACK != 0,
            ..Many::default()
        }))
    }

    /// Reads `count` more members, of one that has many.
    pub(super) fn decode_some(&mut self, count: usize, source: &mut Source<'_>) -> Result<(), DecodeError> {
        let FormMut::Other(many) = self.0.get_mut() else {
            unreachable!("made by `empty_of_many`")
        };
        for _ in 0..count {
            let (member, score) = (source.bytes()?, f64::from_le_bytes(source.eight()?));
            if score.is_nan() || !many.insert(member, score) {
                return Err(DecodeError::Element);
            }
        }
        Ok(())
    }

    pub(super) fn decode(form: u8, len: usize, source: &mut Source<'_>) -> Result<Self, DecodeError> {
        if form & form::MANY != 0 {
            let mut zset = Self::empty_of_many(form);
            zset.decode_some(len, source)?;
            return Ok(zset);
        }
        let mut few = Packed::default();
        let mut last: Option<(f64, &[u8])> = None;
        for _ in 0..len {
            let (member, bytes) = (source.bytes()?, source.eight()?);
            let score = f64::from_le_bytes(bytes);
            if score.is_nan() {
                return Err(DecodeError::Element);
            }
            let in_order = last.is_none_or(|last| compare(last, (score, member)) == Ordering::Less);
            if !in_order || few.len() == PACKED_LEN_MAX || few.find(member).is_some() {
                return Err(DecodeError::Element);
            }
            few.push(member, &bytes);
            last = Some((score, member));
        }
        few.set_marked(form & form::OUTGREW_LISTPACK != 0);
        Ok(ZSet(few.into()))
    }

    /// The table, when the members are many.
    pub(super) fn table(&mut self) -> Option<&mut Table> {
        match self.0.get_mut() {
            FormMut::Packed(_) => None,
            FormMut::Other(many) => Some(&mut many.table),
        }
    }

    /// Whether pages are kept.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.0.get(), Form::Other(many) if many.table.is_kept())
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        if self.outgrew_listpack() {
            "skiplist"
        } else {
            "listpack"
        }
    }
}

impl Elements for ZSet {
    fn len(&self) -> usize {
        match self.0.get() {
            Form::Packed(p) => p.len(),
            Form::Other(many) => many.table.len(),
        }
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
            + match self.0.get() {
                Form::Packed(p) => p.memory(),
                Form::Other(many) => size_of::<Many>() + many.table.memory() + many.order.memory(),
            }
    }

    fn digest_into(&self, digest: &mut Digest) {
        let (mut sum, mut one) = (0, Digest::new());
        self.range(0, usize::MAX, false, |member, score| {
            one.reset();
            one.bytes(member);
            one.u64(score.to_bits());
            sum = combine(sum, one.finish());
        });
        digest.u64(self.len() as u64);
        digest.unordered(sum);
    }

    fn free_some(&mut self, budget: usize) -> usize {
        match self.0.get_mut() {
            FormMut::Packed(p) => {
                p.clear();
                0
            }
            // The tree first: then the pairs' bytes, which are the larger part.
            FormMut::Other(many) if many.order.len() > 0 => {
                many.order.free_some(budget);
                many.table.len().max(1)
            }
            FormMut::Other(many) => many.table.free_some(budget),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::testing::Random;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_a_sorted_map_small_and_large() {
        for seed in 0..24 {
            let mut r = Random(seed);
            let (members, scores) = ([12, 300, 3000][seed as usize % 3], [3, 1000][seed as usize % 2]);
            let (mut zset, mut model) = (ZSet::default(), BTreeMap::<Vec<u8>, f64>::new());
            for step in 0..8000 {
                let member = format!("m{}", r.below(members)).into_bytes();
                match r.below(10) {
                    0..=5 => {
                        let score = r.below(scores) as f64 - 1.0;
                        assert_eq!(zset.insert(&member, score), model.insert(member, score).is_none());
                    }
                    6..=7 => assert_eq!(zset.remove(&member), model.remove(&member).is_some()),
                    8 => {
                        let (mut taken, highest) = (None, r.below(2) == 0);
                        zset.take_end(highest, |m, s| taken = Some((m.to_vec(), s)));
                        let order = |a: &(&Vec<u8>, &f64), b: &(&Vec<u8>, &f64)| compare((*a.1, a.0), (*b.1, b.0));
                        let end = if highest {
                            model.iter().max_by(order)
                        } else {
                            model.iter().min_by(order)
                        };
                        let end = end.map(|(m, s)| (m.clone(), *s));
                        assert_eq!(taken, end);
                        end.map(|(m, _)| model.remove(&m));
                    }
                    _ => {
                        let score = model.get(&member).copied();
                        let rank = score.map(|s| {
                            let before = |(m, x): (&Vec<u8>, &f64)| compare((*x, m), (s, &member)) == Ordering::Less;
                            (model.iter().filter(|pair| before(*pair)).count(), s)
                        });
                        assert_eq!(zset.score(&member), score);
                        assert_eq!(zset.rank(&member), rank);
                    }
                }
                if step % 400 == 0 {
                    let mut sorted: Vec<_> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
                    sorted.sort_by(|a, b| compare((a.1, &a.0), (b.1, &b.0)));
                    for reverse in [false, true] {
                        let (start, count) = (r.below(20) as usize, r.below(400) as usize);
                        let mut seen = Vec::new();
                        zset.range(start, count, reverse, |m, s| seen.push((m.to_vec(), s)));
                        let expected: Vec<_> = sorted.iter().skip(start).take(count).cloned().collect();
                        assert_eq!(seen, expected);
                        sorted.reverse();
                    }
                    let limit = r.below(scores) as f64;
                    assert_eq!(
                        zset.partition_point(|s, _| s < limit),
                        sorted.partition_point(|(_, s)| *s < limit)
                    );
                    if !model.is_empty() {
                        let start = r.below(model.len() as u64) as usize;
                        let count = r.below((model.len() - start).min(9) as u64 + 1) as usize;
                        zset.remove_range(start, count);
                        sorted[start..start + count]
                            .iter()
                            .for_each(|(m, _)| assert!(model.remove(m).is_some()));
                    }
                }
            }
            assert_eq!(zset.len(), model.len());
            while zset.free_some(50) > 0 {}
        }
    }

    #[test]
    fn a_walk_meets_every_member_that_stays() {
        for seed in 0..20 {
            let mut r = Random(seed);
            let mut zset = ZSet::default();
            for n in 0..[20, 500][seed as usize % 2] {
                zset.insert(format!("stays{n}").as_bytes(), n as f64);
                zset.insert(format!("goes{n}").as_bytes(), n as f64);
            }
            let (mut cursor, mut met) = (0, std::collections::BTreeSet::new());
            loop {
                cursor = zset.scan(cursor, 7, |m, _| met.extend([m.to_vec()]));
                if cursor == 0 {
                    break;
                }
                for _ in 0..5 {
                    zset.remove(format!("goes{}", r.below(500)).as_bytes());
                    zset.insert(format!("comes{}", r.below(500)).as_bytes(), 0.0);
                }
            }
            assert!(met.iter().filter(|m| m.starts_with(b"stays")).count() == [20, 500][seed as usize % 2]);
        }
    }
}
