//! openraft's type configuration, and the conversions between its numbers and ours.
//!
//! openraft counts log entries from 0; our logs keep 0 for "none", so [`LogIndex`] is openraft's index plus one. Leader
//! ids are the standard ones (one leader a term), hence a log id is (term, index).

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, EmptyNode, InlineBatch, leader_id_std};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use slotcore_rt::ids::{LogIndex, ReplicaId, Term};

use crate::log_store::VoteRecord;
use crate::proposal::Outcome;
use crate::runtime::Runtime;

/// The type configuration over one runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RaftTypes<RT>(PhantomData<RT>);

/// Who may lead in a term, before it is known that it leads.
pub type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// The leader of a term: the term alone.
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
/// A vote given, or a leadership won.
pub type Vote = openraft::Vote<LeaderId>;
/// (term, index), the index counted from 0.
pub type LogId = openraft::LogId<CommittedLeaderId>;
/// What an entry carries.
pub type EntryContent = EntryPayload<Payload, u64, EmptyNode>;
/// An entry of the log.
pub type Entry = openraft::Entry<CommittedLeaderId, EntryContent>;
/// Voters and learners.
pub type Membership = openraft::Membership<u64, EmptyNode>;
/// Voters and learners, and the entry that said so.
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, EmptyNode>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, EmptyNode>;
/// A snapshot: opaque bytes of the state machine.
pub type Snapshot = openraft::Snapshot<CommittedLeaderId, u64, EmptyNode, Bytes>;

impl<RT: Runtime> RaftTypeConfig for RaftTypes<RT> {
    type D = Payload;
    type R = ();
    type NodeId = u64;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = EntryContent;
    type Entry = Entry;
    type AsyncRuntime = RT;
    type Responder<T>
        = Outcome<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// The bytes of one entry: all commands of one turn for one group.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The bytes, shared with whoever proposed or stores them.
    pub bytes: Bytes,
    /// Proposed on this replica and not yet in its log; never stored.
    pub(crate) proposed_here: bool,
}

impl Payload {
    /// A payload as it comes from the log or from another replica.
    pub fn stored(bytes: Bytes) -> Self {
        Payload {
            bytes,
            proposed_here: false,
        }
    }

    /// A payload on its way into the log of this replica.
    pub(crate) fn proposed(bytes: Bytes) -> Self {
        Payload {
            bytes,
            proposed_here: true,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Our index of openraft's.
pub fn log_index(index: u64) -> LogIndex {
    LogIndex(index + 1)
}

/// openraft's index of ours; `None` for [`LogIndex`] 0, "no entry".
pub fn raft_index(index: LogIndex) -> Option<u64> {
    index.0.checked_sub(1)
}

/// The log id at (index, term); `None` for index 0.
pub fn log_id(index: LogIndex, term: Term) -> Option<LogId> {
    raft_index(index).map(|index| LogId::new(CommittedLeaderId::new(term.0), index))
}

/// The (index, term) of a log id; (0, 0) for none.
pub fn position(log_id: Option<&LogId>) -> (LogIndex, Term) {
    log_id.map_or((LogIndex(0), Term(0)), |id| {
        (log_index(id.index), Term(id.leader_id.term))
    })
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        VoteRecord {
            term: Term(vote.leader_id.term),
            voted_for: ReplicaId(vote.leader_id.voted_for),
            committed: vote.committed,
        }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        let leader_id = LeaderId::new(record.term.0, record.voted_for.0);
        Vote {
            leader_id,
            committed: record.committed,
        }
    }
}
