//! What a core does besides commands: keys that expire, what is looked at a few times a second, settings that come into
//! force, `SAVE`.

use std::time::Duration;

use slotcore_engine::log::AppendError;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, StateMachine};
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ids::FrameNo;

use super::{CoreFailure, CoreLoop};
use crate::batch::BATCH_BYTES_MAX;
use crate::boot::{FIRST_GROUP, sync_policy};
use crate::config::{Durability, Setting};
use crate::core_state::{NetBuffers, Now, WriteBarrier};
use crate::logging::Event;
use crate::saving::BackupView;

/// Facts, rates and idle connections are looked at this often.
const CHORES_EVERY: Duration = Duration::from_millis(100);
/// Expired keys are removed and big values freed this often: a tenth of the exactness promised for expiry.
const UPKEEP_EVERY: Duration = Duration::from_millis(1);
/// Keys removed, and pieces of big values freed, in one turn: well below 100 us.
const EXPIRE_BUDGET: usize = 128;
const FREE_BUDGET: usize = 256;
/// Turns' worth of freeing that a core makes up for after it slept: nobody waits then, and it stays below half a millisecond.
const FREE_TURNS_MAX: u128 = 8;

impl CoreLoop {
    /// Bounded work that nobody waits for, and what is looked at a few times a second.
    pub(super) fn housekeeping<S: StateMachine>(
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
        self.shorten_log(group, now.tick);
        self.follow_orders(group, now.tick);
        let has_replicas = group.members().voters.len() > 1;
        self.state.borrow_mut().propose_comparison(now.tick, has_replicas);
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

    pub(super) fn put_into_force(&mut self, changed: &[Setting]) {
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

    /// Makes everything acknowledged durable: at once when somebody waits for it, whose answer leaves after this.
    pub(super) fn save<S: StateMachine>(&mut self, group: &Group<GlommioRuntime, S>) -> Result<(), CoreFailure> {
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
    pub(super) fn keep_files(&mut self, now: Tick, keep: bool) {
        self.driver.keep_files(&mut self.log.borrow_mut(), now, keep);
        let state = self.state.borrow();
        self.store.driver.keep_files(keep, &state.store.borrow());
    }
}
