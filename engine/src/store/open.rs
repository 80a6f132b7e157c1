//! Opening a store: the files that the manifest names are there and sound, all others are left over.

use super::Store;
use super::effect::{FileName, FileSource, StoreEffect};
use super::error::StoreError;
use super::fetch::Fetches;
use super::options::StoreOptions;
use super::outbox::Outbox;
use super::runs::Runs;
use super::scrub::Scrub;
use super::stats::StoreStats;
use crate::keyspace::Keyspace;
use crate::log::LogPos;
use crate::manifest::{FileRef, Version};
use crate::sst::{FileId, Opening, Scratch, SstReader};
use slotcore_rt::buf::AlignedBuf;
use std::collections::BTreeMap;
use std::rc::Rc;

impl Store {
    /// Opens the store that `manifest` describes: the payload of the group's latest `Manifest` record, empty for a new group.
    /// `ks` is empty and becomes that of the last flush: all its keys are in files. Returns files that nobody needs, too:
    /// they are left over from a crash and to be deleted.
    ///
    /// # Errors
    /// The manifest makes no sense; a file is missing, of another length, not the one that is meant, or damaged where it says
    /// what it holds. The error names the file.
    pub fn open(
        options: StoreOptions,
        manifest: &[u8],
        files: &mut dyn FileSource,
        ks: &mut Keyspace,
    ) -> Result<(Self, Vec<FileName>), StoreError> {
        let version = Version::decode(manifest)?;
        let listed = files.list().map_err(|error| StoreError::Io { file: None, error })?;
        let listed: BTreeMap<FileName, u64> = listed.into_iter().collect();
        check_listed(&version, &listed)?;
        let mut readers = BTreeMap::new();
        for named in version.files() {
            readers.insert(named.file, Rc::new(open_file(named, files)?));
        }
        let runs = Rc::new(Runs::of(&version, &readers));
        let orphans = listed.keys().copied().filter(|&file| !runs.has(file)).collect();
        let next_file = next_file(options.maker, version.next_file, listed.keys());
        let mut outbox = Outbox::new(next_file);
        if version.flushed != LogPos::default() {
            // The process may have ended before the log heard of it.
            outbox.effects.push(StoreEffect::Flushed { at: version.flushed });
        }
        let store = Self {
            options,
            version: Rc::new(version),
            readers,
            snapshots: vec![Rc::downgrade(&runs)],
            runs,
            cleared: false,
            clears: ks.clears(),
            epoch: 0,
            outbox,
            flush: None,
            merging: None,
            at_rest: false,
            settling: false,
            edit: None,
            adopting: None,
            reserved: Vec::new(),
            fetches: Fetches::default(),
            scratch: Scratch::default(),
            held: Vec::new(),
            no_space: false,
            doomed: Vec::new(),
            scrub: Scrub::default(),
            stats: StoreStats::default(),
        };
        store.runs.resume(&store.version, ks);
        Ok((store, orphans))
    }
}

/// Checks that all files of `version` are there, in full length.
pub(super) fn check_lengths(version: &Version, files: &mut dyn FileSource) -> Result<(), StoreError> {
    let listed = files.list().map_err(|error| StoreError::Io { file: None, error })?;
    check_listed(version, &listed.into_iter().collect())
}

fn check_listed(version: &Version, listed: &BTreeMap<FileName, u64>) -> Result<(), StoreError> {
    let sorted = version.files().map(|f| (FileName::sorted(f.file), f.file_bytes));
    let blobs = version.blobs.iter().map(|b| (FileName::blob(b.file), b.file_bytes));
    for (file, expected) in sorted.chain(blobs) {
        match listed.get(&file) {
            None => return Err(StoreError::Missing { file }),
            Some(&found) if found != expected => return Err(StoreError::Length { file, expected, found }),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Bits of a file's number below the number of who made it.
const MAKER_SHIFT: u32 = 48;

/// The number of the next file of `maker`: behind those that it made.
fn next_file<'a>(maker: u16, told: FileId, listed: impl Iterator<Item = &'a FileName>) -> u64 {
    let is_own = |id: &u64| id >> MAKER_SHIFT == u64::from(maker);
    let first = u64::from(maker) << MAKER_SHIFT | 1;
    let after = listed.map(|file| file.id.0).filter(is_own).map(|id| id + 1);
    after.chain(Some(told.0).filter(is_own)).fold(first, u64::max)
}

/// Opens a file that a manifest names: it is the one that is meant.
pub(super) fn open_file(named: &FileRef, files: &mut dyn FileSource) -> Result<SstReader, StoreError> {
    let file = FileName::sorted(named.file);
    let reader = read_ends(file, named.file_bytes, files)?;
    match reader.footer_crc() == named.footer_crc && reader.props() == &named.props {
        true => Ok(reader),
        false => Err(StoreError::Foreign { file }),
    }
}

fn read_ends(file: FileName, file_bytes: u64, files: &mut dyn FileSource) -> Result<SstReader, StoreError> {
    let mut opening = Opening::new(file.id, file_bytes)?;
    loop {
        let range = opening.need();
        let mut buf = AlignedBuf::with_capacity(range.bytes);
        let read = files.read_at(file, range, &mut buf);
        read.map_err(|error| StoreError::Io {
            file: Some(file),
            error,
        })?;
        if let Some(reader) = opening.feed(&buf)? {
            return Ok(reader);
        }
    }
}
