//! [`CoreLoop`]: the turns of one core.
//!
//! A turn: take what the kernel finished; parse and execute what arrived; propose the batch; let Raft append it to the
//! log; start the log's writes; send the replies; enter the kernel once for all of it. What the log completed meanwhile
//! counts towards commits, which execute batches and answer clients. Everything a client waits for happens in the turn in
//! which it can.
//!
//! The loop is one task of the core's executor and shares its thread with Raft's tasks, which run when it yields; see
//! `docs/decisions/0001-own-ring.md`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use slotcore_engine::log::{AppendError, CoreLog, LogFailure, Span};
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::runtime::timers;
use slotcore_raft_shard::{Consensus, Group, LogHub, ProposeError, StateMachine};
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ids::{FrameNo, LogIndex};
use slotcore_rt::ring::{Class, Completion, Ring};
use slotcore_rt::signal;
use slotcore_rt::wake;

use crate::batch::BATCH_BYTES_MAX;
use crate::boot::{FIRST_GROUP, sync_policy};
use crate::cluster_turn::Peers;
use crate::commands::refusals::DISK_FULL;
use crate::config::{Durability, ReadMode, Setting};
use crate::core_state::{CoreState, NetBuffers, Now, WriteBarrier};
use crate::log_driver::LogDriver;
use crate::logging::{Event, LogControl};
use crate::metadata_turn::Metadata;
use crate::metrics::{LatencyKind, Queue, SnapshotSlot};
use crate::read_index::{ReadIndex, ReadsNow};
use crate::saving::BackupView;
use crate::snapshot_work::SnapshotWork;
use crate::store_driver::{DriverError, StoreFailure};
use crate::store_work::StoreWork;

/// Longest wait in the ring while there is traffic: how late a timer of the executor may fire then.
const WAIT_BUSY: Duration = Duration::from_millis(1);
/// Longest wait in the ring without traffic.
const WAIT_IDLE: Duration = Duration::from_millis(20);
/// With many clients a turn waits for this many inputs,
const GATHER: usize = 16;
/// but no longer than this.
const GATHER_FOR: Duration = Duration::from_micros(30);
/// Without traffic for this long a core counts as idle.
const IDLE_AFTER: Duration = Duration::from_millis(20);
/// Facts, rates and idle connections are looked at this often.
const CHORES_EVERY: Duration = Duration::from_millis(100);
/// Most yields in a row for Raft's tasks: a chain of messages between them takes a handful.
const SETTLE_YIELDS_MAX: u32 = 64;
/// Expired keys are removed and big values freed this often: a tenth of the exactness promised for expiry.
const UPKEEP_EVERY: Duration = Duration::from_millis(1);
/// Keys removed, and pieces of big values freed, in one turn: well below 100 us.
const EXPIRE_BUDGET: usize = 128;
const FREE_BUDGET: usize = 256;
/// Turns' worth of freeing that a core makes up for after it slept: nobody waits then, and it stays below half a millisecond.
const FREE_TURNS_MAX: u128 = 8;
/// While another core has no room for what this one has for it, it is tried again this often.
const RETRY_MESH: Duration = Duration::from_micros(100);
/// Replies that wait for others of their connection are looked at again after this long.
const SEND_DELAYED: Duration = Duration::from_micros(50);
/// How long a stop waits for replies to be taken.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Why a core ended by itself. Nothing more may be acknowledged: the process ends.
#[derive(Debug)]
pub enum CoreFailure {
    /// The log's device failed.
    Log(LogFailure),
    /// A file of keys is damaged, or its device failed.
    Store(Box<StoreFailure>),
    /// The group's consensus has stopped.
    Consensus(String),
    /// The ring failed.
    Ring(io::Error),
    /// A transaction over cores, which others have, cannot be brought to this one: its log takes nothing.
    Unfinished(AppendError),
}

impl std::fmt::Display for CoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(failure) => write!(
                f,
                "{failure}. Nothing written since can be relied on, so the process ends; what was acknowledged is safe. \
                 Check the device, then start again"
            ),
            Self::Store(failure) => write!(
                f,
                "{failure}. What would be answered could not be relied on, so the process ends; what was acknowledged is in \
                 the files and the log. Check the device; `slotcore check` says what is damaged"
            ),
            Self::Consensus(what) => write!(f, "consensus has stopped: {what}"),
            Self::Ring(error) => write!(f, "io_uring failed: {error}"),
            Self::Unfinished(error) => write!(
                f,
                "a transaction over several cores is missing on this one, and its log takes nothing: {error}. Make room on \
                 the disk, then start again; nothing is lost"
            ),
        }
    }
}

impl std::error::Error for CoreFailure {}

impl From<LogFailure> for CoreFailure {
    fn from(failure: LogFailure) -> Self {
        Self::Log(failure)
    }
}

impl From<DriverError> for CoreFailure {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Failed(failure) => Self::Store(failure),
            DriverError::Ring(error) => Self::Ring(error),
        }
    }
}

impl From<io::Error> for CoreFailure {
    fn from(error: io::Error) -> Self {
        Self::Ring(error)
    }
}

/// How others reach a running core.
#[derive(Clone, Default)]
pub struct CoreControl {
    /// What all cores are told.
    pub process: Arc<ProcessControl>,
    /// Where its metrics are left.
    pub metrics: Arc<SnapshotSlot>,
    /// How often it has turned.
    pub turns: Arc<AtomicU64>,
    /// True while it sleeps in its ring, for want of anything to do.
    pub resting: Arc<AtomicBool>,
    /// Wakes its executor, should that sleep: nothing but a bug of the executor makes it
    /// (`docs/decisions/0006-executor-kept-awake.md`).
    pub nudge: Arc<OnceLock<Waker>>,
}

/// How all cores are told to end, and end together: each serves the others until none has anything under way.
#[derive(Default)]
pub struct ProcessControl {
    /// Set to make every core drain, seal and end.
    pub stop: AtomicBool,
    /// Set before it when nobody shall wait for clients to take their replies.
    pub at_once: AtomicBool,
    /// This node was removed from the cluster: the process ends, and is not to be started again.
    pub removed: AtomicBool,
    /// Cores that have nothing under way any more.
    quiet: AtomicUsize,
}

/// See the module's text.
pub struct CoreLoop {
    pub(crate) ring: Ring,
    pub(crate) waker: wake::Waker,
    pub(crate) log: Rc<RefCell<CoreLog>>,
    pub(crate) driver: LogDriver,
    pub(crate) store: StoreWork,
    pub(crate) hub: Rc<LogHub<GlommioRuntime>>,
    pub(crate) state: Rc<RefCell<CoreState>>,
    pub(crate) control: CoreControl,
    pub(crate) log_control: LogControl,
    pub(crate) durability: Durability,
    /// `None`: this core is alone.
    pub(crate) peers: Option<Peers>,
    /// The same.
    pub(crate) snapshots: Option<SnapshotWork>,
    /// On core 0 of a node of a cluster.
    pub(crate) metadata: Option<Box<Metadata>>,
    /// For each proposal that reached the log: the frame it must wait for, and its index.
    marks: VecDeque<(FrameNo, LogIndex)>,
    advanced: (FrameNo, FrameNo),
    completions: Vec<Completion>,
    last_traffic: Tick,
    next_chores: Tick,
    next_idle_check: usize,
    next_upkeep: Tick,
    turns: u64,
    sends: usize,
    /// Everything for other cores has been sent.
    mesh_sent: bool,
    /// Proposals have not reached the log although Raft's tasks ran.
    waiting_for_room: bool,
    /// Of the log, as last counted.
    log_spent: Span,
    /// As last reported.
    barrier: Option<WriteBarrier>,
    read_index: ReadIndex,
}

impl CoreLoop {
    /// A core about to take its first turn.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a part that was built before and is owned from here on"
    )]
    pub fn new(
        ring: Ring,
        waker: wake::Waker,
        log: Rc<RefCell<CoreLog>>,
        driver: LogDriver,
        store: StoreWork,
        hub: Rc<LogHub<GlommioRuntime>>,
        state: Rc<RefCell<CoreState>>,
        control: CoreControl,
        log_control: LogControl,
    ) -> Self {
        let durability = state.borrow().server.config.settings().durability;
        Self {
            ring,
            waker,
            log,
            driver,
            store,
            hub,
            state,
            control,
            log_control,
            durability,
            peers: None,
            snapshots: None,
            metadata: None,
            marks: VecDeque::new(),
            advanced: (FrameNo(0), FrameNo(0)),
            completions: Vec::with_capacity(1024),
            last_traffic: Tick::ZERO,
            next_chores: Tick::ZERO,
            next_idle_check: 0,
            next_upkeep: Tick::ZERO,
            turns: 0,
            sends: 0,
            mesh_sent: true,
            waiting_for_room: false,
            log_spent: Span::default(),
            barrier: None,
            read_index: ReadIndex::default(),
        }
    }

    /// Drives the log until `opening`, which waits for it, is done.
    pub async fn until_open<T>(&mut self, opening: impl Future<Output = T>) -> Result<T, CoreFailure> {
        let mut opening = std::pin::pin!(opening);
        loop {
            // Polled once, then the tasks it waits for get their turn.
            if let Poll::Ready(opened) = poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx))).await {
                return Ok(opened);
            }
            glommio::executor().yield_now().await;
            timers::end_due(SystemClock.tick());
            self.pump_log()?;
        }
    }

    /// Drives the log until the group can serve.
    pub async fn until_leading<S: StateMachine>(
        &mut self,
        group: &mut Group<GlommioRuntime, S>,
    ) -> Result<(), CoreFailure> {
        while !group.may_read(SystemClock.tick()) {
            if group.failure().is_some() {
                return Err(self.consensus_failure(group));
            }
            glommio::executor().yield_now().await;
            self.pump_log()?;
        }
        Ok(())
    }

    /// One round of log work without clients, for start-up.
    pub fn pump_log(&mut self) -> Result<(), CoreFailure> {
        let now = SystemClock.tick();
        self.take_completions(now)?;
        self.driver.take_reports(&mut self.log.borrow_mut(), now);
        self.driver.step(&mut self.log.borrow_mut(), now, &mut self.ring)?;
        self.advance();
        self.ring.submit_and_wait(1, WAIT_BUSY)?;
        Ok(())
    }

    /// Brings this core a copy of a transaction that the others have, and waits until it is applied and durable.
    pub async fn bring<S: StateMachine>(
        &mut self,
        group: &mut Group<GlommioRuntime, S>,
        operation: &[u8],
    ) -> Result<(), CoreFailure> {
        let entry = self.state.borrow_mut().entry_of(operation, self.now());
        loop {
            let admitted = self.log.borrow_mut().admit(entry.len());
            match admitted {
                Ok(()) => break,
                Err(AppendError::NotReady | AppendError::Backlog) => self.pump_log()?,
                Err(error) => return Err(CoreFailure::Unfinished(error)),
            }
        }
        if group.propose(entry).is_err() {
            return Err(self.consensus_failure(group));
        }
        let mut frame = None;
        loop {
            let progress = group.progress();
            if frame.is_none() && progress.digested == progress.proposed {
                let mut log = self.log.borrow_mut();
                log.request_sync();
                frame = Some((log.appended(), progress.appended));
            }
            if let Some((frame, index)) = frame
                && self.log.borrow().durable() >= frame
                && progress.applied >= index
            {
                return Ok(());
            }
            if group.failure().is_some() {
                return Err(self.consensus_failure(group));
            }
            glommio::executor().yield_now().await;
            self.pump_log()?;
        }
    }

    /// Turns until the core is told to stop.
    pub async fn run<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>) -> Result<(), CoreFailure> {
        while !self.control.process.stop.load(Ordering::Relaxed) {
            self.turn(group).await?;
            let wishes = std::mem::take(&mut self.state.borrow_mut().wishes);
            if let Some(at_once) = wishes.shutdown {
                self.control.process.at_once.store(at_once, Ordering::Relaxed);
                signal::raise_term();
            }
            self.put_into_force(&wishes.changed);
            if let Some(time) = wishes.sleep {
                slotcore_rt::thread::hold(time);
            }
            if wishes.lead {
                self.ask_for_leadership();
            }
            if let Some(heir) = wishes.hand_over {
                self.hand_over_to(group, heir);
            }
        }
        self.stop(group).await
    }

    async fn turn<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>) -> Result<(), CoreFailure> {
        let began = SystemClock.tick();
        self.turns += 1;
        self.control.turns.store(self.turns, Ordering::Relaxed);
        self.take_completions(began)?;
        self.hear_peers(began);
        self.advance();
        self.settle_applied(group).await;

        // After the sockets were drained: what a client knew when it asked lies before this moment.
        let now = self.now();
        self.look_at_leadership(group, now.tick);
        let reads_allowed = group.may_read(now.tick) && !self.asks_for_reads();
        {
            let mut state = self.state.borrow_mut();
            state.begin_turn(now, reads_allowed);
            state.take_net_events(now);
            let mail = state.take_mail();
            state.release_movers();
            if mail || state.net.has_ready() {
                self.last_traffic = now.tick;
                state.run_ready();
                state.take_own_mail();
            }
            state.end_due_waits(now);
            state.end_due_pause(now);
            state.advance_hold(|bytes| {
                let admitted = self.log.borrow_mut().admit(bytes);
                !matches!(admitted, Err(AppendError::NoSpace | AppendError::TooLarge { .. }))
            });
            // The keys' clock moves only by entries: when keys are due and nobody writes, the time is an entry itself.
            let due = state.server.active_expire
                && state.pause.is_none()
                && !state.is_held()
                && state.keyspace.next_deadline().is_some_and(|at| at <= now.wall_ms())
                && state.write_barrier != Some(WriteBarrier::DiskFull);
            let mut bytes = 0;
            while let Some(payload) = state.next_proposal(due) {
                match self.read_index.look(&mut state, group) {
                    ReadsNow::Propose => {}
                    ReadsNow::Answered => continue,
                    ReadsNow::Wait => {
                        state.put_back(payload);
                        break;
                    }
                }
                bytes += payload.len();
                match self.log.borrow_mut().admit(bytes) {
                    Ok(()) => {}
                    // What another core may have in its log already waits for room instead.
                    Err(AppendError::NoSpace | AppendError::TooLarge { .. })
                        if state.is_first() && !state.holds_copy() =>
                    {
                        state.refuse_batch(DISK_FULL);
                        state.write_barrier = Some(WriteBarrier::DiskFull);
                        break;
                    }
                    // It will fit, or become the first one, when what is under way is done.
                    Err(_) => {
                        state.put_back(payload);
                        break;
                    }
                }
                match group.propose(payload.clone()) {
                    Ok(id) => state.note_proposed(id, payload),
                    Err(ProposeError::Busy | ProposeError::NotLeader(_)) => {
                        state.put_back(payload);
                        break;
                    }
                    Err(ProposeError::Failed) => return Err(self.consensus_failure(group)),
                }
            }
            state.turn_away_unproposed();
        }
        self.settle_appended(group).await;
        self.work_on_store(group, began, now)?;
        {
            let mut log = self.log.borrow_mut();
            if !self.waiting_for_room && self.state.borrow_mut().copy_appended(log.appended()) {
                log.request_sync();
            }
            if !self.state.borrow().copy_asks.is_empty() {
                self.state.borrow_mut().look_at_copies(&mut log, group);
            }
            self.driver.step(&mut log, now.tick, &mut self.ring)?;
        }
        self.advance();
        self.settle_applied(group).await;
        self.housekeeping(group, now)?;
        if self.state.borrow().server.saving.has_wish() {
            self.save(group)?;
        }
        {
            let mut state = self.state.borrow_mut();
            state.copy_durable(self.log.borrow().durable());
            state.end_relay_turn();
            state.take_own_mail();
            self.mesh_sent = state.send_mail();
            self.sends = state.net.flush(&mut self.ring)?;
        }
        self.flush_peers(now.tick)?;
        self.note_slice(began, now);
        self.wait().await
    }

    /// Whether reads are answered by a quorum's word alone, although this core may have a lease.
    fn asks_for_reads(&self) -> bool {
        let state = self.state.borrow();
        state.replication.is_some() && state.server.config.settings().read_mode == ReadMode::ReadIndex
    }

    fn now(&self) -> Now {
        Now {
            tick: SystemClock.tick(),
            wall_us: SystemClock.wall_us(),
        }
    }

    fn take_completions(&mut self, now: Tick) -> Result<(), CoreFailure> {
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        let cell = self.state.clone();
        let mut state = cell.borrow_mut();
        for c in completions.drain(..) {
            match c.class {
                Class::Net => state.net.on_completion(c),
                Class::Log => {
                    let before = self.log.borrow().durable();
                    self.driver.on_completion(&mut self.log.borrow_mut(), now, c)?;
                    if self.log.borrow().durable() > before {
                        self.note_durable(&mut state);
                    }
                }
                Class::Wake => {
                    self.waker.rearm(&mut self.ring)?;
                    self.driver.take_reports(&mut self.log.borrow_mut(), now);
                    let state = &mut *state;
                    let (mut store, keyspace) = (state.store.borrow_mut(), &mut state.keyspace);
                    self.store.driver.take_reports(&mut store, keyspace, &mut self.ring)?;
                }
                Class::Store => {
                    let state = &mut *state;
                    let (mut store, keyspace) = (state.store.borrow_mut(), &mut state.keyspace);
                    self.store
                        .driver
                        .on_completion(&mut store, keyspace, &mut self.ring, c)?;
                }
                Class::Peer => match &mut self.peers {
                    Some(peers) => peers.driver.on_completion(c),
                    None => unreachable!("a node on its own has no links"),
                },
                Class::Ignore => {}
            }
        }
        self.completions = completions;
        Ok(())
    }

    /// Counts frames that became durable: all of them with their average time.
    fn note_durable(&mut self, state: &mut CoreState) {
        let wall_s = SystemClock.wall_ms() / 1000;
        let spent = self.log.borrow().stats().submit_to_durable;
        let (frames, ns) = (spent.count - self.log_spent.count, spent.sum_ns - self.log_spent.sum_ns);
        self.log_spent = spent;
        state.server.facts.last_durable_at_s = wall_s;
        if let Some(each_ns) = ns.checked_div(frames) {
            state.server.metrics.log_write.record(each_ns, frames as u32);
            let threshold_ms = state.server.config.settings().latency_threshold_ms;
            let ms = (each_ns / 1_000_000) as u32;
            state
                .server
                .metrics
                .latency
                .note(LatencyKind::LogWrite, wall_s, ms, threshold_ms);
        }
    }

    /// Makes everything acknowledged durable: at once when somebody waits for it, whose answer leaves after this.
    fn save<S: StateMachine>(&mut self, group: &Group<GlommioRuntime, S>) -> Result<(), CoreFailure> {
        let waits = self.state.borrow_mut().server.saving.take_wish();
        let Some(waits) = waits else { return Ok(()) };
        self.log.borrow_mut().request_sync();
        let acknowledged = match self.durability {
            Durability::Always => FrameNo(0),
            Durability::EverySec | Durability::Off => self.log.borrow().appended(),
        };
        while waits && self.log.borrow().durable() < acknowledged {
            self.pump_log()?;
        }
        let view = BackupView {
            frame: self.log.borrow().durable(),
            index: group.progress().applied,
        };
        let now = SystemClock.tick();
        let mut state = self.state.borrow_mut();
        state.server.saving.saved(view);
        if waits {
            state.server.facts.last_durable_at_s = SystemClock.wall_ms() / 1000;
        }
        let keeps = state.server.saving.keeps_files(now);
        drop(state);
        self.keep_files(now, keeps);
        Ok(())
    }

    /// While `keep` holds, nothing on disk is deleted or used again: a backup reads it.
    fn keep_files(&mut self, now: Tick, keep: bool) {
        self.driver.keep_files(&mut self.log.borrow_mut(), now, keep);
        self.store.driver.keep_files(keep);
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.keep_files(keep);
        }
    }

    /// Watches how long turns hold the core.
    fn note_slice(&mut self, began: Tick, now: Now) {
        let ended = SystemClock.tick();
        let mut state = self.state.borrow_mut();
        if let Some(took) = state.server.metrics.stalls.slice(Queue::Foreground, began, ended) {
            Event::Stall {
                queue: Queue::Foreground.name(),
                took,
            }
            .log();
            let threshold_ms = state.server.config.settings().latency_threshold_ms;
            let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
            state
                .server
                .metrics
                .latency
                .note(LatencyKind::FastCommand, now.wall_us / 1_000_000, ms, threshold_ms);
        }
    }

    /// Tells the groups how far the log has come, as far as their durability mode counts it.
    fn advance(&mut self) {
        let log = self.log.borrow();
        let counted = match self.durability {
            Durability::Always => log.durable(),
            // Acknowledged when applied: the log has it, its device gets it soon.
            Durability::EverySec | Durability::Off => log.appended(),
        };
        let reached = (counted, log.durable());
        drop(log);
        // Entries that joined a frame which counts already wait for being told, and a proposal that found no room in the
        // log tries again each time.
        if reached != self.advanced || !self.marks.is_empty() || self.waiting_for_room {
            self.advanced = reached;
            self.hub.advance(reached.0, reached.1);
        }
    }

    /// Lets Raft's tasks run until they have put every proposal into the log.
    async fn settle_appended<S: StateMachine>(&mut self, group: &Group<GlommioRuntime, S>) {
        if self.peers.is_some() {
            return self.settle_quiet().await;
        }
        for _ in 0..SETTLE_YIELDS_MAX {
            let progress = group.progress();
            if progress.proposed == progress.digested {
                break;
            }
            glommio::executor().yield_now().await;
        }
        let progress = group.progress();
        self.waiting_for_room = progress.proposed != progress.digested;
        let (frame, index) = (self.log.borrow().appended(), progress.appended);
        if self.marks.back().is_none_or(|(_, last)| *last < index) {
            self.marks.push_back((frame, index));
        }
    }

    /// Lets Raft's tasks run until what counts is executed.
    async fn settle_applied<S: StateMachine>(&mut self, group: &Group<GlommioRuntime, S>) {
        if self.peers.is_some() {
            // When an entry counts is for others to say as well.
            return self.settle_quiet().await;
        }
        let mut target = None;
        while let Some((frame, index)) = self.marks.front()
            && *frame <= self.advanced.0
        {
            target = Some(*index);
            self.marks.pop_front();
        }
        let Some(target) = target else { return };
        for _ in 0..SETTLE_YIELDS_MAX {
            if group.progress().applied >= target {
                break;
            }
            glommio::executor().yield_now().await;
        }
    }

    /// Flushes, merges and evicts as far as this turn allows.
    fn work_on_store<S: StateMachine>(
        &mut self,
        group: &Group<GlommioRuntime, S>,
        began: Tick,
        now: Now,
    ) -> Result<(), CoreFailure> {
        let mut log = self.log.borrow_mut();
        let mut state = self.state.borrow_mut();
        let stands_for = || group.state().stands_for();
        self.store
            .turn(&mut state, &mut log, &mut self.ring, began, now.tick, &stands_for)?;
        Ok(())
    }

    /// Bounded work that nobody waits for, and what is looked at a few times a second.
    fn housekeeping<S: StateMachine>(
        &mut self,
        group: &mut Group<GlommioRuntime, S>,
        now: Now,
    ) -> Result<(), CoreFailure> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if now.tick >= self.next_upkeep {
            let missed = now.tick.since(self.next_upkeep).as_millis() / UPKEEP_EVERY.as_millis();
            let turns = (1 + missed).min(FREE_TURNS_MAX) as usize;
            self.next_upkeep = now.tick + UPKEEP_EVERY;
            if state.server.active_expire && state.pause.is_none() {
                state.keyspace.expire_work(EXPIRE_BUDGET);
                match state.may_propose() {
                    true => state.after_changes(None),
                    // Whoever leads tells of it.
                    false => state.after_others_changes(),
                }
            }
            state.keyspace.free_work(turns * FREE_BUDGET);
        }
        let asked = self.control.metrics.wanted();
        if now.tick < self.next_chores && !asked {
            return Ok(());
        }
        self.next_chores = now.tick + CHORES_EVERY;
        let keeps = state.server.saving.keeps_files(now.tick);
        drop(guard);
        self.keep_files(now.tick, keeps);
        if group.failure().is_some() {
            return Err(self.consensus_failure(group));
        }
        self.log.borrow_mut().release(FIRST_GROUP, group.progress().applied);
        let purged = self.log.borrow().group(FIRST_GROUP).map(|group| group.purged().index);
        if let Some(upto) = self.store.to_be_purged(purged.unwrap_or_default()) {
            // Busy or failed: it is tried again, or noticed elsewhere.
            let _ = group.purge_flushed(upto);
        }
        self.work_on_snapshots(group, now.tick);
        self.follow_orders(group, now.tick);
        self.work_on_metadata(now.tick)?;
        self.gather_facts(group);
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        self.next_idle_check = state.close_idle(self.next_idle_check, now);
        state
            .server
            .metrics
            .tick(now.tick, state.keyspace.memory().total() as u64);
        if asked {
            let mut snapshot = state.server.snapshot(&state.keyspace, &NetBuffers(&state.net));
            drop(guard);
            snapshot.group = Some(self.group_facts(group, now.tick));
            self.control.metrics.publish(snapshot);
        }
        Ok(())
    }

    /// Brings up to date what other parts count, and whether writes can be taken.
    fn gather_facts<S: StateMachine>(&mut self, group: &Group<GlommioRuntime, S>) {
        let (stats, room) = {
            let mut log = self.log.borrow_mut();
            (log.stats(), log.admit(BATCH_BYTES_MAX))
        };
        let progress = group.progress();
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let full = matches!(room, Err(AppendError::NoSpace)) || self.store.is_stuck();
        let barrier = full.then_some(WriteBarrier::DiskFull);
        if barrier != self.barrier {
            match barrier {
                Some(_) => Event::DiskFull.log(),
                None => Event::DiskSpaceReturned.log(),
            }
            self.barrier = barrier;
        }
        // Whether memory is exhausted is looked at when commands are taken.
        let exhausted = state
            .write_barrier
            .filter(|barrier| *barrier == WriteBarrier::MemoryFull);
        state.write_barrier = barrier.or(exhausted);
        state.server.facts.clients = state.net.open_count() as u64;
        state.server.facts.commands_in_flight = state.commands_in_flight();
        let dataset_bytes = state.dataset_bytes();
        let facts = &mut state.server.facts;
        facts.store.look_up(&state.keyspace, &state.store.borrow());
        facts.store.dataset_bytes = dataset_bytes;
        facts.store.cold = state.cold.stats;
        facts.raft_term = group.term().0;
        self.gather_followers(group, &mut facts.followers);
        facts.raft_commit_index = progress.applied.0;
        facts.raft_applied_index = progress.applied.0;
        facts.log_frames = stats.frames;
        facts.log_bytes = stats.bytes;
        facts.log_payload_bytes = stats.bytes - stats.padding_bytes;
        facts.log_frames_in_flight = stats.in_flight;
        facts.log_segments = stats.segments_live + stats.segments_ready;
        facts.disk_bytes = facts.log_segments * self.log.borrow().segment_bytes() + facts.store.stats.file_bytes;
        facts.disk_full = barrier.is_some();
    }

    fn consensus_failure<S: StateMachine>(&self, group: &Group<GlommioRuntime, S>) -> CoreFailure {
        match self.log.borrow().failure() {
            Some(failure) => CoreFailure::Log(failure),
            None => CoreFailure::Consensus(group.failure().unwrap_or_else(|| "its task has ended".into())),
        }
    }

    fn put_into_force(&mut self, changed: &[Setting]) {
        if changed.is_empty() {
            return;
        }
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let settings = state.server.config.settings();
        for setting in changed {
            match setting {
                Setting::Durability => {
                    self.durability = settings.durability;
                    self.log.borrow_mut().set_sync(sync_policy(settings.durability));
                }
                Setting::LogLevel => self.log_control.set_level(settings.log_level),
                Setting::SpinUs => {
                    state
                        .spin
                        .set_budget(Duration::from_micros(u64::from(settings.spin_us)));
                }
                // Looked up where they are used, or taken over by the state itself.
                _ => {}
            }
        }
    }

    /// Ends a turn: enters the kernel, and sleeps there when there is nothing to do.
    async fn wait(&mut self) -> Result<(), CoreFailure> {
        // Raft's timers and tasks get their turn whatever the traffic.
        glommio::executor().yield_if_needed().await;
        {
            let state = self.state.borrow();
            if self.store.has_work()
                || (state.net.has_ready() && !state.is_held())
                || state.hold_is_due()
                || self.ring.has_completions()
                || state.mesh.port().has_mail()
                || state.gate_is_due()
            {
                drop(state);
                self.ring.submit()?;
                return Ok(());
            }
        }
        let now = SystemClock.tick();
        let spins = {
            let mut state = self.state.borrow_mut();
            state
                .spin
                .is_worth_it(now, self.last_traffic)
                .then(|| state.spin.budget())
        };
        if let Some(budget) = spins {
            self.ring.submit()?;
            let until = now + budget;
            loop {
                if self.state.borrow().mesh.port().has_mail() {
                    self.state.borrow_mut().spin.succeeded();
                    return Ok(());
                }
                if self.ring.has_completions() || self.ring.wants_enter() {
                    self.state.borrow_mut().spin.succeeded();
                    if !self.ring.has_completions() {
                        self.ring.submit()?;
                    }
                    return Ok(());
                }
                if SystemClock.tick() >= until {
                    self.state.borrow_mut().spin.failed();
                    break;
                }
                std::hint::spin_loop();
            }
        }
        let longest = if now.since(self.last_traffic) < IDLE_AFTER {
            WAIT_BUSY
        } else {
            WAIT_IDLE
        };
        let log_wait = self.log.borrow().next_wake().map_or(longest, |at| at.since(now));
        let mesh_wait = if self.mesh_sent { longest } else { RETRY_MESH };
        let delayed = if self.state.borrow().net.has_delayed() {
            SEND_DELAYED
        } else {
            longest
        };
        let deadline = self.state.borrow().next_deadline();
        let deadline = deadline.map_or(longest, |at| at.since(now));
        let timeout = longest.min(log_wait).min(mesh_wait).min(delayed).min(deadline);
        let timeout = self.peers_wait(timeout);
        if !self.state.borrow().mesh.port().may_sleep() {
            self.state.borrow().mesh.port().get_up();
            self.ring.submit()?;
            return Ok(());
        }
        self.control.resting.store(true, Ordering::Relaxed);
        // What several clients send within a moment is served in one turn, which costs each of them less. A write of the
        // log that ends meanwhile is noticed a little later: its clients gain more by the larger frames than they lose.
        if !self.state.borrow().spin.few_talk() && (timeout >= WAIT_BUSY || !self.driver.is_idle()) {
            self.ring.submit_and_gather(self.sends + GATHER, GATHER_FOR, timeout)?;
        } else {
            self.ring.submit_and_wait(self.sends + 1, timeout)?;
        }
        self.control.resting.store(false, Ordering::Relaxed);
        self.state.borrow().mesh.port().get_up();
        Ok(())
    }

    /// Takes no more commands, waits for those under way, seals the log.
    async fn stop<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>) -> Result<(), CoreFailure> {
        self.state.borrow_mut().net.stop_listening();
        let process = self.control.process.clone();
        let patience = if process.at_once.load(Ordering::Relaxed) {
            Duration::ZERO
        } else {
            DRAIN_PATIENCE
        };
        let until = SystemClock.tick() + patience;
        let cores = self.state.borrow().mesh.cores();
        let mut was_quiet = false;
        self.hand_over(group, SystemClock.tick());
        self.hand_over_metadata(SystemClock.tick());
        loop {
            self.turn(group).await?;
            if !was_quiet && self.state.borrow().is_quiet() && !self.is_handing_over(group) {
                was_quiet = true;
                process.quiet.fetch_add(1, Ordering::Relaxed);
            }
            // Others may still need this core.
            if process.quiet.load(Ordering::Relaxed) == cores || SystemClock.tick() >= until {
                break;
            }
        }
        self.log.borrow_mut().seal();
        // Buffers that the kernel still reads from or writes to must not be freed.
        while !self.log.borrow().is_sealed() || self.store.driver.in_flight() > 0 {
            self.pump_log()?;
        }
        Ok(())
    }
}
