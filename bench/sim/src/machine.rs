//! [`Machine`]: one run of the process: log, keyspace, and the loop between them and the disk.
//!
//! A turn is what the server's core does: complete I/O, advance the durable prefix, execute and answer what it covers,
//! hand new effects to the disk. [`Plant`] breaks that loop on purpose, to prove that the oracle would notice.

use std::collections::VecDeque;

use bytes::Bytes;
use slotcore_engine::log::{
    AppendError, CoreLog, EntryRead, GcAdvice, LogEffect, LogFailure, LogOptions, LogPos, Record, SyncPolicy, Ticket,
    Vote, decode_entry,
};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, GroupId, GroupSlot, LogIndex, ReplicaId, SegmentId, Term};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::disk::{DiskDone, DiskOp, SimDisk};

use crate::history::History;
use crate::replica::Replica;
use crate::segments::{DiskSource, Request, Segments};

/// The only group.
pub const GROUP: GroupSlot = GroupSlot(0);
/// Entries read back at a time during recovery, in bytes.
const READ_BYTES_MAX: u64 = 1 << 20;

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// The loop as it should be.
    #[default]
    None,
    /// Answers once the frame was handed to the disk, although the mode promises durability.
    AckBeforeDurablePrefix,
    /// Every write starts one block early, writing the last block of the frame before once more, as a log that packs
    /// frames without padding must.
    RewrittenTailBlock,
    /// Entries are executed with the machine's own clock instead of the entry's time.
    LocalClockExpiry,
}

/// Why a run cannot begin or go on.
#[derive(Debug)]
pub enum Stop {
    /// The log's device failed: the process ends, as it should.
    Failed(LogFailure),
    /// Recovery found damage.
    Damaged(String),
    /// Something that must never be.
    Wrong(String),
}

struct Waiting {
    index: LogIndex,
    frame: FrameNo,
}

/// One run of the process.
pub struct Machine {
    log: CoreLog,
    segments: Segments,
    replica: Replica,
    rng: SeededRng,
    plant: Plant,
    sync: SyncPolicy,
    term: Term,
    /// Entries in the log that were not answered yet.
    unanswered: VecDeque<Waiting>,
    /// Entries not known to be durable.
    not_durable: VecDeque<Waiting>,
    not_submitted: VecDeque<Waiting>,
    effects: Vec<LogEffect>,
    done: Vec<DiskDone>,
    segments_failed: Vec<(SegmentId, i32)>,
    /// The highest entry executed.
    applied: LogIndex,
}

impl Machine {
    /// Recovers from what is on `disk`. `history` stands in for the snapshot that holds what was purged.
    ///
    /// # Errors
    /// [`Stop::Damaged`] as recovery says, [`Stop::Wrong`] when it presents an entry nobody wrote.
    pub fn recover(
        disk: &mut SimDisk,
        opts: LogOptions,
        history: &History,
        rng: SeededRng,
        plant: Plant,
        local_ms: u64,
    ) -> Result<Self, Stop> {
        let sync = opts.sync;
        let log = CoreLog::recover(opts, &mut DiskSource(disk), &mut |_record| {});
        let log = log.map_err(|error| Stop::Damaged(error.to_string()))?;
        let segments = Segments::open(disk);
        let mut machine = Self {
            log,
            segments,
            replica: Replica::default(),
            rng,
            plant,
            sync,
            term: Term(1),
            unanswered: VecDeque::new(),
            not_durable: VecDeque::new(),
            not_submitted: VecDeque::new(),
            effects: Vec::new(),
            done: Vec::new(),
            segments_failed: Vec::new(),
            applied: LogIndex(0),
        };
        if let Some(group) = machine.log.group(GROUP) {
            machine.term = Term(group.vote().map_or(0, |vote| vote.term.0) + 1);
            machine.replay(disk, history, local_ms)?;
        }
        Ok(machine)
    }

    fn replay(&mut self, disk: &mut SimDisk, history: &History, local_ms: u64) -> Result<(), Stop> {
        let group = self.log.group(GROUP).expect("the caller looked");
        let (purged, last) = (group.purged().index, group.last().index);
        if last >= history.next_index() {
            return Err(Stop::Wrong(format!("entry {last} was recovered but never written")));
        }
        for index in (1..=purged.0).map(LogIndex) {
            self.apply(history.payload(index), local_ms)?;
        }
        let mut reads = Vec::new();
        while self.applied < last {
            let (from, to) = (LogIndex(self.applied.0 + 1), LogIndex(last.0 + 1));
            reads.clear();
            self.log.entries(GROUP, from, to, READ_BYTES_MAX, &mut reads);
            if reads.is_empty() {
                return Err(Stop::Wrong(format!(
                    "entry {from} is missing although the log ends at {last}"
                )));
            }
            for read in reads.drain(..) {
                let (pos, payload) = self.read_back(disk, read)?;
                let index = LogIndex(self.applied.0 + 1);
                if pos != history.pos(index) || payload != history.payload(index) {
                    return Err(Stop::Wrong(format!("entry {index} is not what was written ({pos:?})")));
                }
                self.apply(&payload, local_ms)?;
            }
        }
        Ok(())
    }

    fn read_back(&self, disk: &mut SimDisk, read: EntryRead) -> Result<(LogPos, Bytes), Stop> {
        let cold = match read {
            EntryRead::Cached { pos, payload } => return Ok((pos, payload)),
            EntryRead::Cold(cold) => cold,
        };
        let mut frames = Vec::new();
        for range in &cold.frames {
            let read = disk.read(self.segments.file(range.segment), range.offset, range.len as usize);
            frames.push(read.map_err(|errno| Stop::Damaged(format!("reading an entry back failed: errno {errno}")))?);
        }
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let payload = decode_entry(&cold, &frames).map_err(|error| Stop::Damaged(error.to_string()))?;
        Ok((cold.pos, payload))
    }

    fn apply(&mut self, payload: &[u8], local_ms: u64) -> Result<Vec<String>, Stop> {
        let local_ms = (self.plant == Plant::LocalClockExpiry).then_some(local_ms);
        let answers = self.replica.apply(payload, local_ms).map_err(Stop::Wrong)?;
        self.applied = LogIndex(self.applied.0 + 1);
        Ok(answers)
    }

    /// Appends a batch. `Ok(false)`: the log takes nothing just now, the client gets an error.
    ///
    /// # Errors
    /// [`Stop::Wrong`] when the log refuses for a reason it should not have.
    pub fn propose(&mut self, index: LogIndex, payload: Bytes) -> Result<bool, Stop> {
        let pos = LogPos { term: self.term, index };
        match self.log.append(Record::Entry {
            group: GROUP,
            pos,
            payload,
        }) {
            Ok(frame) => {
                for queue in [&mut self.unanswered, &mut self.not_durable, &mut self.not_submitted] {
                    queue.push_back(Waiting { index, frame });
                }
                Ok(true)
            }
            Err(AppendError::NotReady | AppendError::NoSpace | AppendError::Backlog) => Ok(false),
            Err(error) => Err(Stop::Wrong(format!("entry {index} was refused: {error}"))),
        }
    }

    /// Opens the group in an empty log, and votes for itself in a new term. `Ok(false)`: the log is not ready yet.
    ///
    /// # Errors
    /// [`Stop::Wrong`] when the log refuses.
    pub fn begin(&mut self) -> Result<bool, Stop> {
        if self.log.group(GROUP).is_none()
            && !self.state(Record::GroupCreate {
                group: GROUP,
                id: GroupId(1),
            })?
        {
            return Ok(false);
        }
        let vote = Vote {
            term: self.term,
            voted_for: Some(ReplicaId(1)),
            committed: true,
        };
        self.state(Record::Vote { group: GROUP, vote })
    }

    /// Forgets entries up to `upto`, which a snapshot now holds.
    ///
    /// # Errors
    /// [`Stop::Wrong`] when the log refuses.
    pub fn purge(&mut self, upto: LogPos) -> Result<bool, Stop> {
        self.log.release(GROUP, upto.index);
        self.state(Record::Purge {
            group: GROUP,
            pos: upto,
        })
    }

    /// Writes again what little is left in the oldest segment, when the log advises it.
    ///
    /// # Errors
    /// [`Stop::Wrong`] when the log refuses; [`Stop::Damaged`] when an entry cannot be read back.
    pub fn tidy(&mut self, disk: &mut SimDisk) -> Result<(), Stop> {
        let GcAdvice::Rewrite(entries) = self.log.gc_advice() else {
            return Ok(());
        };
        let mut reads = Vec::new();
        for (group, index) in entries {
            reads.clear();
            self.log
                .entries(group, index, LogIndex(index.0 + 1), READ_BYTES_MAX, &mut reads);
            let read = reads
                .pop()
                .ok_or_else(|| Stop::Wrong(format!("entry {index} cannot be rewritten: not kept")))?;
            let (pos, payload) = self.read_back(disk, read)?;
            if !self.state(Record::Rewrite { group, pos, payload })? {
                break;
            }
        }
        Ok(())
    }

    fn state(&mut self, record: Record) -> Result<bool, Stop> {
        match self.log.append(record) {
            Ok(_) => Ok(true),
            Err(AppendError::NotReady | AppendError::NoSpace | AppendError::Backlog) => Ok(false),
            Err(error) => Err(Stop::Wrong(format!("a record of state was refused: {error}"))),
        }
    }

    /// One turn of the core.
    ///
    /// # Errors
    /// [`Stop::Failed`]: the device failed. [`Stop::Wrong`]: an answer was wrong.
    pub fn turn(&mut self, disk: &mut SimDisk, now: Tick, local_ms: u64, history: &mut History) -> Result<(), Stop> {
        disk.poll(now, &mut self.done);
        for done in std::mem::take(&mut self.done) {
            if let Some(id) = self.segments.ready(done.token) {
                self.log.on_segment_ready(id, self.rng.next_u64());
            } else {
                self.log
                    .on_done(now, Ticket(done.token), done.buf, done.result)
                    .map_err(Stop::Failed)?;
            }
        }
        self.answer(local_ms, history)?;
        self.log.step(now, &mut self.effects);
        for effect in std::mem::take(&mut self.effects) {
            self.perform(disk, now, effect);
        }
        self.segments.advance(disk, now, &mut self.segments_failed);
        for (id, errno) in self.segments_failed.drain(..) {
            self.log.on_segment_failed(now, id, errno);
        }
        mark(&mut self.not_submitted, self.log.submitted(), |index| {
            history.mark_submitted(index)
        });
        self.answer(local_ms, history)?;
        self.replica.expire_some();
        Ok(())
    }

    fn answer(&mut self, local_ms: u64, history: &mut History) -> Result<(), Stop> {
        mark(&mut self.not_durable, self.log.durable(), |index| {
            history.mark_durable(index)
        });
        let promised = match self.sync {
            SyncPolicy::Each if self.plant != Plant::AckBeforeDurablePrefix => self.log.durable(),
            _ => self.log.submitted(),
        };
        while let Some(next) = self.unanswered.front()
            && next.frame <= promised
        {
            let index = next.index;
            self.unanswered.pop_front();
            let payload = history.payload(index).clone();
            let answers = self.apply(&payload, local_ms)?;
            history.acknowledge(&answers).map_err(Stop::Wrong)?;
        }
        Ok(())
    }

    fn perform(&mut self, disk: &mut SimDisk, now: Tick, effect: LogEffect) {
        match effect {
            LogEffect::Write {
                ticket,
                segment,
                offset,
                buf,
                sync,
            } => {
                let file = self.segments.file(segment);
                let (offset, buf) = match self.plant {
                    Plant::RewrittenTailBlock if offset > 0 => {
                        let block = BLOCK_BYTES;
                        let tail = disk.read(file, offset - block as u64, block);
                        (
                            offset - block as u64,
                            joined(&tail.expect("reads do not fail here"), &buf),
                        )
                    }
                    _ => (offset, buf),
                };
                disk.submit(
                    now,
                    ticket.0,
                    DiskOp::Write {
                        file,
                        offset,
                        buf,
                        sync,
                    },
                );
            }
            LogEffect::Sync { ticket, segment } => {
                disk.submit(
                    now,
                    ticket.0,
                    DiskOp::Sync {
                        file: self.segments.file(segment),
                    },
                );
            }
            LogEffect::CreateSegment { id, bytes } => self.segments.request(Request::Create(id, bytes)),
            LogEffect::RecycleSegment { from, to } => self.segments.request(Request::Recycle(from, to)),
            LogEffect::DeleteSegment { id } => self.segments.request(Request::Delete(id)),
        }
    }

    /// Asks for an orderly end; [`Machine::is_sealed`] tells when it is durable.
    pub fn seal(&mut self) {
        self.log.seal();
    }

    /// See [`Machine::seal`].
    pub fn is_sealed(&self) -> bool {
        self.log.is_sealed()
    }

    /// When the log has something to do by itself.
    pub fn next_wake(&self) -> Option<Tick> {
        self.log.next_wake()
    }

    /// The last entry in the log.
    pub fn last(&self) -> LogIndex {
        self.log.group(GROUP).map_or(LogIndex(0), |group| group.last().index)
    }

    /// The term voted for in the log.
    pub fn voted(&self) -> Term {
        self.log
            .group(GROUP)
            .and_then(|group| group.vote())
            .map_or(Term(0), |vote| vote.term)
    }

    /// The term of what is proposed in this run.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Keys and values.
    pub fn replica(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// True while entries in the log wait to be answered.
    pub fn has_unanswered(&self) -> bool {
        !self.unanswered.is_empty()
    }
}

/// Block size of the simulated log: one sector, so that as many kinds of torn frames as possible occur.
pub const BLOCK_BYTES: usize = 512;

fn mark(waiting: &mut VecDeque<Waiting>, upto: FrameNo, mut seen: impl FnMut(LogIndex)) {
    while let Some(next) = waiting.pop_front_if(|next| next.frame <= upto) {
        seen(next.index);
    }
}

/// With at least the room that `tail` has: the log takes its buffers back for later frames.
fn joined(head: &[u8], tail: &AlignedBuf) -> AlignedBuf {
    let mut buf = AlignedBuf::with_capacity(head.len() + tail.capacity());
    buf.extend_from_slice(head);
    buf.extend_from_slice(tail);
    buf
}
