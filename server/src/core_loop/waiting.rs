//! The end of a turn, and the end of all turns.

use std::sync::atomic::Ordering;
use std::time::Duration;

use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Group, StateMachine};
use slotcore_rt::clock::{Clock, SystemClock};

use super::{CoreFailure, CoreLoop, WAIT_BUSY};

/// Longest wait in the ring without traffic.
const WAIT_IDLE: Duration = Duration::from_millis(20);
/// With many clients a turn waits for this many inputs,
const GATHER: usize = 16;
/// but no longer than this.
const GATHER_FOR: Duration = Duration::from_micros(30);
/// Without traffic for this long a core counts as idle.
const IDLE_AFTER: Duration = Duration::from_millis(20);
/// While another core has no room for what this one has for it, it is tried again this often.
const RETRY_MESH: Duration = Duration::from_micros(100);
/// Replies that wait for others of their connection are looked at again after this long.
const SEND_DELAYED: Duration = Duration::from_micros(50);
/// How long a stop waits for replies to be taken.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

impl CoreLoop {
    /// Ends a turn: enters the kernel, and sleeps there when there is nothing to do.
    pub(super) async fn wait(&mut self) -> Result<(), CoreFailure> {
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
    pub(super) async fn stop<S: StateMachine>(
        &mut self,
        group: &mut Group<GlommioRuntime, S>,
    ) -> Result<(), CoreFailure> {
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
