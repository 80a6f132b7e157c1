//! [`PeerHub`]: one core's messages to all its peers, and whose answer is waited for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::Unreachable;
use openraft_rt::{Oneshot, OneshotSender};
use slotcore_rt::ids::{GroupId, ReplicaId};

use super::codec;
use super::frame::{self, BadFrame, FrameBuilder};
use super::landing::{InMemory, Landing};
use super::message::{Answer, CallId, Message, Request};
use super::send_snapshot::PART_BYTES;
use super::serve::{GroupServer, Serve};
use crate::inbound::Inbound;
use crate::runtime::Runtime;
use crate::runtime::oneshot::{self, LocalOneshot};
use crate::state_machine::StateMachine;
use crate::types::RaftTypes;

/// How long an answer may take: above any delay of a healthy network and disk, below an election or two.
pub const PATIENCE: Duration = Duration::from_millis(250);

/// A core of another node: what its replicas are called in every group.
pub type Peer = ReplicaId;

/// A question under way.
struct Call<RT: Runtime> {
    to: Peer,
    /// Waits for longer than messages do that are lost now and then.
    is_long: bool,
    answer: oneshot::Sender<Answer<RT>>,
}

/// See the module's text. Everything happens on one core, in its tasks.
pub struct PeerHub<RT: Runtime> {
    patience: Duration,
    part_bytes: Cell<usize>,
    next_call: Cell<u64>,
    calls: RefCell<BTreeMap<CallId, Call<RT>>>,
    outboxes: RefCell<BTreeMap<Peer, Outbox>>,
    /// Waits for something to send.
    sender: RefCell<Option<Waker>>,
    groups: RefCell<BTreeMap<GroupId, Rc<dyn Serve<RT>>>>,
    /// See [`PeerHub::set_silent`].
    silent: Cell<bool>,
    /// What has arrived for others than Raft, in order.
    carried: RefCell<VecDeque<(Peer, Bytes)>>,
    stats: Cell<PeerStats>,
}

/// What a hub has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Frames taken by [`PeerHub::take_frames`].
    pub frames_out: u64,
    /// Messages in them.
    pub messages_out: u64,
    /// Frames given to [`PeerHub::on_frame`].
    pub frames_in: u64,
    /// Messages in them.
    pub messages_in: u64,
    /// Requests for groups that are not on this core.
    pub unknown_groups: u64,
}

#[derive(Default)]
struct Outbox {
    full: VecDeque<Bytes>,
    open: FrameBuilder,
}

impl<RT: Runtime> PeerHub<RT> {
    /// `patience`: how long a call waits for its answer. `first_call`: above every number that an earlier life of this
    /// core has used, so that an answer to one of its calls is not taken for one of this life; the time in nanoseconds will
    /// do.
    pub fn new(patience: Duration, first_call: u64) -> Rc<Self> {
        Rc::new(Self {
            patience,
            part_bytes: Cell::new(PART_BYTES),
            next_call: Cell::new(first_call),
            calls: RefCell::default(),
            outboxes: RefCell::default(),
            sender: RefCell::default(),
            groups: RefCell::default(),
            silent: Cell::new(false),
            carried: RefCell::default(),
            stats: Cell::default(),
        })
    }

    /// Snapshots are sent in parts of so many bytes.
    pub fn set_part_bytes(&self, bytes: usize) {
        self.part_bytes.set(bytes.max(1));
    }

    pub(super) fn part_bytes(&self) -> usize {
        self.part_bytes.get()
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// From now on requests for `group` are carried out by the replica behind `inbound`.
    /// Snapshots that come for it are in memory until they are installed.
    pub fn serve<S: StateMachine>(self: &Rc<Self>, group: GroupId, inbound: Inbound<RT, S>) {
        self.serve_landing(group, inbound, Box::<InMemory>::default());
    }

    /// The same with snapshots that come going to `landing`.
    pub fn serve_landing<S: StateMachine>(
        self: &Rc<Self>,
        group: GroupId,
        inbound: Inbound<RT, S>,
        landing: Box<dyn Landing>,
    ) {
        let server = GroupServer::new(group, inbound, landing, Rc::downgrade(self));
        self.groups.borrow_mut().insert(group, server);
    }

    /// Requests for `group` are dropped from now on.
    pub fn forget(&self, group: GroupId) {
        self.groups.borrow_mut().remove(&group);
    }

    /// While it is silent, no replica on this core asks another one, nor answers: for them, peers are as if unreachable, and
    /// for peers, this core. What is carried passes.
    pub fn set_silent(&self, silent: bool) {
        self.silent.set(silent);
    }

    /// Counts since the hub was made.
    pub fn stats(&self) -> PeerStats {
        self.stats.get()
    }

    /// Puts a request into the frame for `to`, at once; the future is the answer.
    pub fn call(
        self: &Rc<Self>,
        to: Peer,
        group: GroupId,
        request: Request<RT>,
    ) -> impl Future<Output = Result<Answer<RT>, Unreachable<RaftTypes<RT>>>> + use<RT> + 'static {
        self.call_within(self.patience, to, group, request)
    }

    /// The same with another patience.
    pub fn call_within(
        self: &Rc<Self>,
        patience: Duration,
        to: Peer,
        group: GroupId,
        request: Request<RT>,
    ) -> impl Future<Output = Result<Answer<RT>, Unreachable<RaftTypes<RT>>>> + use<RT> + 'static {
        let id = CallId(self.next_call.get());
        self.next_call.set(id.0 + 1);
        let (sender, receiver) = LocalOneshot::channel();
        let call = Call {
            to,
            is_long: patience > self.patience,
            answer: sender,
        };
        self.calls.borrow_mut().insert(id, call);
        let waiting = Waiting { hub: self.clone(), id };
        let silent = self.silent.get();
        if !silent {
            self.push(to, group, &Message::Request(id, request));
        }
        async move {
            // Whoever gives up waiting lets go of it.
            let _waiting = waiting;
            if silent {
                return Err(Unreachable::from_string("this core is silent"));
            }
            match RT::timeout(patience, receiver).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(Unreachable::from_string("the link was lost")),
                Err(_) => Err(Unreachable::from_string("no answer in time")),
            }
        }
    }

    /// Puts bytes of others than Raft into the frame for `to`, in order with everything else. They get there, or the link
    /// is lost. `bytes`: at most [`frame::CARRIED_BYTES_MAX`].
    pub fn carry(&self, to: Peer, bytes: Bytes) {
        assert!(bytes.len() <= frame::CARRIED_BYTES_MAX, "longer than a frame can be");
        self.push(to, GroupId(0), &Message::Carried(bytes));
    }

    /// Sends a frame to `to` next, even if there is nothing to say.
    pub fn greet(&self, to: Peer) {
        self.outboxes.borrow_mut().entry(to).or_default().open.begin();
    }

    /// Takes what peers have sent by [`PeerHub::carry`] since the last call, in the order in which it arrived. To be called
    /// after each frame, and before what is known of a lost link is acted upon.
    pub fn take_carried(&self, mut take: impl FnMut(Peer, Bytes)) {
        while let Some((from, bytes)) = self.carried.borrow_mut().pop_front() {
            take(from, bytes);
        }
    }

    /// Puts a message into the frame for `to`.
    pub(super) fn push(&self, to: Peer, group: GroupId, message: &Message<RT>) {
        let mut outboxes = self.outboxes.borrow_mut();
        let outbox = outboxes.entry(to).or_default();
        outbox.open.push(group, message);
        if outbox.open.is_full() {
            outbox.full.push_back(outbox.open.finish());
        }
        self.count(|stats| stats.messages_out += 1);
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    /// Takes everything there is to send; frames for one peer in the order in which they must arrive.
    pub fn take_frames(&self, mut send: impl FnMut(Peer, Bytes)) {
        for (&peer, outbox) in self.outboxes.borrow_mut().iter_mut() {
            if !outbox.open.is_empty() {
                let last = outbox.open.finish();
                outbox.full.push_back(last);
            }
            for frame in outbox.full.drain(..) {
                self.count(|stats| stats.frames_out += 1);
                send(peer, frame);
            }
        }
    }

    /// True when there is something to send.
    pub fn has_frames(&self) -> bool {
        let outboxes = self.outboxes.borrow();
        outboxes.values().any(|o| !o.full.is_empty() || !o.open.is_empty())
    }

    /// Waits until there is something to send.
    pub async fn something_to_send(&self) {
        poll_fn(|cx| {
            if self.has_frames() {
                return Poll::Ready(());
            }
            *self.sender.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Takes in a frame of a peer. After an error nothing more of this link can be understood.
    pub fn on_frame(&self, from: Peer, frame: &Bytes) -> Result<(), BadFrame> {
        let mut at = frame::open(frame)?;
        self.count(|stats| stats.frames_in += 1);
        while at < frame.len() {
            let (group, message) = codec::decode(frame, &mut at)?;
            self.count(|stats| stats.messages_in += 1);
            match message {
                Message::Request(..) | Message::Answer(..) if self.silent.get() => {}
                Message::Request(call, request) => {
                    let server = self.groups.borrow().get(&group).cloned();
                    match server {
                        Some(server) => server.request(from, call, request),
                        // It was moved away, or is not here yet. Whoever asks will ask again, somebody else perhaps.
                        None => self.count(|stats| stats.unknown_groups += 1),
                    }
                }
                Message::Answer(call, answer) => {
                    let waiting = self.calls.borrow_mut().remove(&call);
                    if let Some(call) = waiting {
                        // Whoever asked may have given up.
                        let _ = call.answer.send(answer);
                    }
                }
                Message::Carried(bytes) => self.carried.borrow_mut().push_back((from, bytes)),
            }
        }
        Ok(())
    }

    /// The link to a peer is lost: nobody waits for its answers any more, and what was to be sent is dropped.
    pub fn on_lost(&self, peer: Peer) {
        self.outboxes.borrow_mut().remove(&peer);
        self.give_up(|call| call.to == peer);
    }

    /// What was taken for a peer was not sent, as there is no link to it: nobody waits long for its answers. Who does not
    /// wait long goes on waiting, as for an answer that is lost on its way.
    pub fn on_unsent(&self, peer: Peer) {
        self.give_up(|call| call.to == peer && call.is_long);
    }

    fn give_up(&self, on: impl Fn(&Call<RT>) -> bool) {
        let given_up: Vec<_> = self.calls.borrow_mut().extract_if(.., |_, call| on(call)).collect();
        drop(given_up);
    }

    fn count(&self, change: impl FnOnce(&mut PeerStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

/// A call under way; whoever gives it up is not waited for any more.
struct Waiting<RT: Runtime> {
    hub: Rc<PeerHub<RT>>,
    id: CallId,
}

impl<RT: Runtime> Drop for Waiting<RT> {
    fn drop(&mut self) {
        let call = self.hub.calls.borrow_mut().remove(&self.id);
        drop(call);
    }
}
