//! Notes, in every message on its way out, which entries it calls committed, and when it was sent if it is answered.
//!
//! A follower that hears of a commit may execute and show the entry before this leader's own state machine has. The
//! read lease therefore compares what is executed here with what has been *said*: see [`crate::lease`]. That a quorum has
//! answered is counted in [`crate::quorum_acks`]: for this the link answers each message, in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::impls::EmptyNode;
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption, RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, ReplicaId, Term};

use crate::group_state::GroupState;
use crate::runtime::Runtime;
use crate::types::{RaftTypes, Snapshot, Vote, position};

/// Wraps the network of a group.
pub(crate) struct Outgoing<N> {
    inner: N,
    group: Rc<GroupState>,
}

/// Wraps one link of it.
pub(crate) struct OutgoingLink<N> {
    inner: N,
    to: ReplicaId,
    group: Rc<GroupState>,
}

impl<N> Outgoing<N> {
    pub(crate) fn new(inner: N, group: Rc<GroupState>) -> Self {
        Outgoing { inner, group }
    }

    fn link<L>(&self, inner: L, target: u64) -> OutgoingLink<L> {
        OutgoingLink {
            inner,
            to: ReplicaId(target),
            group: self.group.clone(),
        }
    }
}

impl<RT, N> RaftNetworkFactory<RaftTypes<RT>> for Outgoing<N>
where
    RT: Runtime,
    N: RaftNetworkFactory<RaftTypes<RT>>,
    N::Network: NetSnapshot<RaftTypes<RT>, SnapshotData = Bytes>,
{
    type Network = OutgoingLink<N::Network>;

    async fn new_client(&mut self, target: u64, node: &EmptyNode) -> Self::Network {
        let link = self.inner.new_client(target, node).await;
        self.link(link, target)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &EmptyNode) -> Self::Network {
        let link = self.inner.new_heartbeat_client(target, node).await;
        self.link(link, target)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &EmptyNode) -> Self::Network {
        let link = self.inner.new_snapshot_client(target, node).await;
        self.link(link, target)
    }
}

impl<RT: Runtime, N: NetBackoff<RaftTypes<RT>>> NetBackoff<RaftTypes<RT>> for OutgoingLink<N> {
    fn backoff(&self) -> Option<Backoff> {
        self.inner.backoff()
    }
}

impl<RT: Runtime, N: NetStreamAppend<RaftTypes<RT>>> NetStreamAppend<RaftTypes<RT>> for OutgoingLink<N> {
    fn stream_append<'s, I>(
        &'s mut self,
        requests: I,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s, RT>, RPCError<RaftTypes<RT>>>>
    where
        I: Stream<Item = AppendEntriesRequest<RaftTypes<RT>>> + Unpin + 'static,
    {
        // When what was not answered yet was sent, and in which term.
        let sent: Rc<RefCell<VecDeque<(Term, Tick)>>> = Rc::default();
        let (group, unanswered) = (self.group.clone(), sent.clone());
        let noted = requests.inspect(move |request| {
            let (index, _) = position(request.leader_commit.as_ref());
            group.note_commit_sent(index);
            let term = Term(request.vote.leader_id.term);
            unanswered.borrow_mut().push_back((term, RT::now()));
        });
        let (group, from) = (self.group.clone(), self.to);
        let answers = self.inner.stream_append(noted, option);
        Box::pin(async move {
            let counted = answers.await?.inspect(move |answer| {
                let asked = sent.borrow_mut().pop_front();
                if let (Some((term, asked_at)), true) = (asked, follows(answer)) {
                    group.acks.borrow_mut().answered(term, from, asked_at);
                }
            });
            let counted: AppendResults<'s, RT> = Box::pin(counted);
            Ok(counted)
        })
    }
}

/// Whether whoever gave this answer to a leader's message follows that leader.
fn follows<RT: Runtime>(answer: &Result<StreamAppendResult<RaftTypes<RT>>, RPCError<RaftTypes<RT>>>) -> bool {
    match answer {
        Ok(Ok(_) | Err(StreamAppendError::Conflict(_))) => true,
        Ok(Err(StreamAppendError::HigherVote(_))) | Err(_) => false,
    }
}

type AppendResults<'s, RT> = BoxStream<'s, Result<StreamAppendResult<RaftTypes<RT>>, RPCError<RaftTypes<RT>>>>;

impl<RT: Runtime, N: NetVote<RaftTypes<RT>>> NetVote<RaftTypes<RT>> for OutgoingLink<N> {
    async fn vote(
        &mut self,
        request: VoteRequest<RaftTypes<RT>>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        self.inner.vote(request, option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<RaftTypes<RT>>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        self.inner.pre_vote(request, option).await
    }
}

impl<RT: Runtime, N: NetSnapshot<RaftTypes<RT>, SnapshotData = Bytes>> NetSnapshot<RaftTypes<RT>> for OutgoingLink<N> {
    type SnapshotData = Bytes;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes<RT>>, StreamingError<RaftTypes<RT>>> {
        // A snapshot holds committed entries only.
        let (index, _) = position(snapshot.meta.last_log_id.as_ref());
        self.group.note_commit_sent(index);
        self.group.snapshots_sent.borrow_mut().begins(self.to, index);
        let _ended = Sending {
            group: self.group.clone(),
            to: self.to,
            index,
            now: RT::now,
        };
        self.inner.full_snapshot(vote, snapshot, cancel, option).await
    }
}

/// A snapshot on its way. It ends with this, also when nobody waits for it any more.
struct Sending {
    group: Rc<GroupState>,
    to: ReplicaId,
    index: LogIndex,
    now: fn() -> Tick,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let now = (self.now)();
        self.group.snapshots_sent.borrow_mut().ended(self.to, self.index, now);
    }
}

impl<RT: Runtime, N: NetTransferLeader<RaftTypes<RT>>> NetTransferLeader<RaftTypes<RT>> for OutgoingLink<N> {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<RaftTypes<RT>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        self.inner.transfer_leader(request, option).await
    }
}
