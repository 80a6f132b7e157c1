//! [`Members`]: pairs of byte strings, found by the first: packed while few, a hash table when many.
//!
//! Sets (with empty values) and hashes are made of it, each in an object of its own. The order of the pairs depends on the
//! history of calls alone.

use super::codec::DecodeError;
use super::packed::Packed;
use super::table::Table;

/// Most pairs kept packed: searching this many costs about what a hash table costs in cache misses.
pub(super) const PACKED_LEN_MAX: usize = 32;
/// Most bytes kept packed: removing the first pair moves all others.
pub(super) const PACKED_BYTES_MAX: usize = 2048;

/// Pairs of byte strings, to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Members<'a> {
    Few(&'a Packed),
    Many(&'a Table),
}

/// Pairs of byte strings, to be changed.
#[derive(Debug)]
pub(super) enum MembersMut<'a> {
    Few(&'a mut Packed),
    Many(&'a mut Table),
}

impl<'a> Members<'a> {
    #[inline]
    pub(super) fn len(self) -> usize {
        match self {
            Members::Few(p) => p.len(),
            Members::Many(t) => t.len(),
        }
    }

    /// The value that belongs to `key`.
    #[inline]
    pub(super) fn get(self, key: &[u8]) -> Option<&'a [u8]> {
        match self {
            Members::Few(p) => p.find(key).map(|at| p.value(at)),
            Members::Many(t) => t.find(key).map(|n| t.value(n)),
        }
    }

    /// Key number `n`, which must exist.
    pub(super) fn nth_key(self, n: usize) -> &'a [u8] {
        self.nth(n).0
    }

    /// Pair number `n`, which must exist.
    pub(super) fn nth(self, n: usize) -> (&'a [u8], &'a [u8]) {
        match self {
            Members::Few(p) => {
                let at = p.nth(n).expect("n is below len");
                (p.key(at), p.value(at))
            }
            Members::Many(t) => (t.key(n), t.value(n)),
        }
    }

    /// Calls `f` for all pairs, in order.
    pub(super) fn for_each(self, mut f: impl FnMut(&[u8], &[u8])) {
        match self {
            Members::Few(p) => p.iter().for_each(|(k, v)| f(k, v)),
            Members::Many(t) => t.iter().for_each(|(k, v)| f(k, v)),
        }
    }

    /// Calls `f` for one pair after the other until it says true; whether it did.
    pub(super) fn any(self, mut f: impl FnMut(&[u8], &[u8]) -> bool) -> bool {
        match self {
            Members::Few(p) => p.iter().any(|(k, v)| f(k, v)),
            Members::Many(t) => t.iter().any(|(k, v)| f(k, v)),
        }
    }

    /// One step of a walk through all pairs: calls `f` for `count` of them, or for all when they are packed. `cursor` is 0
    /// at first and then what the last step returned, which is 0 at the end. What is there during the whole walk is met.
    ///
    /// The walk goes from the last pair to the first, as a removal puts the last pair in the place of the removed one: a
    /// pair moves to a smaller number only, so it may be met twice but is never missed. New pairs come at the end.
    pub(super) fn scan(self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], &[u8])) -> u64 {
        let Members::Many(t) = self else {
            self.for_each(f);
            return 0;
        };
        let end = match usize::try_from(cursor) {
            Ok(cursor @ 1..) => cursor.min(t.len()),
            _ => t.len(),
        };
        let start = end.saturating_sub(count);
        (start..end).rev().for_each(|n| f(t.key(n), t.value(n)));
        start as u64
    }

    /// Whether pages are kept.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Members::Many(t) if t.is_kept())
    }

    pub(super) fn is_many(self) -> bool {
        matches!(self, Members::Many(_))
    }
}

impl<'a> MembersMut<'a> {
    /// Sets a value; says whether the key is new, and gives the table in which all pairs are now if they were packed and have
    /// outgrown that: the owner puts it in their place.
    pub(super) fn insert(self, key: &[u8], value: &[u8]) -> (bool, Option<Box<Table>>) {
        match self {
            MembersMut::Few(p) => {
                let found = p.find(key);
                let bytes = p.bytes() + value.len() + if found.is_some() { 0 } else { key.len() };
                if bytes <= PACKED_BYTES_MAX && (found.is_some() || p.len() < PACKED_LEN_MAX) {
                    match found {
                        Some(at) => p.set_value(at, value),
                        None => p.push(key, value),
                    }
                    return (found.is_none(), None);
                }
                let mut table = Box::<Table>::default();
                for (k, v) in p.iter() {
                    table.insert_new(k, v);
                }
                let (added, _) = MembersMut::Many(&mut table).insert(key, value);
                (added, Some(table))
            }
            MembersMut::Many(t) => {
                let (n, added) = t.insert_new(key, value);
                if !added {
                    t.set_value(n, value);
                }
                (added, None)
            }
        }
    }

    /// So many pairs of so many bytes together are about to be added to none.
    pub(super) fn expect(self, len: usize, bytes: usize) {
        match self {
            MembersMut::Few(p) if len <= PACKED_LEN_MAX && bytes <= PACKED_BYTES_MAX => p.expect(len, bytes),
            MembersMut::Few(_) | MembersMut::Many(_) => {}
        }
    }

    /// Removes a key; says whether it was there.
    pub(super) fn remove(self, key: &[u8]) -> bool {
        match self {
            MembersMut::Few(p) => p.find(key).map(|at| p.remove(at)).is_some(),
            MembersMut::Many(t) => t.find(key).map(|n| t.swap_remove(n)).is_some(),
        }
    }

    /// Hands key number `n`, which must exist, to `f`, and removes its pair.
    pub(super) fn take_nth(self, n: usize, f: impl FnOnce(&[u8])) {
        match self {
            MembersMut::Few(p) => {
                let at = p.nth(n).expect("n is below len");
                f(p.key(at));
                p.remove(at);
            }
            MembersMut::Many(t) => {
                f(t.key(n));
                t.swap_remove(n);
            }
        }
    }

    /// Adds a pair that was read: each stands once, and few are few.
    pub(super) fn add_read(self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        let added = match self {
            MembersMut::Many(table) => table.insert_new(key, value).1,
            MembersMut::Few(packed) if packed.len() < PACKED_LEN_MAX && packed.find(key).is_none() => {
                packed.push(key, value);
                true
            }
            MembersMut::Few(_) => false,
        };
        if added { Ok(()) } else { Err(DecodeError::Element) }
    }

    /// The table, when the pairs are many.
    pub(super) fn table(self) -> Option<&'a mut Table> {
        match self {
            MembersMut::Few(_) => None,
            MembersMut::Many(t) => Some(t),
        }
    }

    /// Drops about `budget` pairs; afterwards only this may be called. Returns how many are left.
    pub(super) fn free_some(self, budget: usize) -> usize {
        match self {
            MembersMut::Few(p) => {
                p.clear();
                0
            }
            MembersMut::Many(t) => t.free_some(budget),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::packed_or::{Form, FormMut, PackedOr};
    use crate::collections::testing::Random;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Default)]
    struct Owner(PackedOr<Table>);

    impl Owner {
        fn all(&self) -> Members<'_> {
            match self.0.get() {
                Form::Packed(p) => Members::Few(p),
                Form::Other(t) => Members::Many(t),
            }
        }

        fn all_mut(&mut self) -> MembersMut<'_> {
            match self.0.get_mut() {
                FormMut::Packed(p) => MembersMut::Few(p),
                FormMut::Other(t) => MembersMut::Many(t),
            }
        }

        fn insert(&mut self, key: &[u8], value: &[u8]) -> bool {
            let (added, outgrown) = self.all_mut().insert(key, value);
            if let Some(table) = outgrown {
                self.0 = PackedOr::other(*table);
            }
            added
        }
    }

    #[test]
    fn a_walk_meets_all_that_stays_whatever_comes_and_goes() {
        for seed in 0..40 {
            let (mut members, mut r) = (Owner::default(), Random(seed));
            (0..500u64).for_each(|n| assert!(members.insert(&n.to_le_bytes(), b"")));
            let (mut met, mut cursor, mut steps) = (BTreeSet::new(), 0, 0);
            loop {
                cursor = members.all().scan(cursor, 7, |key, _| {
                    met.insert(key.to_vec());
                });
                steps += 1;
                if cursor == 0 {
                    break;
                }
                // Odd numbers come and go, even ones stay.
                for _ in 0..r.below(30) {
                    let key = (r.below(300) * 2 + 1).to_le_bytes();
                    if r.below(3) == 0 {
                        members.insert(&key, b"");
                    } else {
                        members.all_mut().remove(&key);
                    }
                }
            }
            assert!(
                (0..250u64).all(|n| met.contains((n * 2).to_le_bytes().as_slice())),
                "seed {seed}"
            );
            assert!(steps <= 500 / 7 + 1);
        }
    }

    #[test]
    fn behaves_like_a_map_small_and_large_and_keeps_an_order_of_its_own() {
        for seed in 0..30 {
            let mut r = Random(seed);
            let keys = [10, 60, 2000][seed as usize % 3];
            let (mut members, mut model) = (Owner::default(), BTreeMap::<Vec<u8>, Vec<u8>>::new());
            let mut twin = Owner::default();
            for _ in 0..6000 {
                let key = format!("key:{}", r.below(keys)).into_bytes();
                match r.below(10) {
                    0..=4 => {
                        let value = vec![b'v'; r.below(70) as usize];
                        assert_eq!(members.insert(&key, &value), !model.contains_key(&key));
                        twin.insert(&key, &value);
                        model.insert(key, value);
                    }
                    5..=6 => {
                        twin.all_mut().remove(&key);
                        assert_eq!(members.all_mut().remove(&key), model.remove(&key).is_some());
                    }
                    7 if !model.is_empty() => {
                        let n = r.below(model.len() as u64) as usize;
                        assert!(model.remove(members.all().nth_key(n)).is_some());
                        assert_eq!(members.all().nth_key(n), twin.all().nth_key(n));
                        members.all_mut().take_nth(n, |_| {});
                        twin.all_mut().take_nth(n, |_| {});
                    }
                    _ => assert_eq!(members.all().get(&key), model.get(&key).map(Vec::as_slice)),
                }
                assert_eq!(members.all().len(), model.len());
            }
            let mut all = BTreeMap::new();
            members.all().for_each(|k, v| drop(all.insert(k.to_vec(), v.to_vec())));
            assert_eq!(all, model);
        }
    }
}
