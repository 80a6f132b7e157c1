//! [`Calls`]: who waits for keys of this core together with keys of others, and who of them has been called because a key
//! has become ready. Pure.
//!
//! Whoever is called has its command tried again by the core of its connection, which then says whether it waits on or no
//! more. For each element one is called, in the order in which they came to wait here; for a stream, from which nobody
//! takes anything, all are. When one that was called waits no more, whoever comes next is called for what it has left.

use std::collections::BTreeMap;

use slotcore_engine::keyspace::Kind;

/// A wait: the core of the connection, and the wait's number there.
pub type Caller = (u16, u32);

/// What somebody waits for on this core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitedFor {
    /// The type of value it can do something with.
    pub kind: Kind,
    /// It is tried again, too, when a key is gone or has become something else.
    pub even_if_gone: bool,
    /// Any of these keys will do.
    pub keys: Vec<Box<[u8]>>,
}

#[derive(Debug)]
struct Wait {
    /// Its place among all.
    place: u64,
    what: WaitedFor,
    /// The key for whose sake it was called.
    called_for: Option<Box<[u8]>>,
}

#[derive(Debug, Default)]
struct AtKey {
    /// How many wait for it.
    all: usize,
    /// Those that were not called, in the order in which they came.
    idle: BTreeMap<u64, Caller>,
    /// How many were, for the sake of this key.
    called: usize,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Calls {
    waits: BTreeMap<Caller, Wait>,
    keys: BTreeMap<Box<[u8]>, AtKey>,
    next_place: u64,
}

impl Calls {
    /// Somebody waits from now on.
    pub fn wait(&mut self, who: Caller, what: WaitedFor) {
        let place = self.next_place;
        self.next_place += 1;
        for key in &what.keys {
            let at_key = self.keys.entry(key.clone()).or_default();
            at_key.all += 1;
            at_key.idle.insert(place, who);
        }
        let wait = Wait {
            place,
            what,
            called_for: None,
        };
        self.waits.insert(who, wait);
    }

    /// It was called in vain, here or elsewhere: it waits on, at its old place.
    pub fn wait_on(&mut self, who: Caller) {
        let Some(wait) = self.waits.get_mut(&who) else { return };
        let Some(called_for) = wait.called_for.take() else {
            return;
        };
        for key in &wait.what.keys {
            let at_key = self.keys.get_mut(key).expect("somebody waits for it");
            at_key.idle.insert(wait.place, who);
            at_key.called -= usize::from(*key == called_for);
        }
    }

    /// It waits no more. What it waited for, and the key for whose sake it was called if it was.
    pub fn forget(&mut self, who: Caller) -> Option<(WaitedFor, Option<Box<[u8]>>)> {
        let wait = self.waits.remove(&who)?;
        for key in &wait.what.keys {
            let at_key = self.keys.get_mut(key).expect("somebody waits for it");
            at_key.idle.remove(&wait.place);
            at_key.called -= usize::from(wait.called_for.as_ref() == Some(key));
            at_key.all -= 1;
            if at_key.all == 0 {
                self.keys.remove(key);
            }
        }
        Some((wait.what, wait.called_for))
    }

    /// `key` holds `elements` of a value of `kind`, `None` where there is none: who is called for their sake.
    pub fn call(&mut self, key: &[u8], kind: Option<Kind>, elements: usize) -> Vec<Caller> {
        let Some(at_key) = self.keys.get(key) else {
            return Vec::new();
        };
        let suits = |who: &&Caller| {
            let what = &self.waits[*who].what;
            what.even_if_gone || Some(what.kind) == kind
        };
        let more = elements.saturating_sub(at_key.called);
        let called: Vec<Caller> = at_key.idle.values().filter(suits).take(more).copied().collect();
        for who in &called {
            let wait = self.waits.get_mut(who).expect("it waits");
            wait.called_for = Some(key.into());
            for other in &wait.what.keys {
                let at_key = self.keys.get_mut(other).expect("somebody waits for it");
                at_key.idle.remove(&wait.place);
                at_key.called += usize::from(**other == *key);
            }
        }
        called
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(keys: &[&str]) -> WaitedFor {
        WaitedFor {
            kind: Kind::List,
            even_if_gone: false,
            keys: keys.iter().map(|key| key.as_bytes().into()).collect(),
        }
    }

    #[test]
    fn one_is_called_for_each_element_in_the_order_they_came() {
        let mut calls = Calls::default();
        for (part, keys) in [(1, &["a", "b"][..]), (2, &["a"]), (3, &["b"])] {
            calls.wait((0, part), list(keys));
        }
        assert!(calls.call(b"a", Some(Kind::ZSet), 9).is_empty() && calls.call(b"a", None, 9).is_empty());
        assert_eq!(calls.call(b"a", Some(Kind::List), 1), [(0, 1)]);
        assert!(calls.call(b"a", Some(Kind::List), 1).is_empty());
        // Who was called for one key is not called for another.
        assert_eq!(calls.call(b"b", Some(Kind::List), 1), [(0, 3)]);
        assert_eq!(calls.call(b"a", Some(Kind::List), 2), [(0, 2)]);
        calls.wait_on((0, 1));
        calls.wait_on((0, 1));
        assert_eq!(calls.call(b"a", Some(Kind::List), 2), [(0, 1)]);
    }

    #[test]
    fn who_is_gone_leaves_what_it_was_called_for_to_the_next() {
        let mut calls = Calls::default();
        calls.wait((1, 7), list(&["a", "b"]));
        calls.wait((0, 7), list(&["a"]));
        assert_eq!(calls.call(b"a", Some(Kind::List), 1), [(1, 7)]);
        let (what, called_for) = calls.forget((1, 7)).unwrap();
        assert_eq!((what, called_for.as_deref()), (list(&["a", "b"]), Some(&b"a"[..])));
        assert_eq!(calls.call(b"a", Some(Kind::List), 1), [(0, 7)]);
        assert!(calls.forget((1, 7)).is_none() && calls.forget((0, 7)).is_some());
        assert!(calls.keys.is_empty() && calls.waits.is_empty());
    }

    #[test]
    fn all_who_wait_for_a_stream_are_called_and_those_who_mind_when_it_goes() {
        let mut calls = Calls::default();
        let stream = |even_if_gone| WaitedFor {
            kind: Kind::Stream,
            even_if_gone,
            keys: vec![b"x".as_slice().into()],
        };
        (0..3).for_each(|part| calls.wait((0, part), stream(part == 1)));
        assert_eq!(calls.call(b"x", None, usize::MAX), [(0, 1)]);
        assert_eq!(calls.call(b"x", Some(Kind::Stream), usize::MAX), [(0, 0), (0, 2)]);
    }
}
