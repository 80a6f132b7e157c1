//! [`Set`]: a set of byte strings: sorted integers while few and all are numbers, else [`Members`].
//!
//! OBJECT ENCODING names what Redis would use: `intset` until the set met something that is no number, or became larger
//! than [`INTSET_LEN_MAX`]; `hashtable` from then on.

use super::Elements;
use super::codec::{DecodeError, Source, form};
use super::members::{Members, MembersMut};
use super::packed_or::{Form, FormMut, PackedOr};
use super::table::Table;
use crate::digest::{Digest, combine};
use crate::number::parse_i64;
use crate::varint::put_bytes;

/// Redis's `set-max-intset-entries`.
const INTSET_LEN_MAX: usize = 512;

/// A set. While its members are few and not all integers they are all there is.
#[derive(Clone, Debug, Default)]
pub struct Set(PackedOr<Larger>);

#[derive(Clone, Debug)]
enum Larger {
    /// Sorted.
    Ints(Vec<i64>),
    Many(Table),
}

/// A set's members, to be read.
enum Repr<'a> {
    Ints(&'a [i64]),
    Members(Members<'a>),
}

/// A set's members, to be changed.
enum ReprMut<'a> {
    Ints(&'a mut Vec<i64>),
    Members(MembersMut<'a>),
}

impl Set {
    fn repr(&self) -> Repr<'_> {
        match self.0.get() {
            // What it becomes is decided by its first member.
            Form::Packed(p) if p.is_fresh() => Repr::Ints(&[]),
            Form::Packed(p) => Repr::Members(Members::Few(p)),
            Form::Other(Larger::Ints(ints)) => Repr::Ints(ints),
            Form::Other(Larger::Many(t)) => Repr::Members(Members::Many(t)),
        }
    }

    fn repr_mut(&mut self) -> ReprMut<'_> {
        match self.0.get_mut() {
            FormMut::Packed(p) => ReprMut::Members(MembersMut::Few(p)),
            FormMut::Other(Larger::Ints(ints)) => ReprMut::Ints(ints),
            FormMut::Other(Larger::Many(t)) => ReprMut::Members(MembersMut::Many(t)),
        }
    }

    /// Adds a member; says whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if let Repr::Ints(ints) = self.repr() {
            match parse_i64(member).map(|n| ints.binary_search(&n).map_err(|at| (at, n))) {
                Some(Ok(_)) => return false,
                Some(Err((at, n))) if ints.len() < INTSET_LEN_MAX => {
                    self.insert_int(at, n);
                    return true;
                }
                _ => {}
            }
            self.leave_ints();
        }
        self.insert_member(member)
    }

    fn insert_int(&mut self, at: usize, n: i64) {
        match self.repr_mut() {
            ReprMut::Ints(ints) => {
                if ints.len() == ints.capacity() {
                    // As with what is packed: see there.
                    ints.reserve_exact(1 + ints.len() / 8);
                }
                ints.insert(at, n);
            }
            ReprMut::Members(_) => self.0 = PackedOr::other(Larger::Ints(vec![n])),
        }
    }

    /// Integers become members as any.
    fn leave_ints(&mut self) {
        let FormMut::Other(Larger::Ints(ints)) = self.0.get_mut() else {
            return;
        };
        let ints = std::mem::take(ints);
        self.0 = PackedOr::default();
        let mut text = itoa::Buffer::new();
        for n in ints {
            self.insert_member(text.format(n).as_bytes());
        }
    }

    fn insert_member(&mut self, member: &[u8]) -> bool {
        let ReprMut::Members(members) = self.repr_mut() else {
            unreachable!("integers were left before")
        };
        let (added, outgrown) = members.insert(member, b"");
        if let Some(table) = outgrown {
            self.0 = PackedOr::other(Larger::Many(*table));
        }
        added
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.repr() {
            Repr::Ints(ints) => parse_i64(member).is_some_and(|n| ints.binary_search(&n).is_ok()),
            Repr::Members(members) => members.get(member).is_some(),
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.repr_mut() {
            ReprMut::Ints(ints) => parse_i64(member)
                .and_then(|n| ints.binary_search(&n).ok())
                .map(|at| ints.remove(at))
                .is_some(),
            ReprMut::Members(members) => members.remove(member),
        }
    }

    /// Hands member number `n` (below `len`) to `f`, and removes it. Which member has which number depends on the set's
    /// history alone.
    pub fn take_nth(&mut self, n: usize, f: impl FnOnce(&[u8])) {
        match self.repr_mut() {
            ReprMut::Ints(ints) => f(itoa::Buffer::new().format(ints.remove(n)).as_bytes()),
            ReprMut::Members(members) => members.take_nth(n, f),
        }
    }

    /// What `f` makes of member number `n`, which must be below `len`.
    pub fn nth<T>(&self, n: usize, f: impl FnOnce(&[u8]) -> T) -> T {
        match self.repr() {
            Repr::Ints(ints) => f(itoa::Buffer::new().format(ints[n]).as_bytes()),
            Repr::Members(members) => f(members.nth_key(n)),
        }
    }

    /// Calls `f` for one member after the other until it says true; whether it did.
    pub fn any(&self, mut f: impl FnMut(&[u8]) -> bool) -> bool {
        match self.repr() {
            Repr::Ints(ints) => {
                let mut text = itoa::Buffer::new();
                ints.iter().any(|n| f(text.format(*n).as_bytes()))
            }
            Repr::Members(members) => members.any(|member, _| f(member)),
        }
    }

    /// One step of a walk through all members: calls `f` for `count` of them, or for all of a small set. `cursor` is 0 at
    /// first and then what the last step returned, which is 0 at the end. What is there during the whole walk is met.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8])) -> u64 {
        match self.repr() {
            Repr::Ints(_) => {
                self.for_each(f);
                0
            }
            Repr::Members(members) => members.scan(cursor, count, |member, _| f(member)),
        }
    }

    /// Calls `f` for every member.
    pub fn for_each(&self, mut f: impl FnMut(&[u8])) {
        match self.repr() {
            Repr::Ints(ints) => {
                let mut text = itoa::Buffer::new();
                ints.iter().for_each(|n| f(text.format(*n).as_bytes()));
            }
            Repr::Members(members) => members.for_each(|member, _| f(member)),
        }
    }

    pub(super) fn form(&self) -> u8 {
        match self.repr() {
            Repr::Ints(_) => form::INTS,
            Repr::Members(members) => u8::from(members.is_many()) * form::MANY,
        }
    }

    /// Appends the members, in order.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self.repr() {
            Repr::Ints(ints) => ints.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes())),
            Repr::Members(members) => members.for_each(|member, _| put_bytes(out, member)),
        }
    }

    /// An empty one that is not of sorted integers.
    pub(super) fn empty(form: u8) -> Self {
        if form & form::MANY != 0 {
            Set(PackedOr::other(Larger::Many(Table::default())))
        } else {
            Set::default()
        }
    }

    /// Reads `count` more members, of one that is not of sorted integers.
    pub(super) fn decode_some(&mut self, count: usize, source: &mut Source<'_>) -> Result<(), DecodeError> {
        (0..count).try_for_each(|_| match self.repr_mut() {
            ReprMut::Members(members) => members.add_read(source.bytes()?, b""),
            ReprMut::Ints(_) => unreachable!("made by `empty`"),
        })
    }

    pub(super) fn decode(form: u8, len: usize, source: &mut Source<'_>) -> Result<Self, DecodeError> {
        if form & form::INTS == 0 {
            let mut set = Self::empty(form);
            set.decode_some(len, source)?;
            return Ok(set);
        }
        let mut ints = Vec::new();
        for _ in 0..len {
            let n = i64::from_le_bytes(source.eight()?);
            if ints.last().is_some_and(|last| *last >= n) || ints.len() == INTSET_LEN_MAX {
                return Err(DecodeError::Element);
            }
            ints.push(n);
        }
        Ok(Set(PackedOr::other(Larger::Ints(ints))))
    }

    /// The table, when the members are many.
    pub(super) fn table(&mut self) -> Option<&mut Table> {
        match self.repr_mut() {
            ReprMut::Ints(_) => None,
            ReprMut::Members(members) => members.table(),
        }
    }

    /// Whether pages are kept.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.repr(), Repr::Members(members) if members.is_kept())
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        match self.repr() {
            Repr::Ints(_) => "intset",
            Repr::Members(_) => "hashtable",
        }
    }
}

impl Elements for Set {
    fn len(&self) -> usize {
        match self.repr() {
            Repr::Ints(ints) => ints.len(),
            Repr::Members(members) => members.len(),
        }
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
            + match self.0.get() {
                Form::Packed(p) => p.memory(),
                Form::Other(Larger::Ints(ints)) => size_of::<Larger>() + ints.capacity() * size_of::<i64>(),
                Form::Other(Larger::Many(t)) => size_of::<Larger>() + t.memory(),
            }
    }

    fn digest_into(&self, digest: &mut Digest) {
        let (mut sum, mut one) = (0, Digest::new());
        self.for_each(|member| {
            one.reset();
            one.bytes(member);
            sum = combine(sum, one.finish());
        });
        digest.u64(self.len() as u64);
        digest.unordered(sum);
    }

    fn free_some(&mut self, budget: usize) -> usize {
        match self.repr_mut() {
            ReprMut::Ints(ints) => {
                ints.clear();
                0
            }
            ReprMut::Members(members) => members.free_some(budget),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_sorted_and_turn_into_members_once() {
        let mut set = Set::default();
        assert!(set.insert(b"3") && set.insert(b"-1") && set.insert(b"20") && !set.insert(b"3"));
        let mut all = Vec::new();
        set.for_each(|m| all.push(String::from_utf8(m.to_vec()).unwrap()));
        assert_eq!((all.join(" ").as_str(), set.encoding()), ("-1 3 20", "intset"));
        assert!(set.insert(b"03") && set.contains(b"3") && set.contains(b"03") && !set.contains(b"+3"));
        assert!(set.remove(b"03") && !set.remove(b"03"));
        assert_eq!((set.len(), set.encoding()), (3, "hashtable"));
    }

    #[test]
    fn the_digest_is_of_the_contents_only() {
        let digest = |members: &[&str], removed: &[&str]| {
            let (mut set, mut d) = (Set::default(), Digest::new());
            for m in members {
                set.insert(m.as_bytes());
            }
            for m in removed {
                set.remove(m.as_bytes());
            }
            set.digest_into(&mut d);
            d.finish()
        };
        assert_eq!(digest(&["1", "2", "x"], &["x"]), digest(&["2", "1"], &[]));
        assert_ne!(digest(&["1", "2"], &[]), digest(&["1", "3"], &[]));
    }

    #[test]
    fn the_513th_integer_ends_the_intset() {
        let mut set = Set::default();
        for n in 0..513 {
            assert_eq!(set.encoding(), "intset");
            set.insert(n.to_string().as_bytes());
        }
        assert_eq!((set.encoding(), set.len()), ("hashtable", 513));
        let mut left = 513;
        while left > 0 {
            set.take_nth((left * 7) % left.max(1), |m| assert!(m.len() <= 3));
            left -= 1;
            assert_eq!(set.len(), left);
        }
    }
}
