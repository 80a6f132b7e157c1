//! [`LogDriver`]: does what a [`CoreLog`] asks: writes and flushes on the core's ring, files through the segment worker.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use futures_util::future::LocalBoxFuture;
use io_uring::{opcode, types};
use slotcore_engine::log::{CoreLog, FrameRange, LogEffect, LogFailure, SegmentSource, Ticket};
use slotcore_raft_shard::ReadFrames;
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::Tick;
use slotcore_rt::disk::{SegmentClient, SegmentDir, SegmentFile, SegmentReport, SegmentRequest};
use slotcore_rt::ids::SegmentId;
use slotcore_rt::ring::{Class, Completion, Ring};
use slotcore_rt::rng::SeededRng;

/// One write or flush that the kernel works on.
struct Pending {
    ticket: Ticket,
    /// What is being written; `None` for a flush.
    buf: Option<AlignedBuf>,
}

/// See the module's text.
pub struct LogDriver {
    worker: SegmentClient,
    dir: SegmentDir,
    /// Open files of the segments that are written to, or will be.
    files: Vec<SegmentFile>,
    /// At most `inflight_max` writes and one flush: searched, not hashed.
    pending: Vec<Pending>,
    effects: Vec<LogEffect>,
    salts: SeededRng,
    /// A backup reads the files: none is used again or deleted.
    keeps_files: bool,
    /// Segments to be deleted when it is done.
    kept: Vec<SegmentId>,
}

impl LogDriver {
    /// `worker` reports to this core; `salts` must never repeat.
    pub fn new(worker: SegmentClient, dir: SegmentDir, salts: SeededRng) -> Self {
        Self {
            worker,
            dir,
            files: Vec::new(),
            pending: Vec::new(),
            effects: Vec::new(),
            salts,
            keeps_files: false,
            kept: Vec::new(),
        }
    }

    /// While `keep` holds, no segment is used again or deleted. What was to be deleted meanwhile is deleted afterwards; if
    /// the process ends before, the next start does it.
    pub fn keep_files(&mut self, log: &mut CoreLog, now: Tick, keep: bool) {
        self.keeps_files = keep;
        if !keep {
            for id in std::mem::take(&mut self.kept) {
                self.request(log, now, SegmentRequest::Delete { id });
            }
        }
    }

    /// Lets the log decide, and starts what it wants.
    pub fn step(&mut self, log: &mut CoreLog, now: Tick, ring: &mut Ring) -> io::Result<()> {
        let mut effects = std::mem::take(&mut self.effects);
        log.step(now, &mut effects);
        for effect in effects.drain(..) {
            self.start(log, now, effect, ring)?;
        }
        self.effects = effects;
        Ok(())
    }

    fn start(&mut self, log: &mut CoreLog, now: Tick, effect: LogEffect, ring: &mut Ring) -> io::Result<()> {
        match effect {
            LogEffect::Write {
                ticket,
                segment,
                offset,
                buf,
                sync,
            } => {
                let fd = types::Fd(self.file(segment)?);
                let flags = if sync { libc::RWF_DSYNC } else { 0 };
                let write = opcode::Write::new(fd, buf.as_ptr(), buf.len() as u32)
                    .offset(offset)
                    .rw_flags(flags)
                    .build();
                self.pending.push(Pending { ticket, buf: Some(buf) });
                // SAFETY: the buffer stays in `pending`, and the file in `files`, until the completion; moving the
                // owner of a buffer does not move its memory.
                unsafe { ring.push(Class::Log, ticket.0, write)? };
            }
            LogEffect::Sync { ticket, segment } => {
                let fd = types::Fd(self.file(segment)?);
                let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
                self.pending.push(Pending { ticket, buf: None });
                // SAFETY: names no memory; the file stays open until the completion.
                unsafe { ring.push(Class::Log, ticket.0, sync)? };
            }
            LogEffect::CreateSegment { id, bytes } => self.request(log, now, SegmentRequest::Create { id, bytes }),
            LogEffect::RecycleSegment { from, to } if self.keeps_files => {
                self.files.retain(|file| file.id != from);
                self.kept.push(from);
                let bytes = log.segment_bytes();
                self.request(log, now, SegmentRequest::Create { id: to, bytes });
            }
            LogEffect::DeleteSegment { id } if self.keeps_files => {
                self.files.retain(|file| file.id != id);
                self.kept.push(id);
            }
            LogEffect::RecycleSegment { from, to } => {
                self.files.retain(|file| file.id != from);
                self.request(log, now, SegmentRequest::Recycle { from, to });
            }
            LogEffect::DeleteSegment { id } => {
                self.files.retain(|file| file.id != id);
                self.request(log, now, SegmentRequest::Delete { id });
            }
        }
        Ok(())
    }

    fn request(&mut self, log: &mut CoreLog, now: Tick, request: SegmentRequest) {
        if self.worker.submit(request).is_err() {
            // The worker is stuck behind a slow device; the log asks again later.
            match request {
                SegmentRequest::Create { id, .. } | SegmentRequest::Recycle { to: id, .. } => {
                    log.on_segment_failed(now, id, libc::EAGAIN);
                }
                SegmentRequest::Delete { .. } => {}
            }
        }
    }

    /// The descriptor of a segment. Segments found at start are opened when the log first asks for them, which is before
    /// anybody is served: it flushes what it recovered.
    fn file(&mut self, segment: SegmentId) -> io::Result<RawFd> {
        let at = match self.files.iter().position(|file| file.id == segment) {
            Some(at) => at,
            None => {
                self.files
                    .push(self.dir.open_segment(segment).map_err(io::Error::other)?);
                self.files.len() - 1
            }
        };
        Ok(self.files[at].file.as_raw_fd())
    }

    /// Takes in one completion of class [`Class::Log`].
    ///
    /// # Errors
    /// The log is poisoned: the process must end without acknowledging anything more.
    pub fn on_completion(&mut self, log: &mut CoreLog, now: Tick, c: Completion) -> Result<(), LogFailure> {
        let at = self
            .pending
            .iter()
            .position(|p| p.ticket.0 == c.token)
            .expect("every completion was submitted here");
        let pending = self.pending.swap_remove(at);
        let expected = pending.buf.as_ref().map_or(0, |buf| buf.len() as i32);
        let result = match c.result {
            errno if errno < 0 => Err(-errno),
            written if written != expected => Err(libc::EIO),
            _ => Ok(()),
        };
        log.on_done(now, pending.ticket, pending.buf, result)
    }

    /// Takes in what the segment worker has done.
    pub fn take_reports(&mut self, log: &mut CoreLog, now: Tick) {
        while let Some(report) = self.worker.try_report() {
            self.on_report(log, now, report);
        }
    }

    /// Waits for one report of the segment worker; for start-up only.
    pub fn wait_report(&mut self, log: &mut CoreLog, now: Tick) {
        let report = self.worker.wait_report();
        self.on_report(log, now, report);
    }

    fn on_report(&mut self, log: &mut CoreLog, now: Tick, report: SegmentReport) {
        let (SegmentRequest::Create { id, .. } | SegmentRequest::Recycle { to: id, .. }) = report.request else {
            if let Err(error) = report.result {
                // The file stays and takes room; the next start tries again.
                tracing::warn!(%error, "a dead log segment could not be deleted");
            }
            return;
        };
        match report.result {
            Ok(file) => {
                self.files.extend(file);
                log.on_segment_ready(id, self.salts.next_u64());
            }
            Err(error) => {
                tracing::warn!(%error, segment = id.0, "no new log segment");
                log.on_segment_failed(now, id, error.errno());
            }
        }
    }

    /// True when no write or flush is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Reads segments, for recovery and for entries that are no longer in memory.
pub struct SegmentReader {
    dir: SegmentDir,
    open: Option<SegmentFile>,
}

impl SegmentReader {
    /// Reads the segments of `dir`.
    pub fn new(dir: SegmentDir) -> Self {
        Self { dir, open: None }
    }
}

impl SegmentSource for SegmentReader {
    fn list(&mut self) -> io::Result<Vec<(SegmentId, u64)>> {
        let found = self.dir.list().map_err(io::Error::other)?;
        Ok(found.into_iter().map(|info| (info.id, info.bytes)).collect())
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> io::Result<()> {
        let file = match self.open.take() {
            Some(file) if file.id == segment => file,
            _ => self.dir.open_segment(segment).map_err(io::Error::other)?,
        };
        let file = self.open.insert(file);
        file.read_at(offset, buf.len(), buf).map_err(io::Error::other)
    }
}

/// Entries that are no longer in memory are asked for at start, and by followers far behind; a single core has none.
pub struct FrameReader(pub RefCell<SegmentReader>);

impl ReadFrames for FrameReader {
    fn read(&self, frame: FrameRange) -> LocalBoxFuture<'_, io::Result<Vec<u8>>> {
        let mut buf = AlignedBuf::with_capacity(frame.len as usize);
        buf.set_len(frame.len as usize);
        let done = self.0.borrow_mut().read_at(frame.segment, frame.offset, &mut buf);
        Box::pin(std::future::ready(done.map(|()| buf.to_vec())))
    }
}
