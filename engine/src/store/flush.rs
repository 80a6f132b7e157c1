//! [`Flush`]: the state at one entry on its way into files.

use super::options::{Budget, FlushReason, SIDE_BYTES_MAX};
use super::outbox::{Job, Outbox};
use super::output::{Made, Make, Output};
use super::{SideState, Store};
use crate::database::Counts;
use crate::keyspace::{FrozenSink, FrozenStep, Keyspace};
use crate::log::LogPos;
use crate::manifest::Edit;
use crate::sst::{FilterBits, Kind, Record, SstKey};
use slotcore_rt::ids::LogIndex;

/// Buckets of the keyspace that one step shows: about 40 records, so that a slice ends when it should.
const BUCKETS_PER_STEP: usize = 4;

/// What one page of a large collection counts for, in records.
const WORK_PER_PAGE: usize = 16;

/// Takes what the keyspace shows into the flush's files.
struct Sink<'a> {
    output: &'a mut Output,
    outbox: &'a mut Outbox,
    /// As in [`Budget::work`].
    work: usize,
}

impl FrozenSink for Sink<'_> {
    fn record(&mut self, record: &Record<'_>) {
        self.output.push(record, self.outbox);
        self.work += 1;
    }

    fn begin(&mut self) {
        self.output.begin_value(self.outbox);
        self.work += 1;
    }

    fn part(&mut self, bytes: &[u8]) {
        self.output.part(bytes, self.outbox);
        self.work += WORK_PER_PAGE;
    }

    fn end(&mut self, key: SstKey<'_>, expire_ms: Option<u64>) {
        self.output.end_value(key, expire_ms, Kind::Packed, self.outbox);
    }
}

/// How far a flush is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The keyspace shows its frozen records.
    Showing,
    /// The files become durable.
    Ending,
    /// The manifest is on its way into the log.
    Edit,
    /// The keyspace makes clean what was written.
    Settling,
}

/// See the module's text.
pub(super) struct Flush {
    at: LogPos,
    clock_ms: u64,
    key_count: Counts,
    side: Vec<SideState>,
    /// Everything was deleted since the flush before.
    anew: bool,
    /// How often everything had been deleted at the cut.
    clears: u64,
    stage: Stage,
    pub(super) output: Output,
}

impl Flush {
    /// Whether the manifest has not been told yet.
    pub(super) fn is_before_edit(&self) -> bool {
        matches!(self.stage, Stage::Showing | Stage::Ending)
    }

    /// So many keys that were counted at the cut had expired, and are in no file any more.
    pub(super) fn uncount(&mut self, keys: &Counts) {
        self.key_count.subtract(keys);
    }
}

impl Store {
    /// Whether a flush is due. `log_bytes`: what was appended to the log since the cut of the last flush, in bytes.
    pub fn wants_flush(&self, ks: &Keyspace, log_bytes: u64) -> Option<FlushReason> {
        if self.flush.is_some() || self.adopting.is_some() {
            return None;
        }
        let cleared = self.cleared || ks.clears() != self.clears;
        if cleared && self.version.files().next().is_some() {
            Some(FlushReason::Cleared)
        } else if ks.tier_use().dirty_bytes >= self.options.dirty_bytes_max {
            Some(FlushReason::Dirty)
        } else if log_bytes > self.options.log_bytes_target {
            Some(FlushReason::Log)
        } else {
            None
        }
    }

    /// Whether a flush is under way.
    pub fn is_flushing(&self) -> bool {
        self.flush.is_some()
    }

    /// Begins to write the present state, which is that after the entry `at`; `side` is stored with it. To be called between
    /// entries. `false`: a flush is under way, or the entry was flushed before.
    ///
    /// # Panics
    /// With more than [`SIDE_BYTES_MAX`] of side state: it is limited where it comes in.
    pub fn begin_flush(&mut self, ks: &mut Keyspace, at: LogPos, side: Vec<SideState>) -> bool {
        self.notice_clear(ks);
        let side_bytes: usize = side.iter().map(|side| side.bytes.len()).sum();
        assert!(side_bytes <= SIDE_BYTES_MAX, "{side_bytes} bytes of side state");
        if self.flush.is_some() || self.adopting.is_some() || at.index <= self.version.flushed.index {
            return false;
        }
        ks.freeze();
        self.settling = false;
        let make = Make {
            job: Job::Flush,
            filter_bits: FilterBits::Sixteen,
            compress: false,
            index_min: LogIndex(self.version.flushed.index.0 + 1),
            index_max: at.index,
        };
        self.flush = Some(Flush {
            at,
            clock_ms: ks.now_ms(),
            key_count: ks.counts(),
            side,
            anew: self.cleared,
            clears: self.clears,
            stage: Stage::Showing,
            output: Output::new(make, &self.options),
        });
        true
    }

    /// Goes on with the flush. Returns whether there is more to do at once.
    pub(super) fn step_flush(&mut self, ks: &mut Keyspace, budget: &mut Budget) -> bool {
        let Some(flush) = &mut self.flush else { return false };
        match flush.stage {
            Stage::Showing => {
                while budget.work > 0 && !flush.output.is_busy() {
                    let mut sink = Sink {
                        output: &mut flush.output,
                        outbox: &mut self.outbox,
                        work: BUCKETS_PER_STEP,
                    };
                    let step = ks.frozen_slice(BUCKETS_PER_STEP, &mut sink);
                    budget.work = budget.work.saturating_sub(sink.work);
                    if step == FrozenStep::Done {
                        flush.output.end(&mut self.outbox);
                        flush.stage = Stage::Ending;
                        self.flush_files_done();
                        return true;
                    }
                }
                budget.work == 0
            }
            Stage::Ending | Stage::Edit => false,
            Stage::Settling => {
                while budget.work > 0 {
                    let step = ks.settle_slice(BUCKETS_PER_STEP);
                    budget.work = budget.work.saturating_sub(BUCKETS_PER_STEP * 8);
                    if step == FrozenStep::Done {
                        self.flush = None;
                        return true;
                    }
                }
                true
            }
        }
    }

    /// Tells the manifest when all files of the flush are durable and no other edit is under way.
    pub(super) fn flush_files_done(&mut self) {
        if self.edit.is_some() {
            return;
        }
        let Some(flush) = self.flush.as_mut().filter(|flush| flush.stage == Stage::Ending) else {
            return;
        };
        let Some(made) = flush.output.take_made() else { return };
        flush.stage = Stage::Edit;
        let Made {
            files,
            blobs,
            readers,
            bytes,
        } = made;
        let edit = Edit::Flush {
            flushed: flush.at,
            clock_ms: flush.clock_ms,
            keys: files,
            elements: Vec::new(),
            blobs,
            key_count: flush.key_count,
            side: std::mem::take(&mut flush.side),
            anew: flush.anew,
        };
        self.stats.flushed_bytes += bytes;
        self.tell_manifest(Job::Flush, edit, readers)
            .expect("the files are new, and the entry is behind the last flush");
    }

    /// The manifest that has the flush is durable.
    pub(super) fn flush_is_durable(&mut self, ks: &Keyspace) {
        let flush = self.flush.as_mut().expect("its edit was under way");
        self.stats.flushes += 1;
        self.epoch += 1;
        self.outbox.flushed(flush.at);
        if flush.clears == self.clears {
            self.cleared = false;
        }
        if ks.is_frozen() {
            flush.stage = Stage::Settling;
        } else {
            // Everything was deleted meanwhile.
            self.flush = None;
        }
    }
}
