//! Episodes through Raft: writes are proposed to a group, as the server does it, and the power goes anywhere.
//!
//! [`alone`]: one replica, in any durability mode, through several runs of its process. After each crash what the mode
//! promises is there, the state is the model's, a second recovery gives the same digest, and so does executing the same
//! batches without any crash.
//!
//! [`three`]: three replicas in `always`, on a network that is cut and loses messages; nodes and at times all of them
//! lose power. At every moment: one leader a term, one order of batches, no read of an old state. At the end, healed:
//! everything that was executed anywhere is executed by all, with equal digests.

use std::time::Duration;

use slotcore_engine::log::{LogOptions, SyncPolicy};
use slotcore_raft_shard::Consensus as _;
use slotcore_rt::ids::CoreId;
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::disk::Rate;
use slotcore_rt::sim::net::LinkQuality;

use crate::core_disk::Plant;
use crate::machine::BLOCK_BYTES;
use crate::replica::Replica;
use crate::witness::Witness;
use crate::workload::Workload;
use crate::world::{End, World};

/// Runs of the process in an episode of one replica.
const RUN_COUNT: u64 = 6;
/// Steps of the longest run of one replica.
const STEP_COUNT_MAX: u64 = 120;
/// Steps of an episode of three replicas.
const STEP_COUNT: u64 = 80;
/// Within this a healthy group must have done what was asked.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the leaders' clocks show when the world begins, in milliseconds.
const WALL_MS_AT_ZERO: u64 = 1_767_225_600_000;

/// What an episode met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Power cuts.
    pub cuts: u64,
    /// Ends of a process alone.
    pub kills: u64,
    /// Runs ended by a refused write or sync.
    pub device_failures: u64,
    /// Batches executed.
    pub executed: u64,
    /// Batches refused: no leader, no space, too much under way.
    pub refused: u64,
    /// Terms that had a leader.
    pub terms: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.device_failures += other.device_failures;
        self.executed += other.executed;
        self.refused += other.refused;
        self.terms += other.terms;
    }
}

struct Episode {
    world: World,
    rng: SeededRng,
    workload: Workload,
    sync: SyncPolicy,
    /// The leader's clock, which never goes back.
    leader_ms: u64,
    report: Report,
}

/// Lives through one episode of a single replica.
///
/// # Errors
/// What went wrong, for a person to read.
pub fn alone(seed: u64, plant: Plant) -> Result<Report, String> {
    let root = SeededRng::new(seed);
    let mut rng = root.derive("alone");
    let sync = match rng.below(4) {
        0 => SyncPolicy::Never,
        1 => SyncPolicy::Every(Duration::from_millis(1 + rng.below(20))),
        _ => SyncPolicy::Each,
    };
    let mut episode = Episode::new(seed, 1, sync, plant, rng, &root);
    let mut faults = episode.world.disk(1).borrow_mut();
    let faults_now = faults.faults();
    (faults_now.shorn, faults_now.spikes) = (Rate::ALWAYS, Rate::new(1, 50));
    if episode.rng.chance(1, 6) {
        (faults_now.write_error, faults_now.sync_error) = (Rate::new(1, 300), Rate::new(1, 300));
    }
    drop(faults);
    for run in 0..RUN_COUNT {
        episode
            .run_alone()
            .map_err(|what| format!("run {run}: {what} ({sync:?})"))?;
    }
    episode
        .settle_alone()
        .map_err(|what| format!("healed: {what} ({sync:?})"))?;
    Ok(episode.finish())
}

/// Lives through one episode of three replicas.
///
/// # Errors
/// What went wrong, for a person to read.
pub fn three(seed: u64, plant: Plant) -> Result<Report, String> {
    let root = SeededRng::new(seed);
    let mut episode = Episode::new(seed, 3, SyncPolicy::Each, plant, root.derive("three"), &root);
    for id in episode.world.ids() {
        let mut disk = episode.world.disk(id).borrow_mut();
        (disk.faults().shorn, disk.faults().spikes) = (Rate::ALWAYS, Rate::new(1, 100));
        drop(disk);
        episode.world.start(id)?;
    }
    episode.until_reader()?;
    for step in 0..STEP_COUNT {
        episode.step_three().map_err(|what| format!("step {step}: {what}"))?;
    }
    episode.settle_three().map_err(|what| format!("healed: {what}"))?;
    Ok(episode.finish())
}

impl Episode {
    fn new(seed: u64, nodes: u64, sync: SyncPolicy, plant: Plant, mut rng: SeededRng, root: &SeededRng) -> Self {
        let mut opts = LogOptions::new(CoreId(0));
        opts.block_bytes = BLOCK_BYTES;
        let mut opts = opts.with_segment_bytes(64 << (10 + rng.below(3)));
        opts.inflight_max = 1 + rng.index(8);
        opts.spare_segments = 1 + rng.index(2);
        opts.cache_bytes_max = 1 << (12 + rng.below(8));
        opts.sync = sync;
        Self {
            world: World::new(seed, nodes, opts, plant),
            workload: Workload::new(root.derive("workload")),
            rng,
            sync,
            leader_ms: 0,
            report: Report::default(),
        }
    }

    fn verdict(&self) -> Result<(), String> {
        self.world.witness.borrow().verdict()
    }

    /// One batch for `id`, if it takes one.
    fn propose(&mut self, id: u64) -> bool {
        self.leader_ms = self.leader_ms.max(WALL_MS_AT_ZERO + self.world.now_ms());
        let batch = self.workload.batch(self.leader_ms);
        let payload = batch.encode();
        // Before it is proposed: it may be executed at once.
        self.world.witness.borrow_mut().proposed(batch);
        let taken = self.world.admits(id, payload.len())
            && self.world.ask(id, |group| group.propose(payload).is_ok()) == Some(true);
        self.report.refused += u64::from(!taken);
        taken
    }

    fn until_reader(&mut self) -> Result<u64, String> {
        if !self.world.run_until(PATIENCE, |world| world.reader().is_some()) {
            return Err(format!("nobody leads after {PATIENCE:?}"));
        }
        self.verdict()?;
        self.world.reader().ok_or_else(|| "a reader that is none".into())
    }

    /// A moment, or long enough for an idle log to notice.
    fn pause(&mut self) {
        let us = match self.rng.below(12) {
            0 => self.rng.range(1_000..25_000),
            _ => self.rng.below(400),
        };
        self.world.run_for(Duration::from_micros(us));
    }

    /// A run of the only replica, from start to crash, and the checks after it.
    fn run_alone(&mut self) -> Result<(), String> {
        self.world.start(1)?;
        let steps = self.rng.below(STEP_COUNT_MAX);
        for _ in 0..steps {
            self.pause();
            self.disturb_disk();
            if self.world.device_failed(1) {
                break;
            }
            if self.world.reader().is_some() {
                for _ in 0..self.rng.below(4) {
                    self.propose(1);
                }
            }
            self.compare(1)?;
        }
        self.verdict()?;
        let failed = self.world.device_failed(1);
        self.report.device_failures += u64::from(failed);
        let kill = !failed && self.rng.chance(1, 4);
        self.crash_alone(kill)
    }

    fn disturb_disk(&mut self) {
        let chance = self.rng.below(100);
        let room = self.rng.below(3) * (64 << 10);
        let mut disk = self.world.disk(1).borrow_mut();
        match chance {
            0 => disk.faults().capacity_bytes = disk.used() + room,
            1..=5 => disk.faults().capacity_bytes = u64::MAX,
            _ => {}
        }
    }

    /// Now and then: a replica that has executed everything has the model's keys.
    fn compare(&mut self, id: u64) -> Result<(), String> {
        let mut witness = self.world.witness.borrow_mut();
        if !self.rng.chance(1, 10) || self.world.executed(id) < witness.visible() {
            return Ok(());
        }
        let model = witness.model();
        let same = self.world.with_shard(id, |shard| shard.replica.compare(model));
        same.unwrap_or(Ok(()))
    }

    fn crash_alone(&mut self, kill: bool) -> Result<(), String> {
        let end = if kill { End::Killed } else { End::PowerLost };
        self.report.kills += u64::from(kill);
        self.report.cuts += u64::from(!kill);
        let visible = self.world.witness.borrow().visible();
        let promised = self.world.end(1, end);
        let found = self.world.find(!kill)?;
        if found.batches < promised {
            return Err(format!(
                "{promised} batches were promised ({visible} executed), {} came back ({end:?})",
                found.batches
            ));
        }
        if self.sync != SyncPolicy::Each {
            self.world.witness.borrow_mut().forget_after(found.batches);
        }
        if !kill {
            self.report.cuts += 1;
            self.world.end(1, End::PowerLost);
        }
        if self.world.find(!kill)? != found {
            return Err("recovering twice gave two states".into());
        }
        Ok(())
    }

    /// With a healthy disk the replica leads and executes what it is asked, and everything is there afterwards.
    fn settle_alone(&mut self) -> Result<(), String> {
        {
            let mut disk = self.world.disk(1).borrow_mut();
            let faults = disk.faults();
            (faults.write_error, faults.sync_error) = (Rate::NEVER, Rate::NEVER);
            faults.capacity_bytes = u64::MAX;
        }
        self.world.start(1)?;
        self.until_reader()?;
        let before = self.world.executed(1);
        let taken = |episode: &mut Self| {
            (0..2_000).any(|_| {
                episode.pause();
                episode.propose(1)
            })
        };
        if !taken(self) {
            return Err("a healthy replica takes nothing".into());
        }
        if !self.world.run_until(PATIENCE, |world| world.executed(1) > before) {
            return Err("a healthy replica executes nothing".into());
        }
        self.verdict()?;
        let digest = self.world.with_shard(1, |shard| shard.replica.digest());
        self.same_without_a_crash(digest)?;
        self.crash_alone(false)
    }

    /// The same batches on an empty state give the same digest.
    fn same_without_a_crash(&self, digest: Option<u128>) -> Result<(), String> {
        let mut reference = Replica::default();
        let witness: &Witness = &self.world.witness.borrow();
        for payload in witness.payloads() {
            reference.apply(payload, None)?;
        }
        match digest == Some(reference.digest()) {
            true => Ok(()),
            false => Err("the same batches without a crash give another digest".into()),
        }
    }

    fn step_three(&mut self) -> Result<(), String> {
        let ids: Vec<u64> = self.world.ids().collect();
        let id = ids[self.rng.index(ids.len())];
        let down = ids.iter().filter(|id| !self.world.is_up(**id)).count();
        let others: Vec<_> = ids
            .iter()
            .filter(|other| **other != id)
            .map(|other| World::address(*other))
            .collect();
        match self.rng.below(24) {
            0 | 1 if down == 0 => self.end_one(id),
            // The whole cluster goes dark: what two of three had on disk is there.
            2 => ids.iter().for_each(|id| self.end_one(*id)),
            0..=3 => self.start_all()?,
            4 => self.world.net.partition(&[World::address(id)], &others),
            5 => self.world.net.block(World::address(id), others[self.rng.index(2)]),
            6 | 7 => self.world.net.heal(),
            8 => {
                let delay_max = Duration::from_micros(self.rng.range(100..20_000));
                self.world.net.set_quality(LinkQuality {
                    delay_min: Duration::ZERO,
                    delay_max,
                    reset: Rate::new(1, 100),
                    duplicate: Rate::NEVER,
                });
            }
            9 | 10 => {
                let delay_max = Duration::from_micros(self.rng.range(100..40_000));
                self.world.disk(id).borrow_mut().faults().delay_max = delay_max;
            }
            _ => {
                for _ in 0..self.rng.range(1..6) {
                    if let Some(leader) = self.world.leader() {
                        self.propose(leader);
                    }
                }
            }
        }
        if down == 3 {
            self.start_all()?;
        }
        let us = match self.rng.below(4) {
            0 => self.rng.range(1_000..150_000),
            _ => self.rng.below(2_000),
        };
        self.world.run_for(Duration::from_micros(us));
        self.compare(id)?;
        self.verdict()
    }

    fn end_one(&mut self, id: u64) {
        if self.world.is_up(id) {
            let kill = self.rng.chance(1, 4);
            self.report.kills += u64::from(kill);
            self.report.cuts += u64::from(!kill);
            self.world.end(id, if kill { End::Killed } else { End::PowerLost });
        }
    }

    fn start_all(&mut self) -> Result<(), String> {
        for id in self.world.ids() {
            if !self.world.is_up(id) {
                self.world.start(id)?;
            }
        }
        Ok(())
    }

    /// Healed, all three come to the same state, and it holds everything that was ever visible.
    fn settle_three(&mut self) -> Result<(), String> {
        self.world.net.heal();
        self.world.net.set_quality(LinkQuality::default());
        self.start_all()?;
        let taken = |episode: &mut Self| {
            (0..2_000).any(|_| {
                episode.world.run_for(Duration::from_millis(5));
                episode.world.reader().is_some_and(|leader| episode.propose(leader))
            })
        };
        if !taken(self) {
            return Err("three healthy replicas take nothing".into());
        }
        self.world.run_for(Duration::from_millis(500));
        let together = |world: &World| {
            let visible = world.witness.borrow().visible();
            world.ids().all(|id| world.executed(id) == visible)
        };
        if !self.world.run_until(PATIENCE, together) {
            let executed: Vec<_> = self.world.ids().map(|id| self.world.executed(id)).collect();
            return Err(format!(
                "{} batches are visible, the replicas have {executed:?}",
                self.world.witness.borrow().visible()
            ));
        }
        self.verdict()?;
        for id in self.world.ids() {
            let digest = self.world.with_shard(id, |shard| shard.replica.digest());
            self.same_without_a_crash(digest)
                .map_err(|what| format!("node {id}: {what}"))?;
        }
        Ok(())
    }

    fn finish(self) -> Report {
        let witness = self.world.witness.borrow();
        Report {
            executed: witness.visible() as u64,
            terms: witness.term_count() as u64,
            ..self.report
        }
    }
}
