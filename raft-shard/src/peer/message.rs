//! What replicas ask of each other, and the answers.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};

use crate::runtime::Runtime;
use crate::types::{RaftTypes, Snapshot, Vote};

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
    /// A whole state.
    Snapshot(Vote, Snapshot),
    /// The leader hands over.
    Transfer(TransferLeaderRequest<RaftTypes<RT>>),
}

/// Answers, by kind of request.
#[derive(Clone)]
pub enum Answer<RT: Runtime> {
    /// To appends and heartbeats.
    Append(AppendEntriesResponse<RaftTypes<RT>>),
    /// To requests for a vote, and before.
    Vote(VoteResponse<RaftTypes<RT>>),
    /// To a snapshot.
    Snapshot(SnapshotResponse<RaftTypes<RT>>),
    /// To a transfer.
    Transfer(TransferLeaderResponse<RaftTypes<RT>>),
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
