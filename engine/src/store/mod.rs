//! [`Store`]: the sorted files below a keyspace, so that a group may be larger than memory.
//!
//! Sans-I/O: it says what to write, sync, read and delete ([`StoreEffect`]), and takes what became of it ([`Done`]). One store
//! a group, beside its [`Keyspace`](crate::keyspace::Keyspace).
//!
//! - A *flush* writes what changed up to an entry ([`flush`]): files, then one `Manifest` record of the log, and only then may
//!   the log let go of the entries. A *merge* replaces files by fewer ones ([`merge`]). Both go on in slices.
//! - A *fetch* brings a key, or the names of a range of keys, back ([`fetch`], [`range`]).
//! - All files of one moment are a [`Runs`]; whoever reads holds one, and a file is deleted when none is left that has it.
//! - A store can *adopt* the files of another replica instead of its own ([`adopt`]); replicas *load* all their keys ([`loading`]).
//! - The files are read again and again, slowly, to find damage before somebody needs them ([`scrub`]).
//!
//! Order on disk: `Write`s of a file, its `Finish`, the same for all files of the job; the files are opened again, which
//! checks what is on disk; then `Manifest`; when that is durable, `Flushed` and `Delete`.
//!
//! Of a full disk: a flush waits for room with all that it has ([`Store::retry`]); a merge is given up and its files go.

mod adopt;
mod effect;
mod error;
mod fetch;
mod flush;
mod loading;
mod merge;
mod open;
mod options;
mod outbox;
mod output;
mod range;
mod runs;
mod scrub;
mod stats;
mod steps;

pub use adopt::Adoption;
pub use effect::{Done, FileKind, FileName, FileSource, StoreEffect, Ticket, Urgency};
pub use error::StoreError;
pub use fetch::{Fetch, FetchId};
pub use loading::Loading;
pub use options::{Budget, FlushReason, SIDE_BYTES_MAX, StoreOptions, Worked};
pub use runs::StoreView;
pub use scrub::{ScrubError, ScrubFinding, ScrubStats};
pub use stats::StoreStats;

pub use crate::manifest::SideState;

use crate::compact::{PickOptions, Pressure, pressure};
use crate::keyspace::Keyspace;
use crate::log::LogPos;
use crate::manifest::Version;
use crate::sst::{FileId, Scratch, SstReader};
use adopt::Adopting;
use fetch::Fetches;
use flush::Flush;
use merge::Merging;
use outbox::{Job, Outbox};
use runs::Runs;
use scrub::Scrub;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// The sorted files of one group. See the module's text.
pub struct Store {
    options: StoreOptions,
    version: Rc<Version>,
    readers: BTreeMap<FileId, Rc<SstReader>>,
    /// What is looked up: the files of `version`, or nothing while `cleared`.
    runs: Rc<Runs>,
    /// Everything was deleted since the last flush.
    cleared: bool,
    /// How many deletions of everything were noticed.
    clears: u64,
    /// Flushes that became durable in this process: a fetch that began before the last one may have missed something.
    epoch: u64,
    outbox: Outbox,
    flush: Option<Flush>,
    merging: Option<Merging>,
    /// No merge was due after the last change of files.
    at_rest: bool,
    /// See [`Store::settle`].
    settling: bool,
    edit: Option<EditUnderWay>,
    adopting: Option<Adopting>,
    /// See [`Store::reserve`].
    reserved: Vec<FileName>,
    fetches: Fetches,
    scratch: Scratch,
    scrub: Scrub,
    /// Writes and syncs of a flush that wait for room.
    held: Vec<StoreEffect>,
    /// There was no room when something was last written.
    no_space: bool,
    /// Every set of files that somebody may still hold.
    snapshots: Vec<Weak<Runs>>,
    doomed: Vec<FileName>,
    stats: StoreStats,
}

/// A change of the manifest on its way into the log.
struct EditUnderWay {
    job: Job,
    next: Version,
    gone: Vec<FileId>,
    readers: Vec<Rc<SstReader>>,
}

impl Store {
    /// The last entry whose effect is in the files: what comes after it has to be executed again.
    pub fn flushed(&self) -> LogPos {
        self.version.flushed
    }

    /// What was stored beside the keys with the last flush.
    pub fn side(&self) -> &[SideState] {
        &self.version.side
    }

    /// Whether [`Store::effects`] has anything.
    pub fn has_effects(&self) -> bool {
        !self.outbox.effects.is_empty() || !self.doomed.is_empty()
    }

    /// Appends what is to be done now, in this order.
    pub fn effects(&mut self, out: &mut Vec<StoreEffect>) {
        out.append(&mut self.outbox.effects);
        self.sweep(out);
    }

    /// Deletes files that nobody holds any more.
    fn sweep(&mut self, out: &mut Vec<StoreEffect>) {
        if self.doomed.is_empty() {
            return;
        }
        self.snapshots.retain(|weak| weak.strong_count() > 0);
        let held: Vec<Rc<Runs>> = self.snapshots.iter().filter_map(Weak::upgrade).collect();
        self.doomed.retain(|&file| {
            let needed = held.iter().any(|runs| runs.has(file)) || self.reserved.contains(&file);
            if !needed {
                out.push(StoreEffect::Delete { file });
            }
            needed
        });
    }

    /// All files of the present version, kept from being deleted while the view lives.
    pub fn view(&self) -> StoreView {
        StoreView::new(self.version.clone(), self.runs.clone())
    }

    /// How far the files are from rest.
    pub fn pressure(&self) -> Pressure {
        pressure(&self.version.shape_of_keys(), &self.pick_options())
    }

    /// Nothing has been flushed for long: until the next flush half as much garbage is enough for a merge.
    pub fn settle(&mut self) {
        if !self.settling && self.flush.is_none() {
            (self.settling, self.at_rest) = (true, false);
        }
    }

    fn pick_options(&self) -> PickOptions {
        let usual = self.options.pick;
        PickOptions {
            garbage_permille: usual.garbage_permille >> u32::from(self.settling),
            ..usual
        }
    }

    /// Bytes of memory: filters and indexes of all files, and what is under way.
    pub fn memory(&self) -> usize {
        let readers: usize = self.readers.values().map(|reader| reader.memory()).sum();
        readers + self.fetches.memory()
    }

    /// Bytes of a record with its value in the files, on average, before compression.
    pub fn record_bytes(&self) -> u64 {
        let (mut bytes, mut records) = (0, 0);
        for file in self.version.files() {
            let props = &file.props;
            let blobs: u64 = props.blobs.iter().map(|blob| blob.bytes).sum();
            bytes += props.user_bytes - props.tombstone_bytes + blobs;
            records += props.entries - props.tombstones;
        }
        bytes / records.max(1)
    }

    /// Counters since the start, and sizes now.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            files: self.version.files().count() as u64 + self.version.blobs.len() as u64,
            file_bytes: self.version.files().map(|f| f.file_bytes).sum::<u64>()
                + self.version.blobs.iter().map(|b| b.file_bytes).sum::<u64>(),
            upper_runs: self.version.keys.upper.len() as u64,
            reader_bytes: self.readers.values().map(|reader| reader.memory() as u64).sum(),
            ..self.stats
        }
    }

    /// Whether something could not be written for want of room: see [`Store::retry`].
    pub fn is_out_of_space(&self) -> bool {
        self.no_space
    }

    /// There may be room again: what was held back is to be written.
    pub fn retry(&mut self) {
        self.no_space = false;
        self.outbox.effects.append(&mut self.held);
    }

    /// Looks at `runs` from now on.
    fn set_runs(&mut self, runs: Runs) {
        self.runs = Rc::new(runs);
        self.snapshots.push(Rc::downgrade(&self.runs));
    }

    /// The keyspace was cleared since the last call: the files count for nothing, and what is under way is void.
    fn notice_clear(&mut self, ks: &Keyspace) {
        if ks.clears() == self.clears {
            return;
        }
        self.clears = ks.clears();
        self.cleared = true;
        self.set_runs(Runs::default());
        self.fetches.all_done();
        self.outbox.forget_fetches();
        self.give_up_flush();
        self.give_up_merge();
    }

    /// Ends the merge, unless its result is in the log already.
    fn give_up_merge(&mut self) {
        let in_log = self.edit.as_ref().is_some_and(|edit| edit.job == Job::Merge);
        if self.merging.is_some() && !in_log {
            self.merging = None;
            self.give_up_files(Job::Merge);
        }
    }

    fn give_up_files(&mut self, job: Job) {
        let files = self.outbox.give_up(job);
        self.doomed.extend(files);
    }
}
