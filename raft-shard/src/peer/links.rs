//! A group's links to its other replicas, over the core's hub.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use slotcore_rt::ids::{GroupId, ReplicaId};

use super::hub::{Peer, PeerHub};
use super::message::{Answer, Request};
use super::send_snapshot;
use crate::runtime::Runtime;
use crate::types::{RaftTypes, Snapshot, Vote};

/// Appends sent on one link before the first is answered: one that waits for the disk must not hold up the next.
const WINDOW: usize = 8;

/// Makes the links of one group.
pub struct Links<RT: Runtime> {
    /// The core's hub.
    pub hub: Rc<PeerHub<RT>>,
    /// The group.
    pub group: GroupId,
}

/// The link to one replica.
pub struct Link<RT: Runtime> {
    pub(super) hub: Rc<PeerHub<RT>>,
    pub(super) group: GroupId,
    pub(super) to: Peer,
    heartbeats: bool,
}

impl<RT: Runtime> Links<RT> {
    fn link(&self, target: u64, heartbeats: bool) -> Link<RT> {
        Link {
            hub: self.hub.clone(),
            group: self.group,
            to: ReplicaId(target),
            heartbeats,
        }
    }
}

impl<RT: Runtime> RaftNetworkFactory<RaftTypes<RT>> for Links<RT> {
    type Network = Link<RT>;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Link<RT> {
        self.link(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Link<RT> {
        self.link(target, true)
    }
}

/// Asks, and takes the kind of answer that goes with the question.
macro_rules! ask {
    ($link:expr, $request:expr, $kind:ident) => {
        match $link.hub.call($link.to, $link.group, $request).await? {
            Answer::$kind(answer) => Ok(answer),
            _ => Err(wrong_answer::<RT>().into()),
        }
    };
}

/// Nothing but a fault of the peer explains it.
fn wrong_answer<RT: Runtime>() -> openraft::errors::Unreachable<RaftTypes<RT>> {
    openraft::errors::Unreachable::from_string("the answer is to another kind of question")
}

impl<RT: Runtime> RaftNetworkV2<RaftTypes<RT>> for Link<RT> {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<RaftTypes<RT>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        ask!(self, Request::Append(request), Append)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s, RT>, RPCError<RaftTypes<RT>>>>
    where
        S: Stream<Item = AppendEntriesRequest<RaftTypes<RT>>> + Unpin + 'static,
    {
        let answers = requests.map(|request| {
            let previous = request.prev_log_id;
            let last = request.entries.last().map(|entry| entry.log_id).or(previous);
            let request = match self.heartbeats {
                true => Request::Heartbeat(request),
                false => Request::Append(request),
            };
            let answer = self.hub.call(self.to, self.group, request);
            async move {
                match answer.await? {
                    Answer::Append(answer) => Ok(answer.into_stream_result(previous, last)),
                    _ => Err(wrong_answer::<RT>().into()),
                }
            }
        });
        let answers: BoxStream<'s, _> = Box::pin(answers.buffered(WINDOW));
        Box::pin(async move { Ok(answers) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<RaftTypes<RT>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        ask!(self, Request::Vote(request), Vote)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<RaftTypes<RT>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        ask!(self, Request::PreVote(request), Vote)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes<RT>>, StreamingError<RaftTypes<RT>>> {
        send_snapshot::send(self, vote, snapshot, cancel).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<RaftTypes<RT>>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<RaftTypes<RT>>, RPCError<RaftTypes<RT>>> {
        ask!(self, Request::Transfer(request), Transfer)
    }
}

type AppendResults<'s, RT> = BoxStream<'s, Result<StreamAppendResult<RaftTypes<RT>>, RPCError<RaftTypes<RT>>>>;
