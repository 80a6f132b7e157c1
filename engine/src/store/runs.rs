//! [`Runs`]: all files of one moment, as lookups and scans see them.

use super::effect::FileName;
use crate::keyspace::Keyspace;
use crate::manifest::{FileRef, Version};
use crate::ord::KeyHash;
use crate::sst::{FileId, Run, RunFile, SstKey, SstReader};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Newest first; the lowest level is the last one.
    pub(super) runs: Vec<Run>,
    files: BTreeSet<FileName>,
}

/// A run of the parts of files that are in use from `live_from` on.
pub(super) fn run_of<'a>(
    files: impl Iterator<Item = &'a FileRef>,
    live_from: u64,
    readers: &BTreeMap<FileId, Rc<SstReader>>,
) -> Run {
    let parts = files
        .filter(|file| file.props.ord_max >= file.from_ord.max(live_from))
        .map(|file| RunFile {
            reader: readers
                .get(&file.file)
                .expect("every file of the manifest is open")
                .clone(),
            from_ord: file.from_ord.max(live_from),
        });
    Run::of_parts(parts.collect())
}

impl Runs {
    /// The files of a version; all of them are open.
    pub(super) fn of(version: &Version, readers: &BTreeMap<FileId, Rc<SstReader>>) -> Self {
        let upper = version.keys.upper.iter();
        let upper = upper.map(|run| run_of(run.files.iter(), run.live_from, readers));
        let bottom = run_of(version.keys.bottom.iter(), 0, readers);
        let runs = upper.chain([bottom]).filter(|run| !run.files().is_empty()).collect();
        let sorted = version.files().map(|f| FileName::sorted(f.file));
        let blobs = version.blobs.iter().map(|b| FileName::blob(b.file));
        Self {
            runs,
            files: sorted.chain(blobs).collect(),
        }
    }

    /// `ks`, which is empty, becomes that of the last flush of `version`, whose files these are: all its keys are in them.
    pub(super) fn resume(&self, version: &Version, ks: &mut Keyspace) {
        match self.runs.is_empty() {
            true => ks.set_time(version.clock_ms, version.clock_ms),
            false => ks.resume(version.clock_ms, version.key_count),
        }
    }

    /// Whether the filters let any of them have the key.
    pub(super) fn may_hold(&self, hash: KeyHash, key: &[u8]) -> bool {
        let (ord, tail) = (hash.ord(), key);
        self.runs.iter().any(|run| run.may_hold(SstKey { ord, tail }))
    }

    /// Whether the file is one of these.
    pub(super) fn has(&self, file: FileName) -> bool {
        self.files.contains(&file)
    }
}

/// The files of one moment, kept from being deleted: for backups and snapshots.
#[derive(Debug)]
pub struct StoreView {
    version: Rc<Version>,
    /// What keeps the files.
    _runs: Rc<Runs>,
}

impl StoreView {
    pub(super) fn new(version: Rc<Version>, runs: Rc<Runs>) -> Self {
        Self { version, _runs: runs }
    }

    /// Which files, up to which entry.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The names of all files.
    pub fn files(&self) -> impl Iterator<Item = FileName> {
        let sorted = self.version.files().map(|f| FileName::sorted(f.file));
        sorted.chain(self.version.blobs.iter().map(|b| FileName::blob(b.file)))
    }
}
