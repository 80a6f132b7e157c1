//! Facts about one group that its parts write and anyone on the core may read at once, without a message.

use std::cell::{Cell, RefCell};

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, Term};

use crate::comparison::{Comparison, Finding};
use crate::consensus::{Progress, ProposalId, Refusal};
use crate::freshness::Freshness;
use crate::members::Members;
use crate::peer::read_index::Question;
use crate::quorum_acks::QuorumAcks;
use crate::snapshots_sent::SnapshotsSent;
use crate::state_machine::Applied;
use crate::types::StoredMembership;

/// Shared by a group's log adaptor, state machine adaptor, responders and [`crate::Group`], all on one thread.
#[derive(Debug, Default)]
pub struct GroupState {
    proposed: Cell<u64>,
    digested: Cell<u64>,
    appended: Cell<LogIndex>,
    appended_term: Cell<Term>,
    applied: Cell<(LogIndex, Term)>,
    membership: RefCell<StoredMembership>,
    commit_sent: Cell<LogIndex>,
    alone: Cell<bool>,
    changing: Cell<bool>,
    change_failed: RefCell<Option<String>>,
    refused: RefCell<Vec<(ProposalId, Refusal)>>,
    failure: RefCell<Option<String>>,
    /// Who has answered what this replica sent as a leader.
    pub(crate) acks: RefCell<QuorumAcks>,
    /// What is on its way to replicas that are too far behind for the log.
    pub(crate) snapshots_sent: RefCell<SnapshotsSent>,
    /// How fresh this replica's state is while it does not lead.
    pub(crate) freshness: RefCell<Freshness>,
    /// What other replicas have asked to know the same of theirs.
    pub(crate) questions: RefCell<Vec<Question>>,
    /// When a quorum was last asked because of them.
    pub(crate) asked_quorum: Cell<Tick>,
    /// What this replica and others have seen at the same entries.
    pub(crate) comparison: RefCell<Comparison>,
    /// A bug put back on purpose.
    pub(crate) counts_from_answers: Cell<bool>,
}

impl GroupState {
    /// See [`crate::Consensus::progress`].
    pub fn progress(&self) -> Progress {
        Progress {
            proposed: self.proposed.get(),
            digested: self.digested.get(),
            appended: self.appended.get(),
            applied: self.applied.get().0,
        }
    }

    /// Index and term of the last entry executed.
    pub fn applied(&self) -> (LogIndex, Term) {
        self.applied.get()
    }

    /// What the state machine stands for: what a flush of it has to remember besides.
    pub fn stands_for(&self) -> Applied {
        let (index, term) = self.applied.get();
        let membership = self.membership.borrow().clone();
        Applied {
            index,
            term,
            membership,
        }
    }

    /// By the membership in force at the last entry executed.
    pub(crate) fn certain_copies(&self) -> usize {
        Members::certain_copies(self.membership.borrow().membership())
    }

    /// The term of the entry that was appended last: of what was proposed before it and is in the log, none is of a later
    /// one.
    pub fn appended_term(&self) -> Term {
        self.appended_term.get()
    }

    /// The highest commit index in any message this replica has sent.
    pub fn commit_sent(&self) -> LogIndex {
        self.commit_sent.get()
    }

    /// Whether a change of the group's replicas, begun here, has not ended.
    pub fn is_changing(&self) -> bool {
        self.changing.get()
    }

    /// Why the last change of the group's replicas that was begun here came to nothing, if it did.
    pub fn change_failed(&self) -> Option<String> {
        self.change_failed.borrow().clone()
    }

    /// Whether this replica is the group's only one, and so the only reader of its log.
    pub fn is_alone(&self) -> bool {
        self.alone.get()
    }

    /// Whether this replica's state is known to be wrong; see [`crate::comparison`].
    pub fn is_diverged(&self) -> bool {
        self.comparison.borrow().is_diverged()
    }

    /// The oldest thing found out by comparing states that was not taken.
    pub fn take_finding(&self) -> Option<Finding> {
        self.comparison.borrow_mut().take_finding()
    }

    /// Another replica needs a snapshot of this one as of this entry or later.
    pub fn snapshot_needed(&self) -> Option<LogIndex> {
        self.comparison.borrow().newest_need()
    }

    /// The log must keep the entries behind this one, as a snapshot that ends there is on its way to another replica.
    pub fn keep_log_behind(&self, now: Tick) -> Option<LogIndex> {
        self.snapshots_sent.borrow_mut().keep_behind(now)
    }

    /// Why the group has stopped, if something outside openraft's core stopped it.
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Proposals neither appended nor refused yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.proposed.get() - self.digested.get()
    }

    pub(crate) fn next_proposal(&self) -> ProposalId {
        ProposalId(self.proposed.get() + 1)
    }

    pub(crate) fn proposed(&self, id: ProposalId) {
        self.proposed.set(id.0);
    }

    pub(crate) fn digested(&self) {
        self.digested.set(self.digested.get() + 1);
    }

    pub(crate) fn set_appended(&self, index: LogIndex) {
        self.appended.set(index);
    }

    pub(crate) fn set_appended_term(&self, term: Term) {
        self.appended_term.set(term);
    }

    pub(crate) fn set_applied(&self, index: LogIndex, term: Term) {
        self.applied.set((index, term));
    }

    pub(crate) fn set_membership(&self, membership: StoredMembership) {
        *self.membership.borrow_mut() = membership;
    }

    /// Notes a commit index that is about to leave this replica. Never goes back.
    pub fn note_commit_sent(&self, index: LogIndex) {
        self.commit_sent.set(self.commit_sent.get().max(index));
    }

    pub(crate) fn set_alone(&self, alone: bool) {
        self.alone.set(alone);
    }

    pub(crate) fn change_begins(&self) {
        self.changing.set(true);
    }

    pub(crate) fn change_ended(&self, failed: Option<String>) {
        self.changing.set(false);
        *self.change_failed.borrow_mut() = failed;
    }

    pub(crate) fn refuse(&self, id: ProposalId, refusal: Refusal) {
        self.refused.borrow_mut().push((id, refusal));
    }

    pub(crate) fn take_refused(&self, refused: &mut Vec<(ProposalId, Refusal)>) {
        refused.append(&mut self.refused.borrow_mut());
    }

    /// Keeps the first failure: later ones follow from it.
    pub(crate) fn fail(&self, what: impl FnOnce() -> String) {
        self.failure.borrow_mut().get_or_insert_with(what);
    }
}
