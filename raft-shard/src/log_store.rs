//! openraft's log storage on top of a [`GroupLogStore`].
//!
//! The contract, and how it is kept:
//! - an appended entry can be read when `append` returns, and counts when its callback fires: [`LogHub`] fires it;
//! - a vote, a truncation and a purge are durable when their future resolves: they wait at the hub for their frame;
//! - all of these reach the disk in the order they were called: there is one log, and frames complete as a prefix.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use slotcore_rt::ids::{FrameNo, LogIndex, ReplicaId, Term};

use crate::group_state::GroupState;
use crate::log_hub::LogHub;
use crate::membership;
use crate::runtime::Runtime;
use crate::types::{
    CommittedLeaderId, Entry, LogId, Payload, RaftTypes, Vote, log_id, log_index, position, raft_index,
};

/// Bytes of entries read for one message to a follower: large enough to amortise the message, small enough that a
/// message never holds up heartbeats for long.
pub const REPLICATION_BYTES_MAX: usize = 1 << 20;

/// What an entry's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Nothing: a new leader's first entry. The payload is empty.
    Blank = 0,
    /// Proposed by [`crate::Consensus::propose`].
    Normal = 1,
    /// Voters and learners, as [`membership`](crate::membership) writes them.
    Membership = 2,
}

/// An entry as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Position, from 1, without gaps.
    pub index: LogIndex,
    /// Term of the leader that appended it.
    pub term: Term,
    /// What `payload` is.
    pub kind: EntryKind,
    /// At most 1 MiB.
    pub payload: Bytes,
}

/// A vote as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteRecord {
    /// The term voted in.
    pub term: Term,
    /// For whom.
    pub voted_for: ReplicaId,
    /// Whether `voted_for` is known to lead in `term`.
    pub committed: bool,
}

/// Why a write was not taken; nothing has changed.
#[derive(Debug)]
pub enum WriteError {
    /// No room at the moment (a segment is being prepared, the device is behind, the disk is full): tried again at every
    /// [`LogHub::advance`].
    NoRoom,
    /// The log takes nothing any more: the group stops.
    Failed(io::Error),
}

/// One group's part of the core's log. Positions are (index, term); (0, 0) is "none".
///
/// Writes take effect for readers at once and are durable with the frame they return; frames are numbered in the order
/// of the calls, over all groups of the core. While there is no room the group waits, its proposals pile up to
/// [`PROPOSALS_WAITING_MAX`](crate::options::PROPOSALS_WAITING_MAX) and are refused from then on; reads go on.
pub trait GroupLogStore: 'static {
    /// Appends the entry after the last one. Returns the frame holding its last byte.
    fn append(&mut self, entry: &LogEntry) -> Result<FrameNo, WriteError>;
    /// Records the vote.
    fn save_vote(&mut self, vote: VoteRecord) -> Result<FrameNo, WriteError>;
    /// Removes all entries after `last`.
    fn truncate_after(&mut self, last: LogIndex) -> Result<FrameNo, WriteError>;
    /// Forgets all entries up to `upto`, which may lie beyond the last entry (after a snapshot came from the leader).
    fn purge(&mut self, upto: LogIndex, term: Term) -> Result<FrameNo, WriteError>;
    /// Entries up to `upto` have been executed and no other replica will ask for them.
    fn release(&mut self, upto: LogIndex);
    /// Notes how far entries are committed, to be written along with the next frame. Never needed for safety: it lets a
    /// restarted replica apply more before it has heard from a leader.
    fn note_committed(&mut self, index: LogIndex, term: Term);
    /// The last vote saved.
    fn vote(&self) -> Option<VoteRecord>;
    /// The last commit position noted.
    fn committed(&self) -> (LogIndex, Term);
    /// The position up to which entries are forgotten.
    fn purged(&self) -> (LogIndex, Term);
    /// The position of the last entry; that of [`GroupLogStore::purged`] when there is none.
    fn last(&self) -> (LogIndex, Term);
    /// Entries `from..end` that exist, in order, stopping early once they exceed `bytes_max` (at least one is returned).
    fn entries(
        &self,
        from: LogIndex,
        end: LogIndex,
        bytes_max: usize,
    ) -> impl Future<Output = io::Result<Vec<LogEntry>>>;
}

/// The adaptor.
pub struct LogStore<RT: Runtime, L> {
    log: L,
    hub: Rc<LogHub<RT>>,
    group: Rc<GroupState>,
    unapplied: Unapplied,
}

/// Entries appended here and perhaps not executed yet, in order without gaps, so that executing one never has to read
/// the device. The payloads are shared with the log.
type Unapplied = Rc<RefCell<VecDeque<Entry>>>;

impl<RT: Runtime, L: GroupLogStore + Clone> LogStore<RT, L> {
    /// `log`: a handle; clones see the same log.
    pub fn new(log: L, hub: Rc<LogHub<RT>>, group: Rc<GroupState>) -> Self {
        group.set_appended(log.last().0);
        LogStore {
            log,
            hub,
            group,
            unapplied: Rc::default(),
        }
    }

    /// Repeats `write` until there is room for it.
    async fn write(&mut self, mut write: impl FnMut(&mut L) -> Result<FrameNo, WriteError>) -> io::Result<FrameNo> {
        loop {
            match write(&mut self.log) {
                Ok(frame) => return Ok(frame),
                Err(WriteError::NoRoom) => self.hub.room().await?,
                Err(WriteError::Failed(error)) => return Err(error),
            }
        }
    }

    /// Forgets what has been executed.
    fn forget_applied(&mut self) {
        let (applied, _) = self.group.applied();
        let mut unapplied = self.unapplied.borrow_mut();
        while unapplied
            .pop_front_if(|entry| log_index(entry.log_id.index) <= applied)
            .is_some()
        {}
        drop(unapplied);
        if self.group.is_alone() {
            self.log.release(applied);
        }
    }
}

impl<RT: Runtime, L: GroupLogStore + Clone> RaftLogStorage<RaftTypes<RT>> for LogStore<RT, L> {
    type LogReader = LogReader<L>;

    async fn get_log_state(&mut self) -> io::Result<LogState<RaftTypes<RT>>> {
        let id = |(index, term)| log_id(index, term);
        Ok(LogState {
            last_purged_log_id: id(self.log.purged()),
            last_log_id: id(self.log.last()),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader<L> {
        LogReader {
            log: self.log.clone(),
            unapplied: self.unapplied.clone(),
        }
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let record = VoteRecord::from(vote);
        let frame = self.write(|log| log.save_vote(record)).await?;
        self.hub.durable(frame).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let (index, term) = position(committed.as_ref());
        self.log.note_committed(index, term);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let (index, term) = self.log.committed();
        Ok(log_id(index, term))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<RaftTypes<RT>>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.forget_applied();
        let mut last = None;
        for mut entry in entries {
            let proposed_here = take_proposed_here(&mut entry);
            let record = encode(&entry);
            last = Some(self.write(|log| log.append(&record)).await?);
            self.unapplied.borrow_mut().push_back(entry);
            self.group.set_appended(record.index);
            self.group.set_appended_term(record.term);
            if proposed_here {
                self.group.digested();
            }
        }
        match last {
            Some(frame) => self.hub.entry_in(frame, flushed),
            None => flushed.io_completed(Ok(())),
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let (index, _) = position(last.as_ref());
        let frame = self.write(|log| log.truncate_after(index)).await?;
        self.unapplied
            .borrow_mut()
            .retain(|entry| log_index(entry.log_id.index) <= index);
        self.group.set_appended(self.log.last().0);
        self.hub.durable(frame).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let (index, term) = position(Some(&upto));
        let frame = self.write(|log| log.purge(index, term)).await?;
        self.unapplied
            .borrow_mut()
            .retain(|entry| log_index(entry.log_id.index) > index);
        self.group.set_appended(self.log.last().0);
        self.hub.durable(frame).await
    }
}

fn take_proposed_here(entry: &mut Entry) -> bool {
    match &mut entry.payload {
        EntryPayload::Normal(payload) => std::mem::take(&mut payload.proposed_here),
        EntryPayload::Blank | EntryPayload::Membership(_) => false,
    }
}

/// Reads entries and the vote.
#[derive(Clone)]
pub struct LogReader<L> {
    log: L,
    unapplied: Unapplied,
}

impl<L: GroupLogStore> LogReader<L> {
    /// Entries `from..end` as openraft counts them, if all are still at hand.
    fn at_hand(&self, from: u64, end: u64) -> Option<Vec<Entry>> {
        let unapplied = self.unapplied.borrow();
        let first = unapplied.front()?.log_id.index;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let count = usize::try_from(end.checked_sub(from)?).ok()?;
        (skip + count <= unapplied.len()).then(|| unapplied.range(skip..skip + count).cloned().collect())
    }
}

impl<RT: Runtime, L: GroupLogStore> RaftLogReader<RaftTypes<RT>> for LogReader<L> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX - 1,
        };
        match self.at_hand(from, end) {
            Some(entries) => Ok(entries),
            None => decode_all(self.log.entries(log_index(from), log_index(end), usize::MAX).await?),
        }
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.vote().map(Vote::from))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries = self
            .log
            .entries(log_index(start), log_index(end), REPLICATION_BYTES_MAX)
            .await?;
        decode_all(entries)
    }
}

fn encode(entry: &Entry) -> LogEntry {
    let (index, term) = position(Some(&entry.log_id));
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(payload) => (EntryKind::Normal, payload.bytes.clone()),
        EntryPayload::Membership(members) => {
            let mut bytes = Vec::new();
            membership::encode(members, &mut bytes);
            (EntryKind::Membership, Bytes::from(bytes))
        }
    };
    LogEntry {
        index,
        term,
        kind,
        payload,
    }
}

fn decode_all(entries: Vec<LogEntry>) -> io::Result<Vec<Entry>> {
    entries.into_iter().map(decode).collect()
}

fn decode(entry: LogEntry) -> io::Result<Entry> {
    let payload = match entry.kind {
        EntryKind::Blank => EntryPayload::Blank,
        EntryKind::Normal => EntryPayload::Normal(Payload::stored(entry.payload)),
        EntryKind::Membership => {
            let members = membership::decode(&entry.payload)
                .map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, format!("entry {}: {bad}", entry.index)))?;
            EntryPayload::Membership(members)
        }
    };
    let index = raft_index(entry.index).expect("entries are numbered from 1");
    let log_id = LogId::new(CommittedLeaderId::new(entry.term.0), index);
    Ok(Entry { log_id, payload })
}
