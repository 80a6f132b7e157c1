//! [`Waiters`]: the commands of one group that wait for a key: BLPOP and its like.
//!
//! They are replicated state beside the keys, changed by executing entries only: a blocking command is an operation of the
//! log which, finding nothing, registers here instead of answering. An operation that makes a key ready has those who wait
//! for it tried again in the same step ([`crate::cmd::waiting::next_turn`]), and what ends a wait otherwise (its time is
//! up, the client is gone) is an operation, too. So every replica and every replay agrees on who got which element, and an
//! element is never both delivered and still there.
//!
//! Whose connection waits is known only to the process that proposed the command. A new process, or another leader, stamps
//! its entries with another *origin*: with its first entry all older waiters are gone, as their connections are.
//!
//! Beside them, and no part of the state: keys that whoever executes the log wants to hear of ([`Waiters::listen`]), on
//! behalf of clients that wait for keys of several groups at once.
//!
//! Order: by key, in the order of the log; ready keys in the order in which they became ready. Nothing depends on time.

pub mod codec;
mod listened;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::keyspace::Kind;
use listened::Listened;

/// Bytes that all waiters of a group may take together, about: they are part of every checkpoint, whose parts beside the keys
/// have a limit ([`crate::store::SIDE_BYTES_MAX`]). Beyond, a command answers at once as if its time were up.
pub const WAITERS_BYTES_MAX: usize = 6 << 20;
/// Bytes that a waiter takes besides its keys and its operation, and a key besides its name, at most.
const WAITER_BYTES: usize = 32;
const KEY_BYTES: usize = 5;

/// Which waiter: where in the log its command was. Ordered as they came, unique within one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId {
    /// The number of the batch, as its proposer counts.
    pub batch: u64,
    /// The number of the operation within it, from 0.
    pub op: u32,
}

/// A command that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The type of value it can do something with.
    pub kind: Kind,
    /// It is tried again, too, when a key is gone or has become something else.
    pub even_if_gone: bool,
    /// What it waits for, each once.
    pub keys: Vec<Box<[u8]>>,
    /// What is executed then: one operation of the log, `docs/formats/op.md`.
    pub op: Box<[u8]>,
}

impl Waiter {
    fn bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|key| key.len() + KEY_BYTES).sum();
        WAITER_BYTES + keys + self.op.len()
    }
}

/// A command has begun to wait: told to whoever executed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What it is called.
    pub id: WaiterId,
    /// How long it wants to wait, in milliseconds; 0: for ever. Kept by whoever can end its wait, not here.
    pub timeout_ms: u64,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Waiters {
    origin: u64,
    batch: u64,
    by_id: BTreeMap<WaiterId, Waiter>,
    by_key: BTreeMap<Box<[u8]>, BTreeSet<WaiterId>>,
    /// Waiters that are tried even if their key is gone.
    minding: usize,
    /// Bytes of all of them, as [`Waiters::export`] writes them, at most.
    bytes: usize,
    /// Keys that somebody waits for and that may have become ready, in that order.
    ready: VecDeque<Box<[u8]>>,
    /// The key being served, and who of its waiters had a turn last.
    serving: Option<(Box<[u8]>, WaiterId)>,
    registered: Option<Registered>,
    news: bool,
    /// Not replicated: who executes the log wants to hear of these keys.
    listened: Listened,
}

impl Waiters {
    /// An entry begins: the waiters of any other origin are gone.
    #[inline]
    pub fn begin_entry(&mut self, origin: u64, batch: u64) {
        self.batch = batch;
        if self.origin != origin {
            self.turn_over(origin);
        }
    }

    #[cold]
    fn turn_over(&mut self, origin: u64) {
        *self = Self {
            origin,
            batch: self.batch,
            news: self.listened.has_heard(),
            listened: std::mem::take(&mut self.listened),
            ..Self::default()
        };
    }

    /// From now on [`Waiters::take_heard`] names `key` when it may have become ready; `even_if_gone`: when it goes, too.
    /// As often as it is called [`Waiters::listen_no_more`] must be.
    pub fn listen(&mut self, key: &[u8], even_if_gone: bool) {
        self.listened.add(key, even_if_gone);
    }

    /// Ends what one call of [`Waiters::listen`] has begun.
    pub fn listen_no_more(&mut self, key: &[u8], even_if_gone: bool) {
        self.listened.remove(key, even_if_gone);
    }

    /// The keys listened to that may have become ready since the last call, in that order, each once. To be called when
    /// all waiters have had their turn.
    pub fn take_heard(&mut self) -> Vec<Box<[u8]>> {
        self.news = !self.ready.is_empty() || self.serving.is_some();
        self.listened.take_heard()
    }

    /// True when nobody waits: no write has anything to signal.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True when an operation has registered a waiter or made a key ready since this was last seen to.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// The waiter that the operation just executed has become, if it has.
    pub fn take_registered(&mut self) -> Option<Registered> {
        self.news &= !self.ready.is_empty() || self.serving.is_some() || self.listened.has_heard();
        self.registered.take()
    }

    /// Whether one more may wait.
    pub(crate) fn has_room_for(&self, waiter: &Waiter) -> bool {
        self.bytes + waiter.bytes() <= WAITERS_BYTES_MAX
    }

    /// Operation `op` of the present entry waits from now on.
    pub(crate) fn register(&mut self, op: u32, timeout_ms: u64, waiter: Waiter) {
        let id = WaiterId { batch: self.batch, op };
        self.insert(id, waiter);
        self.registered = Some(Registered { id, timeout_ms });
        self.news = true;
    }

    fn insert(&mut self, id: WaiterId, waiter: Waiter) {
        for key in &waiter.keys {
            self.by_key.entry(key.clone()).or_default().insert(id);
        }
        self.minding += usize::from(waiter.even_if_gone);
        self.bytes += waiter.bytes();
        self.by_id.insert(id, waiter);
    }

    /// Ends a wait; false when there is no such waiter any more.
    pub fn cancel(&mut self, id: WaiterId) -> bool {
        let Some(waiter) = self.by_id.remove(&id) else {
            return false;
        };
        for key in &waiter.keys {
            if let Some(ids) = self.by_key.get_mut(key) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        self.minding -= usize::from(waiter.even_if_gone);
        self.bytes -= waiter.bytes();
        true
    }

    /// `key` may have become ready: it was made, or got something new.
    #[inline]
    pub(crate) fn signal(&mut self, key: &[u8]) {
        if !self.is_empty() || !self.listened.is_empty() {
            self.note_ready(key);
        }
    }

    /// Whether the removal of a key must be signalled.
    #[inline]
    pub(crate) fn mind_removal(&self) -> bool {
        self.minding > 0 || self.listened.minds_removal()
    }

    #[cold]
    fn note_ready(&mut self, key: &[u8]) {
        if let Some((key, _)) = self.by_key.get_key_value(key) {
            self.ready.push_back(key.clone());
            self.news = true;
        }
        self.news |= self.listened.hear(key);
    }

    /// All keys are gone.
    pub(crate) fn signal_all_gone(&mut self) {
        if !self.mind_removal() {
            return;
        }
        let minds = |ids: &BTreeSet<WaiterId>| ids.iter().any(|id| self.by_id[id].even_if_gone);
        let keys = self.by_key.iter().filter(|(_, ids)| minds(ids));
        self.ready.extend(keys.map(|(key, _)| key.clone()));
        self.news |= !self.ready.is_empty();
        self.news |= self.listened.hear_all_gone();
    }

    /// The key whose waiters are to be looked at next; `None`: nothing is left to do.
    pub(crate) fn ready_key(&mut self) -> Option<Box<[u8]>> {
        let key = match &self.serving {
            Some((key, _)) => Some(key.clone()),
            None => self.ready.front().cloned(),
        };
        self.news &= key.is_some() || self.listened.has_heard();
        key
    }

    /// The next waiter to be tried on the ready key, which holds a value of `kind`. `None`: no other one; the next ready
    /// key is due.
    pub(crate) fn next_on(&mut self, key: &[u8], kind: Option<Kind>) -> Option<WaiterId> {
        let after = match self.serving.take() {
            Some((_, id)) => Bound::Excluded(id),
            None => {
                self.ready.pop_front();
                Bound::Unbounded
            }
        };
        if kind.is_none() && !self.mind_removal() {
            return None;
        }
        let suits = |id: &&WaiterId| {
            let waiter = &self.by_id[*id];
            waiter.even_if_gone || Some(waiter.kind) == kind
        };
        let (key, ids) = self.by_key.get_key_value(key)?;
        let id = *ids.range((after, Bound::Unbounded)).find(suits)?;
        self.serving = Some((key.clone(), id));
        Some(id)
    }

    /// What waits under this name, which is taken out: for whoever has a command carried out on a keyspace of its own.
    pub(crate) fn take(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.by_id.get(&id).cloned();
        self.cancel(id);
        waiter
    }

    /// Lends out what a waiter is to execute; give it back with [`Waiters::put_back_op`] if it waits on.
    pub(crate) fn take_op(&mut self, id: WaiterId) -> Box<[u8]> {
        let waiter = self.by_id.get_mut(&id).expect("it has its turn");
        self.bytes -= waiter.op.len();
        std::mem::take(&mut waiter.op)
    }

    /// See [`Waiters::take_op`].
    pub(crate) fn put_back_op(&mut self, id: WaiterId, op: Box<[u8]>) {
        if let Some(waiter) = self.by_id.get_mut(&id) {
            self.bytes += op.len();
            waiter.op = op;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(keys: &[&str], even_if_gone: bool) -> Waiter {
        Waiter {
            kind: Kind::List,
            even_if_gone,
            keys: keys.iter().map(|key| key.as_bytes().into()).collect(),
            op: Box::default(),
        }
    }

    fn id(batch: u64, op: u32) -> WaiterId {
        WaiterId { batch, op }
    }

    /// Who has a turn while all keys hold `kind`.
    fn turns(waiters: &mut Waiters, kind: Option<Kind>) -> Vec<WaiterId> {
        let mut turns = Vec::new();
        while let Some(key) = waiters.ready_key() {
            turns.extend(waiters.next_on(&key, kind));
        }
        assert!(!waiters.has_news());
        turns
    }

    fn three() -> Waiters {
        let mut waiters = Waiters::default();
        for (batch, op, keys) in [(4, 7, &["b", "a"][..]), (4, 9, &["a"]), (5, 0, &["b"])] {
            waiters.begin_entry(1, batch);
            waiters.register(op, 0, waiter(keys, false));
            let registered = waiters.take_registered().unwrap();
            assert_eq!(
                registered,
                Registered {
                    id: id(batch, op),
                    timeout_ms: 0
                }
            );
        }
        waiters
    }

    #[test]
    fn turns_are_given_by_key_in_the_order_of_the_log() {
        let mut waiters = three();
        assert!(!waiters.has_news());
        waiters.signal(b"b");
        waiters.signal(b"nobody waits for it");
        waiters.signal(b"a");
        assert!(waiters.has_news());
        assert_eq!(
            turns(&mut waiters, Some(Kind::List)),
            [id(4, 7), id(5, 0), id(4, 7), id(4, 9)]
        );
        waiters.signal(b"a");
        assert_eq!(turns(&mut waiters, Some(Kind::ZSet)), []);
        waiters.signal(b"a");
        assert_eq!(turns(&mut waiters, None), []);
    }

    #[test]
    fn whoever_is_cancelled_has_no_turn() {
        let mut waiters = three();
        waiters.signal(b"b");
        assert!(waiters.cancel(id(4, 7)) && !waiters.cancel(id(4, 7)));
        assert_eq!(turns(&mut waiters, Some(Kind::List)), [id(5, 0)]);
        assert!(waiters.cancel(id(5, 0)) && waiters.cancel(id(4, 9)));
        assert!(waiters.is_empty() && waiters.by_key.is_empty());
    }

    #[test]
    fn what_waiters_take_is_bounded() {
        let (mut waiters, key) = (three(), "k".repeat(1 << 20));
        let (before, large) = (waiters.bytes, waiter(&[&key], false));
        let mut count = 0;
        while waiters.has_room_for(&large) {
            waiters.register(100 + count, 0, large.clone());
            count += 1;
        }
        assert_eq!(count, 5);
        let mut exported = Vec::new();
        waiters.take_registered();
        waiters.export(&mut exported);
        assert!(exported.len() <= waiters.bytes + 32 && waiters.bytes <= WAITERS_BYTES_MAX);
        for op in 0..count {
            let taken = waiters.take_op(id(5, 100 + op));
            if op % 2 == 0 {
                waiters.put_back_op(id(5, 100 + op), taken);
            }
            waiters.cancel(id(5, 100 + op));
        }
        assert_eq!(waiters.bytes, before);
    }

    #[test]
    fn entries_of_another_origin_end_all_waits() {
        let mut waiters = three();
        waiters.begin_entry(1, 6);
        assert_eq!(waiters.len(), 3);
        waiters.signal(b"a");
        waiters.begin_entry(2, 1);
        assert!(waiters.is_empty() && !waiters.has_news());
    }

    #[test]
    fn only_those_who_mind_are_told_that_a_key_is_gone() {
        let mut waiters = three();
        assert!(!waiters.mind_removal());
        waiters.signal_all_gone();
        assert!(!waiters.has_news());
        waiters.register(1, 0, waiter(&["a", "c"], true));
        waiters.take_registered();
        waiters.signal(b"a");
        assert_eq!(turns(&mut waiters, None), [id(5, 1)]);
        waiters.signal_all_gone();
        assert_eq!(turns(&mut waiters, None), [id(5, 1), id(5, 1)]);
        assert!(waiters.cancel(id(5, 1)));
        assert!(!waiters.mind_removal());
    }
}
