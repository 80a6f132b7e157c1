//! [`Subscriptions`]: which connections of a core listen to what. Pure tables; nothing is sent here.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use slotcore_engine::cmd::matches;
use slotcore_netio::ConnId;
use slotcore_rt::ids::CoreId;

use super::Interest;

/// What can be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A channel (`SUBSCRIBE`).
    Channel = 0,
    /// All channels that match a pattern (`PSUBSCRIBE`).
    Pattern = 1,
    /// A sharded channel (`SSUBSCRIBE`).
    Shard = 2,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];
}

/// See the module's text.
#[derive(Debug)]
pub struct Subscriptions {
    me: CoreId,
    interest: Arc<Interest>,
    /// By kind and name: who listens, in the order in which they came. Nobody listens to a name that is not here.
    listeners: [BTreeMap<Rc<[u8]>, Vec<ConnId>>; 3],
    /// By the connection's number and by kind: what it listens to.
    of_conn: Vec<Option<Box<Names>>>,
}

/// What one connection listens to, by kind.
type Names = [BTreeSet<Rc<[u8]>>; 3];

impl Subscriptions {
    /// Of core `me`, which says by `interest` what its clients listen to.
    pub fn new(me: CoreId, interest: Arc<Interest>) -> Self {
        Self {
            me,
            interest,
            listeners: Default::default(),
            of_conn: Vec::new(),
        }
    }

    /// What the clients of all cores listen to.
    #[inline]
    pub fn interest(&self) -> &Interest {
        &self.interest
    }

    /// `conn` listens to `name` from now on. False when it did before.
    pub fn add(&mut self, conn: ConnId, kind: Kind, name: &[u8]) -> bool {
        if conn.index() >= self.of_conn.len() {
            self.of_conn.resize_with(conn.index() + 1, || None);
        }
        let names = &mut self.of_conn[conn.index()].get_or_insert_default()[kind as usize];
        if names.contains(name) {
            return false;
        }
        let listeners = &mut self.listeners[kind as usize];
        let shared = match listeners.get_key_value(name) {
            Some((shared, _)) => shared.clone(),
            None => {
                self.interest.add(self.me, kind, name);
                Rc::from(name)
            }
        };
        names.insert(shared.clone());
        listeners.entry(shared).or_default().push(conn);
        true
    }

    /// `conn` does not listen to `name` any more. False when it did not before.
    pub fn remove(&mut self, conn: ConnId, kind: Kind, name: &[u8]) -> bool {
        let Some(names) = self.of_conn.get_mut(conn.index()).and_then(Option::as_mut) else {
            return false;
        };
        if !names[kind as usize].remove(name) {
            return false;
        }
        let listeners = &mut self.listeners[kind as usize];
        let who = listeners.get_mut(name).expect("the connection was entered under both");
        who.retain(|&other| other != conn);
        if who.is_empty() {
            listeners.remove(name);
            self.interest.remove(self.me, kind, name);
        }
        true
    }

    /// Forgets a connection that is gone.
    pub fn forget(&mut self, conn: ConnId) {
        for kind in Kind::ALL {
            for name in self.names(conn, kind) {
                self.remove(conn, kind, &name);
            }
        }
        if let Some(names) = self.of_conn.get_mut(conn.index()) {
            *names = None;
        }
    }

    /// What `conn` listens to, in the order of bytes.
    pub fn names(&self, conn: ConnId, kind: Kind) -> Vec<Rc<[u8]>> {
        match self.of_conn.get(conn.index()) {
            Some(Some(names)) => names[kind as usize].iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// How many names of each kind `conn` listens to.
    pub fn counts(&self, conn: ConnId) -> [u32; 3] {
        match self.of_conn.get(conn.index()) {
            Some(Some(names)) => [0, 1, 2].map(|kind| names[kind].len() as u32),
            _ => [0; 3],
        }
    }

    /// Who listens to the channel `name`.
    #[inline]
    pub fn listeners(&self, kind: Kind, name: &[u8]) -> &[ConnId] {
        self.listeners[kind as usize].get(name).map_or(&[], Vec::as_slice)
    }

    /// The patterns that match `channel`, with those who listen to them.
    #[inline]
    pub fn matching(&self, channel: &[u8]) -> impl Iterator<Item = (&[u8], &[ConnId])> {
        self.listeners[Kind::Pattern as usize]
            .iter()
            .filter(move |(pattern, _)| matches(pattern, channel))
            .map(|(pattern, who)| (&**pattern, who.as_slice()))
    }

    /// Everything somebody listens to.
    pub fn active(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.listeners[kind as usize].keys().map(|name| &**name)
    }

    /// How many different names of a kind somebody listens to.
    pub fn active_len(&self, kind: Kind) -> usize {
        self.listeners[kind as usize].len()
    }
}

#[cfg(test)]
mod tests {
    use slotcore_engine::ord::slot_of_bytes;
    use slotcore_rt::rng::SeededRng;

    use super::*;

    fn conn(n: u32) -> ConnId {
        ConnId::from_parts((n, 7))
    }

    #[test]
    fn the_tables_agree_with_a_list_of_pairs_and_the_counters_with_both() {
        let interest = Arc::new(Interest::new(2));
        let mut subs = Subscriptions::new(CoreId(1), interest.clone());
        let mut pairs: Vec<(u32, Kind, String)> = Vec::new();
        let mut rng = SeededRng::new(3);
        for _ in 0..4000 {
            let kind = Kind::ALL[rng.below(3) as usize];
            let (who, name) = (rng.below(6) as u32, format!("n{}", rng.below(5)));
            let pair = (who, kind, name.clone());
            let known = pairs.contains(&pair);
            match rng.below(9) {
                0 => {
                    subs.forget(conn(who));
                    pairs.retain(|(other, ..)| *other != who);
                }
                1..=4 => {
                    assert_eq!(subs.add(conn(who), kind, name.as_bytes()), !known);
                    if !known {
                        pairs.push(pair);
                    }
                }
                _ => {
                    assert_eq!(subs.remove(conn(who), kind, name.as_bytes()), known);
                    pairs.retain(|other| *other != pair);
                }
            }
            let expected: Vec<ConnId> = pairs
                .iter()
                .filter(|(_, k, n)| *k == kind && *n == name)
                .map(|(who, ..)| conn(*who))
                .collect();
            assert_eq!(subs.listeners(kind, name.as_bytes()), expected);
            let count = |kind| pairs.iter().filter(|(w, k, _)| *w == who && *k == kind).count() as u32;
            assert_eq!(subs.counts(conn(who)), Kind::ALL.map(count));
            let heard = pairs.iter().any(|(_, k, n)| *k != Kind::Pattern && *n == name);
            let any_pattern = pairs.iter().any(|(_, k, _)| *k == Kind::Pattern);
            let slot = slot_of_bytes(name.as_bytes());
            assert_eq!(interest.may_hear(1, true, slot), heard);
            assert_eq!(interest.may_hear(1, false, slot), heard || any_pattern);
            assert!(!interest.may_hear(0, false, slot));
        }
    }

    #[test]
    fn a_channel_is_heard_by_all_whose_pattern_matches() {
        let mut subs = Subscriptions::new(CoreId(0), Arc::new(Interest::new(1)));
        for (n, pattern) in ["news.*", "*", "news.[ab]", "old.*"].iter().enumerate() {
            subs.add(conn(n as u32), Kind::Pattern, pattern.as_bytes());
        }
        let found: Vec<&[u8]> = subs.matching(b"news.a").map(|(pattern, _)| pattern).collect();
        assert_eq!(found, [&b"*"[..], b"news.*", b"news.[ab]"]);
        assert_eq!(subs.matching(b"news").count(), 1);
    }
}
