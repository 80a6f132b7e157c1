//! [`Listened`]: keys of which whoever executes the log wants to hear when they may have become ready.
//!
//! No part of the replicated state: nothing that is executed depends on it.

use std::collections::BTreeMap;

/// How often a key is listened to.
#[derive(Clone, Copy, Debug, Default)]
struct Listeners {
    all: usize,
    /// Those that want to hear when it goes, too.
    minding: usize,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Listened {
    keys: BTreeMap<Box<[u8]>, Listeners>,
    /// Of all keys.
    minding: usize,
    /// In the order in which they were signalled, each once.
    heard: Vec<Box<[u8]>>,
}

impl Listened {
    /// True when nobody listens.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// True when some key was signalled that was not taken yet.
    #[inline]
    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Whether the removal of a key must be signalled.
    #[inline]
    pub fn minds_removal(&self) -> bool {
        self.minding > 0
    }

    /// One more listens.
    pub fn add(&mut self, key: &[u8], even_if_gone: bool) {
        let listeners = self.keys.entry(key.into()).or_default();
        listeners.all += 1;
        listeners.minding += usize::from(even_if_gone);
        self.minding += usize::from(even_if_gone);
    }

    /// One less.
    pub fn remove(&mut self, key: &[u8], even_if_gone: bool) {
        let Some(listeners) = self.keys.get_mut(key) else {
            return;
        };
        listeners.all -= 1;
        listeners.minding -= usize::from(even_if_gone);
        self.minding -= usize::from(even_if_gone);
        if listeners.all == 0 {
            self.keys.remove(key);
        }
    }

    /// A key may have become ready. True when somebody listens.
    pub fn hear(&mut self, key: &[u8]) -> bool {
        let Some((key, _)) = self.keys.get_key_value(key) else {
            return false;
        };
        if !self.heard.contains(key) {
            self.heard.push(key.clone());
        }
        true
    }

    /// All keys are gone. True when somebody minds.
    pub fn hear_all_gone(&mut self) -> bool {
        let minded = self.keys.iter().filter(|(_, listeners)| listeners.minding > 0);
        let heard: Vec<Box<[u8]>> = minded.map(|(key, _)| key.clone()).collect();
        for key in &heard {
            self.hear(key);
        }
        !heard.is_empty()
    }

    /// What was heard.
    pub fn take_heard(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_heard_as_long_as_somebody_listens() {
        let mut listened = Listened::default();
        assert!(!listened.hear(b"a"));
        listened.add(b"a", false);
        listened.add(b"a", true);
        listened.add(b"b", false);
        assert!(listened.hear(b"b") && listened.hear(b"a") && listened.hear(b"b"));
        assert_eq!(listened.take_heard(), [b"b".as_slice().into(), b"a".as_slice().into()]);
        assert!(listened.minds_removal() && listened.hear_all_gone());
        assert_eq!(listened.take_heard(), [b"a".as_slice().into()]);
        listened.remove(b"a", true);
        assert!(!listened.minds_removal() && !listened.hear_all_gone() && listened.hear(b"a"));
        listened.remove(b"a", false);
        listened.remove(b"b", false);
        assert!(listened.is_empty() && listened.has_heard());
    }
}
