//! One episode: a disk that lives through several runs of the process, each ended by a crash, and the checks after each.
//!
//! Everything follows from the episode's seed: sizes, durability mode, faults, load, where the power goes. After each
//! crash:
//! 1. what was promised is there, byte for byte, and nothing that was never written;
//! 2. keys and values are what the model says, and every answer before the crash was;
//! 3. recovering again gives the same digest, and so does executing the same batches without any crash.
//!
//! At the end the log is closed in good order, everything must be there, and no flipped bit goes unnoticed or changes
//! what is read.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use slotcore_engine::log::{LogOperation, LogOptions, SyncPolicy};
use slotcore_rt::clock::{Clock as _, Tick};
use slotcore_rt::ids::{CoreId, LogIndex};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::SimClock;
use slotcore_rt::sim::disk::{Rate, SimDisk};

use crate::history::{Crash, History};
use crate::machine::{BLOCK_BYTES, Machine, Plant, Stop};
use crate::replica::Replica;
use crate::workload::Workload;

/// Runs of the process in one episode.
const RUN_COUNT: u64 = 10;
/// Turns of the longest run.
const TURN_COUNT_MAX: u64 = 150;
/// Turns within which a healthy machine must have done what was asked.
const TURN_COUNT_PATIENCE: u64 = 20_000;
/// Bits flipped at the end of an episode.
const FLIP_COUNT: u64 = 4;

/// What an episode met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Power cuts.
    pub cuts: u64,
    /// Ends of the process alone.
    pub kills: u64,
    /// Runs ended by a refused write or sync.
    pub device_failures: u64,
    /// Entries answered.
    pub answered: u64,
    /// Batches refused, for want of space or of a ready segment.
    pub refused: u64,
    /// Bits flipped in a closed log.
    pub flips: u64,
    /// Of those, named by recovery; the others were in bytes that nothing lives in.
    pub flips_detected: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.device_failures += other.device_failures;
        self.answered += other.answered;
        self.refused += other.refused;
        self.flips += other.flips;
        self.flips_detected += other.flips_detected;
    }
}

struct Episode {
    rng: SeededRng,
    time: Rc<Cell<Tick>>,
    clock: SimClock,
    disk: SimDisk,
    opts: LogOptions,
    plant: Plant,
    workload: Workload,
    history: History,
    /// The leader's clock, which never goes back.
    leader_ms: u64,
    report: Report,
}

/// Lives through one episode.
///
/// # Errors
/// What went wrong, for a person to read.
pub fn run(seed: u64, plant: Plant) -> Result<Report, String> {
    let mut episode = Episode::new(seed, plant);
    for run in 0..RUN_COUNT {
        episode.run_once().map_err(|what| format!("run {run}: {what}"))?;
    }
    episode.close().map_err(|what| format!("at the orderly end: {what}"))?;
    episode
        .flip_bits()
        .map_err(|what| format!("after flipping a bit: {what}"))?;
    Ok(episode.report)
}

impl Episode {
    fn new(seed: u64, plant: Plant) -> Self {
        let root = SeededRng::new(seed);
        let mut rng = root.derive("episode");
        let time = Rc::<Cell<Tick>>::default();
        let mut opts = LogOptions::new(CoreId(0));
        opts.block_bytes = BLOCK_BYTES;
        let mut opts = opts.with_segment_bytes(64 << (10 + rng.below(3)));
        opts.inflight_max = 1 + rng.index(8);
        opts.spare_segments = 1 + rng.index(2);
        opts.cache_bytes_max = 1 << (12 + rng.below(8));
        opts.log_bytes_target = opts.segment_bytes * (1 + rng.below(3));
        opts.sync = match rng.below(5) {
            0 => SyncPolicy::Never,
            1 => SyncPolicy::Every(Duration::from_millis(1 + rng.below(20))),
            _ => SyncPolicy::Each,
        };
        let mut disk = SimDisk::new(root.derive("disk"));
        let faults = disk.faults();
        faults.shorn = Rate::ALWAYS;
        faults.spikes = Rate::new(1, 50);
        if rng.chance(1, 6) {
            faults.write_error = Rate::new(1, 300);
            faults.sync_error = Rate::new(1, 300);
        }
        Self {
            clock: SimClock::new(Rc::clone(&time)),
            time,
            disk,
            opts,
            plant,
            workload: Workload::new(root.derive("workload")),
            history: History::default(),
            leader_ms: 0,
            report: Report::default(),
            rng,
        }
    }

    /// Recovers, works, crashes, checks.
    fn run_once(&mut self) -> Result<(), String> {
        let mut machine = self.recover()?;
        let turns = self.rng.below(TURN_COUNT_MAX);
        let worked = self.work(&mut machine, turns);
        drop(machine);
        let crash = match worked {
            Ok(()) if self.rng.chance(1, 5) => Crash::ProcessKilled,
            Ok(()) => Crash::PowerLost,
            Err(Stop::Failed(failure)) => {
                self.report.device_failures += 1;
                // After a refused flush nobody knows what the device still holds; only a cut settles it.
                let unsettled = failure.operation == LogOperation::Sync;
                if unsettled || self.rng.chance(1, 2) {
                    Crash::PowerLost
                } else {
                    Crash::DeviceFailed
                }
            }
            Err(stop) => return Err(explain(stop)),
        };
        let crash = self.crash(crash);
        self.check(crash)
            .map_err(|what| format!("{what} ({crash:?}, {:?})", self.opts.sync))
    }

    /// Carries out the crash; returns what it came to be.
    fn crash(&mut self, crash: Crash) -> Crash {
        if crash != Crash::PowerLost {
            self.report.kills += 1;
            if self.disk.process_killed() {
                return crash;
            }
            // Something in flight failed and the process never knew: as above, only a cut settles it.
        }
        self.report.cuts += 1;
        self.disk.power_cut();
        Crash::PowerLost
    }

    fn recover(&mut self) -> Result<Machine, String> {
        self.try_recover().map_err(explain)
    }

    fn try_recover(&mut self) -> Result<Machine, Stop> {
        let rng = SeededRng::new(self.rng.next_u64());
        let local_ms = self.clock.wall_ms();
        Machine::recover(
            &mut self.disk,
            self.opts.clone(),
            &self.history,
            rng,
            self.plant,
            local_ms,
        )
    }

    /// Turns of the core under load, while clock and disk misbehave.
    fn work(&mut self, machine: &mut Machine, turns: u64) -> Result<(), Stop> {
        let mut begun = false;
        for _ in 0..turns {
            self.pass_time(machine);
            self.disturb();
            if !begun {
                begun = machine.begin()?;
            } else if self.rng.chance(2, 3) {
                for _ in 0..self.rng.range(1..4) {
                    self.propose(machine)?;
                }
            }
            if self.rng.chance(1, 20) && self.history.acked() > 0 {
                let upto = LogIndex(1 + self.rng.below(self.history.acked()));
                machine.purge(self.history.pos(upto))?;
            }
            if begun && self.rng.chance(1, 10) {
                machine.tidy(&mut self.disk)?;
            }
            self.turn(machine)?;
            if self.rng.chance(1, 10) {
                machine.replica().compare(self.history.model()).map_err(Stop::Wrong)?;
            }
        }
        Ok(())
    }

    fn turn(&mut self, machine: &mut Machine) -> Result<(), Stop> {
        let answered = self.history.acked();
        machine.turn(&mut self.disk, self.time.get(), self.clock.wall_ms(), &mut self.history)?;
        self.report.answered += self.history.acked() - answered;
        Ok(())
    }

    fn propose(&mut self, machine: &mut Machine) -> Result<bool, Stop> {
        self.leader_ms = self.leader_ms.max(self.clock.wall_ms());
        let batch = self.workload.batch(self.leader_ms);
        let payload = batch.encode();
        let taken = machine.propose(self.history.next_index(), payload.clone())?;
        match taken {
            true => self.history.issue(batch, payload, machine.term()),
            false => self.report.refused += 1,
        }
        Ok(taken)
    }

    /// To the next thing that happens, or a little, or long enough for an idle log to notice.
    fn pass_time(&mut self, machine: &Machine) {
        let now = self.time.get();
        let next = [self.disk.next_due(), machine.next_wake()].into_iter().flatten().min();
        let at = match self.rng.below(20) {
            0 => now + Duration::from_millis(1 + self.rng.below(30)),
            1..=9 => now + Duration::from_micros(1 + self.rng.below(100)),
            _ => next.unwrap_or(now + Duration::from_millis(1)),
        };
        self.time.set(at.max(now));
    }

    /// Now and then the clock is set or begins to drift, and the disk gets full or is given space.
    fn disturb(&mut self) {
        match self.rng.below(100) {
            0 => self.clock.jump_wall_ms(self.rng.below(400) as i64 - 200),
            1 => self.clock.set_drift_ppm(self.rng.below(20_000) as i64 - 10_000),
            2 => {
                let room = self.rng.below(3) * self.opts.segment_bytes;
                self.disk.faults().capacity_bytes = self.disk.used() + room;
            }
            3..=6 => self.disk.faults().capacity_bytes = u64::MAX,
            _ => {}
        }
    }

    /// The three checks.
    fn check(&mut self, crash: Crash) -> Result<(), String> {
        let mut machine = self.recover()?;
        let last = machine.last();
        self.history
            .recovered(last.0, crash, self.opts.sync == SyncPolicy::Each)?;
        if last.0 > 0 && machine.voted() < self.history.pos(last).term {
            return Err(format!("entry {last} was recovered, the vote of its term was not"));
        }
        machine.replica().compare(self.history.model())?;
        let digest = machine.replica().digest();
        drop(machine);
        if crash == Crash::PowerLost {
            self.disk.power_cut();
        }
        if self.recover()?.replica().digest() != digest {
            return Err("recovering twice gave two digests".into());
        }
        let mut reference = Replica::default();
        for index in 1..=last.0 {
            reference.apply(self.history.payload(LogIndex(index)), None)?;
        }
        if reference.digest() != digest {
            return Err("the same batches without a crash give another digest".into());
        }
        Ok(())
    }

    /// With a healthy disk everything is taken, answered and sealed, within bounded time.
    fn close(&mut self) -> Result<(), String> {
        let faults = self.disk.faults();
        faults.capacity_bytes = u64::MAX;
        (faults.write_error, faults.sync_error) = (Rate::NEVER, Rate::NEVER);
        let mut machine = self.recover()?;
        let (mut begun, mut taken) = (false, false);
        for turn in 0..TURN_COUNT_PATIENCE {
            self.pass_time(&machine);
            if !begun {
                begun = machine.begin().map_err(explain)?;
            } else if !taken {
                taken = self.propose(&mut machine).map_err(explain)?;
            } else if !machine.has_unanswered() {
                machine.seal();
            }
            self.turn(&mut machine).map_err(explain)?;
            if machine.is_sealed() {
                break;
            }
            if turn + 1 == TURN_COUNT_PATIENCE {
                return Err(format!("not done after {turn} turns: begun {begun}, taken {taken}"));
            }
        }
        drop(machine);
        self.disk.power_cut();
        let issued = self.history.next_index().0 - 1;
        self.check(Crash::PowerLost)?;
        let kept = self.history.next_index().0 - 1;
        if kept == issued {
            Ok(())
        } else {
            Err(format!("{kept} of {issued} entries after a sealed end"))
        }
    }

    /// A flipped bit is named, or lies where nothing lives: then nothing changes.
    fn flip_bits(&mut self) -> Result<(), String> {
        let digest = self.recover()?.replica().digest();
        for _ in 0..FLIP_COUNT {
            let files: Vec<(String, u64)> = self.disk.list().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
            let (name, bytes) = &files[self.rng.index(files.len())];
            let file = self.disk.open(name).expect("it was just listed");
            let (offset, bit) = (self.rng.below(*bytes), self.rng.below(8) as u8);
            self.disk.flip_bit(file, offset, bit);
            self.report.flips += 1;
            match self.try_recover().map(|mut machine| machine.replica().digest()) {
                Ok(found) if found == digest => {}
                Ok(_) => {
                    return Err(format!(
                        "bit {bit} of byte {offset} of {name} changed the state unnoticed"
                    ));
                }
                Err(Stop::Damaged(_)) => self.report.flips_detected += 1,
                Err(stop) => return Err(explain(stop)),
            }
            self.disk.flip_bit(file, offset, bit);
        }
        Ok(())
    }
}

fn explain(stop: Stop) -> String {
    match stop {
        Stop::Failed(failure) => format!("a healthy device failed: {failure}"),
        Stop::Damaged(what) => format!("recovery refused: {what}"),
        Stop::Wrong(what) => what,
    }
}
