//! [`Merging`]: a merge of files under way.

use super::Store;
use super::effect::FileName;
use super::error::StoreError;
use super::fetch::BlobValue;
use super::options::Budget;
use super::outbox::{Flight, Job, Outbox};
use super::output::{Made, Make, Output};
use super::runs::{Runs, run_of};
use crate::compact::{Merge, MergeOptions, MergeStep, Pick, pick};
use crate::database::{Counts, DATABASES, Database, split};
use crate::keyspace::{Keyspace, Residency};
use crate::manifest::{Edit, FileRef};
use crate::sst::{BlobPieces, Body, Bounds, Family, FileId, FilterBits, Kind, Run, SstKey, SstScan};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::LogIndex;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Bytes that one source reads at once.
const READ_BYTES: usize = 256 << 10;
/// Records that count for one [`MergeStep::Pause`].
const PAUSE_WORK: usize = 100;

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The merge goes on.
    Merging,
    /// Pages are being read for it.
    Pages,
    /// A piece of a value is being read that moves to another blob file.
    Blob(BlobValue, BlobPieces),
    /// The next piece is to be read when the device has written enough.
    BlobLater(BlobValue, BlobPieces),
    /// The files become durable.
    Ending,
    /// The manifest is on its way into the log.
    Edit,
}

/// See the module's text.
pub(super) struct Merging {
    pick: Pick,
    upper_runs: usize,
    inputs: Vec<FileId>,
    merge: Merge,
    /// Blob files with much garbage: what is in them moves.
    sparse: BTreeSet<FileId>,
    pub(super) output: Output,
    stage: Stage,
    uncounted: Uncounted,
    /// Runs newer than what is merged, when it began.
    newer: Vec<Run>,
    /// What is read, kept from being deleted.
    _runs: Rc<Runs>,
}

/// Keys that expired while only files had them: they are counted as keys until the merge that leaves them out is durable.
#[derive(Default)]
struct Uncounted {
    /// Their orders, ascending, and the database of each.
    keys: Vec<(u64, Database)>,
    /// Those of them that came into memory meanwhile, where their expiry is noticed.
    loaded: BTreeSet<u64>,
}

impl Uncounted {
    fn counts(&self) -> Counts {
        let mut keys = [0; DATABASES as usize];
        for (_, database) in self.keys.iter().filter(|(ord, _)| !self.loaded.contains(ord)) {
            keys[usize::from(database.number())] += 1;
        }
        Counts::new(keys)
    }
}

impl Merging {
    /// Asks for the next piece of a value that moves. Returns its bytes.
    fn read_piece(&mut self, value: BlobValue, pieces: BlobPieces, outbox: &mut Outbox) -> u64 {
        let range = pieces.need().expect("there is another piece");
        let (file, offset) = (FileName::blob(value.ptr.file), range.offset);
        outbox.read(Flight::MergeBlob { file, offset }, file, range);
        self.stage = Stage::Blob(value, pieces);
        range.bytes as u64
    }
}

impl Store {
    /// Goes on with the merge, or begins one that is due. Returns whether there is more to do at once.
    pub(super) fn step_merge(&mut self, ks: &Keyspace, budget: &mut Budget) -> Result<bool, StoreError> {
        if self.merging.is_none() && !self.begin_merge() {
            return Ok(false);
        }
        while let Some(merging) = &mut self.merging {
            if let Stage::BlobLater(value, pieces) = merging.stage
                && !merging.output.is_busy()
            {
                if budget.merge_bytes == 0 {
                    return Ok(true);
                }
                budget.merge_bytes =
                    budget
                        .merge_bytes
                        .saturating_sub(merging.read_piece(value, pieces, &mut self.outbox));
                return Ok(false);
            }
            if !matches!(merging.stage, Stage::Merging) || merging.output.is_busy() {
                return Ok(false);
            }
            if budget.work == 0 || budget.merge_bytes == 0 {
                return Ok(true);
            }
            let step = merging.merge.step()?;
            for (ord, key) in merging.merge.take_expired() {
                let place = SstKey { ord, tail: &key };
                let newer = merging.newer.iter().any(|run| run.may_hold(place));
                if !newer && ks.residency(ks.key_hash(&key), &key) == Residency::Unknown {
                    merging.uncounted.keys.push((ord, split(&key).0));
                }
            }
            match step {
                MergeStep::Need { source, file, range } => {
                    merging.stage = Stage::Pages;
                    budget.merge_bytes = budget.merge_bytes.saturating_sub(range.bytes as u64);
                    self.stats.merge_read_bytes += range.bytes as u64;
                    let (file, offset) = (FileName::sorted(file), range.offset);
                    self.outbox
                        .read(Flight::MergePages { source, file, offset }, file, range);
                }
                MergeStep::Pause => budget.work = budget.work.saturating_sub(PAUSE_WORK),
                MergeStep::Ready => {
                    budget.work -= 1;
                    let record = merging.merge.record();
                    if let Body::Blob(kind, ptr) = record.body
                        && merging.sparse.contains(&ptr.file)
                    {
                        let expire_ms = record.expire_ms;
                        debug_assert!(matches!(kind, Kind::Str | Kind::Packed));
                        merging.output.begin_value(&mut self.outbox);
                        let value = BlobValue { ptr, kind, expire_ms };
                        let bytes = merging.read_piece(value, BlobPieces::of(ptr), &mut self.outbox);
                        budget.merge_bytes = budget.merge_bytes.saturating_sub(bytes);
                    } else {
                        merging.output.push(&record, &mut self.outbox);
                        merging.merge.advance()?;
                    }
                }
                MergeStep::End => {
                    let dead = merging.merge.take_dead();
                    debug_assert!(dead.is_empty(), "no collection is stored as elements");
                    merging.output.end(&mut self.outbox);
                    merging.stage = Stage::Ending;
                    self.merge_files_done();
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Begins the merge that is due. `false`: none is, or none can be.
    fn begin_merge(&mut self) -> bool {
        if self.at_rest || self.cleared || self.no_space || self.adopting.is_some() {
            return false;
        }
        let shape = self.version.shape_of_keys();
        let sparse: BTreeSet<FileId> = self
            .version
            .sparse_blobs(self.options.blob_garbage_permille)
            .into_iter()
            .collect();
        let due = pick(&shape, &self.pick_options()).or_else(|| self.clean_for_blobs(&sparse));
        let Some(pick) = due else {
            self.at_rest = true;
            return false;
        };
        self.merging = Some(self.merging_of(pick, sparse));
        true
    }

    /// A file of the lowest level that keeps a blob file with much garbage.
    fn clean_for_blobs(&self, sparse: &BTreeSet<FileId>) -> Option<Pick> {
        let keeps = |file: &FileRef| file.props.blobs.iter().any(|refs| sparse.contains(&refs.file));
        let bottom = self.version.keys.bottom.iter().position(keeps)?;
        Some(Pick::Clean { bottom })
    }

    fn merging_of(&self, pick: Pick, sparse: BTreeSet<FileId>) -> Merging {
        let tree = &self.version.keys;
        let readers = &self.readers;
        let upper = |runs: &std::ops::Range<usize>| -> Vec<_> {
            let runs = tree.upper[runs.clone()].iter();
            runs.map(|run| run_of(run.files.iter(), run.live_from, readers))
                .collect()
        };
        let mut bounds = Bounds::default();
        let (sources, bottom) = match &pick {
            Pick::Tier { runs, .. } => (upper(runs), false),
            Pick::Sink {
                runs,
                from_ord,
                to_ord,
                bottom,
            } => {
                (bounds.from_ord, bounds.to_ord) = (*from_ord, *to_ord);
                let mut sources = upper(runs);
                sources.push(run_of(tree.bottom[bottom.clone()].iter(), 0, readers));
                (sources, true)
            }
            Pick::Clean { bottom } => {
                let file = tree.bottom[*bottom..=*bottom].iter();
                (vec![run_of(file, 0, readers)], true)
            }
        };
        let first = match &pick {
            Pick::Tier { runs, .. } | Pick::Sink { runs, .. } => runs.start,
            Pick::Clean { .. } => tree.upper.len(),
        };
        let inputs = self.version.inputs(Family::Keys, &pick);
        let read = || self.version.keys.files().filter(|file| inputs.contains(&file.file));
        let make = Make {
            job: Job::Merge,
            filter_bits: if bottom { FilterBits::Eight } else { FilterBits::Sixteen },
            compress: bottom && self.options.compress,
            index_min: read().map(|file| file.props.index_min).min().unwrap_or(LogIndex(0)),
            index_max: read().map(|file| file.props.index_max).max().unwrap_or(LogIndex(0)),
        };
        let options = MergeOptions {
            family: Family::Keys,
            bottom,
            clock_ms: self.version.clock_ms,
        };
        let scans = sources.iter().map(|run| SstScan::new(run, bounds.clone(), READ_BYTES));
        Merging {
            merge: Merge::new(scans.collect(), options).reporting_expired(),
            newer: upper(&(0..first)),
            uncounted: Uncounted::default(),
            pick,
            upper_runs: tree.upper.len(),
            inputs,
            sparse,
            output: Output::new(make, &self.options),
            stage: Stage::Merging,
            _runs: self.runs.clone(),
        }
    }

    /// Pages for the merge.
    pub(super) fn merge_pages(&mut self, source: usize, pages: AlignedBuf) -> Result<(), StoreError> {
        if let Some(merging) = &mut self.merging {
            merging.stage = Stage::Merging;
            merging.merge.feed(source, pages)?;
        }
        Ok(())
    }

    /// A piece of a value that moves to another blob file.
    pub(super) fn merge_blob(&mut self, pages: &[u8]) -> Result<(), StoreError> {
        let Some(merging) = &mut self.merging else {
            return Ok(());
        };
        let Stage::Blob(value, mut pieces) = merging.stage else {
            unreachable!("a piece comes when it was asked for")
        };
        let part = pieces.feed(pages)?;
        self.stats.merge_read_bytes += part.len() as u64;
        merging.output.part(part, &mut self.outbox);
        if pieces.need().is_some() {
            merging.stage = Stage::BlobLater(value, pieces);
            return Ok(());
        }
        merging.stage = Stage::Merging;
        let key = merging.merge.record().key;
        merging
            .output
            .end_value(key, value.expire_ms, value.kind, &mut self.outbox);
        Ok(merging.merge.advance()?)
    }

    /// Tells the manifest when all files of the merge are durable and no other edit is under way.
    pub(super) fn merge_files_done(&mut self) {
        if self.edit.is_some() {
            return;
        }
        let Some(merging) = self
            .merging
            .as_mut()
            .filter(|merging| matches!(merging.stage, Stage::Ending))
        else {
            return;
        };
        let Some(made) = merging.output.take_made() else { return };
        merging.stage = Stage::Edit;
        let Made {
            files,
            blobs,
            readers,
            bytes,
        } = made;
        let edit = Edit::Merge {
            family: Family::Keys,
            pick: merging.pick.clone(),
            upper_runs: merging.upper_runs,
            inputs: merging.inputs.clone(),
            result: files,
            blobs,
            expired_keys: merging.uncounted.counts(),
        };
        self.stats.merge_written_bytes += bytes;
        if self.tell_manifest(Job::Merge, edit, readers).is_err() {
            // A flush that began anew took its files away.
            self.merging = None;
            self.give_up_files(Job::Merge);
        }
    }

    /// The manifest that has the merge is durable.
    pub(super) fn merge_is_durable(&mut self, ks: &mut Keyspace) {
        self.stats.merges += 1;
        if let Some(merging) = self.merging.take()
            && !self.cleared
        {
            let keys = merging.uncounted.counts();
            ks.uncount(&keys);
            if let Some(flush) = &mut self.flush {
                flush.uncount(&keys);
            }
        }
    }

    /// An expired key came from files into memory, where it is noticed and not counted any more: the merge must not count it
    /// off again.
    pub(super) fn expired_was_loaded(&mut self, ord: u64) {
        if let Some(merging) = &mut self.merging
            && merging
                .uncounted
                .keys
                .binary_search_by_key(&ord, |(ord, _)| *ord)
                .is_ok()
        {
            merging.uncounted.loaded.insert(ord);
        }
    }
}
