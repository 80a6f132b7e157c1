//! fjall: a log-structured tree in Rust.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::contestant::{Contestant, Failure};

/// See the module's text.
pub struct Fjall {
    db: Database,
    keys: Keyspace,
    memory: u64,
}

impl Fjall {
    /// `memory`: in bytes; half for the cache, a quarter for each memtable.
    pub fn open(dir: &Path, memory: u64) -> Result<Self, Failure> {
        let db = Database::builder(dir).cache_size(memory / 2).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memory / 4);
        let keys = db.keyspace("keys", options)?;
        Ok(Self { db, keys, memory })
    }
}

impl Contestant for Fjall {
    fn name(&self) -> String {
        format!("fjall 3.1.13, cache {} MiB, reads by the page cache", self.memory >> 21)
    }

    fn set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<(), Failure> {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.insert(&self.keys, key.as_slice(), value.as_slice());
        }
        if durable {
            batch = batch.durability(Some(PersistMode::SyncData));
        }
        Ok(batch.commit()?)
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Failure> {
        value.clear();
        let found = self.keys.get(key)?;
        if let Some(found) = &found {
            value.extend_from_slice(found);
        }
        Ok(found.is_some())
    }

    fn walk(&mut self) -> Result<u64, Failure> {
        let mut count = 0;
        for item in self.keys.iter() {
            std::hint::black_box(item.into_inner()?);
            count += 1;
        }
        Ok(count)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.keys.rotate_memtable_and_wait()?;
        self.keys.major_compact()?;
        Ok(())
    }
}
