//! Short words for writing the tables.

use crate::cmd::spec::{Flags, KeyFind, KeyFlags, KeySearch, KeySpec};

pub(super) const NONE: Flags = Flags::NONE;
pub(super) const WRITE: Flags = Flags::WRITE;
pub(super) const READONLY: Flags = Flags::READONLY;
pub(super) const DENYOOM: Flags = Flags::DENYOOM;
pub(super) const ADMIN: Flags = Flags::ADMIN;
pub(super) const NOSCRIPT: Flags = Flags::NOSCRIPT;
pub(super) const BLOCKING: Flags = Flags::BLOCKING;
pub(super) const LOADING: Flags = Flags::LOADING;
pub(super) const STALE: Flags = Flags::STALE;
pub(super) const FAST: Flags = Flags::FAST;
pub(super) const NO_AUTH: Flags = Flags::NO_AUTH;
pub(super) const ALLOW_BUSY: Flags = Flags::ALLOW_BUSY;
pub(super) const PUBSUB: Flags = Flags::PUBSUB;
pub(super) const NO_ASYNC_LOADING: Flags = Flags::NO_ASYNC_LOADING;
pub(super) const NO_MULTI: Flags = Flags::NO_MULTI;
pub(super) const SKIP_SLOWLOG: Flags = Flags::SKIP_SLOWLOG;
pub(super) const LOGGED: Flags = Flags::LOGGED;
pub(super) const RUNS_SCRIPT: Flags = Flags::RUNS_SCRIPT;
pub(super) const HAS_SCRIPT: Flags = Flags::HAS_SCRIPT;
pub(super) const SKIP_MONITOR: Flags = Flags::SKIP_MONITOR;
pub(super) const NAMES_DATABASE: Flags = Flags::NAMES_DATABASE;
pub(super) const NO_MANDATORY_KEYS: Flags = Flags::NO_MANDATORY_KEYS;

pub(super) const RO: KeyFlags = KeyFlags::RO;
pub(super) const RW: KeyFlags = KeyFlags::RW;
pub(super) const OW: KeyFlags = KeyFlags::OW;
pub(super) const RM: KeyFlags = KeyFlags::RM;
pub(super) const ACCESS: KeyFlags = KeyFlags::ACCESS;
pub(super) const UPDATE: KeyFlags = KeyFlags::UPDATE;
pub(super) const INSERT: KeyFlags = KeyFlags::INSERT;
pub(super) const DELETE: KeyFlags = KeyFlags::DELETE;
pub(super) const VARIABLE: KeyFlags = KeyFlags::VARIABLE;
pub(super) const NOT_KEY: KeyFlags = KeyFlags::NOT_KEY;

/// All of `list`.
pub(super) const fn flags(list: &[Flags]) -> Flags {
    let (mut all, mut i) = (Flags::NONE, 0);
    while i < list.len() {
        all = all.and(list[i]);
        i += 1;
    }
    all
}

const fn key_spec(search: KeySearch, find: KeyFind, list: &[KeyFlags]) -> KeySpec {
    let (mut flags, mut i) = (list[0], 1);
    while i < list.len() {
        flags = flags.and(list[i]);
        i += 1;
    }
    KeySpec {
        flags,
        notes: "",
        search,
        find,
    }
}

const fn range(index: i32, last: i32, step: i32, flags: &[KeyFlags]) -> KeySpec {
    key_spec(KeySearch::Index(index), KeyFind::Range { last, step }, flags)
}

/// One key, argument `index`.
pub(super) const fn one(index: i32, flags: &[KeyFlags]) -> KeySpec {
    range(index, 0, 1, flags)
}

/// Two keys, from argument `index` on.
pub(super) const fn two(index: i32, flags: &[KeyFlags]) -> KeySpec {
    range(index, 1, 1, flags)
}

/// All arguments from `index` on.
pub(super) const fn all(index: i32, flags: &[KeyFlags]) -> KeySpec {
    range(index, -1, 1, flags)
}

/// All arguments from `index` on but the last one.
pub(super) const fn all_but_last(index: i32, flags: &[KeyFlags]) -> KeySpec {
    range(index, -2, 1, flags)
}

/// Every second argument from `index` on.
pub(super) const fn pairs(index: i32, flags: &[KeyFlags]) -> KeySpec {
    range(index, -1, 2, flags)
}

/// The number of keys is argument `index`; they follow it.
pub(super) const fn counted(index: i32, flags: &[KeyFlags]) -> KeySpec {
    key_spec(KeySearch::Index(index), KeyFind::Counted { step: 1 }, flags)
}

/// The number of keys is argument `index`; they follow it, each with a value.
pub(super) const fn counted_pairs(index: i32, flags: &[KeyFlags]) -> KeySpec {
    key_spec(KeySearch::Index(index), KeyFind::Counted { step: 2 }, flags)
}

/// One key, behind `word`, which is argument `from` or a later one.
pub(super) const fn behind(word: &'static str, from: i32, flags: &[KeyFlags]) -> KeySpec {
    key_spec(
        KeySearch::Keyword { word, from },
        KeyFind::Range { last: 0, step: 1 },
        flags,
    )
}

/// The first half of all arguments behind `word`, which is argument `from` or a later one.
pub(super) const fn first_half_behind(word: &'static str, from: i32, flags: &[KeyFlags]) -> KeySpec {
    key_spec(KeySearch::Keyword { word, from }, KeyFind::FirstHalf, flags)
}

/// Keys that the contents of others name.
pub(super) const fn unknown(flags: &[KeyFlags]) -> KeySpec {
    key_spec(KeySearch::Unknown, KeyFind::Unknown, flags)
}

/// The target of a SORT.
pub(super) const fn sort_store(flags: &[KeyFlags]) -> KeySpec {
    key_spec(KeySearch::SortStore, KeyFind::Unknown, flags)
}

impl KeySpec {
    /// With a remark.
    pub(super) const fn noted(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }
}
