//! What a core of a cluster does in its turns besides what a core alone does: it listens to the other nodes, and finds out
//! who leads and what that means for the commands it has taken.
//!
//! Commands are gathered into batches whoever leads. Proposed they are only while this core leads ([`Standing::Leads`]);
//! while nobody is known to lead they are kept, for [`PATIENCE`] at most; when another node leads they are turned away.
//! What was proposed when leadership was lost is settled one by one ([`crate::flights`]), and nothing behind it is proposed
//! or turned away before it is settled, so that the commands of a connection keep their order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::runtime::timers;
use slotcore_raft_shard::{Consensus, Group, ProposalId, Refusal, Role, StateMachine};
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ids::{GroupId, ReplicaId, Term};
use slotcore_rt::signal;

use crate::core_loop::{CoreFailure, CoreLoop};
use crate::core_state::CoreState;
use crate::flights::{Flights, Settled};
use crate::leadership::Standing;
use crate::logging::Event;
use crate::nodes::NodeNumber;
use crate::peer_driver::{Heard, PeerDriver};
use crate::relay::short;
use crate::replica_reads::ReplicaReads;
use crate::state_comparison::ComparePace;
use crate::unexecuted::Unexecuted;

/// How long commands are kept while nobody is known to lead, and how long a client waits to learn whether a command was
/// executed. Elections take less than a second; clients wait for replies for longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a core that ends waits for its successor: longer than that takes, shorter than an election.
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(500);
/// Most yields in a row for the tasks of Raft and its links: a chain of messages between them takes a handful.
const QUIET_YIELDS_MAX: u32 = 64;

/// What a core of a cluster keeps besides what a core alone does.
pub(crate) struct Peers {
    /// Its links.
    pub driver: PeerDriver,
    /// Who is to be asked instead, while this core has no replica of its group.
    pub elsewhere: Option<NodeNumber>,
    /// This core has a replica of its group.
    pub has_replica: bool,
    /// What the group is called.
    pub group: GroupId,
    /// Nobody has been known to lead since then.
    leaderless_since: Tick,
    /// The process ends: until then this core waits for another node to lead instead.
    hands_over_until: Option<Tick>,
    refused: Vec<(ProposalId, Refusal)>,
}

impl Peers {
    pub(crate) fn new(driver: PeerDriver, group: GroupId, now: Tick) -> Self {
        Self {
            driver,
            group,
            elsewhere: None,
            has_replica: false,
            leaderless_since: now,
            hands_over_until: None,
            refused: Vec::new(),
        }
    }
}

/// The replication of a core's group as [`CoreState`] knows it.
pub(crate) struct Replication {
    /// Whether commands may be proposed, or who is to be asked.
    pub standing: Standing,
    /// Nobody has been known to lead for longer than [`PATIENCE`].
    given_up: bool,
    /// This core has no vote in its group: it has nothing of it, or is still being brought up to date; or what it has is wrong.
    is_outside: bool,
    /// Proposed, and neither executed nor settled.
    pub flights: Flights,
    /// The term in which this core has proposed last; `None` once that is over and done with.
    led: Option<Term>,
    /// How fresh its state is while it follows.
    pub reads: ReplicaReads,
    /// When replicas compare their states.
    pub comparing: ComparePace,
}

impl Replication {
    pub(crate) fn new() -> Self {
        Self {
            standing: Standing::Unknown,
            given_up: false,
            is_outside: false,
            flights: Flights::default(),
            led: None,
            reads: ReplicaReads::default(),
            comparing: ComparePace::default(),
        }
    }
}

impl Replication {
    /// True while this core has no replica of its group.
    pub(crate) fn is_outside(&self) -> bool {
        self.is_outside
    }

    /// True while another node is known to lead, and what this core has is what that one had a moment ago.
    pub(crate) fn follows(&self) -> bool {
        matches!(self.standing, Standing::Follows(_)) && !self.is_outside
    }
}

/// Whether what a core has of its group may be anything: only who votes is known to have been brought up to date.
fn is_outside(has_replica: bool, role: Role) -> bool {
    !has_replica || role == Role::Learner
}

impl CoreLoop {
    /// Hands Raft what the other nodes have sent, and ends its timers that are due.
    pub(crate) fn hear_peers(&mut self, now: Tick) {
        if let Some(peers) = &mut self.peers {
            let mut state = self.state.borrow_mut();
            if let Some(view) = &mut state.server.view
                && view.renew()
            {
                let nodes = view.nodes.clone();
                state.set_far_nodes(&nodes);
                peers.driver.set_nodes(nodes, now);
            }
            let (metadata, mut removed) = (&mut self.metadata, false);
            let lists = state.server.view.as_ref().map(|view| view.lists.clone());
            peers.driver.deliver(now, |heard| match heard {
                Heard::AsksToJoin(asker, request) => {
                    if let Some(metadata) = metadata {
                        metadata.asks_to_join(asker, request, now);
                    }
                    Ok(())
                }
                Heard::Removed => {
                    removed = true;
                    Ok(())
                }
                Heard::Nodes(list) => {
                    let (epoch, nodes) = (list.epoch, list.nodes.len());
                    Event::NodesChanged { epoch, nodes }.log();
                    if let Some(lists) = &lists {
                        lists.publish(Arc::new(list));
                    }
                    Ok(())
                }
                Heard::Linked(node, linked) => {
                    state.set_linked(short(node), linked);
                    Ok(())
                }
                Heard::Message(node, message) => state.take_far(short(node), message),
            });
            drop(state);
            timers::end_due(now);
            if removed {
                self.end_removed();
            }
        }
    }

    /// This node was removed from the cluster: the process ends, in order.
    pub(crate) fn end_removed(&self) {
        if !self.control.process.removed.swap(true, Ordering::Relaxed) {
            Event::RemovedFromCluster.log();
            signal::raise_term();
        }
    }

    /// Lets Raft's tasks run until none of them is ready.
    pub(crate) async fn settle_quiet(&mut self) {
        for _ in 0..QUIET_YIELDS_MAX {
            let before = timers::polls();
            glommio::executor().yield_now().await;
            if timers::polls() == before {
                break;
            }
        }
    }

    /// Sends the other nodes what Raft has for them.
    pub(crate) fn flush_peers(&mut self, now: Tick) -> Result<(), CoreFailure> {
        if let Some(peers) = &mut self.peers {
            let driver = &peers.driver;
            self.state
                .borrow_mut()
                .send_far(|node, message| driver.carry(NodeNumber(u32::from(node)), message));
            peers.driver.flush(&mut self.ring, now)?;
        }
        Ok(())
    }

    /// How long this core may sleep for the sake of links and of Raft's timers.
    pub(crate) fn peers_wait(&self, longest: Duration) -> Duration {
        let Some(peers) = &self.peers else { return longest };
        if peers.driver.has_frames() {
            return Duration::ZERO;
        }
        let now = SystemClock.tick();
        let relay = self.state.borrow().relay_wake();
        let wakes = [peers.driver.next_wake(), timers::next_due(), relay];
        let first = wakes.into_iter().flatten().min();
        first.map_or(longest, |at| at.since(now).min(longest))
    }

    /// Before this core ends: if it leads, the voter that lacks least shall lead instead, without an election's time-out.
    pub(crate) fn hand_over<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>, now: Tick) {
        if group.role() != Role::Leader {
            return;
        }
        // If it cannot be sent, an election will do.
        if let Some(heir) = self.heir(group, now)
            && group.transfer_leader(heir).is_ok()
            && let Some(peers) = &mut self.peers
        {
            peers.hands_over_until = Some(now + HAND_OVER_PATIENCE);
        }
    }

    /// The voter that lacks least of those that are heard from, if this core leads.
    pub(crate) fn heir<S: StateMachine>(&self, group: &Group<GlommioRuntime, S>, now: Tick) -> Option<ReplicaId> {
        let driver = &self.peers.as_ref()?.driver;
        let heard = |id| driver.heard_lately(NodeNumber::of(id), now, group.election_max());
        let voters = group.members().voters;
        let others = voters.into_iter().filter(|&id| heard(id));
        let best = others.filter_map(|id| Some((group.lag_of(id)?, id))).min();
        best.map(|(_, id)| id)
    }

    /// True while [`CoreLoop::hand_over`] is under way.
    pub(crate) fn is_handing_over<S: StateMachine>(&self, group: &Group<GlommioRuntime, S>) -> bool {
        let until = self.peers.as_ref().and_then(|peers| peers.hands_over_until);
        until.is_some_and(|until| group.role() == Role::Leader && SystemClock.tick() < until)
    }

    /// Finds out who leads, and settles what was proposed and not executed. To be called when Raft's tasks are quiet.
    pub(crate) fn look_at_leadership<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>, now: Tick) {
        self.answer_replicas(group);
        self.compare_replicas(group);
        let Some(peers) = &mut self.peers else { return };
        let cell = self.state.clone();
        let mut state = cell.borrow_mut();
        let (_, executed) = group.state().applied();
        let progress = group.progress();
        group.take_refused(&mut peers.refused);
        if let Some(view) = &state.server.view {
            // Without a replica it is not known who votes.
            let known = peers.elsewhere.is_none().then(|| group.certain_copies());
            view.leaders.set_certain_copies(state.server.core, known.unwrap_or(0));
        }
        let Some(replication) = &mut state.replication else {
            return;
        };
        replication.is_outside = is_outside(peers.has_replica, group.role()) || group.state().is_diverged();
        replication.note_freshness(group);
        for (proposal, refusal) in peers.refused.drain(..) {
            replication.flights.refused(proposal, refusal);
        }
        if progress.digested == progress.proposed {
            replication.flights.digested(group.state().appended_term());
        }
        state.settle_flights(executed, now);

        let term = group.term();
        let standing = if group.takes_proposals(now) {
            state.lead(term)
        } else if let Some(node) = peers.elsewhere.filter(|&node| peers.driver.is_linked(node)) {
            Standing::Follows(node)
        } else if group.role() != Role::Leader
            && let Some(leader) = group.leader().map(NodeNumber::of)
            && peers.driver.heard_lately(leader, now, 2 * group.election_max())
        {
            Standing::Follows(leader)
        } else {
            Standing::Unknown
        };
        if standing != Standing::Unknown {
            peers.leaderless_since = now;
        }
        let given_up = now.since(peers.leaderless_since) > PATIENCE;
        state.stand(standing, term, given_up);
        state.turn_away_unproposed();
    }
}

impl CoreState {
    /// True while gathered commands may be proposed.
    #[inline]
    pub(crate) fn may_propose(&self) -> bool {
        match &self.replication {
            None => true,
            Some(replication) => replication.standing == Standing::Leads,
        }
    }

    /// The entry of the oldest unproposed batch was proposed.
    #[inline]
    pub(crate) fn note_proposed(&mut self, proposal: ProposalId, payload: Bytes) {
        if let Some(replication) = &mut self.replication {
            let at = self.proposed.len() - self.outbox.len() - 1;
            let seq = self.proposed[at].seq;
            replication.flights.proposed(seq, proposal, payload, self.now.tick);
        }
    }

    /// An entry that a core of a cluster has proposed is about to be executed. True when its batch is the oldest that is
    /// left; false when nobody waits for it any more.
    pub(crate) fn flight_lands(&mut self, seq: u64) -> bool {
        let Some(replication) = &mut self.replication else {
            return false;
        };
        let Some(overtaken) = replication.flights.executed(seq) else {
            return false;
        };
        for payload in overtaken {
            self.turn_away(&payload, Unexecuted::Overtaken);
        }
        true
    }

    /// What is known of the oldest flights by now.
    fn settle_flights(&mut self, executed: Term, now: Tick) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        match replication.flights.settle(executed) {
            Settled::Nothing => {}
            Settled::Again(payloads) => payloads.into_iter().rev().for_each(|payload| self.put_back(payload)),
            Settled::NotExecuted(payloads) => {
                for payload in payloads {
                    self.turn_away(&payload, Unexecuted::Overtaken);
                }
            }
        }
        while let Some(replication) = &mut self.replication
            && replication.flights.is_overdue(now, PATIENCE)
            && let Some(payload) = replication.flights.give_up()
        {
            self.turn_away(&payload, Unexecuted::InDoubt);
        }
        // What it proposed cannot be executed any more, and others may have proposed something else.
        if let Some(replication) = &mut self.replication
            && replication.led.is_some_and(|led| executed > led)
        {
            replication.led = None;
            self.end_leadership();
        }
    }

    /// This core leads in `term`: what it has gathered meanwhile is its first proposal.
    fn lead(&mut self, term: Term) -> Standing {
        let Some(replication) = &mut self.replication else {
            return Standing::Leads;
        };
        if replication.led == Some(term) {
            return Standing::Leads;
        }
        if replication.led.is_some() || !replication.flights.is_empty() {
            // Of what was proposed in an earlier term something is not settled yet.
            return Standing::Unknown;
        }
        replication.led = Some(term);
        // Whatever was watched before: others may have led meanwhile.
        self.watches.all_changed();
        // Waits that came with entries of an earlier leadership end with the first entry of this one.
        self.origin = self.origin.wrapping_add(0x9e37_79b9_7f4a_7c15);
        if !self.proposed.is_empty() || !self.batch.is_empty() {
            self.seal();
            let payloads: Vec<Bytes> = self.outbox.drain(..).collect();
            self.gather_again(&payloads);
        }
        Standing::Leads
    }

    /// Takes note of who leads.
    fn stand(&mut self, standing: Standing, term: Term, given_up: bool) {
        let core = self.server.core;
        let Some((replication, view)) = self.replication.as_mut().zip(self.server.view.as_ref()) else {
            return;
        };
        replication.given_up = given_up;
        if replication.standing == standing {
            return;
        }
        replication.standing = standing;
        let leader = match standing {
            Standing::Leads => Some(view.nodes.me),
            Standing::Follows(node) => Some(node),
            Standing::Unknown => None,
        };
        self.set_leader(leader.map(short));
        let Some(view) = &self.server.view else { return };
        if view.leaders.of(core) != leader {
            view.leaders.set(core, leader);
            Event::Leader {
                core,
                node: leader,
                term,
            }
            .log();
        }
    }

    /// Commands that this core will not propose are turned away, once nothing before them is in flight.
    pub(crate) fn turn_away_unproposed(&mut self) {
        let Some(replication) = &self.replication else { return };
        let why = match replication.standing {
            Standing::Follows(_) => Unexecuted::Moved,
            Standing::Unknown if replication.given_up => Unexecuted::NoLeader,
            Standing::Leads | Standing::Unknown => return,
        };
        if !replication.flights.is_empty() {
            return;
        }
        self.seal();
        for _ in 0..self.outbox.len() {
            if self.awaits_freshness() {
                break;
            }
            if let Some(payload) = self.outbox.pop_front() {
                self.turn_away(&payload, why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_votes_answers_reads_of_its_own() {
        let mut replication = Replication::new();
        replication.standing = Standing::Follows(NodeNumber(2));
        for (has_replica, role, may) in [
            (true, Role::Follower, true),
            (true, Role::Learner, false),
            (false, Role::Follower, false),
            (false, Role::Learner, false),
        ] {
            replication.is_outside = is_outside(has_replica, role);
            assert_eq!(replication.follows(), may, "{has_replica} {role:?}");
        }
    }
}
