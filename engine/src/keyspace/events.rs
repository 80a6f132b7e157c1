//! What happens to keys, for those who want to know: keyspace notifications, clients that keep copies.
//!
//! Whoever changes a key says so with [`Keyspace::note`], in the words of Redis's notifications. Nothing is kept of what
//! nobody has asked for with [`Keyspace::listen_to`], so that in the ordinary case a note is one test. Events are no part of
//! the state: a replica or a replay that listens to nothing computes the same.

use super::Keyspace;

/// Classes of events, as bits. The letters are those of Redis's `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(pub u16);

impl EventClasses {
    /// None of them.
    pub const NONE: EventClasses = EventClasses(0);
    /// `g`: of keys of any type.
    pub const GENERIC: EventClasses = EventClasses(1);
    /// `$`: of strings.
    pub const STRING: EventClasses = EventClasses(1 << 1);
    /// `l`: of lists.
    pub const LIST: EventClasses = EventClasses(1 << 2);
    /// `s`: of sets.
    pub const SET: EventClasses = EventClasses(1 << 3);
    /// `h`: of hashes.
    pub const HASH: EventClasses = EventClasses(1 << 4);
    /// `z`: of sorted sets.
    pub const ZSET: EventClasses = EventClasses(1 << 5);
    /// `x`: a key has expired.
    pub const EXPIRED: EventClasses = EventClasses(1 << 6);
    /// `e`: a key went because the data set had reached its limit.
    pub const EVICTED: EventClasses = EventClasses(1 << 7);
    /// `t`: of streams.
    pub const STREAM: EventClasses = EventClasses(1 << 8);
    /// `d`: of modules. Nothing here causes it.
    pub const MODULE: EventClasses = EventClasses(1 << 9);
    /// `m`: a read found no key. Nothing has changed.
    pub const MISS: EventClasses = EventClasses(1 << 10);
    /// `n`: a key that was not there before.
    pub const NEW: EventClasses = EventClasses(1 << 11);
    /// All keys are gone at once. Redis notifies nobody of this, but tells clients that keep copies.
    pub const CLEARED: EventClasses = EventClasses(1 << 12);

    /// What `A` stands for: all but misses and new keys.
    pub const ALL: EventClasses = EventClasses(0x3ff);
    /// Those after which a copy of the key's value is out of date.
    pub const CHANGES: EventClasses = EventClasses(Self::ALL.0 | Self::CLEARED.0);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 | other.0)
    }

    /// Whether one of `other` is among them.
    #[inline]
    pub const fn has_any(self, other: EventClasses) -> bool {
        self.0 & other.0 != 0
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What kind it is.
    pub class: EventClasses,
    /// Redis's name for it.
    pub name: &'static str,
    /// To which key.
    pub key: &'a [u8],
}

/// Events in the order in which they happened.
#[derive(Debug, Default)]
pub struct Events {
    list: Vec<(EventClasses, &'static str, u32)>,
    /// Keys, back to back; the list has where each ends.
    keys: Vec<u8>,
}

impl Events {
    /// True when nothing happened.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets them, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.keys.clear();
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        let mut start = 0;
        self.list.iter().map(move |&(class, name, end)| {
            let key = &self.keys[start..end as usize];
            start = end as usize;
            Event { class, name, key }
        })
    }

    #[cold]
    fn push(&mut self, class: EventClasses, name: &'static str, key: &[u8]) {
        self.keys.extend_from_slice(key);
        // The keys of one command, which is below 4 GiB, and of the keys that expire in one slice of work.
        self.list.push((class, name, self.keys.len() as u32));
    }
}

/// What the keyspace keeps for those who listen.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) wanted: EventClasses,
    events: Events,
}

impl Keyspace {
    /// From now on events of these classes are kept, until [`Keyspace::take_events`] takes them.
    pub fn listen_to(&mut self, classes: EventClasses) {
        self.listening.wanted = classes;
    }

    /// Something happened to `key`. `name`: what Redis calls it in its notifications.
    #[inline]
    pub fn note(&mut self, class: EventClasses, name: &'static str, key: &[u8]) {
        if self.listening.wanted.has_any(class) {
            self.listening.events.push(class, name, key);
        }
    }

    /// True when [`Keyspace::take_events`] has something to give.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.listening.events.is_empty()
    }

    /// What [`Keyspace::take_events`] would give.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.listening.events.iter()
    }

    /// Puts what happened since the last call into `events`, in place of what it held.
    pub fn take_events(&mut self, events: &mut Events) {
        events.clear();
        std::mem::swap(&mut self.listening.events, events);
    }

    /// Forgets what happened: it is going to happen again.
    pub fn forget_events(&mut self) {
        self.listening.events.clear();
    }

    /// A value was stored in place of what `key` held: `class` and `name`, or that the key is gone when the value was empty
    /// and the key `existed`.
    pub fn note_stored(&mut self, class: EventClasses, name: &'static str, key: &[u8], is_empty: bool, existed: bool) {
        if !is_empty {
            self.note(class, name, key);
        } else if existed {
            self.note(EventClasses::GENERIC, "del", key);
        }
    }
}
