//! One group's replica on this core: openraft, its adaptors and the read lease behind [`Consensus`].
//!
//! Between a proposal and its execution stand tasks of the core's executor. The caller proposes, yields until
//! `progress().digested == progress().proposed`, writes the log, calls [`crate::LogHub::advance`], and yields again
//! until `progress().applied` has moved. Nothing here blocks and nothing polls.
//!
//! **Restart.** A replica that comes back takes up its vote and its log, never its leadership. With several voters it
//! neither votes nor campaigns for [`GroupOptions::vote_hold_off`]: it may have promised as much to a leader that still
//! serves reads by its lease. A single voter elects itself at once.
//!
//! **Forgotten entries.** In the modes that count entries before they are durable, a replica may come back without
//! entries it has acknowledged. That is only sound while a majority has not forgotten them too, and for several voters
//! it needs a guard that keeps such a replica from voting until a leader has brought it up to date. Until that guard
//! exists several voters run in `always` only; a single voter may choose, since it forgets nobody's entries but its own.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, InitializeError, RaftError};
use openraft::impls::EmptyNode;
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::network::{NetSnapshot, RaftNetworkFactory};
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{Raft, RaftMetrics, ServerState};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, ReplicaId, Term};

use crate::consensus::{Consensus, PAYLOAD_TAGS_FROM, Progress, ProposalId, ProposeError, Refusal, Role};
use crate::freshness::Vouched;
use crate::group_state::GroupState;
use crate::inbound::Inbound;
use crate::lease::{Lease, LeaseInput};
use crate::log_hub::LogHub;
use crate::log_store::{GroupLogStore, LogStore};
use crate::members::{ChangeRefused, MemberChange, MemberStep, Members, check};
use crate::options::{GroupOptions, PROPOSALS_WAITING_MAX};
use crate::outgoing::Outgoing;
use crate::proposal::Outcome;
use crate::runtime::Runtime;
use crate::state_machine::{Applied, Applier, StateMachine};
use crate::types::{Membership, Payload, RaftTypes, position, raft_index};

/// openraft's handle, over our types.
pub(crate) type RaftHandle<RT, S> = Raft<RaftTypes<RT>, Applier<S>>;

type WatchOf<RT, T> = WatchReceiverOf<RaftTypes<RT>, T>;

/// Why a group could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError(String);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open Raft group: {}", self.0)
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    fn because(error: impl fmt::Display) -> Self {
        OpenError(error.to_string())
    }
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferRefused {
    /// This replica does not lead.
    NotLeader,
    /// Only another voter can take over, and while voters are being changed it is not known who that will be.
    NotAnotherVoter,
    /// The group has failed; see [`Consensus::failure`].
    Failed,
}

/// How far a replica's log and state are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPositions {
    /// The last entry of the log; it may not be durable yet.
    pub last: LogIndex,
    /// The last one known to be on a quorum.
    pub committed: LogIndex,
    /// The last one executed.
    pub applied: LogIndex,
    /// The last one that the newest snapshot holds; 0: there is none.
    pub snapshot: LogIndex,
    /// The last one that the log has forgotten.
    pub purged: LogIndex,
}

/// See the module.
pub struct Group<RT: Runtime, S: StateMachine> {
    options: GroupOptions,
    raft: RaftHandle<RT, S>,
    state: Rc<GroupState>,
    hold_off_until: Tick,
    lease: Lease,
    stands_back: bool,
    core: WatchOf<RT, RaftMetrics<RaftTypes<RT>>>,
    server: WatchOf<RT, RaftServerMetrics<RaftTypes<RT>>>,
    data: WatchOf<RT, RaftDataMetrics<RaftTypes<RT>>>,
}

impl<RT: Runtime, S: StateMachine> Group<RT, S> {
    /// Opens a replica on the current executor, into the current task queue, and starts its tasks.
    ///
    /// `log`: a handle to this group's part of the core's log; an empty one starts the group for the first time.
    /// `machine`: what it has executed already is `at`; everything committed after that is executed before this
    /// returns, everything else once a leader (perhaps this replica) has committed it. `hub` must be advanced by the
    /// caller from now on, also while this future is awaited: votes wait for it.
    ///
    /// # Errors
    /// [`OpenError`]: the settings contradict each other, or the log could not be read.
    pub async fn open<L, N>(
        options: GroupOptions,
        log: L,
        hub: Rc<LogHub<RT>>,
        network: N,
        machine: Rc<RefCell<S>>,
        at: Applied,
        state: Rc<GroupState>,
    ) -> Result<Self, OpenError>
    where
        L: GroupLogStore + Clone,
        N: RaftNetworkFactory<RaftTypes<RT>>,
        N::Network: NetSnapshot<RaftTypes<RT>, SnapshotData = Bytes>,
    {
        let restarted = log.vote().is_some() || log.last().0.0 > 0;
        let hold_off_until = match restarted && !options.planted.no_vote_hold_off {
            true => RT::now() + options.vote_hold_off(),
            false => Tick::ZERO,
        };

        let config = options.raft_config().map_err(OpenError::because)?;
        let store = LogStore::new(log, hub, state.clone());
        let applier = Applier::new(machine, at, state.clone());
        let network = Outgoing::new(network, state.clone());
        state.counts_from_answers.set(options.planted.counts_from_answers);
        let raft = Raft::build(options.id.0, config, network, store, applier)
            .await
            .map_err(OpenError::because)?;

        let group = Group {
            lease: Lease::new(options.election_max, options.clock_drift),
            stands_back: false,
            core: raft.metrics(),
            server: raft.server_metrics(),
            data: raft.data_metrics(),
            options,
            raft,
            state,
            hold_off_until,
        };
        group.start(restarted);
        Ok(group)
    }

    /// Starts the tasks, and in the background whatever makes the replica take part.
    fn start(&self, restarted: bool) {
        // Who campaigns and when is decided below, once the membership is known.
        self.raft.runtime_config().elect(false);
        self.raft.run();
        let task = Starting {
            raft: self.raft.clone(),
            core: self.core.clone(),
            state: self.state.clone(),
            id: self.options.id,
            first_voters: self
                .options
                .first_voters
                .iter()
                .map(|id| (id.0, EmptyNode::new()))
                .collect(),
            restarted,
            hold_off_until: self.hold_off_until,
        };
        drop(RT::spawn(task.run()));
    }

    /// Where messages of other replicas to this one go in.
    pub fn inbound(&self) -> Inbound<RT, S> {
        Inbound::new(self.raft.clone(), self.state.clone(), self.hold_off_until)
    }

    /// As of when this replica's state is, as far as its leader has vouched for it; see [`crate::freshness`]. What anyone was
    /// shown before that moment is in it. For replicas that do not lead, with [`crate::peer::read_index::ask`].
    pub fn fresh_as_of(&self, vouched: Vouched) -> Option<Tick> {
        let (applied, _) = self.state.applied();
        self.state.freshness.borrow_mut().as_of(applied, vouched)
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.server.borrow_watched().state == ServerState::Leader
    }

    /// The group's shared facts.
    pub fn state(&self) -> &Rc<GroupState> {
        &self.state
    }

    /// This replica.
    pub fn id(&self) -> ReplicaId {
        self.options.id
    }

    /// How far this replica's log and state are.
    pub fn positions(&self) -> LogPositions {
        let data = self.data.borrow_watched();
        let index = |id| position(id).0;
        LogPositions {
            last: index(data.last_log.as_ref()),
            committed: index(data.cluster_committed.as_ref()),
            applied: self.state.applied().0,
            snapshot: index(data.snapshot.as_ref()),
            purged: index(data.purged.as_ref()),
        }
    }

    /// How long a voter that has heard from a leader refuses others; a leader not heard from for longer may have a successor.
    pub fn election_max(&self) -> Duration {
        self.options.election_max
    }

    /// True when this replica leads, has executed the first entry of its term, and has lately heard from a quorum: what is
    /// proposed then is taken, unless that changes at this moment.
    ///
    /// With the first entry of the term, the fate of everything is known that was proposed here in earlier terms.
    pub fn takes_proposals(&self, now: Tick) -> bool {
        let server = self.server.borrow_watched();
        let leads = server.state == ServerState::Leader && !self.state.is_diverged();
        if !leads || self.state.applied().1 != Term(server.vote.leader_id.term) {
            return false;
        }
        if self.state.is_alone() {
            return true;
        }
        let (term, sets) = (
            Term(server.vote.leader_id.term),
            server.membership_config.membership().get_joint_config(),
        );
        let acked = self.state.acks.borrow().quorum(term, self.options.id, sets);
        acked.is_some_and(|at| now.since(at) < self.options.election_max)
    }

    /// Hands leadership to another voter. Reads stop being served alone before the first message of it is sent, nothing is
    /// taken or reassured any more, and if that voter is lost the others elect somebody.
    ///
    /// # Errors
    /// [`TransferRefused`]: nothing has changed.
    pub fn transfer_leader(&mut self, to: ReplicaId) -> Result<(), TransferRefused> {
        if self.role() != Role::Leader {
            return Err(TransferRefused::NotLeader);
        }
        // openraft does not look at it. A leader that hands over to nobody falls silent for good if no other may campaign.
        if self.state.is_changing() || to == self.options.id || !self.members().voters.contains(&to) {
            return Err(TransferRefused::NotAnotherVoter);
        }
        self.lease.learn(LeaseInput::TransferBegins);
        sent_at_once(self.raft.trigger().transfer_leader(to.0)).map_err(|_| TransferRefused::Failed)
    }

    /// The group's replicas, as this one knows them.
    pub fn members(&self) -> Members {
        Members::of(self.server.borrow_watched().membership_config.membership())
    }

    /// Entries that `replica` lacks of this one's log, as far as it has told; `None`: it has not been heard from, or this
    /// replica does not lead.
    pub fn lag_of(&self, replica: ReplicaId) -> Option<u64> {
        let data = self.data.borrow_watched();
        let last = data.last_log.map_or(0, |last| last.index);
        let held = (*data.replication.as_ref()?.get(&replica.0)?)?;
        Some(last.saturating_sub(held.index))
    }

    /// True when this replica leads and `replica`, voter or learner, has answered what was sent within an election's time-out.
    pub fn hears(&self, replica: ReplicaId) -> bool {
        let answered = self.state.acks.borrow().of(self.term(), replica);
        let lately = answered.is_some_and(|at| RT::now().since(at) < self.options.election_max);
        lately && self.is_leader()
    }

    /// How many other voters have this one's log up to `index`, as far as they have told; `None`: this one does not lead.
    pub fn holders_of(&self, index: LogIndex) -> Option<usize> {
        let (data, server) = (self.data.borrow_watched(), self.server.borrow_watched());
        let membership = server.membership_config.membership();
        let held = data.replication.as_ref()?;
        Some(Members::voters_with(
            membership,
            self.options.id,
            held,
            raft_index(index),
        ))
    }

    /// How many replicas besides one have whatever is committed, as far as this one knows: by the membership that was agreed upon,
    /// and by a newer one that may be.
    pub fn certain_copies(&self) -> usize {
        let newest = Members::certain_copies(self.server.borrow_watched().membership_config.membership());
        newest.min(self.state.certain_copies())
    }

    /// Begins a change of the group's replicas, which ends in the background: [`GroupState::is_changing`] tells when, and
    /// [`Group::members`] what came of it. See [`crate::members`] for changes whose leader is lost.
    ///
    /// # Errors
    /// [`ChangeRefused`]: nothing was changed.
    pub fn change_members(&mut self, change: MemberChange) -> Result<(), ChangeRefused> {
        if self.role() != Role::Leader {
            return Err(ChangeRefused::NotLeader);
        }
        if self.state.is_changing() {
            return Err(ChangeRefused::UnderWay);
        }
        check(&self.members(), self.options.id, &change, |id| self.lag_of(id))?;
        // From here on others read this replica's log and must hear from it, if nobody did before.
        self.state.set_alone(false);
        self.raft.runtime_config().tick(true);
        self.raft.runtime_config().elect(true);
        self.state.change_begins();
        let (raft, state) = (self.raft.clone(), self.state.clone());
        drop(RT::spawn(async move {
            let ended = raft.change_membership(change.for_raft(), false).await;
            state.change_ended(ended.err().map(|error| error.to_string()));
        }));
        Ok(())
    }

    /// What this replica, if it leads, has to do next so that `goal` become the voters, and there are no learners; see
    /// [`Members::step_towards`].
    pub fn step_towards(&self, goal: &BTreeSet<ReplicaId>) -> MemberStep {
        self.step_towards_with(goal, &BTreeSet::new())
    }

    /// The same with these learners.
    pub fn step_towards_with(&self, goal: &BTreeSet<ReplicaId>, learners: &BTreeSet<ReplicaId>) -> MemberStep {
        let lag = |id| self.lag_of(id);
        match self.role() == Role::Leader && !self.state.is_changing() {
            true => self
                .members()
                .step_towards(self.options.id, goal, learners, lag, |id| self.hears(id)),
            false => MemberStep::Wait,
        }
    }

    /// Does what [`Group::step_towards_with`] says. True when there is nothing left to do.
    pub fn take_step(&mut self, goal: &BTreeSet<ReplicaId>, learners: &BTreeSet<ReplicaId>) -> bool {
        // What is refused now is asked for again.
        match self.step_towards_with(goal, learners) {
            MemberStep::Done => return true,
            MemberStep::Wait => {}
            MemberStep::Change(change) => _ = self.change_members(change),
            MemberStep::Transfer(to) => _ = self.transfer_leader(to),
        }
        false
    }

    /// The voter that lacks least of those that answer, if this replica leads.
    pub(crate) fn heir(&self) -> Option<ReplicaId> {
        let others = self.members().voters.into_iter().filter(|&id| id != self.options.id);
        let able = others.filter(|&id| self.hears(id));
        let best = able.filter_map(|id| Some((self.lag_of(id)?, id))).min();
        best.map(|(_, id)| id)
    }

    /// Does not campaign until [`Group::stand_again`].
    pub(crate) fn stand_back(&mut self) {
        self.stands_back = true;
        self.raft.runtime_config().elect(false);
    }

    /// Campaigns again, if it was told not to.
    pub(crate) fn stand_again(&mut self) {
        if std::mem::take(&mut self.stands_back) {
            self.raft.runtime_config().elect(true);
        }
    }

    /// Asks for a snapshot of the state machine as it is when its turn comes.
    pub fn take_snapshot(&self) -> Result<(), ProposeError> {
        sent_at_once(self.raft.trigger().snapshot())
    }

    /// Lets the log forget entries up to `upto`, as far as a snapshot holds them.
    pub fn purge_log(&self, upto: LogIndex) -> Result<(), ProposeError> {
        match raft_index(upto) {
            Some(upto) => sent_at_once(self.raft.trigger().purge_log(upto)),
            None => Ok(()),
        }
    }

    /// The state at entry `upto` is durable outside the log: lets the log forget entries up to there. Only for a single
    /// voter, whose [`StateMachine::snapshot`] nobody else will ask for.
    ///
    /// openraft purges what a snapshot of its own covers, so one is taken first; it ends later, and a purge that came too
    /// early does nothing. So this is to be called from time to time until the log says that it was purged.
    pub fn purge_flushed(&self, upto: LogIndex) -> Result<(), ProposeError> {
        self.take_snapshot()?;
        self.purge_log(upto)
    }

    /// Ends the group's tasks. What is in the log stays there; what was proposed and not yet appended is dropped.
    pub async fn shutdown(self) {
        // The only error is that the core task had already ended, and why can be read from `failure`.
        let _ = self.raft.shutdown().await;
    }

    fn refresh_lease(&mut self) {
        let (index, term) = self.state.applied();
        self.lease.learn(LeaseInput::Applied { index, term });
        if !self.options.planted.ignore_commit_sent {
            self.lease.learn(LeaseInput::CommitSent {
                index: self.state.commit_sent(),
            });
        }

        let server = self.server.borrow_watched();
        if server.state != ServerState::Leader || self.state.is_diverged() {
            self.lease.learn(LeaseInput::NotLeading);
            return;
        }
        let term = Term(server.vote.leader_id.term);
        let membership = server.membership_config.membership();
        let alone = is_only_voter(self.options.id, membership);
        self.lease.learn(LeaseInput::Leading { term, alone });
        let acks = self.state.acks.borrow();
        if let Some(asked_at) = acks.quorum(term, self.options.id, membership.get_joint_config()) {
            self.lease.learn(LeaseInput::QuorumAck { term, asked_at });
        }
    }
}

impl<RT: Runtime, S: StateMachine> Consensus for Group<RT, S> {
    fn propose(&mut self, payload: Bytes) -> Result<ProposalId, ProposeError> {
        let tag = payload.first().copied().expect("a proposal has a payload");
        assert!(
            tag < PAYLOAD_TAGS_FROM,
            "the payload's first byte {tag:#x} would be read back as another kind of entry"
        );
        if self.state.waiting() >= PROPOSALS_WAITING_MAX {
            return Err(ProposeError::Busy);
        }
        let id = self.state.next_proposal();
        let outcome = Outcome::of(self.state.clone(), id);
        sent_at_once(self.raft.client_write_ff(Payload::proposed(payload), Some(outcome)))?;
        self.state.proposed(id);
        Ok(id)
    }

    fn take_refused(&mut self, refused: &mut Vec<(ProposalId, Refusal)>) {
        self.state.take_refused(refused);
    }

    fn role(&self) -> Role {
        if self.core.borrow_watched().running_state.is_err() {
            return Role::Stopped;
        }
        match self.server.borrow_watched().state {
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        }
    }

    fn term(&self) -> Term {
        Term(self.server.borrow_watched().vote.leader_id.term)
    }

    fn leader(&self) -> Option<ReplicaId> {
        self.server.borrow_watched().current_leader.map(ReplicaId)
    }

    fn progress(&self) -> Progress {
        self.state.progress()
    }

    fn may_read(&mut self, now: Tick) -> bool {
        self.refresh_lease();
        self.lease.holds(now)
    }

    fn may_read_from(&mut self, then: Tick) -> bool {
        self.refresh_lease();
        let then = if self.options.planted.any_answer_confirms {
            Tick::ZERO
        } else {
            then
        };
        self.lease.confirms(then)
    }

    fn ask_quorum(&mut self) -> Result<(), ProposeError> {
        sent_at_once(self.raft.trigger().heartbeat())
    }

    fn failure(&self) -> Option<String> {
        match &self.core.borrow_watched().running_state {
            Ok(()) | Err(Fatal::Stopped) => self.state.failure(),
            Err(fatal) => Some(fatal.to_string()),
        }
    }
}

/// Carries out a future that only puts a message into the group's queue. There is room for more than may be waiting, so
/// it is ready when first polled, and needs nobody to wake it.
fn sent_at_once<E>(send: impl Future<Output = Result<(), E>>) -> Result<(), ProposeError> {
    match pin!(send).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Ok(()),
        // Pending: the queue is closed and openraft waits to learn why its core has ended.
        Poll::Ready(Err(_)) | Poll::Pending => Err(ProposeError::Failed),
    }
}

/// Makes a replica take part once its tasks run: the part of opening that waits for the log.
struct Starting<RT: Runtime, S: StateMachine> {
    raft: RaftHandle<RT, S>,
    core: WatchOf<RT, RaftMetrics<RaftTypes<RT>>>,
    state: Rc<GroupState>,
    id: ReplicaId,
    first_voters: BTreeMap<u64, EmptyNode>,
    restarted: bool,
    hold_off_until: Tick,
}

impl<RT: Runtime, S: StateMachine> Starting<RT, S> {
    async fn run(mut self) {
        if let Err(what) = self.take_part().await {
            self.state.fail(|| what);
        }
    }

    async fn take_part(&mut self) -> Result<(), String> {
        let members = match self.restarted {
            false if self.first_voters.is_empty() => Members::default(),
            // What is published of the group follows only after the answer.
            false => {
                match self.raft.initialize(self.first_voters.clone()).await {
                    // Another of the first voters was quicker and has asked for this one's vote, or sent entries: the
                    // group exists, and the same membership comes with its first entry.
                    Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                    Err(error) => return Err(error.to_string()),
                }
                Members {
                    voters: self.first_voters.keys().copied().map(ReplicaId).collect(),
                    ..Members::default()
                }
            }
            true => {
                if self.core.changed().await.is_err() {
                    return Err("the group's core ended before it had begun".to_owned());
                }
                Members::of(self.core.borrow_watched().membership_config.membership())
            }
        };
        let alone = members.is_only(self.id);
        self.state.set_alone(alone);
        let only_voter = !members.joint && members.voters.iter().eq([&self.id]);
        if only_voter && self.restarted {
            // It has promised nothing to anybody else. Initializing elects, too.
            let elected = self.raft.trigger().elect(false).await;
            elected.map_err(|fatal| fatal.to_string())?;
        }
        if alone {
            // It hears from nobody and waits for nobody: no timer, no idle cost.
            self.raft.runtime_config().tick(false);
            return Ok(());
        }
        let now = RT::now();
        if self.hold_off_until > now && !only_voter {
            RT::sleep(self.hold_off_until.since(now)).await;
        }
        self.raft.runtime_config().elect(true);
        Ok(())
    }
}

fn is_only_voter(id: ReplicaId, membership: &Membership) -> bool {
    let sets = membership.get_joint_config();
    !sets.is_empty() && sets.iter().all(|set| set.len() == 1 && set.contains(&id.0))
}
