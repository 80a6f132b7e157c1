//! [`Set`]: a set of byte strings: sorted integers while few and all are numbers, else [`Members`].
//!
//! OBJECT ENCODING names what Redis would use: `intset` until the set met something that is no number, or became larger
//! than [`INTSET_LEN_MAX`]; `hashtable` from then on.

use super::Elements;
use super::codec::{DecodeError, Source, form};
use super::members::Members;
use super::table::Table;
use crate::digest::{Digest, combine};
use crate::number::parse_i64;
use crate::varint::put_bytes;

/// Redis's `set-max-intset-entries`.
const INTSET_LEN_MAX: usize = 512;

/// A set.
#[derive(Clone, Debug)]
pub struct Set(Repr);

#[derive(Clone, Debug)]
enum Repr {
    /// Sorted.
    Ints(Vec<i64>),
    Members(Members),
}

impl Default for Set {
    fn default() -> Self {
        Set(Repr::Ints(Vec::new()))
    }
}

impl Set {
    /// Adds a member; says whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if let Repr::Ints(ints) = &mut self.0 {
            match parse_i64(member).map(|n| ints.binary_search(&n).map_err(|at| (at, n))) {
                Some(Ok(_)) => return false,
                Some(Err((at, n))) if ints.len() < INTSET_LEN_MAX => {
                    if ints.len() == ints.capacity() {
                        // As with what is packed: see there.
                        ints.reserve_exact(1 + ints.len() / 8);
                    }
                    ints.insert(at, n);
                    return true;
                }
                _ => {}
            }
            let mut members = Members::default();
            let mut text = itoa::Buffer::new();
            for n in ints {
                members.insert(text.format(*n).as_bytes(), b"");
            }
            self.0 = Repr::Members(members);
        }
        let Repr::Members(members) = &mut self.0 else {
            unreachable!("turned into members above")
        };
        members.insert(member, b"")
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Repr::Ints(ints) => parse_i64(member).is_some_and(|n| ints.binary_search(&n).is_ok()),
            Repr::Members(members) => members.get(member).is_some(),
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Ints(ints) => parse_i64(member)
                .and_then(|n| ints.binary_search(&n).ok())
                .map(|at| ints.remove(at))
                .is_some(),
            Repr::Members(members) => members.remove(member),
        }
    }

    /// Hands member number `n` (below `len`) to `f`, and removes it. Which member has which number depends on the set's
    /// history alone.
    pub fn take_nth(&mut self, n: usize, f: impl FnOnce(&[u8])) {
        match &mut self.0 {
            Repr::Ints(ints) => f(itoa::Buffer::new().format(ints.remove(n)).as_bytes()),
            Repr::Members(members) => {
                f(members.nth_key(n));
                members.remove_nth(n);
            }
        }
    }

    /// What `f` makes of member number `n`, which must be below `len`.
    pub fn nth<T>(&self, n: usize, f: impl FnOnce(&[u8]) -> T) -> T {
        match &self.0 {
            Repr::Ints(ints) => f(itoa::Buffer::new().format(ints[n]).as_bytes()),
            Repr::Members(members) => f(members.nth_key(n)),
        }
    }

    /// Calls `f` for one member after the other until it says true; whether it did.
    pub fn any(&self, mut f: impl FnMut(&[u8]) -> bool) -> bool {
        match &self.0 {
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
        match &self.0 {
            Repr::Ints(_) => {
                self.for_each(f);
                0
            }
            Repr::Members(members) => members.scan(cursor, count, |member, _| f(member)),
        }
    }

    /// Calls `f` for every member.
    pub fn for_each(&self, mut f: impl FnMut(&[u8])) {
        match &self.0 {
            Repr::Ints(ints) => {
                let mut text = itoa::Buffer::new();
                ints.iter().for_each(|n| f(text.format(*n).as_bytes()));
            }
            Repr::Members(members) => members.for_each(|member, _| f(member)),
        }
    }

    pub(super) fn form(&self) -> u8 {
        match &self.0 {
            Repr::Ints(_) => form::INTS,
            Repr::Members(members) => u8::from(members.is_many()) * form::MANY,
        }
    }

    /// Appends the members, in order.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Repr::Ints(ints) => ints.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes())),
            Repr::Members(members) => members.for_each(|member, _| put_bytes(out, member)),
        }
    }

    /// An empty one that is not of sorted integers.
    pub(super) fn empty(form: u8) -> Self {
        Set(Repr::Members(Members::empty(form & form::MANY != 0)))
    }

    /// Reads `count` more members, of one that is not of sorted integers.
    pub(super) fn decode_some(&mut self, count: usize, source: &mut Source<'_>) -> Result<(), DecodeError> {
        let Repr::Members(members) = &mut self.0 else {
            unreachable!("made by `empty`")
        };
        (0..count).try_for_each(|_| members.add_read(source.bytes()?, b""))
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
        Ok(Set(Repr::Ints(ints)))
    }

    /// The table, when the members are many.
    pub(super) fn table(&mut self) -> Option<&mut Table> {
        match &mut self.0 {
            Repr::Ints(_) => None,
            Repr::Members(members) => members.table(),
        }
    }

    /// Whether pages are kept.
    pub(super) fn is_kept(&self) -> bool {
        matches!(&self.0, Repr::Members(members) if members.is_kept())
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Repr::Ints(_) => "intset",
            Repr::Members(_) => "hashtable",
        }
    }
}

impl Elements for Set {
    fn len(&self) -> usize {
        match &self.0 {
            Repr::Ints(ints) => ints.len(),
            Repr::Members(members) => members.len(),
        }
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Repr::Ints(ints) => ints.capacity() * size_of::<i64>(),
                Repr::Members(members) => members.memory(),
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
        match &mut self.0 {
            Repr::Ints(ints) => {
                ints.clear();
                0
            }
            Repr::Members(members) => members.free_some(budget),
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
