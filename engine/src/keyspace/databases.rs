//! The databases of a keyspace: how many keys each has; and emptying one.

use super::{EventClasses, Keyspace};
use crate::database::{Counts, Database};

/// Keys that are gathered before they are removed, when one database of several is emptied.
const CLEAR_STEP_KEYS: usize = 1024;

impl Keyspace {
    /// Number of keys of one database, as exact as [`Keyspace::len`].
    pub fn len_of(&self, database: Database) -> u64 {
        self.tier.counts.of(database)
    }

    /// Number of keys of every database.
    pub fn counts(&self) -> Counts {
        self.tier.counts
    }

    /// Number of keys in memory with an expiry, of every database.
    pub fn volatile_counts(&self) -> Counts {
        self.volatile
    }

    /// Removes all keys of one database: in constant time when no other has any, else key by key.
    pub fn clear_database(&mut self, database: Database) {
        // Beyond memory the counts may be wrong.
        if self.is_complete() && self.len_of(database) == self.len() {
            return self.clear();
        }
        let mut cursor = 0;
        let mut found: Vec<Box<[u8]>> = Vec::new();
        loop {
            let next = self.scan(cursor, CLEAR_STEP_KEYS, &mut |key, _| {
                if database.has(key) {
                    found.push(key.into());
                }
            });
            for key in found.drain(..) {
                self.clear_key(&key);
            }
            if self.has_missed() {
                if !self.supply_missed() {
                    break;
                }
            } else if next == 0 {
                break;
            }
            cursor = next;
        }
        self.lend_keys(None);
        // Clients that keep copies do not tell databases apart.
        self.note(EventClasses::CLEARED, "cleared", b"");
    }

    fn clear_key(&mut self, key: &[u8]) {
        let hash = self.key_hash(key);
        match self.table.find(hash, key) {
            Some(spot) if self.table.rec(spot.at).is_absent() => {}
            Some(spot) => self.remove(hash, spot),
            None => self.remove_unknown(hash, key),
        }
    }
}
