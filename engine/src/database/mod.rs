//! Several databases in one keyspace: a key's identity is its [`Database`] and its bytes, put together into a *stored key*.
//!
//! ```text
//! database 0, key not beginning with 0x00:   key
//! any other key:                             0x00, database, key
//! ```
//! So the keys of database 0, hardly any of which begins with 0x00, are stored as they are and cost nothing, and a stored
//! key says by itself which database it belongs to. Whatever lies below commands (table, log, files, snapshots, clients
//! that wait, watched keys) knows stored keys only. Requests are rewritten once, where they are taken from a connection or
//! from a script ([`crate::cmd::stored`]); answers give the user's bytes back ([`split`]).
//!
//! A key has the same slot in all databases: that of the user's bytes ([`crate::ord::slot_of`]).

mod counts;

pub use counts::Counts;

use std::borrow::Cow;

/// Number of databases, as in a Redis that was not configured otherwise.
pub const DATABASES: u8 = 16;

/// First byte of every stored key that is not the user's key as it is.
const MARK: u8 = 0;

/// Number of a database, below [`DATABASES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Database(u8);

impl Database {
    /// The one that every connection begins with.
    pub const ZERO: Database = Database(0);

    /// Database number `number`, if there is one.
    pub const fn new(number: i64) -> Option<Self> {
        if 0 <= number && number < DATABASES as i64 {
            Some(Self(number as u8))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..DATABASES).map(Self)
    }

    /// Whether a stored key belongs to it.
    #[inline]
    pub fn has(self, stored: &[u8]) -> bool {
        split(stored).0 == self
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether a key of database 0 is stored in another form than its own.
#[inline]
pub fn begins_like_a_mark(key: &[u8]) -> bool {
    key.first() == Some(&MARK)
}

/// Appends the stored form of the user's `key` in `database`.
pub fn put_stored(out: &mut Vec<u8>, database: Database, key: &[u8]) {
    if database != Database::ZERO || begins_like_a_mark(key) {
        out.extend_from_slice(&[MARK, database.0]);
    }
    out.extend_from_slice(key);
}

/// The stored form of the user's `key` in `database`.
pub fn stored(database: Database, key: &[u8]) -> Cow<'_, [u8]> {
    if database == Database::ZERO && !begins_like_a_mark(key) {
        return Cow::Borrowed(key);
    }
    let mut out = Vec::with_capacity(key.len() + 2);
    put_stored(&mut out, database, key);
    Cow::Owned(out)
}

/// The database of a stored key, and the user's bytes of it. Bytes that [`put_stored`] never writes are taken for a key of
/// database 0 that is stored as it is.
#[inline]
pub fn split(stored: &[u8]) -> (Database, &[u8]) {
    if begins_like_a_mark(stored) {
        split_marked(stored)
    } else {
        (Database::ZERO, stored)
    }
}

#[cold]
fn split_marked(stored: &[u8]) -> (Database, &[u8]) {
    match stored {
        [MARK, number, key @ ..] if *number < DATABASES => (Database(*number), key),
        _ => (Database::ZERO, stored),
    }
}

/// The user's bytes of a stored key.
#[inline]
pub fn users_key(stored: &[u8]) -> &[u8] {
    split(stored).1
}

/// An argument that names a database to a command without keys; see [`crate::cmd::stored`].
pub(crate) fn mark_of(database: Database) -> [u8; 2] {
    [MARK, database.0]
}

/// The database that such an argument names, if it is one.
pub(crate) fn marked(argument: &[u8]) -> Option<Database> {
    match argument {
        [MARK, number] if *number < DATABASES => Some(Database(*number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ord::{slot_of, slot_of_bytes};

    fn database(number: i64) -> Database {
        Database::new(number).unwrap()
    }

    #[test]
    fn there_are_sixteen() {
        assert_eq!(Database::all().count(), 16);
        assert_eq!((Database::new(-1), Database::new(16)), (None, None));
        assert_eq!(database(15).number(), 15);
    }

    #[test]
    fn ordinary_keys_of_database_0_are_stored_as_they_are() {
        assert_eq!(stored(Database::ZERO, b"key"), Cow::Borrowed(b"key"));
        assert_eq!(&*stored(Database::ZERO, b""), b"");
        assert_eq!(&*stored(Database::ZERO, b"\0key"), b"\0\0\0key");
        assert_eq!(&*stored(database(3), b"key"), b"\0\x03key");
        assert_eq!(&*stored(database(3), b""), b"\0\x03");
    }

    #[test]
    fn different_keys_are_stored_differently_and_come_back() {
        let alphabet = [0u8, 1, 3, 15, 16, b'a', b'{', b'}'];
        let mut keys = vec![Vec::new()];
        for _ in 0..3 {
            let longer = keys
                .iter()
                .flat_map(|key: &Vec<u8>| alphabet.iter().map(|byte| [key.as_slice(), &[*byte]].concat()));
            let mut all: Vec<Vec<u8>> = longer.chain(keys.iter().cloned()).collect();
            all.sort();
            all.dedup();
            keys = all;
        }
        let mut seen = std::collections::BTreeSet::new();
        for number in [0, 1, 3, 15] {
            for key in &keys {
                let stored = stored(database(number), key).into_owned();
                assert_eq!(split(&stored), (database(number), key.as_slice()));
                assert_eq!(slot_of(&stored), slot_of_bytes(key), "slot of {key:?} in {number}");
                assert!(seen.insert(stored), "{key:?} in {number}");
            }
        }
    }

    #[test]
    fn foreign_bytes_are_keys_of_database_0() {
        for bytes in [&b"\0"[..], b"\0\x10", b"\0z"] {
            assert_eq!(split(bytes), (Database::ZERO, bytes));
        }
    }
}
