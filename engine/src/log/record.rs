//! Records: what frames carry.
//!
//! A record is a 24-byte head and a payload, padded to 8 bytes. A payload too big for one frame is cut into fragments:
//! all carry the head, all but the last the flag [`FRAG_MORE`], all but the first [`FRAG_CONT`]; the record counts once
//! its last fragment is there. Format: `docs/formats/log.md`, "Record".

use bytes::Bytes;
use slotcore_rt::ids::{GroupId, GroupSlot, LogIndex, ReplicaId, Term};

use super::frame::{get16, get32, get64, put16, put32, put64};

/// Bytes of a record's head.
pub const RECORD_HEADER_BYTES: usize = 24;

/// Largest payload of one record, in bytes: Redis's `proto-max-bulk-len` default, plus room for the batch around it.
pub const PAYLOAD_BYTES_MAX: usize = (512 << 20) + (1 << 20);

/// Record flag: more fragments of this record follow.
pub(crate) const FRAG_MORE: u8 = 1;
/// Record flag: continues the fragment before.
pub(crate) const FRAG_CONT: u8 = 2;

/// Flag of `SnapshotInstalled`: the log already held the entry the snapshot ends with, so entries after it stay.
pub(crate) const SNAPSHOT_KEEPS_TAIL: u8 = 4;

/// A position in a group's Raft log: the pair that identifies an entry. Index 0 is "before the first entry".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPos {
    /// The entry's term.
    pub term: Term,
    /// The entry's index.
    pub index: LogIndex,
}

/// A vote, stored as handed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The term voted in.
    pub term: Term,
    /// Who received the vote.
    pub voted_for: Option<ReplicaId>,
    /// The candidate is known to have won.
    pub committed: bool,
}

/// One change of a group, as handed to [`CoreLog::append`](super::CoreLog::append) and as met in recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A Raft entry. An index that is already there is superseded, with everything after it.
    Entry {
        /// Its group.
        group: GroupSlot,
        /// Its place in the group's log.
        pos: LogPos,
        /// 0 to [`PAYLOAD_BYTES_MAX`] bytes; kept by reference until released.
        payload: Bytes,
    },
    /// A live entry again, so that the segment with its first copy can be recycled.
    Rewrite {
        /// Its group.
        group: GroupSlot,
        /// The position it has already.
        pos: LogPos,
        /// The same bytes.
        payload: Bytes,
    },
    /// The group's vote is now this. Flushed at once whatever the sync policy.
    Vote {
        /// Its group.
        group: GroupSlot,
        /// The whole vote.
        vote: Vote,
    },
    /// The group is known to be committed up to here.
    Commit {
        /// Its group.
        group: GroupSlot,
        /// The last committed entry.
        pos: LogPos,
    },
    /// Entries after `index` are gone.
    TruncateAfter {
        /// Its group.
        group: GroupSlot,
        /// The last index that stays.
        index: LogIndex,
    },
    /// Entries up to `pos` are no longer needed.
    Purge {
        /// Its group.
        group: GroupSlot,
        /// The last purged entry.
        pos: LogPos,
    },
    /// A group begins to live in this log.
    GroupCreate {
        /// A slot that is free.
        group: GroupSlot,
        /// The group's cluster-wide name.
        id: GroupId,
    },
    /// A group and everything of it is gone; the slot is free.
    GroupDrop {
        /// Its slot.
        group: GroupSlot,
    },
    /// The group's manifest is now these bytes: the whole of it, opaque to the log.
    Manifest {
        /// Its group.
        group: GroupSlot,
        /// Replaces the manifest before.
        bytes: Bytes,
    },
    /// A snapshot replaced the group's state: entries up to `pos`, and any that conflict with it, are gone.
    SnapshotInstalled {
        /// Its group.
        group: GroupSlot,
        /// The last entry the snapshot holds.
        pos: LogPos,
        /// The manifest that describes the installed state.
        manifest: Bytes,
    },
}

impl Record {
    /// The group the record belongs to.
    pub fn group(&self) -> GroupSlot {
        match *self {
            Self::Entry { group, .. }
            | Self::Rewrite { group, .. }
            | Self::Vote { group, .. }
            | Self::Commit { group, .. }
            | Self::TruncateAfter { group, .. }
            | Self::Purge { group, .. }
            | Self::GroupCreate { group, .. }
            | Self::GroupDrop { group }
            | Self::Manifest { group, .. }
            | Self::SnapshotInstalled { group, .. } => group,
        }
    }
}

/// The kind byte of a record. On disk: never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// [`Record::Entry`].
    Entry = 1,
    /// [`Record::Rewrite`].
    Rewrite = 2,
    /// [`Record::Vote`].
    Vote = 3,
    /// [`Record::Commit`].
    Commit = 4,
    /// [`Record::TruncateAfter`].
    TruncateAfter = 5,
    /// [`Record::Purge`].
    Purge = 6,
    /// [`Record::GroupCreate`].
    GroupCreate = 7,
    /// [`Record::GroupDrop`].
    GroupDrop = 8,
    /// [`Record::Manifest`].
    Manifest = 9,
    /// [`Record::SnapshotInstalled`].
    SnapshotInstalled = 10,
    /// First record of a checkpoint: the segments before this one.
    CkptHead = 11,
    /// One group's state in a checkpoint.
    CkptGroup = 12,
    /// Last record of a segment: the id of the next one.
    SegmentEnd = 13,
}

impl RecordKind {
    fn from_byte(b: u8) -> Option<Self> {
        Some(match b {
            1 => Self::Entry,
            2 => Self::Rewrite,
            3 => Self::Vote,
            4 => Self::Commit,
            5 => Self::TruncateAfter,
            6 => Self::Purge,
            7 => Self::GroupCreate,
            8 => Self::GroupDrop,
            9 => Self::Manifest,
            10 => Self::SnapshotInstalled,
            11 => Self::CkptHead,
            12 => Self::CkptGroup,
            13 => Self::SegmentEnd,
            _ => return None,
        })
    }

    /// True for the kinds that describe the log itself and may stand between two fragments of an entry.
    pub(crate) fn is_structure(self) -> bool {
        matches!(self, Self::CkptHead | Self::CkptGroup | Self::SegmentEnd)
    }
}

/// A record's head, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of payload in this record (of this fragment), without padding.
    pub len: u32,
    /// What it is.
    pub kind: RecordKind,
    /// [`FRAG_MORE`], [`FRAG_CONT`].
    pub flags: u8,
    /// Its group; 0 where none is meant.
    pub group: GroupSlot,
    /// By kind; see the format page.
    pub index: u64,
    /// By kind; see the format page.
    pub term: u64,
}

impl RecordHeader {
    pub(crate) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        put32(&mut out, 0, self.len);
        out[4] = self.kind as u8;
        out[5] = self.flags;
        put16(&mut out, 6, self.group.0);
        put64(&mut out, 8, self.index);
        put64(&mut out, 16, self.term);
        out
    }

    pub(crate) fn pos(&self) -> LogPos {
        LogPos {
            term: Term(self.term),
            index: LogIndex(self.index),
        }
    }
}

/// Bytes a record with `len` bytes of payload takes in a frame.
pub(crate) fn record_bytes(len: usize) -> usize {
    RECORD_HEADER_BYTES + len.next_multiple_of(8)
}

/// Bytes 0..8 the replica, 8 a bit set: 1 = a replica is named, 2 = committed.
pub(crate) const VOTE_BYTES: usize = 16;

pub(crate) fn encode_vote(vote: &Vote) -> [u8; VOTE_BYTES] {
    let mut out = [0; VOTE_BYTES];
    put64(&mut out, 0, vote.voted_for.map_or(0, |r| r.0));
    out[8] = u8::from(vote.voted_for.is_some()) | u8::from(vote.committed) << 1;
    out
}

pub(crate) fn decode_vote(term: Term, raw: &[u8]) -> Option<Vote> {
    let raw = raw.get(..VOTE_BYTES)?;
    let voted_for = (raw[8] & 1 != 0).then(|| ReplicaId(get64(raw, 0)));
    Some(Vote {
        term,
        voted_for,
        committed: raw[8] & 2 != 0,
    })
}

/// Turns a decoded record with its whole payload into a [`Record`]; `None` for records of the log's own structure and
/// for a payload that does not fit its kind.
pub(crate) fn to_record(head: &RecordHeader, payload: &Bytes) -> Option<Record> {
    let (group, pos) = (head.group, head.pos());
    Some(match head.kind {
        RecordKind::Entry => Record::Entry {
            group,
            pos,
            payload: payload.clone(),
        },
        RecordKind::Rewrite => Record::Rewrite {
            group,
            pos,
            payload: payload.clone(),
        },
        RecordKind::Vote => Record::Vote {
            group,
            vote: decode_vote(Term(head.term), payload)?,
        },
        RecordKind::Commit => Record::Commit { group, pos },
        RecordKind::TruncateAfter => Record::TruncateAfter {
            group,
            index: pos.index,
        },
        RecordKind::Purge => Record::Purge { group, pos },
        RecordKind::GroupCreate => Record::GroupCreate {
            group,
            id: GroupId(head.index),
        },
        RecordKind::GroupDrop => Record::GroupDrop { group },
        RecordKind::Manifest => Record::Manifest {
            group,
            bytes: payload.clone(),
        },
        RecordKind::SnapshotInstalled => Record::SnapshotInstalled {
            group,
            pos,
            manifest: payload.clone(),
        },
        RecordKind::CkptHead | RecordKind::CkptGroup | RecordKind::SegmentEnd => return None,
    })
}

/// A frame body that is sound by its checksum but not by its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Where, in bytes from the start of the body.
    pub offset: usize,
}

/// Walks the records of a frame body: head, offset of the payload in the body, payload.
pub(crate) struct Records<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    fn parse(&self) -> Option<(RecordHeader, usize, &'a [u8])> {
        let raw = self.body.get(self.at..self.at + RECORD_HEADER_BYTES)?;
        let head = RecordHeader {
            len: get32(raw, 0),
            kind: RecordKind::from_byte(raw[4])?,
            flags: raw[5],
            group: GroupSlot(get16(raw, 6)),
            index: get64(raw, 8),
            term: get64(raw, 16),
        };
        let start = self.at + RECORD_HEADER_BYTES;
        let payload = self.body.get(start..start.checked_add(head.len as usize)?)?;
        (self.at + record_bytes(head.len as usize) <= self.body.len()).then_some((head, start, payload))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(RecordHeader, usize, &'a [u8]), BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.body.len() {
            return None;
        }
        let Some(found) = self.parse() else {
            let offset = self.at;
            self.at = self.body.len();
            return Some(Err(BadRecord { offset }));
        };
        self.at += record_bytes(found.0.len as usize);
        Some(Ok(found))
    }
}
