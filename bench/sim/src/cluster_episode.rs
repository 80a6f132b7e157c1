//! Long lives of whole clusters: minutes to hours of virtual time, in which everything that can go wrong between and on the
//! machines of a group goes wrong again and again, while replicas come and go.
//!
//! Power cuts (of one node and of all), ends of the process, disks that are slow, full or fail, links that are cut (also one
//! way), slow, reset or repeat themselves, nodes that stand still, clocks that run at different rates and jump. Looked at
//! before every step of every task: one leader a term, log matching, leader completeness, that nothing committed changes, the
//! model's answers, and that no read is served alone from an old state. Now and then everything is healed: then the group
//! must elect, take a write, and bring all its replicas to one digest within [`PATIENCE`].

use std::collections::BTreeSet;
use std::time::Duration;

use slotcore_engine::log::LogOptions;
use slotcore_raft_shard::{Consensus as _, MemberStep};
use slotcore_rt::ids::{CoreId, ReplicaId};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::disk::{DiskFaults, Rate};
use slotcore_rt::sim::net::LinkQuality;

use crate::core_disk::Plant;
use crate::machine::BLOCK_BYTES;
use crate::workload::Workload;
use crate::world::{End, World};

/// Nodes that may hold replicas.
const NODE_COUNT: u64 = 5;
/// Voters in the beginning: the first nodes.
const FOUNDER_COUNT: u64 = 3;
/// An idle core looks at its log this often, so that hours can be simulated; a busy one as often as elsewhere.
const IDLE_TURN: Duration = Duration::from_millis(2);
/// How long a second of a node's clock lasts at least and at most, in percent: what the lease's margin covers.
const SECOND_PERCENT: std::ops::RangeInclusive<u32> = 96..=104;
/// A wall clock jumps this far at most, forth or back.
const JUMP_MS_MAX: u64 = 3_600_000;
/// After so much time everything is healed and must work.
const HEALED_EVERY: Duration = Duration::from_secs(45);
/// Within this a healthy group must have done what was asked.
const PATIENCE: Duration = Duration::from_secs(30);
/// What clocks show when the world begins, in milliseconds.
const WALL_MS_AT_ZERO: u64 = 1_767_225_600_000;

/// What an episode met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Virtual time lived through.
    pub simulated: Duration,
    /// Power cuts and ends of a process.
    pub crashes: u64,
    /// Links cut, one way or both.
    pub cuts: u64,
    /// Nodes that stood still for a while.
    pub freezes: u64,
    /// Jumps of wall clocks.
    pub jumps: u64,
    /// Refused writes or syncs.
    pub device_failures: u64,
    /// Steps of membership changes.
    pub member_steps: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Batches executed.
    pub executed: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.simulated += other.simulated;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.freezes += other.freezes;
        self.jumps += other.jumps;
        self.device_failures += other.device_failures;
        self.member_steps += other.member_steps;
        self.terms += other.terms;
        self.executed += other.executed;
    }
}

struct Episode {
    world: World,
    rng: SeededRng,
    workload: Workload,
    /// How far each node's wall clock is off, in milliseconds.
    offsets_ms: Vec<i64>,
    frozen: BTreeSet<u64>,
    /// Who shall be the voters.
    goal: BTreeSet<ReplicaId>,
    report: Report,
}

/// Lives through `time` and a little more.
///
/// # Errors
/// What went wrong, for a person to read.
pub fn live(seed: u64, time: Duration, plant: Plant) -> Result<Report, String> {
    let mut episode = Episode::new(seed, plant)?;
    let mut healed_at = Duration::ZERO;
    while episode.simulated() < time {
        episode
            .step()
            .map_err(|what| format!("after {:?}: {what}", episode.simulated()))?;
        if episode.simulated() >= healed_at + HEALED_EVERY {
            episode
                .settle()
                .map_err(|what| format!("healed after {:?}: {what}", episode.simulated()))?;
            healed_at = episode.simulated();
        }
    }
    episode.settle().map_err(|what| format!("healed in the end: {what}"))?;
    episode.same_without_a_crash()?;
    Ok(episode.finish())
}

impl Episode {
    fn new(seed: u64, plant: Plant) -> Result<Self, String> {
        let root = SeededRng::new(seed);
        let mut rng = root.derive("cluster");
        let mut opts = LogOptions::new(CoreId(0));
        opts.block_bytes = BLOCK_BYTES;
        let mut opts = opts.with_segment_bytes(256 << (10 + rng.below(3)));
        opts.inflight_max = 1 + rng.index(8);
        opts.spare_segments = 1 + rng.index(2);
        opts.cache_bytes_max = 1 << (12 + rng.below(8));
        let mut world = World::new(seed, FOUNDER_COUNT, opts, plant);
        world.turn_when_idle(IDLE_TURN);
        (FOUNDER_COUNT..NODE_COUNT).for_each(|_| world.join());
        let (low, high) = (u64::from(*SECOND_PERCENT.start()), u64::from(*SECOND_PERCENT.end()));
        for id in world.ids() {
            world.set_second(id, rng.range(low..high + 1) as u32);
            world.start(id)?;
        }
        Ok(Self {
            world,
            rng,
            workload: Workload::new(root.derive("workload")),
            offsets_ms: vec![0; NODE_COUNT as usize],
            frozen: BTreeSet::new(),
            goal: (1..=FOUNDER_COUNT).map(ReplicaId).collect(),
            report: Report::default(),
        })
    }

    fn simulated(&self) -> Duration {
        Duration::from_millis(self.world.now_ms())
    }

    fn verdict(&self) -> Result<(), String> {
        self.world.witness.borrow().verdict()
    }

    fn any(&mut self) -> u64 {
        1 + self.rng.below(NODE_COUNT)
    }

    /// One batch for `id`, stamped with its clock, if it takes one.
    fn propose(&mut self, id: u64) -> bool {
        let wall_ms = WALL_MS_AT_ZERO + self.world.now_ms();
        let batch = self
            .workload
            .batch(wall_ms.saturating_add_signed(self.offsets_ms[id as usize - 1]));
        let payload = batch.encode();
        // Before it is proposed: it may be executed at once.
        self.world.witness.borrow_mut().proposed(batch);
        self.world.admits(id, payload.len()) && self.world.ask(id, |group| group.propose(payload).is_ok()) == Some(true)
    }

    /// One thing goes wrong or gets better, or clients write; then some time passes.
    fn step(&mut self) -> Result<(), String> {
        match self.rng.below(40) {
            0..=2 => {
                let id = self.any();
                self.end(id);
            }
            3 if self.rng.chance(1, 3) => self.world.ids().for_each(|id| self.end(id)),
            3..=8 => self.start_all()?,
            9 => {
                let id = self.any();
                self.cut_off(id);
            }
            10 => self.split(),
            11..=13 => {
                let (from, to) = (self.any(), self.any());
                self.world.net.block(World::address(from), World::address(to));
                self.report.cuts += 1;
            }
            14..=17 => self.world.net.heal(),
            18 | 19 => {
                let quality = self.some_quality();
                self.world.net.set_quality(quality);
            }
            20 => self.world.net.set_quality(LinkQuality::default()),
            21..=23 => self.disturb_disk(),
            24 | 25 => {
                let id = self.any();
                self.freeze(id);
            }
            26..=28 => self.thaw_all(),
            29 => {
                let id = self.any();
                let by = self.rng.below(2 * JUMP_MS_MAX) as i64 - JUMP_MS_MAX as i64;
                self.offsets_ms[id as usize - 1] += by;
                self.report.jumps += 1;
            }
            30 => {
                let count = 1 + self.rng.below(NODE_COUNT);
                self.goal = (0..count).map(|_| ReplicaId(self.any())).collect();
            }
            31 => {
                let to = ReplicaId(self.any());
                if let Some(leader) = self.world.leader() {
                    // Refused when it is no voter, which is all the same here.
                    let _ = self.world.ask(leader, |group| group.transfer_leader(to));
                }
            }
            _ => self.write()?,
        }
        self.change_members();
        let us = match self.rng.below(8) {
            0 | 1 => self.rng.below(2_000),
            2..=5 => self.rng.range(1_000..300_000),
            _ => self.rng.range(100_000..6_000_000),
        };
        self.world.run_for(Duration::from_micros(us));
        self.replace_failed()?;
        let id = self.any();
        self.compare(id)?;
        self.verdict()
    }

    /// A burst of writes to whoever leads, as clients send them. Now and then it ends with the power of one node or of all,
    /// while disks are writing, or the leader stands still, and finds answers to its last messages when it goes on.
    fn write(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.range(1..12) {
            if let Some(leader) = self.world.leader() {
                self.propose(leader);
            }
            self.world.run_for(Duration::from_micros(self.rng.below(4_000)));
        }
        let ending: Vec<u64> = match self.rng.below(9) {
            0 => self.world.ids().collect(),
            1 => vec![self.any()],
            2 => self.world.leader().into_iter().collect(),
            3 => {
                if let Some(leader) = self.world.leader() {
                    self.propose(leader);
                    self.world.run_for(Duration::from_micros(self.rng.below(1_500)));
                    self.freeze(leader);
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        if !ending.is_empty() {
            if let Some(leader) = self.world.leader() {
                self.propose(leader);
            }
            self.world.run_for(Duration::from_micros(self.rng.below(1_500)));
            ending.into_iter().for_each(|id| self.end(id));
        }
        self.verdict()
    }

    fn end(&mut self, id: u64) {
        if !self.world.is_up(id) {
            return;
        }
        let end = match self.rng.chance(1, 4) {
            true => End::Killed,
            false => End::PowerLost,
        };
        self.world.end(id, end);
        self.frozen.remove(&id);
        self.report.crashes += 1;
    }

    fn start_all(&mut self) -> Result<(), String> {
        for id in self.world.ids() {
            if !self.world.is_up(id) {
                self.world.start(id)?;
            }
        }
        Ok(())
    }

    fn freeze(&mut self, id: u64) {
        if self.world.is_up(id) && self.frozen.insert(id) {
            self.world.freeze(id);
            self.report.freezes += 1;
        }
    }

    fn thaw_all(&mut self) {
        std::mem::take(&mut self.frozen)
            .into_iter()
            .for_each(|id| self.world.thaw(id));
    }

    fn cut_off(&mut self, id: u64) {
        let others: Vec<_> = self
            .world
            .ids()
            .filter(|other| *other != id)
            .map(World::address)
            .collect();
        self.world.net.partition(&[World::address(id)], &others);
        self.report.cuts += 1;
    }

    /// Two parts that do not hear of each other.
    fn split(&mut self) {
        let (one, other): (Vec<_>, Vec<_>) = self.world.ids().partition(|_| self.rng.chance(1, 2));
        let addresses = |ids: Vec<u64>| ids.into_iter().map(World::address).collect::<Vec<_>>();
        self.world.net.partition(&addresses(one), &addresses(other));
        self.report.cuts += 1;
    }

    fn some_quality(&mut self) -> LinkQuality {
        LinkQuality {
            delay_min: Duration::ZERO,
            delay_max: Duration::from_micros(self.rng.range(100..60_000)),
            reset: Rate::new(1, 20 + self.rng.below(200) as u32),
            duplicate: Rate::new(1, 5 + self.rng.below(50) as u32),
        }
    }

    fn disturb_disk(&mut self) {
        let id = self.any();
        let (kind, delay_us) = (self.rng.below(6), self.rng.range(100..80_000));
        let mut disk = self.world.disk(id).borrow_mut();
        let used = disk.used();
        let faults = disk.faults();
        match kind {
            0 => faults.capacity_bytes = used + (delay_us << 2),
            1 => (faults.write_error, faults.sync_error) = (Rate::new(1, 200), Rate::new(1, 200)),
            2 => *faults = sound(),
            _ => faults.delay_max = Duration::from_micros(delay_us),
        }
    }

    /// A process whose device has failed has ended; another one starts, on a disk that is sound again.
    fn replace_failed(&mut self) -> Result<(), String> {
        for id in self.world.ids() {
            if self.world.device_failed(id) {
                self.world.end(id, End::PowerLost);
                self.frozen.remove(&id);
                *self.world.disk(id).borrow_mut().faults() = sound();
                self.world.start(id)?;
                self.report.device_failures += 1;
            }
        }
        Ok(())
    }

    /// The next step towards the wanted voters, if there is a leader; true when there is nothing left to do.
    fn change_members(&mut self) -> bool {
        let Some(leader) = self.world.leader() else {
            return false;
        };
        let goal = &self.goal;
        let stepped = self.world.ask(leader, |group| match group.step_towards(goal) {
            MemberStep::Done => (true, 0),
            MemberStep::Wait => (false, 0),
            MemberStep::Change(change) => (false, u64::from(group.change_members(change).is_ok())),
            MemberStep::Transfer(to) => (false, u64::from(group.transfer_leader(to).is_ok())),
        });
        let (done, steps) = stepped.unwrap_or_default();
        self.report.member_steps += steps;
        done
    }

    /// A replica that has executed everything has the model's keys, and at each point all have one digest.
    fn compare(&mut self, id: u64) -> Result<(), String> {
        let mut witness = self.world.witness.borrow_mut();
        let visible = witness.visible();
        let executed = self.world.executed(id);
        let Some(digest) = self.world.with_shard(id, |shard| shard.replica.digest()) else {
            return Ok(());
        };
        witness.has_digest(id, executed, digest)?;
        if executed < visible {
            return Ok(());
        }
        let model = witness.model();
        let same = self.world.with_shard(id, |shard| shard.replica.compare(model));
        same.unwrap_or(Ok(()))
    }

    /// Healed, the wanted voters come to one state, and it holds everything that was ever visible.
    fn settle(&mut self) -> Result<(), String> {
        self.world.net.heal();
        self.world.net.set_quality(LinkQuality::default());
        for id in self.world.ids() {
            *self.world.disk(id).borrow_mut().faults() = sound();
        }
        self.thaw_all();
        self.start_all()?;
        let until = self.simulated() + PATIENCE;
        let mut taken = false;
        loop {
            self.world.run_for(Duration::from_millis(5));
            self.replace_failed()?;
            let done = self.change_members();
            taken = taken || self.world.reader().is_some_and(|leader| self.propose(leader));
            let visible = self.world.witness.borrow().visible();
            let arrived = |id: &ReplicaId| self.world.executed(id.0) == visible;
            if done && taken && self.goal.iter().all(arrived) {
                break;
            }
            if self.simulated() >= until {
                let executed: Vec<_> = self.world.ids().map(|id| self.world.executed(id)).collect();
                let goal = &self.goal;
                let leader = self.world.leader().unwrap_or(1);
                let admits = self.world.admits(leader, 1);
                let now = self.world.now();
                let seen = self.world.ask(leader, |group| {
                    let (reads, state) = (group.may_read(now), group.progress());
                    (leader, group.members(), group.term(), reads, admits, state)
                });
                return Err(format!(
                    "no agreement within {PATIENCE:?}: a write was taken: {taken}, members done: {done} (wanted {goal:?}, the \
                     leader: {seen:?}), {visible} batches visible, executed {executed:?}"
                ));
            }
        }
        self.verdict()?;
        for id in self.goal.clone() {
            self.compare(id.0)?;
        }
        Ok(())
    }

    /// The same batches on an empty state give the digest that the replicas have.
    fn same_without_a_crash(&self) -> Result<(), String> {
        let mut reference = crate::replica::Replica::default();
        let mut witness = self.world.witness.borrow_mut();
        for payload in witness.payloads() {
            reference.apply(payload, None)?;
        }
        let visible = witness.visible();
        witness.has_digest(0, visible, reference.digest())
    }

    fn finish(self) -> Report {
        let witness = self.world.witness.borrow();
        Report {
            simulated: self.simulated(),
            executed: witness.visible() as u64,
            terms: witness.term_count() as u64,
            ..self.report
        }
    }
}

/// A disk at which only its power may be cut.
fn sound() -> DiskFaults {
    DiskFaults {
        shorn: Rate::ALWAYS,
        spikes: Rate::new(1, 200),
        ..DiskFaults::default()
    }
}
