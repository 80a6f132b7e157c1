//! Time and completions: when a frame is cut, when a flush begins, when an idle log is sealed.

use std::time::Duration;

use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, SegmentId};

use super::error::{LogFailure, LogOperation};
use super::frame::{FRAME_HEADER_BYTES, FrameFlags};
use super::options::SyncPolicy;
use super::writer::{CoreLog, Seal};
use super::{LogEffect, Ticket};

/// A device that answers faster than this is never made to wait for more records, in nanoseconds.
const FAST_WRITE_NS: u64 = 30_000;
/// Longest wait for more records while other frames are in flight.
const FLOOR_MAX: Duration = Duration::from_micros(100);
/// Weight of one sample in the moving average of write times: 1/8.
const WRITE_NS_SHIFT: u32 = 3;
/// Longest time a record waits for its frame while storage is flushed now and then.
const LINGER_SYNCED: Duration = Duration::from_millis(1);
/// The same while it is never flushed.
const LINGER_UNSYNCED: Duration = Duration::from_millis(10);
/// Frame buffers kept beyond those in flight: one open, one being finished, a few queued.
const SPARE_BUFFERS: usize = 4;

impl Ticket {
    fn write(frame: FrameNo) -> Self {
        Self(frame.0 << 1)
    }

    /// One flush of a segment is under way at a time, so its id names it.
    fn sync(segment: SegmentId) -> Self {
        Self(segment.0 << 1 | 1)
    }

    fn is_sync(self) -> bool {
        self.0 & 1 == 1
    }
}

impl CoreLog {
    /// Says what to do now. Call it at the end of each turn that appended or completed something, and at
    /// [`CoreLog::next_wake`]. Effects are appended to `out` in the order in which they must be started.
    pub fn step(&mut self, now: Tick, out: &mut Vec<LogEffect>) {
        if self.failed.is_some() {
            return;
        }
        self.unpin_written();
        self.free_segments();
        self.segments.upkeep(now, out);
        self.seal_step(now);
        self.submit_frames(now, out);
        if let Some(due) = self.flights.round_due(self.sync_interval())
            && now >= due
        {
            self.flights.begin_round(now, |segment| {
                out.push(LogEffect::Sync {
                    ticket: Ticket::sync(segment),
                    segment,
                });
            });
        }
    }

    /// How often flushes happen by themselves.
    fn sync_interval(&self) -> Option<Duration> {
        match self.opts.sync {
            SyncPolicy::Each => Some(Duration::ZERO),
            SyncPolicy::Every(interval) => Some(interval),
            SyncPolicy::Never => None,
        }
    }

    /// What recovery found is flushed before the first frame is written: that frame's `durable_no` tells where the log
    /// before it really ended.
    fn waits_for_flush(&self) -> bool {
        self.submitted() < self.first_frame && self.durable() < self.submitted()
    }

    fn submit_frames(&mut self, now: Tick, out: &mut Vec<LogEffect>) {
        if self.waits_for_flush() {
            return;
        }
        while self.flights.in_flight() < self.opts.inflight_max {
            if !self.builder.has_queued() {
                if !self.cut_due(now) {
                    return;
                }
                self.close_frame();
                self.cut_at = now;
            }
            let Some((frame, buf)) = self.builder.submit(self.durable_claim()) else {
                return;
            };
            // A seal is written when nothing else is on its way: nobody waits for it, so it may as well be durable.
            let sealed = frame.flags.has(FrameFlags::SEAL);
            let sync = self.opts.sync == SyncPolicy::Each || sealed;
            self.tail_sealed = sealed;
            self.flights.submit(frame.frame_no, frame.at, sync, now);
            self.stats.frames += 1;
            self.stats.records += u64::from(frame.nrec);
            self.stats.bytes += u64::from(frame.at.len);
            self.stats.padding_bytes += u64::from(frame.at.len - frame.body_len) - FRAME_HEADER_BYTES as u64;
            let ticket = Ticket::write(frame.frame_no);
            out.push(LogEffect::Write {
                ticket,
                segment: frame.at.segment,
                offset: frame.at.offset,
                buf,
                sync,
            });
        }
    }

    /// What a header may say to be durable. Numbers of frames that recovery dropped are skipped, not durable: a header
    /// that covered them would turn them from torn to corrupt.
    fn durable_claim(&self) -> FrameNo {
        let durable = self.flights.durable();
        if durable < self.first_frame {
            durable.min(self.report.last_frame)
        } else {
            durable
        }
    }

    /// True when the open frame should go: when it is big, when somebody waits for it to be durable, or when its time
    /// has come. Where a write's durability is waited for that is at once on an idle device.
    fn cut_due(&self, now: Tick) -> bool {
        self.builder.is_open()
            && (self.builder.open_bytes() >= self.opts.frame_bytes_target
                || self.flights.wanted() >= self.builder.last_frame()
                || (self.opts.sync == SyncPolicy::Each && self.flights.in_flight() == 0)
                || now >= self.cut_at + self.pause())
    }

    /// Time between two cuts of frames that are not full.
    fn pause(&self) -> Duration {
        match self.opts.sync {
            SyncPolicy::Each => self.floor(),
            // Nobody waits for the device: a write for each turn would only cost the processor. What a killed process
            // loses stays far below what a power cut does.
            SyncPolicy::Every(interval) => LINGER_SYNCED.min(interval),
            SyncPolicy::Never => LINGER_UNSYNCED,
        }
    }

    /// Time between two cuts: spreads the frames in flight evenly over the time one write takes, so that each carries
    /// as many records as possible and none waits longer than it would for a free place.
    fn floor(&self) -> Duration {
        if self.write_ns < FAST_WRITE_NS {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.write_ns / self.opts.inflight_max as u64).min(FLOOR_MAX)
    }

    /// Writes the seal of an idle log, or the last frame of one that ends.
    fn seal_step(&mut self, now: Tick) {
        let quiet = !self.builder.is_open() && !self.builder.has_queued() && self.flights.in_flight() == 0;
        match self.seal {
            Seal::Written(_) => {}
            Seal::Requested => {
                self.request_sync();
                if quiet && self.durable() == self.submitted() {
                    // Without room for it the end is still durable, only not marked.
                    self.write_seal(FrameFlags::SEAL.with(FrameFlags::CLEAN));
                    self.seal = Seal::Written(self.appended());
                }
            }
            Seal::Open => {
                if self.idle_seal_at().is_some_and(|at| now >= at) {
                    self.write_seal(FrameFlags::SEAL);
                }
            }
        }
    }

    /// When an idle log is to be sealed, if it is idle and not sealed.
    fn idle_seal_at(&self) -> Option<Tick> {
        let idle = self.seal == Seal::Open
            && self.builder.position().is_some()
            && !self.builder.is_open()
            && !self.builder.has_queued()
            && self.flights.in_flight() == 0
            && !self.tail_sealed
            && self.durable() == self.submitted();
        idle.then(|| self.active_at + self.opts.seal_after)
    }

    fn write_seal(&mut self, flags: FrameFlags) {
        if self.builder.room_in_segment() < self.opts.block_bytes as u64 {
            if self.segments.ready_count() == 0 {
                // The next checkpoint will do instead.
                self.tail_sealed = true;
                return;
            }
            self.roll_over();
        }
        self.builder.open(flags);
        self.close_frame();
    }

    /// The moment at which [`CoreLog::step`] has something to do although nothing happened; `None` = never.
    pub fn next_wake(&self) -> Option<Tick> {
        if self.failed.is_some() {
            return None;
        }
        let free_place = self.flights.in_flight() < self.opts.inflight_max && !self.waits_for_flush();
        let cut = (free_place && self.builder.is_open()).then(|| self.cut_at + self.pause());
        let sync = self.flights.round_due(self.sync_interval());
        [cut, sync, self.idle_seal_at(), self.segments.retry_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// An operation of an effect has ended. `buf`: the buffer of a write. `result`: 0 or the kernel's errno; a short
    /// write counts as an error (`EIO`).
    ///
    /// # Errors
    /// The log is poisoned: end the process.
    pub fn on_done(
        &mut self,
        now: Tick,
        ticket: Ticket,
        buf: Option<AlignedBuf>,
        result: Result<(), i32>,
    ) -> Result<(), LogFailure> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        if let Err(errno) = result {
            return Err(self.fail(ticket, errno));
        }
        if ticket.is_sync() {
            self.flights.flushed();
            self.stats.syncs += 1;
        } else {
            let took = self.flights.complete(FrameNo(ticket.0 >> 1), now);
            self.stats.submit_to_written.add(took);
            let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.write_ns = self.write_ns - (self.write_ns >> WRITE_NS_SHIFT) + (ns >> WRITE_NS_SHIFT);
        }
        if let Some(buf) = buf {
            self.builder.recycle(buf, self.opts.inflight_max + SPARE_BUFFERS);
        }
        self.active_at = now;
        self.flights.measure(now, &mut self.stats.submit_to_durable);
        Ok(())
    }

    fn fail(&mut self, ticket: Ticket, errno: i32) -> LogFailure {
        let failure = if ticket.is_sync() {
            LogFailure {
                operation: LogOperation::Sync,
                segment: SegmentId(ticket.0 >> 1),
                offset: 0,
                errno,
            }
        } else {
            let frame = FrameNo(ticket.0 >> 1);
            let at = self.flights.range_of(frame);
            LogFailure {
                operation: LogOperation::Write(frame),
                segment: at.segment,
                offset: at.offset,
                errno,
            }
        };
        self.failed = Some(failure);
        failure
    }

    /// A segment asked for is there: durable, of the right size. `salt`: a random number, another for each call.
    pub fn on_segment_ready(&mut self, id: SegmentId, salt: u64) {
        self.segments.on_ready(id, salt);
        // A log just opened begins in a segment of its own: what a crash left behind is never written to.
        if self.builder.position().is_none() && self.failed.is_none() && self.segments.ready_count() > 0 {
            self.roll_over();
        }
    }

    /// A segment asked for could not be made (`ENOSPC` and the like). It is asked for again, later and later; until then
    /// the log takes entries only as long as the segments at hand last.
    pub fn on_segment_failed(&mut self, now: Tick, id: SegmentId, errno: i32) {
        self.segments.on_failed(id, errno, now);
    }
}
