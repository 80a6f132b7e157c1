//! [`MemoryLog`]: a group log in memory that can lose what was not durable. For groups whose state may end with their
//! process, for examples, and for tests.
//!
//! It keeps the journal of its writes, one frame each, and a durable prefix of it. A crash cuts the journal there and
//! replays it: exactly what a real log does with its file.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use slotcore_rt::ids::{FrameNo, LogIndex, Term};

use crate::log_store::{GroupLogStore, LogEntry, VoteRecord, WriteError};

type Position = (LogIndex, Term);

#[derive(Clone)]
enum Write {
    Append(LogEntry),
    Vote(VoteRecord),
    TruncateAfter(LogIndex),
    Purge(Position),
    Committed(Position),
}

#[derive(Default)]
struct Contents {
    starts_anywhere: bool,
    vote: Option<VoteRecord>,
    committed: Position,
    purged: Position,
    entries: VecDeque<LogEntry>,
}

impl Contents {
    fn last(&self) -> Position {
        self.entries
            .back()
            .map_or(self.purged, |entry| (entry.index, entry.term))
    }

    fn carry_out(&mut self, write: Write) {
        match write {
            Write::Append(entry) => {
                let may_start = self.starts_anywhere && self.entries.is_empty();
                assert!(
                    may_start || entry.index.0 == self.last().0.0 + 1,
                    "entries are appended without gaps"
                );
                self.entries.push_back(entry);
            }
            Write::Vote(vote) => self.vote = Some(vote),
            Write::TruncateAfter(last) => self.entries.retain(|entry| entry.index <= last),
            Write::Purge(upto) => {
                self.entries.retain(|entry| entry.index > upto.0);
                self.purged = self.purged.max(upto);
            }
            Write::Committed(upto) => self.committed = upto,
        }
    }
}

#[derive(Default)]
struct Journal {
    contents: Contents,
    writes: Vec<Write>,
    durable: usize,
}

/// A handle to the log; clones see the same one.
#[derive(Clone, Default)]
pub struct MemoryLog(Rc<RefCell<Journal>>);

impl MemoryLog {
    /// A log whose first entry may have any index.
    pub fn starting_anywhere() -> MemoryLog {
        let log = MemoryLog::default();
        log.0.borrow_mut().contents.starts_anywhere = true;
        log
    }

    /// The last frame written.
    pub fn submitted(&self) -> FrameNo {
        FrameNo(self.0.borrow().writes.len() as u64)
    }

    /// The last frame that would survive a crash.
    pub fn durable(&self) -> FrameNo {
        FrameNo(self.0.borrow().durable as u64)
    }

    /// Makes frames up to `frame` durable, of those that were written. Tell the group's [`LogHub`](crate::LogHub) next.
    pub fn sync_to(&self, frame: FrameNo) {
        let mut journal = self.0.borrow_mut();
        journal.durable = journal
            .durable
            .max(usize::try_from(frame.0).expect("frames of a memory fit into it"));
        assert!(journal.durable <= journal.writes.len());
    }

    /// What a restart finds: a new log holding the durable frames. This one is left to whoever still writes into it.
    pub fn after_crash(&self) -> MemoryLog {
        let journal = self.0.borrow();
        let mut contents = Contents::default();
        let writes = journal.writes[..journal.durable].to_vec();
        writes.iter().cloned().for_each(|write| contents.carry_out(write));
        let durable = writes.len();
        MemoryLog(Rc::new(RefCell::new(Journal {
            contents,
            writes,
            durable,
        })))
    }

    /// All entries held.
    pub fn all_entries(&self) -> Vec<LogEntry> {
        self.0.borrow().contents.entries.iter().cloned().collect()
    }

    fn write(&self, write: Write) -> Result<FrameNo, WriteError> {
        let mut journal = self.0.borrow_mut();
        journal.contents.carry_out(write.clone());
        journal.writes.push(write);
        Ok(FrameNo(journal.writes.len() as u64))
    }
}

impl GroupLogStore for MemoryLog {
    fn append(&mut self, entry: &LogEntry) -> Result<FrameNo, WriteError> {
        self.write(Write::Append(entry.clone()))
    }

    fn save_vote(&mut self, vote: VoteRecord) -> Result<FrameNo, WriteError> {
        self.write(Write::Vote(vote))
    }

    fn truncate_after(&mut self, last: LogIndex) -> Result<FrameNo, WriteError> {
        self.write(Write::TruncateAfter(last))
    }

    fn purge(&mut self, upto: LogIndex, term: Term) -> Result<FrameNo, WriteError> {
        self.write(Write::Purge((upto, term)))
    }

    fn release(&mut self, _upto: LogIndex) {}

    fn note_committed(&mut self, index: LogIndex, term: Term) {
        self.write(Write::Committed((index, term)))
            .expect("writing to memory does not fail");
    }

    fn vote(&self) -> Option<VoteRecord> {
        self.0.borrow().contents.vote
    }

    fn committed(&self) -> Position {
        self.0.borrow().contents.committed
    }

    fn purged(&self) -> Position {
        self.0.borrow().contents.purged
    }

    fn last(&self) -> Position {
        self.0.borrow().contents.last()
    }

    async fn entries(&self, from: LogIndex, end: LogIndex, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        let journal = self.0.borrow();
        let wanted = journal
            .contents
            .entries
            .iter()
            .filter(|entry| (from..end).contains(&entry.index));
        let mut bytes = 0;
        let within = |entry: &&LogEntry| {
            let first = bytes == 0;
            bytes += entry.payload.len().max(1);
            first || bytes <= bytes_max
        };
        Ok(wanted.take_while(within).cloned().collect())
    }
}
