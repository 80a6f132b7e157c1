//! A group's log inside the core's one log.
//!
//! The core's log stores payloads and knows nothing of Raft's kinds of entries: the payload's first byte tells them
//! apart. Format: `docs/formats/raft-entries.md`.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use slotcore_engine::log::{
    AppendError, ColdEntry, CoreLog, EntryRead, FrameRange, GroupLog, LogPos, Record, Vote, decode_entry,
};
use slotcore_rt::ids::{FrameNo, GroupId, GroupSlot, LogIndex, Term};

use crate::log_store::{EntryKind, GroupLogStore, LogEntry, VoteRecord, WriteError};
use crate::membership;

/// Reads frames back for entries that are no longer in memory. Done by whoever owns the log's files.
pub trait ReadFrames {
    /// The bytes of a whole frame.
    fn read(&self, frame: FrameRange) -> LocalBoxFuture<'_, io::Result<Vec<u8>>>;
}

/// One group's part of the core's log; clones are the same part.
#[derive(Clone)]
pub struct CoreLogHandle {
    log: Rc<RefCell<CoreLog>>,
    slot: GroupSlot,
    reader: Rc<dyn ReadFrames>,
    /// A commit position not written yet: it goes along with the next record.
    committed: Rc<RefCell<LogPos>>,
}

impl CoreLogHandle {
    /// The part of group `id`; the group is created when the log does not have it.
    ///
    /// # Errors
    /// As [`CoreLog::append`]: a new log takes its first record once its first segment is ready.
    pub fn open(
        log: Rc<RefCell<CoreLog>>,
        id: GroupId,
        reader: Rc<dyn ReadFrames>,
    ) -> Result<CoreLogHandle, AppendError> {
        let found = log
            .borrow()
            .groups()
            .find(|(_, group)| group.id() == id)
            .map(|(slot, _)| slot);
        let slot = match found {
            Some(slot) => slot,
            None => {
                let mut log = log.borrow_mut();
                let group = log.free_slot();
                log.append(Record::GroupCreate { group, id })?;
                group
            }
        };
        Ok(CoreLogHandle {
            log,
            slot,
            reader,
            committed: Rc::default(),
        })
    }

    /// The group's place in the log.
    pub fn slot(&self) -> GroupSlot {
        self.slot
    }

    fn write(&self, record: Record) -> Result<FrameNo, WriteError> {
        self.log.borrow_mut().append(record).map_err(write_error)
    }

    fn group<T>(&self, ask: impl FnOnce(&GroupLog) -> T) -> T {
        let log = self.log.borrow();
        ask(log
            .group(self.slot)
            .expect("the group was there when this handle was made, and is dropped after it"))
    }

    async fn read_cold(&self, entry: &ColdEntry) -> io::Result<Bytes> {
        let mut frames = Vec::with_capacity(entry.frames.len());
        for frame in &entry.frames {
            frames.push(self.reader.read(*frame).await?);
        }
        let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        decode_entry(entry, &frames).map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage.to_string()))
    }
}

impl GroupLogStore for CoreLogHandle {
    fn append(&mut self, entry: &LogEntry) -> Result<FrameNo, WriteError> {
        let pos = LogPos {
            term: entry.term,
            index: entry.index,
        };
        let frame = self.write(Record::Entry {
            group: self.slot,
            pos,
            payload: entry.payload.clone(),
        })?;
        let committed = std::mem::take(&mut *self.committed.borrow_mut());
        if committed.index.0 > 0 {
            // It only saves time after a restart, so it may be left out when there is no room.
            let _ = self.write(Record::Commit {
                group: self.slot,
                pos: committed,
            });
        }
        Ok(frame)
    }

    fn save_vote(&mut self, vote: VoteRecord) -> Result<FrameNo, WriteError> {
        let vote = Vote {
            term: vote.term,
            voted_for: Some(vote.voted_for),
            committed: vote.committed,
        };
        self.write(Record::Vote { group: self.slot, vote })
    }

    fn truncate_after(&mut self, last: LogIndex) -> Result<FrameNo, WriteError> {
        let frame = self.write(Record::TruncateAfter {
            group: self.slot,
            index: last,
        })?;
        self.log.borrow_mut().request_sync();
        Ok(frame)
    }

    fn purge(&mut self, upto: LogIndex, term: Term) -> Result<FrameNo, WriteError> {
        let frame = self.write(Record::Purge {
            group: self.slot,
            pos: LogPos { term, index: upto },
        })?;
        self.log.borrow_mut().request_sync();
        Ok(frame)
    }

    fn release(&mut self, upto: LogIndex) {
        self.log.borrow_mut().release(self.slot, upto);
    }

    fn note_committed(&mut self, index: LogIndex, term: Term) {
        *self.committed.borrow_mut() = LogPos { term, index };
    }

    fn vote(&self) -> Option<VoteRecord> {
        let vote = self.group(GroupLog::vote)?;
        Some(VoteRecord {
            term: vote.term,
            voted_for: vote.voted_for?,
            committed: vote.committed,
        })
    }

    fn committed(&self) -> (LogIndex, Term) {
        position(self.group(GroupLog::committed).max(*self.committed.borrow()))
    }

    fn purged(&self) -> (LogIndex, Term) {
        position(self.group(GroupLog::purged))
    }

    fn last(&self) -> (LogIndex, Term) {
        position(self.group(GroupLog::last))
    }

    async fn entries(&self, from: LogIndex, end: LogIndex, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        let mut found = Vec::new();
        self.log
            .borrow()
            .entries(self.slot, from, end, bytes_max as u64, &mut found);
        let mut entries = Vec::with_capacity(found.len());
        for entry in found {
            entries.push(match entry {
                EntryRead::Cached { pos, payload } => log_entry(pos, payload),
                EntryRead::Cold(cold) => log_entry(cold.pos, self.read_cold(&cold).await?),
            });
        }
        Ok(entries)
    }
}

/// Which kind of entry a payload of the log is.
pub fn kind_of(payload: &[u8]) -> EntryKind {
    match payload.first() {
        None => EntryKind::Blank,
        Some(&membership::TAG) => EntryKind::Membership,
        Some(_) => EntryKind::Normal,
    }
}

fn log_entry(pos: LogPos, payload: Bytes) -> LogEntry {
    LogEntry {
        index: pos.index,
        term: pos.term,
        kind: kind_of(&payload),
        payload,
    }
}

fn position(pos: LogPos) -> (LogIndex, Term) {
    (pos.index, pos.term)
}

fn write_error(error: AppendError) -> WriteError {
    match error {
        AppendError::NotReady | AppendError::NoSpace | AppendError::Backlog => WriteError::NoRoom,
        AppendError::TooLarge { .. }
        | AppendError::OutOfOrder { .. }
        | AppendError::UnknownGroup(_)
        | AppendError::GroupExists(_)
        | AppendError::Sealed
        | AppendError::Failed(_) => WriteError::Failed(io::Error::other(error.to_string())),
    }
}
