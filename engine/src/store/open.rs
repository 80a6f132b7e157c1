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
use crate::manifest::Version;
use crate::sst::{Opening, Scratch, SstReader};
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
        let check = |file: FileName, expected: u64| match listed.get(&file) {
            None => Err(StoreError::Missing { file }),
            Some(&found) if found != expected => Err(StoreError::Length { file, expected, found }),
            Some(_) => Ok(()),
        };
        let mut readers = BTreeMap::new();
        for named in version.files() {
            let file = FileName::sorted(named.file);
            check(file, named.file_bytes)?;
            let reader = open_file(file, named.file_bytes, files)?;
            if reader.footer_crc() != named.footer_crc || reader.props() != &named.props {
                return Err(StoreError::Foreign { file });
            }
            readers.insert(named.file, Rc::new(reader));
        }
        for blob in &version.blobs {
            check(FileName::blob(blob.file), blob.file_bytes)?;
        }
        let runs = Rc::new(Runs::of(&version, &readers));
        let orphans = listed.keys().copied().filter(|&file| !runs.has(file)).collect();
        let after_listed = listed.keys().map(|file| file.id.0 + 1).max().unwrap_or(0);
        let mut outbox = Outbox::new(version.next_file.0.max(after_listed).max(1));
        if version.flushed != LogPos::default() {
            // The process may have ended before the log heard of it.
            outbox.effects.push(StoreEffect::Flushed { at: version.flushed });
        }
        if runs.runs.is_empty() {
            ks.set_time(version.clock_ms, version.clock_ms);
        } else {
            ks.resume(version.clock_ms, version.key_count);
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
            edit: None,
            fetches: Fetches::default(),
            scratch: Scratch::default(),
            held: Vec::new(),
            no_space: false,
            doomed: Vec::new(),
            scrub: Scrub::default(),
            stats: StoreStats::default(),
        };
        Ok((store, orphans))
    }
}

fn open_file(file: FileName, file_bytes: u64, files: &mut dyn FileSource) -> Result<SstReader, StoreError> {
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
