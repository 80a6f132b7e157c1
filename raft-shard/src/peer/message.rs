//! What replicas ask of each other, and the answers.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};
use slotcore_rt::ids::LogIndex;

use crate::freshness::Vouched;
use crate::runtime::Runtime;
use crate::types::{RaftTypes, SnapshotMeta, Vote};

/// Numbers the requests of one process; the answer carries the number of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// What one replica asks of another.
#[derive(Clone)]
pub enum Request<RT: Runtime> {
    /// Entries, or how far they are committed.
    Append(AppendEntriesRequest<RaftTypes<RT>>),
    /// The same without entries, sent at intervals.
    Heartbeat(AppendEntriesRequest<RaftTypes<RT>>),
    /// A candidate wants the vote.
    Vote(VoteRequest<RaftTypes<RT>>),
    /// Somebody wants to know whether it would get the vote.
    PreVote(VoteRequest<RaftTypes<RT>>),
    /// A part of a whole state, from the leader of this vote.
    Snapshot(Vote, SnapshotPart),
    /// The leader hands over.
    Transfer(TransferLeaderRequest<RaftTypes<RT>>),
    /// Up to which entry everything is executed that anyone has been shown, and in whose word.
    ReadIndex(Vouched),
    /// What was seen at this entry; see [`crate::comparison`].
    Seen(LogIndex),
    /// What was seen there is not what most replicas have seen.
    Diverged(LogIndex),
    /// The state as of this entry or later is needed.
    Rebuild(LogIndex),
}

/// Some of the bytes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// What the snapshot stands for.
    pub meta: SnapshotMeta,
    /// Bytes of the whole.
    pub total: u64,
    /// CRC-32C of the whole.
    pub crc: u32,
    /// Where these are.
    pub offset: u64,
    /// These, sharing memory with the whole or with the frame.
    pub bytes: Bytes,
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAnswer {
    /// The vote of whoever answers.
    pub vote: Vote,
    /// Bytes of the snapshot it has, from the first on: what it wants next. All of them: it is installed.
    pub have: u64,
}

/// Answers, by kind of request.
#[derive(Clone)]
pub enum Answer<RT: Runtime> {
    /// To appends and heartbeats.
    Append(AppendEntriesResponse<RaftTypes<RT>>),
    /// To requests for a vote, and before.
    Vote(VoteResponse<RaftTypes<RT>>),
    /// To a part of a snapshot.
    Snapshot(SnapshotAnswer),
    /// To a transfer.
    Transfer(TransferLeaderResponse<RaftTypes<RT>>),
    /// That entry; `None`: whoever was asked does not lead.
    ReadIndex(Option<LogIndex>),
    /// What was seen; `None`: it is not known.
    Seen(Option<u128>),
    /// It was heard, whatever comes of it.
    Heard,
}

/// What travels.
#[derive(Clone)]
pub enum Message<RT: Runtime> {
    /// A numbered request.
    Request(CallId, Request<RT>),
    /// The answer to the request of that number.
    Answer(CallId, Answer<RT>),
    /// Bytes of whoever uses the links besides Raft.
    Carried(Bytes),
}
