//! [`TrackedKeys`]: which clients may hold copies of which keys of this core. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;

use slotcore_netio::ConnId;

/// A client that may hold a copy: its core, and its connection there.
pub type Holder = (u16, ConnId);

/// Holders of one key. Those that have gone are noticed when the key changes only: without a limit, clients that come, read
/// it, and go would fill the memory.
pub const HOLDERS_MAX: usize = 1 << 16;

/// See the module's text. Holders that have gone, or do not track any more, stay until their key changes.
#[derive(Debug, Default)]
pub struct TrackedKeys {
    /// Of each key in order, at most [`HOLDERS_MAX`].
    holders: BTreeMap<Box<[u8]>, Vec<Holder>>,
    /// Holders of all keys.
    items: usize,
    /// The key that was given up last.
    given_up: Box<[u8]>,
}

impl TrackedKeys {
    /// `who` has read `key`. False: it has too many holders, and must be treated as if it had changed.
    pub fn note(&mut self, key: &[u8], who: Holder) -> bool {
        let order = |(core, conn): &Holder| (*core, conn.parts());
        let Some(holders) = self.holders.get_mut(key) else {
            self.holders.insert(key.into(), vec![who]);
            self.items += 1;
            return true;
        };
        if let Err(at) = holders.binary_search_by_key(&order(&who), order) {
            holders.insert(at, who);
            self.items += 1;
        }
        holders.len() <= HOLDERS_MAX
    }

    /// `key` has changed: who held it, and holds it no longer.
    pub fn take(&mut self, key: &[u8]) -> Vec<Holder> {
        let holders = self.holders.remove(key).unwrap_or_default();
        self.items -= holders.len();
        holders
    }

    /// All keys are gone: everybody who held any, each once.
    pub fn take_all(&mut self) -> Vec<Holder> {
        let mut all: Vec<Holder> = std::mem::take(self).holders.into_values().flatten().collect();
        all.sort_unstable_by_key(|(core, conn)| (*core, conn.parts()));
        all.dedup();
        all
    }

    /// The key to give up when there are more than `keys_max` (0: no limit): its holders must be told as if it had
    /// changed. Each key has its turn.
    pub fn take_excess(&mut self, keys_max: usize) -> Option<(Box<[u8]>, Vec<Holder>)> {
        if keys_max == 0 || self.holders.len() <= keys_max {
            return None;
        }
        let behind = (Bound::Excluded(&*self.given_up), Bound::Unbounded);
        let next = self.holders.range::<[u8], _>(behind).next();
        let key = next.or_else(|| self.holders.first_key_value())?.0.clone();
        self.given_up = key.clone();
        let holders = self.take(&key);
        Some((key, holders))
    }

    /// How many keys are held.
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// How many holders the keys have, all together.
    pub fn items(&self) -> usize {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(core: u16, n: u32) -> Holder {
        (core, ConnId::from_parts((n, 1)))
    }

    #[test]
    fn each_holder_of_a_key_is_told_once() {
        let mut keys = TrackedKeys::default();
        for holder in [who(1, 1), who(0, 2), who(0, 1), who(1, 1)] {
            assert!(keys.note(b"a", holder));
        }
        keys.note(b"b", who(0, 1));
        assert_eq!((keys.len(), keys.items()), (2, 4));
        assert_eq!(keys.take(b"a"), [who(0, 1), who(0, 2), who(1, 1)]);
        assert_eq!(keys.take(b"a"), []);
        assert_eq!((keys.len(), keys.items()), (1, 1));
        keys.note(b"c", who(0, 1));
        assert_eq!(keys.take_all(), [who(0, 1)]);
        assert_eq!((keys.is_empty(), keys.items()), (true, 0));
    }

    #[test]
    fn the_table_is_bounded_and_every_key_has_its_turn_to_go() {
        let mut keys = TrackedKeys::default();
        let names = ["a", "b", "c", "d"];
        let note = |keys: &mut TrackedKeys| {
            for name in names {
                keys.note(name.as_bytes(), who(0, 1));
            }
        };
        note(&mut keys);
        assert_eq!(keys.take_excess(0), None);
        assert_eq!(keys.take_excess(4), None);
        let mut gone = Vec::new();
        for _ in 0..6 {
            gone.push(String::from_utf8(keys.take_excess(3).unwrap().0.into()).unwrap());
            note(&mut keys);
        }
        assert_eq!(gone, ["a", "b", "c", "d", "a", "b"]);
    }

    #[test]
    fn a_key_with_too_many_holders_is_noticed() {
        let mut keys = TrackedKeys::default();
        let mut fits = |n: &u32| keys.note(b"k", who(0, *n));
        assert_eq!((0..).find(|n| !fits(n)), Some(HOLDERS_MAX as u32));
    }
}
