//! What the rest of the system knows of consensus.
//!
//! Deliberately narrow, so that another implementation could stand behind it: payloads go in, the state machine sees
//! them come out, and a few facts can be read at any time without a message or an await.

use bytes::Bytes;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, ReplicaId, Term};

/// What a replica is in its group right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives the log without counting towards a quorum.
    Learner,
    /// Counts towards a quorum and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Appends.
    Leader,
    /// Its tasks have ended; see [`Consensus::failure`].
    Stopped,
}

/// Numbers the proposals of one replica since it was opened, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// Why a payload was not taken. It has not been and will not be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// Another replica leads, if known which.
    NotLeader(Option<ReplicaId>),
    /// [`PROPOSALS_WAITING_MAX`](crate::options::PROPOSALS_WAITING_MAX) proposals have not reached the log yet.
    Busy,
    /// The group has failed; see [`Consensus::failure`].
    Failed,
}

/// What became of a proposal that will not be applied in the ordinary way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Never appended: certainly not executed.
    NotExecuted,
    /// Appended here and then replaced by another leader's entries: it may yet be executed through another replica.
    Unknown,
}

/// How far proposals have come. All counts are since the group was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Proposals taken by [`Consensus::propose`].
    pub proposed: u64,
    /// Of these, appended to the log or refused. When it equals `proposed`, yielding brings nothing more into the log.
    pub digested: u64,
    /// The last entry handed to the log.
    pub appended: LogIndex,
    /// The last entry executed by the state machine.
    pub applied: LogIndex,
}

/// First bytes from here on mark entries of the consensus itself in the log: see `docs/formats/raft-entries.md`.
pub const PAYLOAD_TAGS_FROM: u8 = 0xF0;

/// One group's replica on this core.
pub trait Consensus {
    /// Enqueues one entry; its effect comes through the state machine. Nothing is awaited and nothing is durable yet.
    ///
    /// `payload`: not empty; its first byte, the version of its layout, is below [`PAYLOAD_TAGS_FROM`]. Shared, not copied.
    fn propose(&mut self, payload: Bytes) -> Result<ProposalId, ProposeError>;

    /// Moves the proposals refused since the last call into `refused`, oldest first.
    fn take_refused(&mut self, refused: &mut Vec<(ProposalId, Refusal)>);

    /// What this replica is.
    fn role(&self) -> Role;

    /// The highest term this replica has made durable.
    fn term(&self) -> Term;

    /// Who leads, as far as known here.
    fn leader(&self) -> Option<ReplicaId>;

    /// How far proposals have come.
    fn progress(&self) -> Progress;

    /// Whether this replica may answer reads at `now` from its own state, without asking anyone.
    ///
    /// `now`: taken after the commands in question were received. A `true` holds for these commands even if the process
    /// is then paused: the state was current at `now`, which lies after they were sent.
    fn may_read(&mut self, now: Tick) -> bool;

    /// Whether this replica may answer reads that were received before `then`, which has passed, from its own state: a quorum
    /// has confirmed that it led after `then`. No clock is trusted for it. See [`Consensus::ask_quorum`].
    fn may_read_from(&mut self, then: Tick) -> bool;

    /// Asks all voters at once whether this replica leads; they are asked from time to time without it.
    fn ask_quorum(&mut self) -> Result<(), ProposeError>;

    /// Why the group has stopped, if it has. The process must then end: it cannot keep its promises.
    fn failure(&self) -> Option<String>;
}
