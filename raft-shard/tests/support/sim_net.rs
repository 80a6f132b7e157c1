//! Raft's messages over the simulated network: requests with answers, several appends in flight on a link.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft_rt::{Mpsc, MpscReceiver, MpscSender, Oneshot, OneshotSender};
use slotcore_raft_shard::Inbound;
use slotcore_raft_shard::runtime::mpsc::{LocalMpsc, Sender};
use slotcore_raft_shard::runtime::oneshot::{self, LocalOneshot};
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::types::{RaftTypes, Snapshot, Vote};
use slotcore_rt::sim::NodeId;
use slotcore_rt::sim::exec;
use slotcore_rt::sim::net::{Endpoint, NetEvent};

use super::machine::Machine;

type C = RaftTypes<SimRuntime>;

/// Appends sent on one link before the first is answered.
const WINDOW: usize = 8;
/// How long an answer may take between replicas.
pub const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub enum Request {
    Append(AppendEntriesRequest<C>),
    Heartbeat(AppendEntriesRequest<C>),
    Vote(VoteRequest<C>),
    PreVote(VoteRequest<C>),
    Snapshot(Vote, Snapshot),
    Transfer(TransferLeaderRequest<C>),
}

#[derive(Clone)]
pub enum Answer {
    Append(AppendEntriesResponse<C>),
    Vote(VoteResponse<C>),
    Snapshot(SnapshotResponse<C>),
    Transfer(TransferLeaderResponse<C>),
}

#[derive(Clone)]
pub enum Message {
    Request(u64, Request),
    Answer(u64, Answer),
}

/// A node's end of all its links.
pub struct Wire {
    endpoint: Endpoint<Message>,
    patience: Duration,
    next_call: Cell<u64>,
    calls: RefCell<BTreeMap<u64, (NodeId, oneshot::Sender<Answer>)>>,
}

impl Wire {
    /// `patience`: how long a call waits for its answer.
    pub fn new(endpoint: Endpoint<Message>, patience: Duration) -> Rc<Wire> {
        // Calls of an earlier life of this node must not be taken for calls of this one.
        let first_call = exec::now().0 << 8;
        Rc::new(Wire {
            endpoint,
            patience,
            next_call: Cell::new(first_call),
            calls: RefCell::default(),
        })
    }

    /// Sends at once; the future is the answer.
    fn call(&self, to: NodeId, request: Request) -> impl Future<Output = Result<Answer, Unreachable<C>>> + 'static {
        let id = self.next_call.get();
        self.next_call.set(id + 1);
        let (sender, receiver) = LocalOneshot::channel();
        self.calls.borrow_mut().insert(id, (to, sender));
        self.endpoint.send(to, Message::Request(id, request));
        let patience = self.patience;
        async move {
            match exec::timeout(patience, receiver).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(Unreachable::from_string("connection reset")),
                Err(_) => Err(Unreachable::from_string("no answer in time")),
            }
        }
    }

    /// Serves this node's messages for ever.
    pub async fn serve(self: Rc<Self>, inbound: Inbound<SimRuntime, Machine>) {
        // Appends of one peer are handled in the order they arrive, as on an ordered connection.
        let mut appends: BTreeMap<NodeId, Sender<(u64, AppendEntriesRequest<C>)>> = BTreeMap::new();
        loop {
            match self.endpoint.recv().await {
                NetEvent::Message {
                    from,
                    body: Message::Request(id, Request::Append(request) | Request::Heartbeat(request)),
                } => {
                    let queue = appends
                        .entry(from)
                        .or_insert_with(|| self.start_appender(from, inbound.clone()));
                    queue.send((id, request)).await.expect("the appender never ends");
                }
                NetEvent::Message {
                    from,
                    body: Message::Request(id, request),
                } => {
                    let (wire, inbound) = (self.clone(), inbound.clone());
                    drop(exec::spawn(async move {
                        if let Some(answer) = carry_out(&inbound, request).await {
                            wire.endpoint.send(from, Message::Answer(id, answer));
                        }
                    }));
                }
                NetEvent::Message {
                    body: Message::Answer(id, answer),
                    ..
                } => {
                    let call = self.calls.borrow_mut().remove(&id);
                    if let Some((_, sender)) = call {
                        let _ = sender.send(answer);
                    }
                }
                NetEvent::Reset { peer } => {
                    let broken: BTreeMap<_, _> = self
                        .calls
                        .borrow_mut()
                        .extract_if(.., |_, (to, _)| *to == peer)
                        .collect();
                    drop(broken);
                }
            }
        }
    }

    fn start_appender(
        self: &Rc<Self>,
        from: NodeId,
        inbound: Inbound<SimRuntime, Machine>,
    ) -> Sender<(u64, AppendEntriesRequest<C>)> {
        let (sender, mut queue) = LocalMpsc::channel(1024);
        let wire = self.clone();
        drop(exec::spawn(async move {
            while let Some((id, request)) = queue.recv().await {
                if let Ok(response) = inbound.append_entries(request).await {
                    wire.endpoint.send(from, Message::Answer(id, Answer::Append(response)));
                }
            }
        }));
        sender
    }
}

/// `None` when this replica has stopped.
async fn carry_out(inbound: &Inbound<SimRuntime, Machine>, request: Request) -> Option<Answer> {
    match request {
        Request::Append(_) | Request::Heartbeat(_) => unreachable!("appends go through their queue"),
        Request::Vote(request) => inbound.vote(request).await.ok().map(Answer::Vote),
        Request::PreVote(request) => inbound.pre_vote(request).await.ok().map(Answer::Vote),
        Request::Snapshot(vote, snapshot) => inbound
            .install_snapshot(vote, snapshot)
            .await
            .ok()
            .map(Answer::Snapshot),
        Request::Transfer(request) => inbound.transfer_leader(request).await.ok().map(Answer::Transfer),
    }
}

/// Makes the links of one node.
pub struct Links(pub Rc<Wire>);

/// The link to one peer.
pub struct Link {
    wire: Rc<Wire>,
    to: NodeId,
    heartbeats: bool,
}

impl Links {
    fn link(&self, target: u64, heartbeats: bool) -> Link {
        Link {
            wire: self.0.clone(),
            to: NodeId(u32::try_from(target).unwrap()),
            heartbeats,
        }
    }
}

impl RaftNetworkFactory<C> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Link {
        self.link(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Link {
        self.link(target, true)
    }
}

macro_rules! answer {
    ($link:expr, $request:expr, $kind:ident) => {
        match $link.wire.call($link.to, $request).await? {
            Answer::$kind(answer) => Ok(answer),
            _ => unreachable!("answers carry the number of their request"),
        }
    };
}

impl RaftNetworkV2<C> for Link {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<C>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, RPCError<C>> {
        answer!(self, Request::Append(request), Append)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<C>, RPCError<C>>>, RPCError<C>>>
    where
        S: Stream<Item = AppendEntriesRequest<C>> + Unpin + 'static,
    {
        let answers = requests.map(|request| {
            let previous = request.prev_log_id;
            let last = request.entries.last().map(|entry| entry.log_id).or(previous);
            let request = match self.heartbeats {
                true => Request::Heartbeat(request),
                false => Request::Append(request),
            };
            let answer = self.wire.call(self.to, request);
            async move {
                match answer.await? {
                    Answer::Append(answer) => Ok(answer.into_stream_result(previous, last)),
                    _ => unreachable!("answers carry the number of their request"),
                }
            }
        });
        let answers: BoxStream<'s, _> = Box::pin(answers.buffered(WINDOW));
        Box::pin(async move { Ok(answers) })
    }

    async fn vote(&mut self, request: VoteRequest<C>, _option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        answer!(self, Request::Vote(request), Vote)
    }

    async fn pre_vote(&mut self, request: VoteRequest<C>, _option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        answer!(self, Request::PreVote(request), Vote)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        answer!(self, Request::Snapshot(vote, snapshot), Snapshot)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<C>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, RPCError<C>> {
        answer!(self, Request::Transfer(request), Transfer)
    }
}
