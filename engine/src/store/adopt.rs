//! [`Adoption`]: files that another replica made become all that this store has.
//!
//! The files are durable here before, under the names they have there: a store gives its files numbers that no other replica
//! gives ([`StoreOptions::maker`](super::StoreOptions::maker)), as records name blob files by number. One `Manifest` record
//! takes the place of all that was before; the keyspace begins anew when that is durable. A crash before it leaves the old
//! state, and files that are left over; one after it the new state.
//!
//! A keyspace that shall be complete is loaded from the files before ([`Adoption::loading`]), so that damage is found while the
//! old state is still there.

use super::Store;
use super::effect::{FileName, FileSource};
use super::error::StoreError;
use super::open::{check_lengths, open_file};
use super::outbox::Job;
use super::runs::Runs;
use crate::keyspace::Keyspace;
use crate::log::LogPos;
use crate::manifest::{SideState, Version};
use crate::sst::{FileId, SstReader};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Files to be adopted. See the module's text.
pub struct Adoption {
    version: Version,
    readers: BTreeMap<FileId, Rc<SstReader>>,
}

/// An adoption on its way into the log.
pub(super) struct Adopting {
    next: Version,
    readers: BTreeMap<FileId, Rc<SstReader>>,
    durable: bool,
}

impl Adoption {
    /// Of the files that `manifest`, the [`Version`] of another replica, names. All of them are in `files`, durably.
    ///
    /// # Errors
    /// The manifest makes no sense, a file is missing or of another length. Nothing was changed.
    pub fn new(manifest: &[u8], files: &mut dyn FileSource) -> Result<Self, StoreError> {
        let version = Version::decode(manifest)?;
        check_lengths(&version, files)?;
        let readers = BTreeMap::new();
        Ok(Self { version, readers })
    }

    /// Opens the next file, which checks that it is the one that is meant. False: all are open.
    ///
    /// # Errors
    /// It is not, or is damaged, or cannot be read. Nothing was changed.
    pub fn open_next(&mut self, files: &mut dyn FileSource) -> Result<bool, StoreError> {
        let Some(named) = self.version.files().find(|file| !self.readers.contains_key(&file.file)) else {
            return Ok(false);
        };
        let reader = open_file(named, files)?;
        self.readers.insert(named.file, Rc::new(reader));
        Ok(true)
    }

    /// The last entry whose effect is in the files.
    pub fn flushed(&self) -> LogPos {
        self.version.flushed
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    pub(super) fn runs(&self) -> Runs {
        Runs::of(&self.version, &self.readers)
    }

    /// What is stored beside the keys.
    pub fn side(&self) -> &[SideState] {
        &self.version.side
    }
}

impl Store {
    /// Files of these names come from another replica: until [`Store::adopt`] none of them is deleted, whoever has had it before.
    pub fn reserve(&mut self, files: Vec<FileName>) {
        self.reserved = files;
    }

    /// Ends flush and merge, and sends the manifest of `adoption`, whose files are all open, to the log. `false`: another
    /// manifest is under way; to be tried again. Until [`Store::adopt`] the store is as before, and begins nothing new.
    pub fn begin_adoption(&mut self, adoption: &mut Option<Adoption>) -> bool {
        if self.edit.is_some() || self.adopting.is_some() {
            return false;
        }
        let Some(Adoption { version, readers }) = adoption.take() else {
            return false;
        };
        self.give_up_flush();
        self.give_up_merge();
        // Only what this store makes is given numbers from here.
        let next_file = FileId(self.outbox.next_file());
        let next = Version { next_file, ..version };
        self.outbox.manifest(Bytes::from(next.encode()));
        self.adopting = Some(Adopting {
            next,
            readers,
            durable: false,
        });
        true
    }

    /// Whether the manifest of the adoption is durable: [`Store::adopt`] must come before anything else is executed.
    pub fn is_adoption_durable(&self) -> bool {
        self.adopting.as_ref().is_some_and(|adopting| adopting.durable)
    }

    /// The manifest that came from another replica is in the log, durably.
    pub(super) fn adoption_is_durable(&mut self) -> bool {
        let Some(adopting) = &mut self.adopting else {
            return false;
        };
        adopting.durable = true;
        true
    }

    /// From now on the store has the adopted files and nothing else. `ks` is empty, and becomes their keyspace, as after
    /// [`Store::open`].
    ///
    /// # Panics
    /// [`Store::is_adoption_durable`] does not hold, or `ks` has keys.
    pub fn adopt(&mut self, ks: &mut Keyspace) {
        self.adopt_loaded(ks);
        self.runs.resume(&self.version, ks);
    }

    /// The same; `ks` has what [`Adoption::loading`] has brought.
    ///
    /// # Panics
    /// [`Store::is_adoption_durable`] does not hold.
    pub fn adopt_loaded(&mut self, ks: &Keyspace) {
        let adopting = self.adopting.take().filter(|adopting| adopting.durable);
        let Adopting { next, readers, .. } = adopting.expect("only what is in the log is adopted");
        let old = std::mem::replace(&mut self.version, Rc::new(next));
        self.readers = readers;
        self.flush = None;
        (self.clears, self.cleared, self.at_rest) = (ks.clears(), false, false);
        self.epoch += 1;
        self.set_runs(Runs::of(&self.version, &self.readers));
        self.fetches.all_done();
        self.outbox.forget_fetches();
        self.reserved.clear();
        // Of those that somebody still reads some may be among the new ones.
        self.doomed.retain(|&file| !self.runs.has(file));
        for file in names_of(&old).filter(|&file| !self.runs.has(file)).collect::<Vec<_>>() {
            self.doom(file);
        }
        self.outbox.flushed(self.version.flushed);
    }

    pub(super) fn give_up_flush(&mut self) {
        if self.flush.as_ref().is_some_and(super::flush::Flush::is_before_edit) {
            self.flush = None;
            for effect in self.held.drain(..) {
                effect.ticket().map(|ticket| self.outbox.land(ticket));
            }
            self.give_up_files(Job::Flush);
        }
    }

    /// Whether a file is one of the present version, or reserved: whoever gets one of this name from another replica has it already.
    pub fn names(&self, file: FileName) -> bool {
        self.reserved.contains(&file) || names_of(&self.version).any(|named| named == file)
    }
}

fn names_of(version: &Version) -> impl Iterator<Item = FileName> {
    let sorted = version.files().map(|f| FileName::sorted(f.file));
    sorted.chain(version.blobs.iter().map(|b| FileName::blob(b.file)))
}
