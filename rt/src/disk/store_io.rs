//! [`StoreIo`]: reads and writes of a core's store files, through the core's ring.
//!
//! Reads and writes are handed to the ring; whatever may block (creating, syncing, opening, deleting) goes to the
//! [`StoreWorker`](super::StoreWorker). Each operation ends with one [`StoreOutcome`] that has its caller's ticket, in any
//! order. Files are created when they are first written, and stay open until they are finished or deleted: to be created
//! again would empty them. Others are opened when they are first read, and stay open, as many as [`OPEN_FILES_MAX`]; one
//! that is deleted or closed stays readable for operations under way. So many reads are in the
//! kernel's hands at once ([`READS_IN_FLIGHT_MAX`]); more wait here in order, those that somebody waits for first.
//!
//! A failure names file and offset. Whether it ends the process is for the caller to say: it depends on what the file is
//! for.

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::{fmt, io};

use io_uring::{opcode, types};

use crate::buf::AlignedBuf;
use crate::disk::store_dir::{StoreDir, StoreFile, StoreFileName};
use crate::disk::store_worker::{StoreClient, StoreReport, StoreRequest};
use crate::ring::{Class, Completion, Ring};

/// Files a core keeps open besides those being written: 16 GiB of full files. A process may have 1,024 open files where
/// nobody raised the limit, and connections need most of them.
pub const OPEN_FILES_MAX: usize = if cfg!(test) { 8 } else { 256 };
/// Reads a core has in the kernel's hands: what makes a good device busy. More would only wait there, and fill the
/// completion queue that sockets share.
pub const READS_IN_FLIGHT_MAX: usize = 256;
/// Of these, reads that nobody waits for: enough to stream, few enough that a cold key does not queue behind them.
pub const BACKGROUND_READS_MAX: usize = 8;
/// Room reserved for a new file, in bytes: blocks lie together, and a full device says so before anything was written.
/// What is not needed is given back when the file is finished.
const RESERVE_BYTES: u64 = 8 << 20;
/// Capacity of the buffers that are kept for further reads, in bytes: those of single blocks.
const SPARE_BUF_BYTES: usize = 4096;

/// The caller's name for one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreTicket(pub u64);

/// Who waits for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadUrgency {
    /// A client.
    Fetch,
    /// Nobody: flushes and merges.
    Background,
}

/// What an operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// [`StoreIo::write`], or the creation of its file.
    Write,
    /// [`StoreIo::finish`].
    Finish,
    /// [`StoreIo::read`], or the opening of its file.
    Read,
}

/// How an operation ended.
#[derive(Debug)]
pub struct StoreOutcome {
    /// The caller's.
    pub ticket: StoreTicket,
    /// The buffer of a read or write; of a read that succeeded it is full.
    pub buf: Option<AlignedBuf>,
    /// A write is durable only after its file was finished.
    pub result: Result<(), StoreFailure>,
}

/// An operation that failed.
#[derive(Debug)]
pub struct StoreFailure {
    /// What it was.
    pub op: StoreOp,
    /// On which file.
    pub path: PathBuf,
    /// From where on, in bytes; 0 for the file as a whole.
    pub offset: u64,
    /// The system's error number; `EIO` for a read or write of fewer bytes than asked for.
    pub errno: i32,
}

impl StoreFailure {
    /// True when the device or a quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno, libc::ENOSPC | libc::EDQUOT)
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.op {
            StoreOp::Write => write!(f, "cannot write {path} at offset {}", self.offset)?,
            StoreOp::Finish => write!(f, "cannot make {path} durable")?,
            StoreOp::Read => write!(f, "cannot read {path} at offset {}", self.offset)?,
        }
        write!(f, ": {}", io::Error::from_raw_os_error(self.errno))
    }
}

impl std::error::Error for StoreFailure {}

/// A read or write on its way.
struct Transfer {
    op: StoreOp,
    urgency: ReadUrgency,
    ticket: StoreTicket,
    name: StoreFileName,
    offset: u64,
    buf: AlignedBuf,
}

/// One in the kernel's hands.
struct Pending {
    transfer: Transfer,
    /// Keeps the descriptor open.
    _file: Rc<StoreFile>,
}

struct OpenFile {
    file: Rc<StoreFile>,
    /// When it was last used, counted in operations.
    used: u64,
    /// It was created here and is not finished.
    is_written: bool,
}

/// See the module's text.
pub struct StoreIo {
    dir: StoreDir,
    worker: StoreClient,
    open: HashMap<StoreFileName, OpenFile>,
    /// What waits for the worker to create or open its file.
    opening: HashMap<StoreFileName, Vec<Transfer>>,
    /// Reads beyond what the kernel is given.
    urgent: VecDeque<Transfer>,
    background: VecDeque<Transfer>,
    /// By token.
    pending: Vec<Option<Pending>>,
    free: Vec<usize>,
    reads_in_flight: usize,
    background_in_flight: usize,
    /// Requests that found the worker's queue full: it is stuck behind a slow device.
    unasked: VecDeque<StoreRequest>,
    /// Requests at the worker.
    errands: usize,
    /// Files that are to be deleted and may still be there.
    deleting: usize,
    /// Finishes under way.
    finishing: HashMap<StoreFileName, StoreTicket>,
    uses: u64,
    spare: Vec<AlignedBuf>,
}

impl StoreIo {
    /// Works in `dir`; `worker` reports to this core.
    pub fn new(dir: StoreDir, worker: StoreClient) -> Self {
        Self {
            dir,
            worker,
            open: HashMap::new(),
            opening: HashMap::new(),
            urgent: VecDeque::new(),
            background: VecDeque::new(),
            pending: Vec::new(),
            free: Vec::new(),
            reads_in_flight: 0,
            background_in_flight: 0,
            unasked: VecDeque::new(),
            errands: 0,
            deleting: 0,
            finishing: HashMap::new(),
            uses: 0,
            spare: Vec::new(),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &StoreDir {
        &self.dir
    }

    /// True when nothing is under way, and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.pending.len() == self.free.len()
            && self.urgent.is_empty()
            && self.background.is_empty()
            && self.opening.is_empty()
            && self.errands + self.unasked.len() == 0
    }

    /// Reads and writes in the kernel's hands.
    pub fn in_flight(&self) -> usize {
        self.pending.len() - self.free.len()
    }

    /// Writes whole pages. The first write of a file creates it.
    ///
    /// # Errors
    /// The ring's. How the write ended comes as an outcome.
    pub fn write(
        &mut self,
        ring: &mut Ring,
        ticket: StoreTicket,
        name: StoreFileName,
        offset: u64,
        buf: AlignedBuf,
    ) -> io::Result<()> {
        let transfer = Transfer {
            op: StoreOp::Write,
            urgency: ReadUrgency::Background,
            ticket,
            name,
            offset,
            buf,
        };
        self.start(ring, transfer)
    }

    /// Makes a file durable, all of whose writes have completed: `bytes` of it.
    pub fn finish(&mut self, ticket: StoreTicket, name: StoreFileName, bytes: u64) {
        self.finishing.insert(name, ticket);
        self.ask(StoreRequest::Finish { name, bytes });
    }

    /// Deletes a file; reads under way go on. Nothing is told about it.
    pub fn delete(&mut self, name: StoreFileName) {
        self.open.remove(&name);
        self.deleting += 1;
        self.ask(StoreRequest::Delete { name });
    }

    /// Another file has taken the place of the one of this name, with the same contents: it is opened anew when it is read next.
    pub fn replaced(&mut self, name: StoreFileName) {
        self.open.remove(&name);
    }

    /// Whether files that were to be deleted may still be there.
    pub fn is_deleting(&self) -> bool {
        self.deleting > 0
    }

    /// Reads `bytes` at `offset`, whole pages.
    ///
    /// # Errors
    /// The ring's. How the read ended comes as an outcome.
    pub fn read(
        &mut self,
        ring: &mut Ring,
        ticket: StoreTicket,
        name: StoreFileName,
        offset: u64,
        bytes: usize,
        urgency: ReadUrgency,
    ) -> io::Result<()> {
        let mut buf = match self.spare.pop_if(|_| bytes <= SPARE_BUF_BYTES) {
            Some(buf) => buf,
            None => AlignedBuf::with_capacity(bytes),
        };
        buf.set_len(bytes);
        let transfer = Transfer {
            op: StoreOp::Read,
            urgency,
            ticket,
            name,
            offset,
            buf,
        };
        match urgency {
            ReadUrgency::Fetch => self.urgent.push_back(transfer),
            ReadUrgency::Background => self.background.push_back(transfer),
        }
        self.start_reads(ring)
    }

    /// Starts reads that wait, as far as there is room.
    fn start_reads(&mut self, ring: &mut Ring) -> io::Result<()> {
        while self.reads_in_flight < READS_IN_FLIGHT_MAX {
            let transfer = match self.urgent.pop_front() {
                Some(transfer) => transfer,
                None if self.background_in_flight < BACKGROUND_READS_MAX => match self.background.pop_front() {
                    Some(transfer) => transfer,
                    None => break,
                },
                None => break,
            };
            // Those that wait for their file to be opened count, too.
            self.reads_in_flight += 1;
            self.background_in_flight += usize::from(transfer.urgency == ReadUrgency::Background);
            self.start(ring, transfer)?;
        }
        Ok(())
    }

    fn start(&mut self, ring: &mut Ring, mut transfer: Transfer) -> io::Result<()> {
        self.uses += 1;
        let name = transfer.name;
        let Some(open) = self.open.get_mut(&name) else {
            let (op, reserve_bytes) = (transfer.op, RESERVE_BYTES);
            let waiting = self.opening.entry(name).or_default();
            waiting.push(transfer);
            if waiting.len() == 1 {
                self.ask(match op {
                    StoreOp::Write => StoreRequest::Create { name, reserve_bytes },
                    StoreOp::Read | StoreOp::Finish => StoreRequest::Open { name },
                });
            }
            return Ok(());
        };
        open.used = self.uses;
        let file = open.file.clone();
        let fd = types::Fd(file.file.as_raw_fd());
        let (len, offset) = (transfer.buf.len() as u32, transfer.offset);
        let entry = match transfer.op {
            StoreOp::Write => opcode::Write::new(fd, transfer.buf.as_ptr(), len)
                .offset(offset)
                .build(),
            StoreOp::Read | StoreOp::Finish => opcode::Read::new(fd, transfer.buf.as_mut_ptr(), len)
                .offset(offset)
                .build(),
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.pending.push(None);
            self.pending.len() - 1
        });
        self.pending[at] = Some(Pending { transfer, _file: file });
        // SAFETY: buffer and file stay in `pending` until the completion; moving the owner of a buffer does not move its
        // memory.
        unsafe { ring.push(Class::Store, at as u64, entry) }
    }

    fn ask(&mut self, request: StoreRequest) {
        if !self.unasked.is_empty() || self.worker.submit(request).is_err() {
            self.unasked.push_back(request);
        } else {
            self.errands += 1;
        }
    }

    /// Takes back a buffer that a read gave out.
    pub fn recycle(&mut self, buf: AlignedBuf) {
        if buf.capacity() == SPARE_BUF_BYTES && self.spare.len() < READS_IN_FLIGHT_MAX {
            self.spare.push(buf);
        }
    }

    /// Takes in one completion of class [`Class::Store`].
    ///
    /// # Errors
    /// The ring's.
    pub fn on_completion(&mut self, ring: &mut Ring, c: Completion) -> io::Result<StoreOutcome> {
        let at = c.token as usize;
        let pending = self.pending[at].take().expect("every completion was submitted here");
        self.free.push(at);
        let errno = match c.result {
            errno if errno < 0 => -errno,
            moved if moved as usize != pending.transfer.buf.len() => libc::EIO,
            _ => 0,
        };
        let outcome = self.end(pending.transfer, errno);
        self.start_reads(ring)?;
        Ok(outcome)
    }

    /// A read or write has ended; `errno` 0: well.
    fn end(&mut self, transfer: Transfer, errno: i32) -> StoreOutcome {
        if transfer.op == StoreOp::Read {
            self.reads_in_flight -= 1;
            self.background_in_flight -= usize::from(transfer.urgency == ReadUrgency::Background);
        }
        let result = match errno {
            0 => Ok(()),
            errno => Err(self.failure(transfer.op, transfer.name, transfer.offset, errno)),
        };
        StoreOutcome {
            ticket: transfer.ticket,
            buf: Some(transfer.buf),
            result,
        }
    }

    fn failure(&self, op: StoreOp, name: StoreFileName, offset: u64, errno: i32) -> StoreFailure {
        let path = self.dir.file_path(name);
        StoreFailure {
            op,
            path,
            offset,
            errno,
        }
    }

    /// Takes in what the worker has done; what ended by it is appended to `out`.
    ///
    /// # Errors
    /// The ring's.
    pub fn take_reports(&mut self, ring: &mut Ring, out: &mut Vec<StoreOutcome>) -> io::Result<()> {
        while let Some(report) = self.worker.try_report() {
            self.errands -= 1;
            self.on_report(ring, report, out)?;
        }
        // Those that were not taken before are, now that the worker has done something.
        while let Some(request) = self.unasked.pop_front() {
            if self.worker.submit(request).is_err() {
                self.unasked.push_front(request);
                break;
            }
            self.errands += 1;
        }
        Ok(())
    }

    fn on_report(&mut self, ring: &mut Ring, report: StoreReport, out: &mut Vec<StoreOutcome>) -> io::Result<()> {
        let name = report.request.file();
        match (report.request, report.result) {
            (StoreRequest::Create { .. } | StoreRequest::Open { .. }, Ok(file)) => {
                let is_written = matches!(report.request, StoreRequest::Create { .. });
                self.enter(file.expect("a file that was opened is reported with it"), is_written);
                for transfer in self.opening.remove(&name).unwrap_or_default() {
                    self.start(ring, transfer)?;
                }
            }
            (StoreRequest::Create { .. } | StoreRequest::Open { .. }, Err(error)) => {
                for transfer in self.opening.remove(&name).unwrap_or_default() {
                    out.push(self.end(transfer, error.errno()));
                }
                self.start_reads(ring)?;
            }
            (StoreRequest::Finish { .. }, result) => {
                let ticket = self.finishing.remove(&name).expect("each finish is reported once");
                if let Some(open) = self.open.get_mut(&name) {
                    open.is_written = false;
                }
                let result = result
                    .map(drop)
                    .map_err(|error| self.failure(StoreOp::Finish, name, 0, error.errno()));
                out.push(StoreOutcome {
                    ticket,
                    buf: None,
                    result,
                });
            }
            // It stays and takes room; the next start tries again.
            (StoreRequest::Delete { .. }, _) => self.deleting -= 1,
        }
        Ok(())
    }

    /// Keeps a file open; the one that was not used for longest is closed when there are too many, but none that is being
    /// written: it can be that nobody writes to it while hundreds of others are read.
    fn enter(&mut self, file: StoreFile, is_written: bool) {
        let closable = self.open.iter().filter(|(_, open)| !open.is_written);
        if self.open.len() >= OPEN_FILES_MAX
            && let Some(oldest) = closable.min_by_key(|(_, open)| open.used).map(|(name, _)| *name)
        {
            self.open.remove(&oldest);
        }
        self.uses += 1;
        let open = OpenFile {
            used: self.uses,
            is_written,
            file: Rc::new(file),
        };
        self.open.insert(open.file.name, open);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::time::Duration;

    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;
    use crate::disk::{DirectIo, StoreFileKind, StoreWorker};
    use crate::ids::CoreId;

    const PAGES: usize = 64;

    struct Bench {
        io: StoreIo,
        ring: Ring,
        worker: StoreWorker,
    }

    fn sorted(id: u64) -> StoreFileName {
        let kind = StoreFileKind::Sorted;
        StoreFileName { id, kind }
    }

    impl Bench {
        fn new(tmp: &TestDir) -> Self {
            let dir = StoreDir::new(tmp.path(), DirectIo::Preferred);
            let worker = StoreWorker::start().unwrap();
            // SAFETY: the call takes no pointer; the descriptor it returns is owned by nobody else.
            let wake = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
            let client = worker.client(CoreId(0), dir.clone(), wake);
            Self {
                io: StoreIo::new(dir, client),
                ring: Ring::new(512).unwrap(),
                worker,
            }
        }

        /// Until nothing is under way.
        fn settle(&mut self) -> Vec<StoreOutcome> {
            let (mut completions, mut outcomes) = (Vec::new(), Vec::new());
            while !self.io.is_idle() {
                self.ring.submit_and_wait(1, Duration::from_millis(1)).unwrap();
                self.ring.reap(&mut completions);
                for c in completions.drain(..) {
                    outcomes.push(self.io.on_completion(&mut self.ring, c).unwrap());
                    assert!(self.io.reads_in_flight <= READS_IN_FLIGHT_MAX);
                    assert!(self.io.background_in_flight <= BACKGROUND_READS_MAX);
                }
                self.io.take_reports(&mut self.ring, &mut outcomes).unwrap();
            }
            outcomes
        }

        fn file(&mut self, id: u64) -> StoreFileName {
            let name = sorted(id);
            for page in 0..PAGES {
                let mut buf = AlignedBuf::with_capacity(4096);
                buf.extend_from_slice(&[(id as u8) ^ page as u8; 4096]);
                let (ticket, at) = (StoreTicket(page as u64), page as u64 * 4096);
                self.io.write(&mut self.ring, ticket, name, at, buf).unwrap();
            }
            let written = self.settle();
            assert_eq!(written.iter().filter(|o| o.result.is_ok()).count(), PAGES);
            self.io.finish(StoreTicket(99), name, PAGES as u64 * 4096);
            let finished = self.settle();
            assert!(finished.len() == 1 && finished[0].ticket == StoreTicket(99) && finished[0].result.is_ok());
            name
        }
    }

    #[test]
    fn many_reads_of_many_files_come_back_with_their_own_bytes() {
        let tmp = TestDir::new("store-io");
        let mut bench = Bench::new(&tmp);
        let names: Vec<StoreFileName> = (1..5).map(|id| bench.file(id)).collect();
        // As after a restart: nothing is open.
        bench.io.open.clear();
        for n in 0..1000_usize {
            let (name, page) = (names[n % names.len()], n * 7 % PAGES);
            let ticket = StoreTicket(name.id << 32 | page as u64);
            let urgency = [ReadUrgency::Fetch, ReadUrgency::Background][n % 2];
            bench
                .io
                .read(&mut bench.ring, ticket, name, page as u64 * 4096, 4096, urgency)
                .unwrap();
        }
        // Deleted while reads of it wait: some are refused, some read to the end, none gets other bytes.
        bench.io.delete(names[0]);
        let mut read = 0;
        for outcome in bench.settle() {
            let (id, page) = (outcome.ticket.0 >> 32, outcome.ticket.0 as u8);
            match outcome.result {
                Ok(()) => {
                    assert_eq!(outcome.buf.unwrap()[..], [(id as u8) ^ page; 4096]);
                    read += 1;
                }
                Err(failure) => assert_eq!((id, failure.errno), (names[0].id, libc::ENOENT)),
            }
        }
        assert!(read >= 750);
        drop(bench.io);
        drop(bench.worker);
    }

    #[test]
    fn a_file_that_is_being_written_keeps_what_it_has_while_many_others_are_opened() {
        let tmp = TestDir::new("store-io-many");
        let mut bench = Bench::new(&tmp);
        let others: Vec<StoreFileName> = (1..2 * OPEN_FILES_MAX as u64).map(|id| bench.file(id)).collect();
        let slow = sorted(1000);
        for page in 0..2_u8 {
            let mut buf = AlignedBuf::with_capacity(4096);
            buf.extend_from_slice(&[page + 1; 4096]);
            let at = u64::from(page) * 4096;
            bench.io.write(&mut bench.ring, StoreTicket(1), slow, at, buf).unwrap();
            assert!(bench.settle().iter().all(|outcome| outcome.result.is_ok()));
            for &other in &others {
                let (ring, urgency) = (&mut bench.ring, ReadUrgency::Fetch);
                bench.io.read(ring, StoreTicket(2), other, 0, 4096, urgency).unwrap();
                bench.settle();
            }
            assert!(bench.io.open.len() <= OPEN_FILES_MAX);
        }
        bench.io.finish(StoreTicket(3), slow, 2 * 4096);
        assert!(bench.settle().iter().all(|outcome| outcome.result.is_ok()));
        for page in 0..2_u8 {
            let (ring, urgency, at) = (&mut bench.ring, ReadUrgency::Fetch, u64::from(page) * 4096);
            bench.io.read(ring, StoreTicket(4), slow, at, 4096, urgency).unwrap();
            assert_eq!(bench.settle()[0].buf.as_ref().unwrap()[..], [page + 1; 4096]);
        }
        // Finished, it is one of many.
        for &other in &others {
            let (ring, urgency) = (&mut bench.ring, ReadUrgency::Fetch);
            bench.io.read(ring, StoreTicket(2), other, 0, 4096, urgency).unwrap();
            bench.settle();
        }
        assert!(!bench.io.open.contains_key(&slow));
    }

    #[test]
    fn what_is_missing_or_short_is_named_with_its_offset() {
        let tmp = TestDir::new("store-io-missing");
        let mut bench = Bench::new(&tmp);
        let there = bench.file(9);
        for (name, at) in [(there, (PAGES as u64 - 1) * 4096), (sorted(10), 4096)] {
            bench
                .io
                .read(&mut bench.ring, StoreTicket(1), name, at, 8192, ReadUrgency::Fetch)
                .unwrap();
        }
        let failures = bench.settle().into_iter().map(|o| o.result.unwrap_err().to_string());
        let mut texts: Vec<String> = failures.collect();
        texts.sort();
        assert!(texts[0].contains("09.sst at offset 258048: Input/output"), "{texts:?}");
        assert!(texts[1].contains("10.sst at offset 4096: No such file"), "{texts:?}");
    }
}
