//! [`Segments`]: which files the log lives in, which are ready for use, which can be used again.
//!
//! Live segments form a chain from the oldest still needed to the one being written. Only the oldest may leave, so what
//! a checkpoint says about older segments stays true. Ids only grow: a block left from an earlier use names its old
//! segment and cannot be mistaken for one of this use.

use std::collections::VecDeque;
use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, SegmentId};

use super::LogEffect;

/// First pause after a failed preparation; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two attempts to find space: an operator who freed some should not wait long.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// One segment of the chain.
#[derive(Clone, Debug)]
pub(crate) struct LiveSegment {
    pub(crate) id: SegmentId,
    pub(crate) first_frame: FrameNo,
    /// Last frame; for the current segment so far unknown.
    pub(crate) last_frame: FrameNo,
    /// Bytes of frames; for the current segment so far unknown.
    pub(crate) end: u64,
    /// Last frame of the checkpoint at its start.
    pub(crate) ckpt_end: FrameNo,
    /// Entries that live here.
    pub(crate) entries: u64,
    /// Their payload bytes.
    pub(crate) entry_bytes: u64,
    /// Set once the last entry has left: the frame that must be durable before the file may be used again.
    pub(crate) free_after: Option<FrameNo>,
}

impl LiveSegment {
    pub(crate) fn new(id: SegmentId, first_frame: FrameNo) -> Self {
        Self {
            id,
            first_frame,
            last_frame: first_frame,
            end: 0,
            ckpt_end: first_frame,
            entries: 0,
            entry_bytes: 0,
            free_after: None,
        }
    }
}

struct Preparing {
    to: SegmentId,
    from: Option<SegmentId>,
}

/// See the file's head.
pub(crate) struct Segments {
    bytes: u64,
    spares: usize,
    pub(crate) live: VecDeque<LiveSegment>,
    ready: VecDeque<(SegmentId, u64)>,
    preparing: Vec<Preparing>,
    /// Files of the right size whose contents nobody needs.
    free: VecDeque<SegmentId>,
    /// Files of another size, to be deleted.
    misfits: Vec<SegmentId>,
    /// Dead files that recovery may still look at until the next checkpoint is durable.
    held: Vec<(SegmentId, u64)>,
    next_id: SegmentId,
    /// Segments wanted beyond the spares, for a record that did not fit.
    demand: usize,
    retry_at: Option<Tick>,
    retry_pause: Duration,
    /// What the last attempt to prepare a segment failed with.
    refused: Option<i32>,
}

impl Segments {
    pub(crate) fn new(bytes: u64, spares: usize, next_id: SegmentId) -> Self {
        Self {
            bytes,
            spares,
            live: VecDeque::new(),
            ready: VecDeque::new(),
            preparing: Vec::new(),
            free: VecDeque::new(),
            misfits: Vec::new(),
            held: Vec::new(),
            next_id,
            demand: 0,
            retry_at: None,
            retry_pause: RETRY_MIN,
            refused: None,
        }
    }

    /// A file found at start that is free to use.
    pub(crate) fn add_free(&mut self, id: SegmentId, bytes: u64) {
        if bytes == self.bytes {
            self.free.push_back(id)
        } else {
            self.misfits.push(id)
        }
    }

    /// A dead file found at start, to be kept until [`Segments::release_held`].
    pub(crate) fn add_held(&mut self, id: SegmentId, bytes: u64) {
        self.held.push((id, bytes));
    }

    pub(crate) fn release_held(&mut self) {
        for (id, bytes) in std::mem::take(&mut self.held) {
            self.add_free(id, bytes);
        }
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// The errno of the last failed preparation, until one succeeds.
    pub(crate) fn refused(&self) -> Option<i32> {
        self.refused
    }

    /// Asks for `count` ready segments at once, for a record bigger than the usual spares.
    pub(crate) fn demand(&mut self, count: usize) {
        self.demand = self.demand.max(count);
    }

    pub(crate) fn take_ready(&mut self) -> Option<(SegmentId, u64)> {
        self.ready.pop_front()
    }

    /// Gives a dead live-chain segment back.
    pub(crate) fn retire_oldest(&mut self) {
        let old = self.live.pop_front().expect("the caller looked at the oldest segment");
        self.free.push_back(old.id);
    }

    pub(crate) fn find(&mut self, id: SegmentId) -> Option<&mut LiveSegment> {
        let at = self.live.partition_point(|s| s.id < id);
        self.live.get_mut(at).filter(|s| s.id == id)
    }

    pub(crate) fn on_ready(&mut self, id: SegmentId, salt: u64) {
        let at = self
            .preparing
            .iter()
            .position(|p| p.to == id)
            .expect("only a segment asked for becomes ready");
        self.preparing.swap_remove(at);
        // Ids rise along the chain: recovery tells older from newer by them. One that was overtaken gets a new id.
        if self.live.back().is_some_and(|current| current.id > id) {
            self.free.push_back(id);
        } else {
            let at = self.ready.partition_point(|&(r, _)| r < id);
            self.ready.insert(at, (id, salt));
        }
        self.retry_at = None;
        self.retry_pause = RETRY_MIN;
        self.refused = None;
    }

    pub(crate) fn on_failed(&mut self, id: SegmentId, errno: i32, now: Tick) {
        let at = self
            .preparing
            .iter()
            .position(|p| p.to == id)
            .expect("only a segment asked for can fail");
        // A file that cannot be renamed is of no use; deleting it at least gives its space back.
        self.misfits.extend(self.preparing.swap_remove(at).from);
        self.refused = Some(errno);
        self.retry_at = Some(now + self.retry_pause);
        self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
    }

    /// When [`Segments::upkeep`] has something to do again, after a failure.
    pub(crate) fn retry_at(&self) -> Option<Tick> {
        self.retry_at
    }

    /// Keeps the spares ready, and the disk free of files beyond them.
    pub(crate) fn upkeep(&mut self, now: Tick, out: &mut Vec<LogEffect>) {
        for id in self.misfits.drain(..) {
            out.push(LogEffect::DeleteSegment { id });
        }
        self.prepare(now, out);
        // Dead files beyond one set of spares are space the rest of the machine can use.
        while self.free.len() > self.spares {
            let id = self.free.pop_front().expect("just counted");
            out.push(LogEffect::DeleteSegment { id });
        }
    }

    fn prepare(&mut self, now: Tick, out: &mut Vec<LogEffect>) {
        let want = self.spares.max(self.demand);
        if self.ready.len() >= want {
            self.demand = 0;
        }
        let may_create = self.retry_at.is_none_or(|at| now >= at);
        // While space is short, one attempt at a time.
        let at_once = if self.refused.is_some() { 1 } else { want };
        while self.ready.len() + self.preparing.len() < want && self.preparing.len() < at_once {
            // Renaming a dead file needs no space, so it never waits.
            let from = self.free.pop_front();
            if from.is_none() && !may_create {
                return;
            }
            let to = self.next_id;
            self.next_id = SegmentId(to.0 + 1);
            self.preparing.push(Preparing { to, from });
            out.push(match from {
                Some(from) => LogEffect::RecycleSegment { from, to },
                None => LogEffect::CreateSegment {
                    id: to,
                    bytes: self.bytes,
                },
            });
        }
    }
}
