//! [`CoreLoop`]: the turns of one core.
//!
//! A turn: take what the kernel finished; parse and execute what arrived; propose the batch; let Raft append it to the
//! log; start the log's writes; send the replies; enter the kernel once for all of it. What the log completed meanwhile
//! counts towards commits, which execute batches and answer clients. Everything a client waits for happens in the turn in
//! which it can.
//!
//! The loop is one task of the core's executor and shares its thread with Raft's tasks, which run when it yields; see
//! `docs/decisions/0001-own-ring.md`.

mod failure;
mod housekeeping;
mod starting;
mod waiting;

pub use failure::CoreFailure;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use slotcore_engine::log::{AppendError, CoreLog, Span};
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, LogHub, ProposeError, StateMachine};
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ids::{FrameNo, LogIndex};
use slotcore_rt::ring::{Class, Completion, Ring};
use slotcore_rt::signal;
use slotcore_rt::wake;

use crate::cluster_turn::Peers;
use crate::commands::refusals::DISK_FULL;
use crate::config::{Durability, ReadMode};
use crate::core_state::{CoreState, Now, WriteBarrier};
use crate::log_driver::LogDriver;
use crate::log_shortening::LogShortening;
use crate::logging::{Event, LogControl};
use crate::metadata_turn::Metadata;
use crate::metrics::{LatencyKind, Queue, SnapshotSlot};
use crate::read_index::{ReadIndex, ReadsNow};
use crate::store_work::StoreWork;

/// Longest wait in the ring while there is traffic: how late a timer of the executor may fire then.
const WAIT_BUSY: Duration = Duration::from_millis(1);
/// Most yields in a row for Raft's tasks: a chain of messages between them takes a handful.
const SETTLE_YIELDS_MAX: u32 = 64;

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
    pub(crate) shortening: Option<LogShortening>,
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
            shortening: None,
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

        // After sockets and mail were drained: what a client knew when it asked lies before this moment.
        self.state.borrow_mut().receive_mail();
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
        self.ask_for_freshness(group);
        self.settle_appended(group).await;
        self.look_at_store(group, now)?;
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
        self.work_on_store()?;
        self.note_slice(began, now);
        self.wait().await
    }

    /// Whether reads are answered by a quorum's word alone, although this core may have a lease.
    pub(crate) fn asks_for_reads(&self) -> bool {
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

    /// Begins the flush that is due, lets keys go, and hands the device what the store asks of it.
    fn look_at_store<S: StateMachine>(
        &mut self,
        group: &Group<GlommioRuntime, S>,
        now: Now,
    ) -> Result<(), CoreFailure> {
        let mut log = self.log.borrow_mut();
        let mut state = self.state.borrow_mut();
        let replicas = group.state();
        self.store
            .note_replicas(replicas.snapshot_needed(), replicas.is_diverged());
        let stands_for = || group.state().stands_for();
        self.store
            .turn(&mut state, &mut log, &mut self.ring, now.tick, &stands_for)?;
        Ok(())
    }

    /// The turn's replies are sent first: nobody who has one waits for this.
    fn work_on_store(&mut self) -> Result<(), CoreFailure> {
        let mut state = self.state.borrow_mut();
        if !self.store.wants_slices(&state) {
            return Ok(());
        }
        if self.ring.has_unsubmitted() {
            self.ring.submit()?;
        }
        Ok(self.store.slices(&mut state, self.last_traffic)?)
    }

    fn consensus_failure<S: StateMachine>(&self, group: &Group<GlommioRuntime, S>) -> CoreFailure {
        match self.log.borrow().failure() {
            Some(failure) => CoreFailure::Log(failure),
            None => CoreFailure::Consensus(group.failure().unwrap_or_else(|| "its task has ended".into())),
        }
    }
}
