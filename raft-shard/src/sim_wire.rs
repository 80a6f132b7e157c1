//! Raft's messages over the simulated network: requests with answers, several appends in flight on a link.
//!
//! The simulated twin of what carries a group's messages between machines: appends of one peer are handled in the order
//! in which they were sent, an answer may be lost, late, or belong to an earlier life of whoever asked.

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
use slotcore_rt::sim::NodeId;
use slotcore_rt::sim::exec;
use slotcore_rt::sim::net::{Endpoint, NetEvent};

use crate::inbound::Inbound;
use crate::runtime::mpsc::{LocalMpsc, Sender};
use crate::runtime::oneshot::{self, LocalOneshot};
use crate::runtime::sim::SimRuntime;
use crate::state_machine::StateMachine;
use crate::types::{RaftTypes, Snapshot, Vote};

type C = RaftTypes<SimRuntime>;

/// Appends sent on one link before the first is answered.
const WINDOW: usize = 8;
/// Appends of one peer that wait for those before them: far above what [`WINDOW`] lets a peer send.
const APPENDS_WAITING_MAX: usize = 1024;
/// How long an answer may take between replicas: above any delay of a healthy network, below an election or two.
pub const PATIENCE: Duration = Duration::from_millis(250);

/// What one replica asks of another.
#[derive(Clone)]
pub enum Request {
    /// Entries, or how far they are committed.
    Append(AppendEntriesRequest<C>),
    /// The same without entries, sent at intervals.
    Heartbeat(AppendEntriesRequest<C>),
    /// A candidate wants the vote.
    Vote(VoteRequest<C>),
    /// Somebody wants to know whether it would get the vote.
    PreVote(VoteRequest<C>),
    /// A whole state.
    Snapshot(Vote, Snapshot),
    /// The leader hands over.
    Transfer(TransferLeaderRequest<C>),
}

/// Answers, by kind of request.
#[derive(Clone)]
pub enum Answer {
    /// To appends and heartbeats.
    Append(AppendEntriesResponse<C>),
    /// To requests for a vote, and before.
    Vote(VoteResponse<C>),
    /// To a snapshot.
    Snapshot(SnapshotResponse<C>),
    /// To a transfer.
    Transfer(TransferLeaderResponse<C>),
}

/// What travels: each request has a number, and its answer has it too.
#[derive(Clone)]
pub enum Message {
    /// A numbered request.
    Request(u64, Request),
    /// The answer to the request of that number.
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
    /// To be called on the node itself. `patience`: how long a call waits for its answer.
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
    pub async fn serve<S: StateMachine>(self: Rc<Self>, inbound: Inbound<SimRuntime, S>) {
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

    fn start_appender<S: StateMachine>(
        self: &Rc<Self>,
        from: NodeId,
        inbound: Inbound<SimRuntime, S>,
    ) -> Sender<(u64, AppendEntriesRequest<C>)> {
        let (sender, mut queue) = LocalMpsc::channel(APPENDS_WAITING_MAX);
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
async fn carry_out<S: StateMachine>(inbound: &Inbound<SimRuntime, S>, request: Request) -> Option<Answer> {
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
            to: NodeId(u32::try_from(target).expect("replicas of a simulation are few")),
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
