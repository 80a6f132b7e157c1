//! Reads without a lease. They are gathered like writes; a batch that only reads, with nothing under way before it, needs no
//! entry: it is answered when a quorum has confirmed that this core led after the batch was closed (ReadIndex; Ongaro,
//! "Consensus: Bridging Theory and Practice", section 6.4). All who asked in one turn, and while an answer is awaited, share
//! one question. When a write comes behind such a batch it becomes an entry after all, so that no write ever waits for it.

use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, StateMachine};
use slotcore_rt::clock::Tick;

use crate::core_state::CoreState;

/// What becomes of the oldest batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadsNow {
    /// It is to be proposed.
    Propose,
    /// A quorum is being asked.
    Wait,
    /// It was answered.
    Answered,
}

/// When a quorum was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadIndex {
    asked_at: Option<Tick>,
}

impl ReadIndex {
    /// Looks at the oldest batch, whose payload was just taken from the outbox.
    pub(crate) fn look<S: StateMachine>(
        &mut self,
        state: &mut CoreState,
        group: &mut Group<GlommioRuntime, S>,
    ) -> ReadsNow {
        let Some(closed_at) = state.reads_closed_at() else {
            return ReadsNow::Propose;
        };
        if group.may_read_from(closed_at) {
            state.answer_reads();
            return ReadsNow::Answered;
        }
        if self.asked_at.is_none_or(|asked_at| asked_at < closed_at) {
            if group.ask_quorum().is_err() {
                return ReadsNow::Propose;
            }
            self.asked_at = Some(closed_at);
        }
        ReadsNow::Wait
    }
}

impl CoreState {
    /// When the oldest batch was closed, if a quorum's word is enough for it.
    fn reads_closed_at(&self) -> Option<Tick> {
        let oldest = self.proposed.front().filter(|sealed| sealed.reads_only)?;
        // What has expired since the last entry is gone only once an entry says so.
        let expires = self.keyspace.next_deadline().is_some_and(|at| at <= self.now.wall_ms());
        let is_enough = self.replication.is_some()
            && self.is_first()
            && self.batch.writes() == 0
            && self.keyspace.is_complete()
            && !self.is_held()
            && !expires;
        is_enough.then_some(oldest.sealed_at)
    }
}
