//! [`Loading`]: all keys of a set of files come into memory, in order, a slice at a time.
//!
//! For replicas, which have all their keys in memory: at a start, and when the files of another replica are about to take the
//! place of what there is. Every byte that is needed is read, and checked, before anything counts on it.

use super::Store;
use super::adopt::Adoption;
use super::effect::{FileName, FileSource};
use super::error::StoreError;
use super::fetch::read_now;
use super::runs::Runs;
use crate::compact::{Merge, MergeOptions, MergeStep};
use crate::database::Counts;
use crate::keyspace::{Keyspace, Loaded};
use crate::sst::{Body, Bounds, Family, SstScan, blob_value};
use std::rc::Rc;

/// Bytes that are read at once of each run.
const READ_BYTES: usize = 256 << 10;

/// See the module's text.
pub struct Loading {
    merge: Merge,
    counts: Counts,
    /// What is read, kept from being deleted.
    _runs: Rc<Runs>,
}

impl Loading {
    fn of(runs: Rc<Runs>) -> Self {
        let scan = |run| SstScan::new(run, Bounds::default(), READ_BYTES);
        // What has expired is still there on other replicas: it goes here when it goes there.
        let options = MergeOptions {
            family: Family::Keys,
            bottom: true,
            clock_ms: 0,
        };
        Self {
            merge: Merge::new(runs.runs.iter().map(scan).collect(), options),
            counts: Counts::default(),
            _runs: runs,
        }
    }

    /// Goes on until `bytes_max` bytes of keys and values have come, reading from `files`. False: that was all, and `ks`, which no
    /// command has looked at meanwhile, is complete.
    ///
    /// # Errors
    /// A file is damaged or cannot be read; `ks` is of no use.
    pub fn step(
        &mut self,
        ks: &mut Keyspace,
        files: &mut dyn FileSource,
        bytes_max: usize,
    ) -> Result<bool, StoreError> {
        let mut bytes = 0;
        while bytes < bytes_max {
            match self.merge.step()? {
                MergeStep::Need { source, file, range } => {
                    let pages = read_now(files, FileName::sorted(file), range)?;
                    self.merge.feed(source, pages)?;
                }
                MergeStep::Pause => {}
                MergeStep::End => {
                    ks.all_loaded(self.counts);
                    return Ok(false);
                }
                MergeStep::Ready => {
                    bytes += self.load(ks, files)?;
                    self.merge.advance()?;
                }
            }
        }
        Ok(true)
    }

    /// Loads the record under the merge; returns its bytes.
    fn load(&mut self, ks: &mut Keyspace, files: &mut dyn FileSource) -> Result<usize, StoreError> {
        let record = self.merge.record();
        let (ord, key, expire_ms) = (record.key.ord, record.key.tail, record.expire_ms);
        let mut install = |kind, bytes: &[u8]| -> Result<usize, StoreError> {
            let value = Loaded { kind, bytes, expire_ms };
            let installed = ks.install(ks.key_hash(key), key, value);
            installed.map_err(|error| StoreError::Value { ord, error })?;
            Ok(key.len() + bytes.len())
        };
        let loaded = match record.body {
            Body::Inline(kind, bytes) => install(kind, bytes),
            Body::Blob(kind, ptr) => {
                let pages = read_now(files, FileName::blob(ptr.file), ptr.range())?;
                install(kind, blob_value(&ptr, &pages)?)
            }
            Body::Tombstone | Body::DeadCollection => unreachable!("left out at the bottom"),
        }?;
        self.counts.add(key);
        Ok(loaded)
    }
}

impl Store {
    /// Of all keys that the files have, into the keyspace that [`Store::open`] has made.
    pub fn loading(&self) -> Loading {
        Loading::of(self.runs.clone())
    }
}

impl Adoption {
    /// Of all keys that its files have, which must all be open, into `ks`, which is empty.
    pub fn loading(&self, ks: &mut Keyspace) -> Loading {
        let runs = Rc::new(self.runs());
        runs.resume(self.version(), ks);
        Loading::of(runs)
    }
}
