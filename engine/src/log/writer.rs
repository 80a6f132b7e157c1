//! [`CoreLog`]: its state, and what can be asked of it. Appending is in `append.rs`, time and completions in `pump.rs`,
//! reclaiming space in `gc.rs`, opening in `recover.rs`.

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, GroupSlot, LogIndex, SegmentId};

use super::builder::FrameBuilder;
use super::entry_read::{ColdEntry, EntryRead};
use super::error::LogFailure;
use super::flights::Flights;
use super::group::{EntryLoc, FrameRange, GroupLog, GroupSlots};
use super::options::{LogOptions, SyncPolicy};
use super::record::LogPos;
use super::recover::RecoveryReport;
use super::segments::Segments;
use super::stats::LogStats;

/// How far the clean end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    /// In use.
    Open,
    /// [`CoreLog::seal`] was called.
    Requested,
    /// The last frame is on its way.
    Written(FrameNo),
}

/// How long files of an abandoned tail are kept: a segment's end may still name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// There are none.
    Nothing,
    /// Until the first checkpoint after recovery, which is not written yet.
    UntilCheckpoint,
    /// Until that checkpoint, ending with this frame, is durable.
    Until(FrameNo),
}

/// The append-only log of one core. Sans-I/O: see the [module](super).
pub struct CoreLog {
    pub(crate) opts: LogOptions,
    pub(crate) groups: GroupSlots,
    pub(crate) segments: Segments,
    pub(crate) builder: FrameBuilder,
    pub(crate) flights: Flights,
    pub(crate) cached_bytes: u64,
    /// Some group keeps payloads of rewritten entries.
    pub(crate) has_pinned: bool,
    pub(crate) failed: Option<LogFailure>,
    pub(crate) seal: Seal,
    /// The newest submitted frame carries a `durable_no` that covers all before it.
    pub(crate) tail_sealed: bool,
    /// When the last frame was cut.
    pub(crate) cut_at: Tick,
    /// When the device last reported something.
    pub(crate) active_at: Tick,
    /// Moving average of the time a write takes, in nanoseconds.
    pub(crate) write_ns: u64,
    /// Dead files that recovery might still meet.
    pub(crate) held: Held,
    pub(crate) stats: LogStats,
    /// The first frame written since the log was opened.
    pub(crate) first_frame: FrameNo,
    pub(crate) report: RecoveryReport,
}

impl CoreLog {
    /// True once the first segment of this run is there, so that records can be appended.
    pub fn takes_records(&self) -> bool {
        self.builder.position().is_some()
    }

    /// Bytes of one segment's file.
    pub fn segment_bytes(&self) -> u64 {
        self.opts.segment_bytes
    }

    /// What it shall take on disk, in bytes.
    pub fn bytes_target(&self) -> u64 {
        self.opts.log_bytes_target
    }

    /// What recovery found.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.report
    }

    /// The newest frame that holds a record, cut or not.
    pub fn appended(&self) -> FrameNo {
        self.builder.last_frame()
    }

    /// The newest frame handed to the driver.
    pub fn submitted(&self) -> FrameNo {
        self.flights.submitted()
    }

    /// Every frame up to here was written; it survives the process, not yet a power cut.
    pub fn written(&self) -> FrameNo {
        self.flights.written()
    }

    /// Every frame up to here survives a power cut.
    pub fn durable(&self) -> FrameNo {
        self.flights.durable()
    }

    /// Why the log takes nothing any more.
    pub fn failure(&self) -> Option<LogFailure> {
        self.failed
    }

    /// Changes when frames become durable, from the next frame on. Older frames that no flush has covered keep the
    /// durable prefix back until one did; changing to [`SyncPolicy::Each`] starts it.
    pub fn set_sync(&mut self, policy: SyncPolicy) {
        self.opts.sync = policy;
        if policy == SyncPolicy::Each {
            self.flights.want_durable(self.flights.submitted());
        }
    }

    /// Asks that everything appended so far becomes durable soon, whatever the policy.
    pub fn request_sync(&mut self) {
        self.flights.want_durable(self.builder.last_frame());
    }

    /// The segment that was written to last; `None` for a log without frames.
    pub fn newest_segment(&self) -> Option<SegmentId> {
        self.segments.live.back().map(|segment| segment.id)
    }

    /// A group's state.
    pub fn group(&self, slot: GroupSlot) -> Option<&GroupLog> {
        self.groups.get(usize::from(slot.0))?.as_deref()
    }

    /// All groups, by slot.
    pub fn groups(&self) -> impl Iterator<Item = (GroupSlot, &GroupLog)> {
        let slots = self.groups.iter().enumerate();
        slots.filter_map(|(at, g)| Some((GroupSlot(at as u16), g.as_deref()?)))
    }

    /// The smallest slot without a group.
    pub fn free_slot(&self) -> GroupSlot {
        let at = self
            .groups
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.groups.len());
        GroupSlot(u16::try_from(at).expect("a core holds far fewer groups than 65536"))
    }

    /// Appends the kept entries `from <= index < to` to `out`, in order, as many as fit into `bytes_max` of payload but
    /// at least one. Entries no longer in memory come as places to read; decode those with [`decode_entry`].
    ///
    /// [`decode_entry`]: super::decode_entry
    pub fn entries(&self, slot: GroupSlot, from: LogIndex, to: LogIndex, bytes_max: u64, out: &mut Vec<EntryRead>) {
        let Some(group) = self.group(slot) else { return };
        let mut bytes = 0;
        for index in (from.0.max(group.purged.index.0 + 1)..to.0).map(LogIndex) {
            let Some(loc) = group.loc(index) else { break };
            bytes += loc.payload_len();
            if bytes > bytes_max && bytes > loc.payload_len() {
                break;
            }
            let pos = LogPos {
                term: loc.term(),
                index,
            };
            out.push(match group.cached(index) {
                Some(payload) => EntryRead::Cached {
                    pos,
                    payload: payload.clone(),
                },
                None => EntryRead::Cold(ColdEntry {
                    group: slot,
                    pos,
                    payload_len: loc.payload_len(),
                    frames: group.frames_of(index).expect("the entry was just found"),
                }),
            });
        }
    }

    /// Tells that entries up to `upto` were applied and acknowledged: their payloads need not stay in memory. Those not
    /// yet written stay until the next call.
    pub fn release(&mut self, slot: GroupSlot, upto: LogIndex) {
        let first_unwritten = self.first_unwritten();
        let Some(group) = self.groups.get_mut(usize::from(slot.0)).and_then(Option::as_mut) else {
            return;
        };
        while group.cache_first() <= upto
            && on_disk(group, first_unwritten)
            && let Some(bytes) = group.evict_oldest()
        {
            self.cached_bytes -= bytes;
        }
    }

    /// Brings cached payloads below their limit, those of `slot` first.
    pub(crate) fn trim_cache(&mut self, slot: GroupSlot) {
        let first_unwritten = self.first_unwritten();
        let count = self.groups.len();
        for at in (0..count).map(|k| (usize::from(slot.0) + k) % count) {
            let Some(group) = self.groups[at].as_mut() else {
                continue;
            };
            while self.cached_bytes > self.opts.cache_bytes_max {
                let evicted = if on_disk(group, first_unwritten) {
                    group.evict_oldest()
                } else {
                    None
                };
                let Some(bytes) = evicted else { break };
                self.cached_bytes -= bytes;
            }
        }
    }

    /// Lets go of rewritten payloads that can be read from their new place.
    pub(crate) fn unpin_written(&mut self) {
        if !self.has_pinned {
            return;
        }
        let unwritten = self.first_unwritten();
        let written = |frame: FrameRange| unwritten.is_none_or(|u| frame.place() < u.place());
        self.has_pinned = self
            .groups
            .iter_mut()
            .flatten()
            .map(|g| g.unpin(written))
            .sum::<usize>()
            > 0;
    }

    fn first_unwritten(&self) -> Option<FrameRange> {
        self.flights
            .first_unwritten()
            .or_else(|| self.builder.first_unsubmitted())
    }

    /// Counters, with the current levels filled in.
    pub fn stats(&self) -> LogStats {
        LogStats {
            in_flight: self.flights.in_flight() as u64,
            queued_bytes: self.builder.queued_bytes() + self.builder.open_bytes() as u64,
            cached_bytes: self.cached_bytes,
            segments_live: self.segments.live.len() as u64,
            segments_ready: self.segments.ready_count() as u64,
            segment_errno: self.segments.refused(),
            ..self.stats
        }
    }

    /// Ends the log on purpose: no record is taken any more. [`CoreLog::step`] writes and flushes what is there, then a
    /// last frame that says so; [`CoreLog::is_sealed`] tells when it is durable.
    pub fn seal(&mut self) {
        if self.seal == Seal::Open {
            self.seal = Seal::Requested;
        }
    }

    /// True once the end asked for by [`CoreLog::seal`] is durable.
    pub fn is_sealed(&self) -> bool {
        matches!(self.seal, Seal::Written(frame) if self.durable() >= frame)
    }
}

/// True when the group's oldest cached entry can be read back from the device.
fn on_disk(group: &GroupLog, first_unwritten: Option<FrameRange>) -> bool {
    let Some(unwritten) = first_unwritten else { return true };
    let Some(frames) = group.frames_of(group.cache_first()) else {
        return false;
    };
    let last = frames.last().expect("an entry lies in at least one frame");
    last.place() < unwritten.place()
}

/// Counts an entry out of the segment it lay in.
pub(crate) fn forget(segments: &mut Segments, loc: &EntryLoc) {
    if let Some(segment) = segments.find(loc.segment()) {
        segment.entries -= 1;
        segment.entry_bytes -= loc.payload_len();
    }
}

/// Counts an entry into the segment it lies in.
pub(crate) fn remember(segments: &mut Segments, loc: &EntryLoc) {
    let segment = segments
        .find(loc.segment())
        .expect("an entry is written to a live segment");
    segment.entries += 1;
    segment.entry_bytes += loc.payload_len();
}
