//! Messages of other replicas to this one.
//!
//! A replica that has just restarted refuses every request for its vote until the promises it may have made before have
//! run out. openraft keeps the promise "no vote for another while a leader is alive" in memory only.

use std::rc::Rc;

use futures_util::Stream;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::ReplicaId;

use crate::group::RaftHandle;
use crate::group_state::GroupState;
use crate::runtime::Runtime;
use crate::state_machine::StateMachine;
use crate::types::{RaftTypes, Snapshot, Vote};

/// A handle; clones lead to the same replica.
pub struct Inbound<RT: Runtime, S: StateMachine> {
    raft: RaftHandle<RT, S>,
    state: Rc<GroupState>,
    hold_off_until: Tick,
}

impl<RT: Runtime, S: StateMachine> Clone for Inbound<RT, S> {
    fn clone(&self) -> Self {
        Inbound {
            raft: self.raft.clone(),
            state: self.state.clone(),
            hold_off_until: self.hold_off_until,
        }
    }
}

impl<RT: Runtime, S: StateMachine> Inbound<RT, S> {
    pub(crate) fn new(raft: RaftHandle<RT, S>, state: Rc<GroupState>, hold_off_until: Tick) -> Self {
        Inbound {
            raft,
            state,
            hold_off_until,
        }
    }

    /// The facts of its group.
    pub(crate) fn state(&self) -> &GroupState {
        &self.state
    }

    /// Entries or a heartbeat from a leader.
    pub async fn append_entries(
        &self,
        request: AppendEntriesRequest<RaftTypes<RT>>,
    ) -> Result<AppendEntriesResponse<RaftTypes<RT>>, RaftError<RaftTypes<RT>>> {
        self.raft.append_entries(request).await
    }

    /// A stream of them over one ordered link; answers come in the order of the requests, several in flight.
    pub fn stream_append(
        &self,
        requests: impl Stream<Item = AppendEntriesRequest<RaftTypes<RT>>> + 'static,
    ) -> impl Stream<Item = Result<StreamAppendResult<RaftTypes<RT>>, Fatal<RaftTypes<RT>>>> + 'static {
        self.raft.stream_append(requests)
    }

    /// A candidate asks for this replica's vote.
    pub async fn vote(
        &self,
        request: VoteRequest<RaftTypes<RT>>,
    ) -> Result<VoteResponse<RaftTypes<RT>>, RaftError<RaftTypes<RT>>> {
        match self.refusal() {
            Some(refusal) => Ok(refusal),
            None => self.raft.vote(request).await,
        }
    }

    /// A candidate asks whether it would get this replica's vote.
    pub async fn pre_vote(
        &self,
        request: VoteRequest<RaftTypes<RT>>,
    ) -> Result<VoteResponse<RaftTypes<RT>>, RaftError<RaftTypes<RT>>> {
        match self.refusal() {
            Some(refusal) => Ok(refusal),
            None => self.raft.pre_vote(request).await,
        }
    }

    /// A whole snapshot from a leader.
    pub async fn install_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<RaftTypes<RT>>, Fatal<RaftTypes<RT>>> {
        self.raft.install_full_snapshot(vote, snapshot).await
    }

    /// The leader hands leadership to a replica, perhaps this one.
    pub async fn transfer_leader(
        &self,
        request: TransferLeaderRequest<RaftTypes<RT>>,
    ) -> Result<TransferLeaderResponse<RaftTypes<RT>>, Fatal<RaftTypes<RT>>> {
        self.raft.handle_transfer_leader(request).await
    }

    /// This replica.
    pub(crate) fn id(&self) -> ReplicaId {
        ReplicaId(*self.raft.node_id())
    }

    /// Who leads, as far as known here.
    pub(crate) fn leader(&self) -> Option<ReplicaId> {
        let metrics = self.raft.server_metrics();
        let leader = metrics.borrow_watched().current_leader;
        leader.map(ReplicaId)
    }

    /// The newest snapshot of this replica, if it has one and has not failed.
    pub(crate) async fn newest_snapshot(&self) -> Option<Snapshot> {
        self.raft.get_snapshot().await.ok().flatten()
    }

    /// The vote that this replica has given last.
    pub(crate) fn own_vote(&self) -> Vote {
        self.raft.server_metrics().borrow_watched().vote
    }

    /// The answer to every candidate while the hold-off lasts: this replica's own vote, and no.
    fn refusal(&self) -> Option<VoteResponse<RaftTypes<RT>>> {
        if RT::now() >= self.hold_off_until {
            return None;
        }
        Some(VoteResponse::new(self.own_vote(), None, false))
    }
}
