//! [`World`]: replicas of one group in one simulated world, each with the real log on a disk of its own.
//!
//! A node is what survives a crash: its disk. What runs on it is made of the disk's contents at each start, as
//! `server::boot` does, and dropped where it stands when the power goes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slotcore_engine::log::{CoreLog, LogOptions, Record, SyncPolicy};
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::sim_wire::{self, Links, PATIENCE};
use slotcore_raft_shard::{
    Applied, Consensus, CoreLogHandle, Group, GroupOptions, GroupState, LogHub, Progress, Replay, Role,
};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, GroupId, GroupSlot, ReplicaId, Term};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::disk::SimDisk;
use slotcore_rt::sim::exec::{self, RunEnd};
use slotcore_rt::sim::net::SimNet;
use slotcore_rt::sim::{NodeId, Sim};

use crate::core_disk::{CoreDisk, DiskReader, Plant, TURN_EVERY};
use crate::log_witness::LogWitness;
use crate::segments::DiskSource;
use crate::witness::{Shard, Witness};

/// The only group.
const GROUP: GroupId = GroupId(1);
/// Its place in every log.
const SLOT: GroupSlot = GroupSlot(0);
/// How often a start looks whether the first segment is there.
const LOOK_EVERY: Duration = Duration::from_micros(20);

/// Time between two reads that wait for a quorum's answer.
const READS_EVERY: Duration = Duration::from_millis(20);
/// So many of them wait at once: then the oldest is forgotten, as by a client that has given up.
const READS_AT_ONCE: usize = 4;

/// A write and a flush take less, delays of the simulated disk included.
const FLUSH_TAKES: Duration = Duration::from_millis(100);

type SimGroup = Group<SimRuntime, Shard>;

/// How a run of a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine loses power.
    PowerLost,
    /// The process ends, the machine goes on.
    Killed,
}

/// How many batches have come how far in the log of the only replica.
#[derive(Default)]
struct Marks {
    /// Batches in the log, and the frame by which they surely are.
    appended: VecDeque<(FrameNo, usize)>,
    /// When how many batches were in the log, since the process began.
    since: Vec<(Tick, usize)>,
    submitted: usize,
    durable: usize,
}

impl Marks {
    fn note(&mut self, batches: usize, log: &CoreLog) {
        if self.appended.back().is_none_or(|(_, known)| *known < batches) {
            self.appended.push_back((log.appended(), batches));
            self.since.push((exec::now(), batches));
        }
        let reached = |upto: FrameNo| {
            let within = self.appended.iter().take_while(|(frame, _)| *frame <= upto);
            within.last().map(|(_, batches)| *batches)
        };
        let (submitted, durable) = (reached(log.submitted()), reached(log.durable()));
        self.submitted = submitted.unwrap_or(self.submitted);
        self.durable = durable.unwrap_or(self.durable);
        while self.appended.len() > 1 && self.appended[1].0 <= log.durable() {
            self.appended.pop_front();
        }
    }
}

/// What a node runs.
#[derive(Clone)]
struct Running {
    log: Rc<RefCell<CoreLog>>,
    shard: Rc<RefCell<Shard>>,
    state: Rc<GroupState>,
    group: Rc<RefCell<Option<SimGroup>>>,
    marks: Rc<RefCell<Marks>>,
    device_failed: Rc<Cell<bool>>,
    /// Reads that wait for a quorum's answer: when each was asked, and how many batches were visible then.
    reads: Rc<RefCell<VecDeque<(Tick, usize)>>>,
}

/// What is left of a node whatever happens to it.
struct Node {
    disk: Rc<RefCell<SimDisk>>,
    running: Option<Running>,
    /// Batches known to survive a power cut.
    durable: usize,
    /// How long a second of its clock lasts, in percent of a true one.
    second_percent: u32,
}

impl Node {
    fn new(sim: &Sim, id: u64) -> Self {
        Self {
            disk: Rc::new(RefCell::new(SimDisk::new(sim.rng(&format!("disk {id}"))))),
            running: None,
            durable: 0,
            second_percent: 100,
        }
    }
}

/// What recovery finds on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Batches in the log.
    pub batches: usize,
    /// The state after executing them all.
    pub digest: u128,
}

/// See the module.
pub struct World {
    sim: Sim,
    /// Between the nodes.
    pub net: SimNet<Bytes>,
    /// Who watches.
    pub witness: Rc<RefCell<Witness>>,
    logs: RefCell<LogWitness>,
    nodes: Vec<Node>,
    /// The first so many nodes are the voters of a group that begins.
    founder_count: u64,
    turn_when_idle: Duration,
    opts: LogOptions,
    plant: Plant,
    salts: SeededRng,
}

impl World {
    /// Nodes 1 to `count`, all down, with empty disks.
    pub fn new(seed: u64, count: u64, opts: LogOptions, plant: Plant) -> Self {
        let sim = Sim::new(seed);
        Self {
            net: SimNet::new(&sim),
            witness: Rc::default(),
            logs: RefCell::default(),
            nodes: (1..=count).map(|id| Node::new(&sim, id)).collect(),
            founder_count: count,
            turn_when_idle: TURN_EVERY,
            opts,
            plant,
            salts: sim.rng("salts"),
            sim,
        }
    }

    /// One more node, down, with an empty disk: its replica waits until the group adds it.
    pub fn join(&mut self) {
        let id = self.nodes.len() as u64 + 1;
        self.nodes.push(Node::new(&self.sim, id));
    }

    /// How long a second of a node's clock lasts from its next start on, in percent of a true one. All that a replica does
    /// with its clock is to measure times it was given, so its clock's rate is simulated by stretching those.
    pub fn set_second(&mut self, id: u64, percent: u32) {
        self.nodes[id as usize - 1].second_percent = percent;
    }

    /// Logs that have nothing to do are looked at this often only: hours of virtual time are affordable then.
    pub fn turn_when_idle(&mut self, every: Duration) {
        self.turn_when_idle = every;
    }

    /// Lets no task of a node run until [`World::thaw`]: its clock jumps, as after a suspend.
    pub fn freeze(&self, id: u64) {
        self.sim.freeze(Self::address(id));
    }

    /// Ends [`World::freeze`].
    pub fn thaw(&self, id: u64) {
        self.sim.thaw(Self::address(id));
    }

    /// All nodes.
    pub fn ids(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.nodes.len() as u64
    }

    /// A node as the network knows it.
    pub fn address(id: u64) -> NodeId {
        NodeId(u32::try_from(id).expect("nodes of a simulation are few"))
    }

    /// A node's disk.
    pub fn disk(&self, id: u64) -> &Rc<RefCell<SimDisk>> {
        &self.node(id).disk
    }

    /// Whether a node is up.
    pub fn is_up(&self, id: u64) -> bool {
        self.node(id).running.is_some()
    }

    /// True time.
    pub fn now(&self) -> Tick {
        self.sim.now()
    }

    /// True time since the world began.
    pub fn now_ms(&self) -> u64 {
        self.sim.now().0 / 1_000_000
    }

    fn node(&self, id: u64) -> &Node {
        &self.nodes[id as usize - 1]
    }

    fn is_alone(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Reads a node's log and, for the only replica, executes it.
    fn recover(&self, id: u64, shard: &mut Shard) -> Result<(CoreLog, Applied), String> {
        let mut disk = self.node(id).disk.borrow_mut();
        let mut records = Vec::new();
        let mut keep = |record: Record| {
            if self.is_alone() {
                records.push(record);
            }
        };
        let mut opts = self.opts.clone();
        if self.plant == Plant::FlushNever {
            opts.sync = SyncPolicy::Never;
        }
        let log = CoreLog::recover(opts, &mut DiskSource(&mut disk), &mut |found| keep(found.record))
            .map_err(|error| format!("recovery refused: {error}"))?;
        let mut replay = Replay::new(ReplicaId(id), SLOT, shard, Applied::default());
        let replayed = records.into_iter().try_for_each(|record| replay.visit(record));
        let at = replayed
            .and_then(|()| replay.finish())
            .map_err(|error| error.to_string())?;
        if let Some(group) = log.group(SLOT) {
            let voted = group.vote().map_or(Term(0), |vote| vote.term);
            if voted < group.last().term {
                return Err(format!(
                    "an entry of {} came back, the vote of {voted}",
                    group.last().term
                ));
            }
        }
        Ok((log, at))
    }

    /// What a start of the only replica would find. `after_cut`: the power was cut, so what is there stays.
    ///
    /// # Errors
    /// Recovery refused.
    pub fn find(&mut self, after_cut: bool) -> Result<Found, String> {
        let mut shard = Shard::new(1, None);
        self.recover(1, &mut shard)?;
        if after_cut {
            self.nodes[0].durable = shard.executed;
        }
        Ok(Found {
            batches: shard.executed,
            digest: shard.replica.digest(),
        })
    }

    /// Starts a node from what its disk holds.
    ///
    /// # Errors
    /// Recovery refused.
    pub fn start(&mut self, id: u64) -> Result<(), String> {
        assert!(!self.is_up(id), "node {id} is up");
        let mut shard = Shard::new(id, Some(Rc::clone(&self.witness)));
        let (log, at) = self.recover(id, &mut shard)?;
        let replayed = shard.executed;
        let running = Running {
            log: Rc::new(RefCell::new(log)),
            shard: Rc::new(RefCell::new(shard)),
            state: Rc::new(GroupState::default()),
            group: Rc::default(),
            marks: Rc::default(),
            device_failed: Rc::default(),
            reads: Rc::default(),
        };
        let disk = Rc::clone(&self.node(id).disk);
        let io = CoreDisk::new(
            Rc::clone(&running.log),
            Rc::clone(&disk),
            SeededRng::new(self.salts.next_u64()),
            self.opts.sync,
            self.plant,
        )
        .turning_when_idle(self.turn_when_idle);
        self.logs.borrow_mut().restarted(id);
        self.nodes[id as usize - 1].running = Some(running.clone());
        let options = self.options_of(id);
        let endpoint = self.net.join(Self::address(id));
        let hub = LogHub::new();
        *running.marks.borrow_mut() = Marks {
            submitted: replayed,
            durable: self.node(id).durable,
            ..Marks::default()
        };
        let turns = turns(io, Rc::clone(&hub), running.clone(), replayed);
        let main = async move {
            drop(exec::spawn(turns));
            while !running.log.borrow().takes_records() {
                exec::sleep(LOOK_EVERY).await;
            }
            let reader = Rc::new(DiskReader(disk));
            let part = loop {
                // An old log has the group already; a new one takes it as soon as there is room for a record.
                match CoreLogHandle::open(Rc::clone(&running.log), GROUP, Rc::clone(&reader) as _) {
                    Ok(part) => break part,
                    Err(_) => exec::sleep(LOOK_EVERY).await,
                }
            };
            let peers = sim_wire::hub(PATIENCE);
            let links = Links {
                hub: Rc::clone(&peers),
                group: GROUP,
            };
            let opening = Group::open(options, part, hub, links, running.shard, at, running.state);
            // It fails only with the device, which the turns have noticed.
            let Ok(group) = opening.await else { return };
            let inbound = group.inbound();
            *running.group.borrow_mut() = Some(group);
            peers.serve(GROUP, inbound);
            sim_wire::carry(peers, endpoint).await;
        };
        drop(self.sim.spawn_on(Self::address(id), main));
        Ok(())
    }

    fn options_of(&self, id: u64) -> GroupOptions {
        let mut options = match id <= self.founder_count {
            true => GroupOptions::among(ReplicaId(id), (1..=self.founder_count).map(ReplicaId)),
            false => GroupOptions::joining(ReplicaId(id)),
        };
        let percent = self.node(id).second_percent;
        let stretch = |time: &mut Duration| *time = *time * percent / 100;
        stretch(&mut options.heartbeat);
        stretch(&mut options.election_min);
        stretch(&mut options.election_max);
        stretch(&mut options.clock_drift);
        options.planted.any_answer_confirms = self.plant == Plant::AnyAnswerConfirms;
        options
    }

    /// Ends a node where it stands.
    ///
    /// For the only replica it returns how many batches must come back: those its mode has promised.
    pub fn end(&mut self, id: u64, end: End) -> usize {
        self.sim.kill(Self::address(id));
        let node = &mut self.nodes[id as usize - 1];
        let running = node.running.take();
        let mut disk = node.disk.borrow_mut();
        // Something in flight that failed and was never heard of: only a cut settles what is there.
        let settled = end == End::Killed && disk.process_killed();
        if !settled {
            disk.power_cut();
        }
        let Some(running) = running else { return node.durable };
        let marks = running.marks.borrow();
        node.durable = marks.durable;
        let reached = if settled { marks.submitted } else { marks.durable };
        match self.opts.sync {
            SyncPolicy::Each => reached.max(self.witness.borrow().visible()),
            // What was written an interval ago is being flushed since, or has been.
            SyncPolicy::Every(interval) => {
                let age = 2 * interval + FLUSH_TAKES;
                let old = marks.since.iter().take_while(|(at, _)| *at + age <= self.sim.now());
                reached.max(old.last().map_or(0, |(_, batches)| *batches))
            }
            SyncPolicy::Never => reached,
        }
    }

    /// Whether a node's device has failed: its process has to end.
    pub fn device_failed(&self, id: u64) -> bool {
        self.node(id)
            .running
            .as_ref()
            .is_some_and(|running| running.device_failed.get())
    }

    /// Calls `ask` with a node's group when it is up and open.
    pub fn ask<T>(&self, id: u64, ask: impl FnOnce(&mut SimGroup) -> T) -> Option<T> {
        let running = self.node(id).running.as_ref()?;
        let mut group = running.group.borrow_mut();
        let group = group.as_mut()?;
        // What it starts ends with the node.
        Some(self.sim.enter_on(Self::address(id), || ask(group)))
    }

    /// Whether a node would take a proposal of so many bytes, as the server asks before it proposes.
    pub fn admits(&self, id: u64, bytes: usize) -> bool {
        let running = self.node(id).running.as_ref();
        running.is_some_and(|running| running.log.borrow_mut().admit(bytes).is_ok())
    }

    /// The leader of the highest term among those up.
    pub fn leader(&self) -> Option<u64> {
        let leads = |id| {
            self.ask(id, |group| (group.role() == Role::Leader).then(|| group.term()))
                .flatten()
        };
        let leaders = self.ids().filter_map(|id| Some((leads(id)?, id)));
        leaders.max().map(|(_, id)| id)
    }

    /// A node that would answer a read alone.
    pub fn reader(&self) -> Option<u64> {
        let now = self.sim.now();
        self.ids()
            .find(|id| self.ask(*id, |group| group.may_read(now)) == Some(true))
    }

    /// Batches a node has executed since it was started, those of its log included.
    pub fn executed(&self, id: u64) -> usize {
        let running = self.node(id).running.as_ref();
        running.map_or(0, |running| running.shard.borrow().executed)
    }

    /// Looks at the state of a node that is up.
    pub fn with_shard<T>(&self, id: u64, look: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        let running = self.node(id).running.as_ref()?;
        Some(look(&mut running.shard.borrow_mut()))
    }

    /// Runs until `done`; false when it did not come true within `limit` of virtual time.
    pub fn run_until(&self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.sim.run_until(self.sim.now() + limit, || {
            self.watch();
            done(self)
        });
        end == RunEnd::Met
    }

    /// Lets time pass.
    pub fn run_for(&self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// What holds at every moment.
    fn watch(&self) {
        let now = exec::now();
        let mut refused = Vec::new();
        for (id, node) in self.ids().zip(&self.nodes) {
            let Some(running) = &node.running else { continue };
            let mut slot = running.group.borrow_mut();
            let Some(group) = slot.as_mut() else { continue };
            let mut witness = self.witness.borrow_mut();
            if let Err(what) = self.watch_log(id, running, group) {
                witness.accuse(what);
            }
            if group.role() == Role::Leader {
                witness.leads(id, group.term());
            }
            let executed = running.shard.borrow().executed;
            if group.may_read(now) {
                witness.would_read(id, executed);
            }
            let mut reads = running.reads.borrow_mut();
            reads.retain(|(asked_at, visible)| {
                let confirmed = group.may_read_from(*asked_at);
                if confirmed {
                    witness.would_answer(id, executed, *visible);
                }
                !confirmed
            });
            let asked_lately = reads
                .back()
                .is_some_and(|(asked_at, _)| now.since(*asked_at) < READS_EVERY);
            if group.role() == Role::Leader && !asked_lately {
                if reads.len() == READS_AT_ONCE {
                    reads.pop_front();
                }
                reads.push_back((now, witness.visible()));
            }
            group.take_refused(&mut refused);
            if self.is_alone() && !refused.is_empty() {
                witness.accuse(format!("the only replica refused {refused:?}"));
            }
            if let Some(failure) = group.failure()
                && !running.device_failed.get()
            {
                witness.accuse(format!("node {id} has stopped: {failure}"));
            }
        }
    }

    /// What Raft promises of logs. A single replica has nobody to compare with, and in some modes forgets.
    fn watch_log(&self, id: u64, running: &Running, group: &SimGroup) -> Result<(), String> {
        if self.is_alone() {
            return Ok(());
        }
        let mut logs = self.logs.borrow_mut();
        logs.looked_at(id, &running.log.borrow(), SLOT)?;
        let (index, term) = running.state.applied();
        logs.executed(id, index, term)?;
        match group.role() {
            Role::Leader => logs.leads(id, group.term()),
            Role::Learner | Role::Follower | Role::Candidate | Role::Stopped => Ok(()),
        }
    }
}

/// The turns of one core until its device fails.
async fn turns(io: CoreDisk, hub: Rc<LogHub<SimRuntime>>, running: Running, replayed: usize) {
    let Running {
        log,
        state,
        marks,
        device_failed,
        ..
    } = running;
    let after = move || {
        let Progress { digested, .. } = state.progress();
        marks.borrow_mut().note(replayed + digested as usize, &log.borrow());
    };
    if io.run(hub, after).await.is_err() {
        device_failed.set(true);
    }
}
