//! Turns without clients: until the log is open, until the group can serve, and until a transaction that the other cores have
//! is here, too.

use std::future::poll_fn;
use std::task::Poll;

use slotcore_engine::log::AppendError;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::runtime::timers;
use slotcore_raft_shard::{Consensus, Group, StateMachine};
use slotcore_rt::clock::{Clock, SystemClock};

use super::{CoreFailure, CoreLoop, WAIT_BUSY};

impl CoreLoop {
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
}
