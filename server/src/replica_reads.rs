//! Reads that a core answers although it follows, for connections that allow it (`READONLY`, `CLIENT READMODE`).
//!
//! Who is content with whatever is there, or with a state of some age, is answered at once if it is like that. Who wants more is held
//! until the leader has said how far this core has to be, and it is ([`slotcore_raft_shard::freshness`]); all that are held
//! share one question. When keys have expired that only an entry can remove, clients are sent to the leader.

use std::time::Duration;

use slotcore_engine::cmd::op::decode_op;
use slotcore_engine::cmd::{Run, by_id};
use slotcore_raft_shard::peer::read_index;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Group, StateMachine, Vouched};
use slotcore_rt::clock::Tick;

use crate::batch::{Item, ItemKind, Sealed, Who};
use crate::clients::{ClientState, Endpoint};
use crate::cluster_turn::{PATIENCE, Replication};
use crate::core_loop::CoreLoop;
use crate::core_state::CoreState;
use crate::leadership::Standing;

/// How fresh what a connection reads has to be (`CLIENT READMODE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadWish {
    /// Everything that was acknowledged before: the leader answers, by its lease if its `--read-mode` is `lease`. After
    /// `READONLY`, a replica answers from what it has.
    #[default]
    Lease,
    /// The same, and no clock is trusted: a majority has confirmed who leads since the read came.
    Linearizable,
    /// A replica may answer, from a state at most so many milliseconds old.
    Bounded(u32),
    /// A replica may answer from what it has.
    Any,
}

impl ReadWish {
    /// Of whom the leader has to be sure so that a replica may answer; `None`: the replica need not ask.
    fn needs(self) -> Option<Vouched> {
        match self {
            Self::Lease | Self::Any => None,
            Self::Bounded(_) => Some(Vouched::ByLease),
            Self::Linearizable => Some(Vouched::ByQuorum),
        }
    }
}

impl ClientState {
    /// Its reads need a majority's word.
    #[inline]
    pub fn asks_majority(&self) -> bool {
        self.read_wish == ReadWish::Linearizable
    }

    /// A core that follows may answer its reads: on the any-slot port all of them go to who leads.
    fn reads_replicas(&self) -> bool {
        let allows = self.reads_replica || matches!(self.read_wish, ReadWish::Bounded(_) | ReadWish::Any);
        allows && self.endpoint == Endpoint::Core
    }
}

/// What a core that follows knows of its state, and wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplicaReads {
    by_lease: Option<Tick>,
    by_quorum: Option<Tick>,
    asks: Option<Vouched>,
}

impl ReplicaReads {
    fn as_of(&self, vouched: Vouched) -> Option<Tick> {
        match vouched {
            Vouched::ByLease => self.by_lease,
            Vouched::ByQuorum => self.by_quorum,
        }
    }
}

impl Replication {
    /// Whether a client's read may be answered right now. `allowed`: this core leads, and may read by itself.
    pub(crate) fn reads_now(&self, client: &ClientState, allowed: bool, now: Tick) -> bool {
        let by_replica = client.reads_replicas()
            && match client.read_wish {
                ReadWish::Lease => self.follows(),
                ReadWish::Any => !self.is_outside(),
                ReadWish::Linearizable => false,
                ReadWish::Bounded(ms) => {
                    let age = Duration::from_millis(u64::from(ms));
                    let as_of = self.reads.by_lease.filter(|_| !self.is_outside());
                    as_of.is_some_and(|as_of| as_of + age >= now)
                }
            };
        by_replica || allowed && !client.asks_majority()
    }

    /// Whether this core's state is as fresh as the moment `then`, for such a wish.
    fn is_fresh(&self, wish: ReadWish, then: Tick) -> bool {
        wish.needs()
            .is_none_or(|vouched| self.reads.as_of(vouched) >= Some(then))
    }

    /// Takes note of how fresh its group's state is.
    pub(crate) fn note_freshness<S: StateMachine>(&mut self, group: &Group<GlommioRuntime, S>) {
        self.reads.by_lease = group.fresh_as_of(Vouched::ByLease);
        self.reads.by_quorum = group.fresh_as_of(Vouched::ByQuorum);
    }
}

impl CoreState {
    /// True when the oldest batch, which is not proposed, has to wait for the leader's word.
    pub(crate) fn awaits_freshness(&mut self) -> bool {
        let (Some(replication), Some(sealed)) = (&mut self.replication, self.proposed.front()) else {
            return false;
        };
        if !replication.follows() || sealed.wants_time || self.now.tick.since(sealed.sealed_at) > PATIENCE {
            return false;
        }
        let clients = &self.server.clients;
        let wishes = sealed.items.iter().filter_map(|item| match (item.who, item.kind) {
            (Who::Client(conn), ItemKind::Aside(_)) => {
                let client = clients.get(conn.index())?;
                client.reads_replicas().then_some(client.read_wish)
            }
            _ => None,
        });
        let lacks = wishes.filter(|&wish| !replication.is_fresh(wish, sealed.sealed_at));
        let needs = lacks.filter_map(ReadWish::needs).max();
        replication.reads.asks = replication.reads.asks.max(needs);
        needs.is_some()
    }

    /// Whether a command of a batch that is not proposed is answered here although another node leads.
    pub(crate) fn answers_as_replica(&self, item: &Item, sealed: &Sealed, operation: &[u8]) -> bool {
        let (Some(replication), Who::Client(conn), ItemKind::Aside(_)) = (&self.replication, item.who, item.kind)
        else {
            return false;
        };
        let Some(client) = self.server.clients.get(conn.index()) else {
            return false;
        };
        let (id, _) = decode_op(operation, &mut Vec::new()).expect("encoded by this process");
        let reads = by_id(id).is_some_and(|spec| matches!(spec.run, Run::Data(_)) && !spec.is_write());
        reads
            && !sealed.wants_time
            && self.keyspace.is_complete()
            && replication.follows()
            && client.reads_replicas()
            && replication.is_fresh(client.read_wish, sealed.sealed_at)
    }
}

impl CoreLoop {
    /// Tells other nodes' replicas how far they have to be, if they have asked.
    pub(crate) fn answer_replicas<S: StateMachine>(&self, group: &mut Group<GlommioRuntime, S>) {
        if let Some(peers) = &self.peers {
            read_index::answer(peers.driver.hub(), peers.group, group, !self.asks_for_reads());
        }
    }

    /// Asks the leader, if reads wait for its word.
    pub(crate) fn ask_for_freshness<S: StateMachine>(&self, group: &Group<GlommioRuntime, S>) {
        let Some(peers) = &self.peers else { return };
        let mut state = self.state.borrow_mut();
        let core = state.server.core;
        let Some(replication) = &mut state.replication else {
            return;
        };
        if let Some(vouched) = replication.reads.asks.take()
            && let Standing::Follows(leader) = replication.standing
        {
            let leader = leader.replica(core);
            read_index::ask(peers.driver.hub(), peers.group, leader, group.state(), vouched);
        }
    }
}
