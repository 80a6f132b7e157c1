//! Replicas of one group in one simulated world.
//!
//! Every replica is a node with its log, its state machine's snapshot, and a disk that takes its time. The oracle looks
//! at all of them before every single step of every task.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slotcore_raft_shard::options::Planted;
use slotcore_raft_shard::peer::{PeerHub, compare, read_index};
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::{
    Consensus, Finding, Group, GroupOptions, GroupState, LogHub, MemoryLog, Role, StateMachine, Vouched,
};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{GroupId, LogIndex, ReplicaId};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::exec::{self, RunEnd};
use slotcore_rt::sim::{NodeId, Sim, SimNet};

use super::machine::{DurableSnapshot, Machine};
use super::oracle::Oracle;
use slotcore_raft_shard::sim_wire::{self, Links, PATIENCE};

/// The group of all replicas.
const GROUP: GroupId = GroupId(1);
/// How often an idle disk looks for something to write.
const DISK_LOOKS_EVERY: Duration = Duration::from_micros(100);
/// How long a write takes at most.
const DISK_TAKES_US: u64 = 400;

type TestGroup = Group<SimRuntime, Machine>;

/// Time between two reads that ask a quorum.
const READS_EVERY: Duration = Duration::from_millis(1);
/// Reads that wait for a leader's word at once.
const READS_AT_ONCE: usize = 4;
/// How reads are called in violations that a quorum's answer allowed.
pub const BY_READ_INDEX: &str = "by ReadIndex";
/// The same of replicas that do not lead, by their leader's word.
pub const BY_ANOTHERS_LEASE: &str = "by its leader's lease";
pub const BY_ANOTHERS_QUORUM: &str = "by its leader's ReadIndex";

/// What the parts of a running replica share.
#[derive(Clone)]
struct Running {
    group: Rc<RefCell<Option<TestGroup>>>,
    state: Rc<GroupState>,
    machine: Rc<RefCell<Machine>>,
    /// When a read was received that waits for a quorum, and what was visible then.
    asked: Cell<Option<(Tick, LogIndex)>>,
    /// When the last one was.
    asked_at: Cell<Tick>,
    hub: Rc<RefCell<Option<Rc<PeerHub<SimRuntime>>>>>,
    /// When reads were received that wait for the leader's word, what was visible then, and whose word.
    follows: RefCell<Vec<(Tick, LogIndex, Vouched)>>,
    /// How many there were.
    followed: Cell<u64>,
    /// What had been executed when a snapshot was asked for that another replica needs.
    taken_at: Cell<LogIndex>,
}

struct Replica {
    id: u64,
    log: MemoryLog,
    snapshot: DurableSnapshot,
    disk_stalled: Rc<Cell<bool>>,
    running: Option<Running>,
}

impl Replica {
    fn new(id: u64) -> Self {
        Replica {
            id,
            log: MemoryLog::default(),
            snapshot: DurableSnapshot::default(),
            disk_stalled: Rc::default(),
            running: None,
        }
    }
}

pub struct Cluster {
    pub sim: Sim,
    pub net: SimNet<Bytes>,
    pub oracle: Rc<RefCell<Oracle>>,
    pub rng: SeededRng,
    replicas: Vec<Replica>,
    /// How many of them the group was started with.
    founders: u64,
    planted: Planted,
    /// How long a second of each replica's clock lasts, in percent.
    seconds: Vec<u32>,
    next_write: u64,
    /// Reads that a quorum's answer allowed.
    pub confirmed: Cell<u64>,
    /// The same of replicas that did not lead.
    pub told: Cell<u64>,
    /// What each has found out by comparing states.
    pub findings: RefCell<Vec<(u64, Finding)>>,
}

impl Cluster {
    /// Replicas 1 to `count`, all started.
    pub fn new(seed: u64, count: u64, planted: Planted) -> Cluster {
        let seconds = (0..count).map(|_| 100).collect();
        Self::with_clocks(seed, count, planted, seconds)
    }

    /// `seconds`: how long a second of each replica's clock lasts, in percent of a true one. All that a replica does
    /// with its clock is to measure times it was given, so its clock's rate is simulated by stretching those.
    pub fn with_clocks(seed: u64, count: u64, planted: Planted, seconds: Vec<u32>) -> Cluster {
        let sim = Sim::new(seed);
        let (net, rng) = (SimNet::new(&sim), sim.rng("test"));
        let replicas = (1..=count).map(Replica::new).collect();
        let mut cluster = Cluster {
            sim,
            net,
            oracle: Rc::default(),
            rng,
            replicas,
            founders: count,
            planted,
            seconds,
            next_write: 1,
            confirmed: Cell::default(),
            told: Cell::default(),
            findings: RefCell::default(),
        };
        cluster.ids().into_iter().for_each(|id| cluster.start(id));
        cluster
    }

    pub fn ids(&self) -> Vec<u64> {
        self.replicas.iter().map(|replica| replica.id).collect()
    }

    /// One more replica, that knows nothing of the group and waits to be added.
    pub fn join(&mut self) -> u64 {
        let id = self.replicas.len() as u64 + 1;
        self.replicas.push(Replica::new(id));
        self.seconds.push(100);
        self.start(id);
        id
    }

    /// The replicas that belong to the group in the eyes of its leader; all when there is none.
    pub fn members(&self) -> Vec<u64> {
        let members = self
            .leader()
            .and_then(|leader| self.ask(leader, |group| group.members()));
        let is_member = |id: &u64| members.as_ref().is_none_or(|members| members.contains(ReplicaId(*id)));
        self.ids().into_iter().filter(is_member).collect()
    }

    pub fn node(id: u64) -> NodeId {
        NodeId(u32::try_from(id).unwrap())
    }

    /// Starts a replica from what its disk holds.
    pub fn start(&mut self, id: u64) {
        let voters = 1..=(if id <= self.founders { self.founders } else { 0 });
        let replica = &mut self.replicas[id as usize - 1];
        assert!(replica.running.is_none(), "replica {id} is running");
        let (machine, at) = Machine::restored(id, self.oracle.clone(), replica.snapshot.clone());
        let running = Running {
            group: Rc::default(),
            state: Rc::new(GroupState::default()),
            machine: Rc::new(RefCell::new(machine)),
            asked: Cell::default(),
            asked_at: Cell::new(Tick::ZERO),
            hub: Rc::default(),
            follows: RefCell::default(),
            followed: Cell::default(),
            taken_at: Cell::default(),
        };
        replica.running = Some(running.clone());

        let mut options = GroupOptions::among(ReplicaId(id), voters.map(ReplicaId));
        options.planted = self.planted;
        let stretch = |time: &mut Duration| *time = *time * self.seconds[id as usize - 1] / 100;
        stretch(&mut options.heartbeat);
        stretch(&mut options.election_min);
        stretch(&mut options.election_max);
        stretch(&mut options.clock_drift);
        let (log, stalled) = (replica.log.clone(), replica.disk_stalled.clone());
        let endpoint = self.net.join(Self::node(id));
        let main = async move {
            let peers = sim_wire::hub(PATIENCE);
            let hub = LogHub::new();
            drop(exec::spawn(run_disk(log.clone(), hub.clone(), stalled)));
            let links = Links {
                hub: peers.clone(),
                group: GROUP,
            };
            let group = Group::open(
                options,
                log,
                hub,
                links,
                running.machine.clone(),
                at,
                running.state.clone(),
            );
            let group = group.await.unwrap();
            let inbound = group.inbound();
            *running.hub.borrow_mut() = Some(peers.clone());
            *running.group.borrow_mut() = Some(group);
            peers.serve(GROUP, inbound);
            sim_wire::carry(peers, endpoint).await;
        };
        drop(self.sim.spawn_on(Self::node(id), main));
    }

    /// Starts all replicas that are down.
    pub fn start_all(&mut self) {
        self.ids().into_iter().for_each(|id| {
            if !self.is_up(id) {
                self.start(id);
            }
        });
    }

    /// Ends a replica where it stands; its log keeps what was durable.
    pub fn crash(&mut self, id: u64) {
        self.sim.kill(Self::node(id));
        let replica = &mut self.replicas[id as usize - 1];
        replica.running = None;
        replica.log = replica.log.after_crash();
        replica.disk_stalled.set(false);
    }

    pub fn is_up(&self, id: u64) -> bool {
        self.replicas[id as usize - 1].running.is_some()
    }

    /// From now on nothing this replica writes becomes durable.
    pub fn stall_disk(&self, id: u64) {
        self.replicas[id as usize - 1].disk_stalled.set(true);
    }

    pub fn log(&self, id: u64) -> &MemoryLog {
        &self.replicas[id as usize - 1].log
    }

    /// Whether the replica's disk holds a snapshot, taken there or sent by a leader.
    pub fn holds_snapshot(&self, id: u64) -> bool {
        self.replicas[id as usize - 1].snapshot.borrow().is_some()
    }

    /// Of how many entries the replica's durable snapshot is.
    pub fn snapshot_len(&self, id: u64) -> usize {
        let snapshot = self.replicas[id as usize - 1].snapshot.borrow();
        snapshot.as_ref().map_or(0, |(_, data)| data.len() / 16)
    }

    /// Calls `ask` with the replica's group, when it is up and open.
    pub fn ask<T>(&self, id: u64, ask: impl FnOnce(&mut TestGroup) -> T) -> Option<T> {
        let running = self.replicas[id as usize - 1].running.as_ref()?;
        let mut group = running.group.borrow_mut();
        let group = group.as_mut()?;
        Some(self.sim.enter_on(Self::node(id), || ask(group)))
    }

    /// The position up to which a replica has executed.
    pub fn applied(&self, id: u64) -> LogIndex {
        let running = &self.replicas[id as usize - 1].running;
        running
            .as_ref()
            .map_or(LogIndex(0), |running| running.state.applied().0)
    }

    /// What a replica has executed.
    pub fn executed(&self, id: u64) -> Vec<(LogIndex, u64)> {
        let running = &self.replicas[id as usize - 1].running;
        running
            .as_ref()
            .map(|running| running.machine.borrow().executed.clone())
            .unwrap_or_default()
    }

    /// Makes the replica's state another one than its log says, as broken memory would.
    pub fn corrupt(&self, id: u64) {
        let running = self.replicas[id as usize - 1].running.as_ref().expect("it is up");
        running.machine.borrow_mut().executed[0].1 ^= 1 << 40;
    }

    /// Proposes a new write on `id`; `None` when it does not take it.
    pub fn propose(&mut self, id: u64) -> Option<u64> {
        let write = self.next_write;
        let taken = self.ask(id, |group| {
            group.propose(Bytes::copy_from_slice(&write.to_be_bytes())).is_ok()
        })?;
        self.next_write += 1;
        self.oracle.borrow_mut().proposed(id, write);
        taken.then_some(write)
    }

    /// The leader of the highest term among those up.
    pub fn leader(&self) -> Option<u64> {
        let leads = |id: &u64| {
            self.ask(*id, |group| (group.role() == Role::Leader).then(|| group.term()))
                .flatten()
        };
        self.ids()
            .into_iter()
            .filter_map(|id| Some((leads(&id)?, id)))
            .max()
            .map(|(_, id)| id)
    }

    /// Runs until `done`, watched by the oracle; false when it did not come true within `limit` of virtual time.
    pub fn run_until(&self, limit: Duration, mut done: impl FnMut(&Cluster) -> bool) -> bool {
        let end = self.sim.run_until(self.sim.now() + limit, || {
            self.watch();
            done(self)
        });
        end == RunEnd::Met
    }

    pub fn run_for(&self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Runs until somebody leads and has executed an entry of its term.
    pub fn elect(&self) -> u64 {
        let ready = |cluster: &Cluster| {
            let now = cluster.sim.now();
            cluster
                .leader()
                .is_some_and(|id| cluster.ask(id, |group| group.may_read(now)) == Some(true))
        };
        assert!(self.run_until(Duration::from_secs(10), ready), "no leader within 10 s");
        self.leader().unwrap()
    }

    /// Runs until all members that are up have executed the same.
    pub fn settle(&self) {
        let settled = |cluster: &Cluster| {
            let up = cluster.members().into_iter().filter(|id| cluster.is_up(*id));
            let last = up.clone().map(|id| {
                cluster
                    .log(id)
                    .all_entries()
                    .last()
                    .map_or(LogIndex(0), |entry| entry.index)
            });
            let applied: Vec<_> = up.map(|id| cluster.applied(id)).collect();
            // A log that was purged to its end has none.
            let is_end = |end: LogIndex| applied.first().is_none_or(|first| *first == end);
            let all_written = last.into_iter().all(|end| is_end(end) || end.0 == 0);
            cluster.leader().is_some() && applied.iter().all(|end| is_end(*end)) && all_written
        };
        assert!(
            self.run_until(Duration::from_secs(20), settled),
            "the replicas do not come to agree within 20 s"
        );
    }

    /// What the oracle has seen go wrong, and what the final states lack.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = self.oracle.borrow().violations.clone();
        for id in self.members().into_iter().filter(|id| self.is_up(*id)) {
            let missing = self.oracle.borrow().missing_in(&self.executed(id));
            if !missing.is_empty() {
                violations.push(format!("node {id} lacks acknowledged writes {missing:?}"));
            }
            if let Some(Some(failure)) = self.ask(id, |group| group.failure()) {
                violations.push(format!("node {id} has failed: {failure}"));
            }
        }
        violations
    }

    fn watch(&self) {
        let now = exec::now();
        for replica in &self.replicas {
            let Some(running) = &replica.running else { continue };
            let mut slot = running.group.borrow_mut();
            let Some(group) = slot.as_mut() else { continue };
            if group.role() == Role::Leader {
                self.oracle.borrow_mut().leads(replica.id, group.term());
            }
            let at = || running.machine.borrow().at.get();
            if group.may_read(now) {
                let visible = self.oracle.borrow().visible();
                self.oracle
                    .borrow_mut()
                    .would_read(replica.id, at(), visible, "by its lease");
            }
            match running.asked.get() {
                Some((then, visible)) if group.may_read_from(then) => {
                    self.oracle
                        .borrow_mut()
                        .would_read(replica.id, at(), visible, BY_READ_INDEX);
                    self.confirmed.set(self.confirmed.get() + 1);
                    running.asked.set(None);
                }
                Some(_) => {}
                None if group.role() == Role::Leader && now.since(running.asked_at.get()) >= READS_EVERY => {
                    let visible = self.oracle.borrow().visible();
                    running.asked.set(Some((now, visible)));
                    running.asked_at.set(now);
                    // From time to time it waits for what is asked anyhow.
                    if now.0.is_multiple_of(2) {
                        let _ = group.ask_quorum();
                    }
                }
                None => {}
            }
            let hub = running.hub.borrow();
            if let Some(hub) = hub.as_ref() {
                self.sim.enter_on(Self::node(replica.id), || {
                    self.compare(running, group, hub);
                    self.watch_follower(running, group, hub, now);
                });
            }
        }
    }

    /// What a core does so that wrong replicas are found and become right.
    fn compare(&self, running: &Running, group: &mut TestGroup, hub: &Rc<PeerHub<SimRuntime>>) {
        compare::work(hub, GROUP, group);
        let needed = group.state().snapshot_needed();
        let has = running.machine.borrow_mut().kept().unwrap().map(|(at, _)| at.index);
        let applied = group.state().applied().0;
        if needed.is_some() && has < needed && running.taken_at.replace(applied) != applied {
            _ = group.take_snapshot();
        }
        while let Some(finding) = group.state().take_finding() {
            self.findings.borrow_mut().push((group.id().0, finding));
        }
    }

    /// A replica that does not lead reads from time to time, also while others wait, and answers when its leader has vouched
    /// for it.
    fn watch_follower(&self, running: &Running, group: &mut TestGroup, hub: &Rc<PeerHub<SimRuntime>>, now: Tick) {
        read_index::answer(hub, GROUP, group, true);
        let visible = self.oracle.borrow().visible();
        let leader = group.leader().filter(|&leader| leader != group.id());
        let mut reads = running.follows.borrow_mut();
        reads.retain(|&(then, visible, vouched)| {
            if group.fresh_as_of(vouched) < Some(then) {
                return true;
            }
            let how = match vouched {
                Vouched::ByLease => BY_ANOTHERS_LEASE,
                Vouched::ByQuorum => BY_ANOTHERS_QUORUM,
            };
            let at = running.machine.borrow().at.get();
            self.oracle.borrow_mut().would_read(group.id().0, at, visible, how);
            self.told.set(self.told.get() + 1);
            false
        });
        if let (Some(leader), Some(&(_, _, vouched))) = (leader, reads.first()) {
            read_index::ask(hub, GROUP, leader, group.state(), vouched);
        }
        let is_time = now.since(running.asked_at.get()) >= READS_EVERY;
        if leader.is_some() && is_time && reads.len() < READS_AT_ONCE {
            let nth = running.followed.get();
            let vouched = [Vouched::ByLease, Vouched::ByQuorum][nth as usize % 2];
            running.followed.set(nth + 1);
            running.asked_at.set(now);
            reads.push((now, visible, vouched));
        }
    }
}

async fn run_disk(log: MemoryLog, hub: Rc<LogHub<SimRuntime>>, stalled: Rc<Cell<bool>>) {
    let mut rng = exec::rng(&format!("disk of {} at {}", exec::node(), exec::now().0));
    loop {
        let frame = log.submitted();
        if frame == log.durable() || stalled.get() {
            exec::sleep(DISK_LOOKS_EVERY).await;
            continue;
        }
        exec::sleep(Duration::from_micros(rng.range(10..DISK_TAKES_US))).await;
        if !stalled.get() {
            log.sync_to(frame);
            hub.advance(frame, frame);
        }
    }
}
