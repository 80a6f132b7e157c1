//! One real replica whose peers are played by the test, message by message.
//!
//! For situations that need an exact order of messages: the replica, its log and its state machine are the product's,
//! everything it hears is written down in the test. Replica 1 is the real one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::vote::RaftLeaderId;
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::types::{
    CommittedLeaderId, Entry, LeaderId, LogId, Membership, Payload, RaftTypes, SnapshotMeta, StoredMembership, Vote,
};
use slotcore_raft_shard::{Applied, Consensus, Group, GroupOptions, GroupState, LogHub, MemoryLog, Role};
use slotcore_rt::ids::{GroupId, LogIndex, ReplicaId};
use slotcore_rt::sim::exec::{self, RunEnd};
use slotcore_rt::sim::net::{Endpoint, NetEvent};
use slotcore_rt::sim::{NodeId, Sim, SimNet};

use super::machine::{DurableSnapshot, Machine};
use slotcore_raft_shard::peer::{CallId, FrameBuilder, SnapshotPart, codec, frame};
use slotcore_raft_shard::sim_wire::{self, Answer, Links, Message, Request};

/// The group of all of them.
const GROUP: GroupId = GroupId(1);
/// The real replica.
pub const ME: u64 = 1;
/// A call of the replica that is not answered stays open: longer than any test.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Within this the replica must have answered a request.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);
/// The replica opens its group so long after the world began: whatever a peer has sent before then has arrived.
const OPENS_AFTER: Duration = Duration::from_millis(2);
/// Calls of the played peers are numbered from here, so that they differ from the replica's.
const FIRST_CALL: u64 = 1 << 60;

type C = RaftTypes<SimRuntime>;
type TestGroup = Group<SimRuntime, Machine>;

struct Peer {
    endpoint: Rc<Endpoint<Bytes>>,
    inbox: Rc<RefCell<VecDeque<Message>>>,
}

pub struct Puppet {
    pub sim: Sim,
    pub net: SimNet<Bytes>,
    pub log: MemoryLog,
    pub machine: Rc<RefCell<Machine>>,
    hub: Rc<LogHub<SimRuntime>>,
    group: Rc<RefCell<Option<TestGroup>>>,
    state: Rc<GroupState>,
    peers: BTreeMap<u64, Peer>,
    disk_held: Cell<bool>,
    next_call: Cell<u64>,
    next_write: Cell<u64>,
}

impl Puppet {
    /// Replica 1 of a new group of `voters`, and peers for all the others up to `nodes`.
    pub fn new(seed: u64, voters: u64, nodes: u64) -> Puppet {
        Self::asked_first(seed, voters, nodes, None)
    }

    /// The same; peer 2 has sent `first` before the replica opens its group.
    pub fn asked_first(seed: u64, voters: u64, nodes: u64, first: Option<Request>) -> Puppet {
        let sim = Sim::new(seed);
        let net = SimNet::new(&sim);
        let (machine, at) = Machine::restored(ME, Rc::default(), DurableSnapshot::default());
        assert_eq!(at, Applied::default());
        let puppet = Puppet {
            log: MemoryLog::default(),
            machine: Rc::new(RefCell::new(machine)),
            hub: LogHub::new(),
            group: Rc::default(),
            state: Rc::new(GroupState::default()),
            peers: (2..=nodes).map(|id| (id, Peer::join(&sim, &net, id))).collect(),
            disk_held: Cell::new(false),
            next_call: Cell::new(FIRST_CALL),
            next_write: Cell::new(1),
            sim,
            net,
        };
        let options = GroupOptions::among(ReplicaId(ME), (1..=voters).map(ReplicaId));
        let endpoint = puppet.net.join(node(ME));
        let (log, hub, machine, state) = (
            puppet.log.clone(),
            puppet.hub.clone(),
            puppet.machine.clone(),
            puppet.state.clone(),
        );
        let slot = puppet.group.clone();
        if let Some(first) = first {
            puppet.send(2, Message::Request(CallId(FIRST_CALL - 1), first));
        }
        let main = async move {
            exec::sleep(OPENS_AFTER).await;
            let peers = sim_wire::hub(PATIENCE);
            let links = Links {
                hub: peers.clone(),
                group: GROUP,
            };
            let group = Group::open(options, log, hub, links, machine, at, state).await.unwrap();
            let inbound = group.inbound();
            *slot.borrow_mut() = Some(group);
            peers.serve(GROUP, inbound);
            sim_wire::carry(peers, endpoint).await;
        };
        drop(puppet.sim.spawn_on(node(ME), main));
        puppet.run(2 * OPENS_AFTER);
        puppet
    }

    /// Lets time pass; unless held, the replica's disk takes everything at once.
    pub fn run(&self, time: Duration) {
        self.run_until(time, || false);
    }

    fn run_until(&self, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
        let end = self.sim.run_until(self.sim.now() + limit, || {
            if !self.disk_held.get() {
                self.log.sync_to(self.log.submitted());
            }
            let durable = self.log.durable();
            self.hub.advance(durable, durable);
            done()
        });
        end == RunEnd::Met
    }

    /// From now on nothing becomes durable, until the test says so by [`Puppet::flush`].
    pub fn hold_disk(&self) {
        self.disk_held.set(true);
    }

    /// Everything written so far becomes durable.
    pub fn flush(&self) {
        self.log.sync_to(self.log.submitted());
        self.run(Duration::from_micros(100));
    }

    pub fn ask<T>(&self, ask: impl FnOnce(&mut TestGroup) -> T) -> T {
        let mut group = self.group.borrow_mut();
        let group = group.as_mut().expect("the replica is open after the first moments");
        self.sim.enter(|| ask(group))
    }

    /// Proposes a new write.
    pub fn propose(&self) {
        let write = self.next_write.replace(self.next_write.get() + 1);
        self.ask(|group| group.propose(Bytes::copy_from_slice(&write.to_be_bytes())))
            .unwrap();
    }

    pub fn applied(&self) -> LogIndex {
        self.state.applied().0
    }

    pub fn term(&self) -> u64 {
        self.ask(|group| group.term()).0
    }

    /// A peer asks; the replica must answer soon.
    pub fn request(&self, from: u64, request: Request) -> Answer {
        let call = self.next_call.replace(self.next_call.get() + 1);
        self.send(from, Message::Request(CallId(call), request));
        let inbox = self.peers[&from].inbox.clone();
        let mut answer = None;
        let answered = self.run_until(ANSWERS_WITHIN, || {
            let mut inbox = inbox.borrow_mut();
            let at = inbox
                .iter()
                .position(|message| matches!(message, Message::Answer(id, _) if id.0 == call));
            if let Some(Message::Answer(_, found)) = at.and_then(|at| inbox.remove(at)) {
                answer = Some(found);
            }
            answer.is_some()
        });
        assert!(answered, "no answer within {ANSWERS_WITHIN:?}");
        answer.expect("it was answered")
    }

    /// What the replica has asked a peer since the last call.
    pub fn received(&self, peer: u64) -> Vec<(u64, Request)> {
        let mut inbox = self.peers[&peer].inbox.borrow_mut();
        let requests = inbox.drain(..).filter_map(|message| match message {
            Message::Request(call, request) => Some((call.0, request)),
            Message::Answer(..) | Message::Carried(_) => None,
        });
        requests.collect()
    }

    /// Answers a call of the replica.
    pub fn answer(&self, peer: u64, call: u64, answer: Answer) {
        self.send(peer, Message::Answer(CallId(call), answer));
    }

    /// Answers everything the replica asks `peer` as a voter does that agrees.
    pub fn oblige(&self, peer: u64) {
        for (call, request) in self.received(peer) {
            let answer = match request {
                Request::Append(_) | Request::Heartbeat(_) => Answer::Append(AppendEntriesResponse::Success),
                Request::Vote(request) | Request::PreVote(request) => Answer::Vote(granted(&request)),
                Request::Snapshot(..) | Request::Transfer(_) | Request::ReadIndex(_) => continue,
                Request::Seen(_) | Request::Diverged(_) | Request::Rebuild(_) => continue,
            };
            self.answer(peer, call, answer);
        }
    }

    /// Lets `peers` agree to everything until the replica leads and has executed an entry of its term.
    pub fn lead(&self, peers: &[u64]) {
        for _ in 0..5_000 {
            self.run(Duration::from_micros(500));
            peers.iter().for_each(|peer| self.oblige(*peer));
            let now = self.sim.now();
            if self.ask(|group| group.role() == Role::Leader && group.may_read(now)) {
                return;
            }
        }
        panic!("not elected");
    }

    fn send(&self, from: u64, message: Message) {
        let mut frame = FrameBuilder::default();
        frame.push(GROUP, &message);
        self.sim
            .enter(|| self.peers[&from].endpoint.send(node(ME), frame.finish()));
    }
}

impl Peer {
    fn join(sim: &Sim, net: &SimNet<Bytes>, id: u64) -> Peer {
        let endpoint = Rc::new(net.join(node(id)));
        let peer = Peer {
            endpoint: endpoint.clone(),
            inbox: Rc::default(),
        };
        let inbox = peer.inbox.clone();
        drop(sim.spawn_on(node(id), async move {
            loop {
                if let NetEvent::Message { body, .. } = endpoint.recv().await {
                    let mut at = frame::open(&body).unwrap();
                    while at < body.len() {
                        let (group, message) = codec::decode(&body, &mut at).unwrap();
                        assert_eq!(group, GROUP);
                        inbox.borrow_mut().push_back(message);
                    }
                }
            }
        }));
        peer
    }
}

fn node(id: u64) -> NodeId {
    NodeId(u32::try_from(id).unwrap())
}

/// The vote of somebody who leads in `term`.
pub fn leader(term: u64, id: u64) -> Vote {
    Vote {
        leader_id: LeaderId::new(term, id),
        committed: true,
    }
}

/// The vote of somebody who wants to lead in `term`.
pub fn candidate(term: u64, id: u64) -> Vote {
    Vote {
        leader_id: LeaderId::new(term, id),
        committed: false,
    }
}

/// `index`: as we count, from 1.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index - 1)
}

/// An entry that carries a write.
pub fn write(term: u64, index: u64, write: u64) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Payload::stored(Bytes::copy_from_slice(&write.to_be_bytes()))),
    }
}

/// An entry that says who belongs to the group.
pub fn members(term: u64, index: u64, voters: &[u64], learners: &[u64]) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Membership(membership(voters, learners)),
    }
}

fn membership(voters: &[u64], learners: &[u64]) -> Membership {
    Membership::new_with_defaults(vec![voters.iter().copied().collect()], learners.iter().copied())
}

/// Entries of the leader of `vote` after `previous`.
pub fn append(vote: Vote, previous: Option<LogId>, entries: Vec<Entry>, committed: Option<LogId>) -> Request {
    Request::Append(AppendEntriesRequest {
        vote,
        prev_log_id: previous,
        entries,
        leader_commit: committed,
    })
}

/// A snapshot of `state` at `at`, and the membership in force there.
pub fn snapshot(vote: Vote, at: LogId, members_at: LogId, voters: &[u64], learners: &[u64], state: Bytes) -> Request {
    let meta = SnapshotMeta {
        last_log_id: Some(at),
        last_membership: StoredMembership::new(Some(members_at), membership(voters, learners)),
    };
    let part = SnapshotPart {
        meta,
        total: state.len() as u64,
        crc: crc32c::crc32c(&state),
        offset: 0,
        bytes: state,
    };
    Request::Snapshot(vote, part)
}

pub fn granted(request: &VoteRequest<C>) -> VoteResponse<C> {
    VoteResponse::new(request.vote, request.last_log_id, true)
}
