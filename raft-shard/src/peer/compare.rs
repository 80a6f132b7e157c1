//! The leader asks the others what they have seen, and whoever is wrong gets its state; see [`crate::comparison`].

use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use slotcore_rt::ids::{GroupId, LogIndex, ReplicaId};

use super::hub::{Peer, PeerHub};
use super::message::{Answer, Request, SnapshotAnswer};
use super::send_snapshot;
use crate::comparison::{Finding, Verdict, judge};
use crate::consensus::{Consensus, Role};
use crate::group::Group;
use crate::group_state::GroupState;
use crate::inbound::Inbound;
use crate::runtime::Runtime;
use crate::state_machine::StateMachine;
use crate::types::{Snapshot, Vote, position};

/// How long a replica may take to execute the entry it is asked about.
const EXECUTE_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A replica that needs another's state asks for it this often.
const WISH_EVERY: Duration = Duration::from_millis(500);
/// How long a snapshot may take that is taken for another replica.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(120);

/// Compares what was seen, if this replica leads, and sees to it that its own state becomes right, if it is not. To be called
/// when Raft's tasks are quiet. [`GroupState::take_finding`] tells what comes of it, and
/// [`GroupState::snapshot_needed`] whether the caller is to take a snapshot.
pub fn work<RT: Runtime, S: StateMachine>(hub: &Rc<PeerHub<RT>>, id: GroupId, group: &mut Group<RT, S>) {
    let role = group.role();
    if group.state().is_diverged() {
        group.stand_back();
        match (role, group.leader()) {
            // Who takes over is asked for its state then.
            (Role::Leader, _) => _ = group.heir().map(|heir| group.transfer_leader(heir)),
            (_, Some(leader)) => wish(hub, id, leader, group.state()),
            (_, None) => {}
        }
        return;
    }
    group.stand_again();
    if role == Role::Leader
        && let Some((index, own)) = group.state().comparison.borrow_mut().next_question()
    {
        let members = group.members();
        let others = members.voters.iter().chain(&members.learners).copied();
        let others: Vec<_> = others.filter(|&other| other != group.id()).collect();
        if !others.is_empty() {
            let question = Question {
                hub: hub.clone(),
                id,
                me: group.id(),
                state: group.state().clone(),
                index,
            };
            let seen = BTreeMap::from([(group.id(), own)]);
            drop(RT::spawn(question.ask(others, seen, members.voters)));
        }
    }
}

struct Question<RT: Runtime> {
    hub: Rc<PeerHub<RT>>,
    id: GroupId,
    me: ReplicaId,
    state: Rc<GroupState>,
    index: LogIndex,
}

impl<RT: Runtime> Question<RT> {
    async fn ask(self, others: Vec<ReplicaId>, mut seen: BTreeMap<ReplicaId, u128>, voters: BTreeSet<ReplicaId>) {
        let calls = others.into_iter().map(|to| {
            let patience = EXECUTE_PATIENCE + self.hub.patience();
            let call = self.hub.call_within(patience, to, self.id, Request::Seen(self.index));
            async move { (to, call.await) }
        });
        for (from, answer) in join_all(calls).await {
            if let Ok(Answer::Seen(Some(digest))) = answer {
                seen.insert(from, digest);
            }
        }
        let found = |finding| self.state.comparison.borrow_mut().found(finding);
        match judge(&seen, &voters) {
            Verdict::Same => found(Finding::Same(self.index, seen.len())),
            Verdict::Undecided => found(Finding::Undecided(self.index)),
            Verdict::Differ(wrong) => {
                for replica in wrong {
                    found(Finding::Differs(self.index, replica));
                    if replica == self.me {
                        self.state.comparison.borrow_mut().diverge(self.index);
                        continue;
                    }
                    let told = self.hub.call(replica, self.id, Request::Diverged(self.index));
                    // It is told again when it is seen again.
                    _ = told.await;
                }
            }
        }
    }
}

/// Asks `leader` for its state.
fn wish<RT: Runtime>(hub: &Rc<PeerHub<RT>>, id: GroupId, leader: ReplicaId, state: &Rc<GroupState>) {
    if state.comparison.borrow_mut().wish(RT::now(), WISH_EVERY) {
        let request = Request::Rebuild(state.applied().0);
        let call = hub.call(leader, id, request);
        drop(RT::spawn(async move { _ = call.await }));
    }
}

/// What this replica has seen at `index`, once it has executed as much; `None`: it does not know.
pub(super) async fn seen<RT: Runtime>(state: &GroupState, index: LogIndex) -> Option<u128> {
    let until = RT::now() + EXECUTE_PATIENCE;
    while state.applied().0 < index && RT::now() < until {
        RT::sleep(LOOK_EVERY).await;
    }
    state.comparison.borrow().seen(index)
}

/// A leader says that this replica's state is wrong.
pub(super) fn told<RT: Runtime, S: StateMachine>(inbound: &Inbound<RT, S>, from: Peer, index: LogIndex) {
    if inbound.leader() == Some(from) {
        inbound.state().comparison.borrow_mut().diverge(index);
    }
}

/// Another replica needs this one's state as of `index` or later: it is sent one when there is one.
pub(super) fn needed<RT: Runtime, S: StateMachine>(
    inbound: &Inbound<RT, S>,
    hub: &Weak<PeerHub<RT>>,
    group: GroupId,
    from: Peer,
    index: LogIndex,
) {
    let Some(hub) = hub.upgrade() else { return };
    if inbound.leader() != Some(inbound.id()) || inbound.state().is_diverged() {
        return;
    }
    if inbound.state().comparison.borrow_mut().need(from, index) {
        let inbound = inbound.clone();
        drop(RT::spawn(async move {
            serve_need(&inbound, &hub, group, from).await;
            inbound.state().comparison.borrow_mut().served(from);
        }));
    }
}

async fn serve_need<RT: Runtime, S: StateMachine>(
    inbound: &Inbound<RT, S>,
    hub: &Rc<PeerHub<RT>>,
    group: GroupId,
    to: Peer,
) {
    let until = RT::now() + SNAPSHOT_PATIENCE;
    while RT::now() < until && inbound.leader() == Some(inbound.id()) {
        let needed = inbound.state().comparison.borrow().needed_by(to);
        let snapshot = inbound.newest_snapshot().await;
        let is_enough = |snapshot: &Snapshot| Some(position(snapshot.meta.last_log_id.as_ref()).0) >= needed;
        if let Some(snapshot) = snapshot.filter(is_enough) {
            // Whoever needs it asks again.
            _ = send_snapshot::send_parts(hub, group, to, inbound.own_vote(), snapshot).await;
            return;
        }
        RT::sleep(WISH_EVERY / 10).await;
    }
}

/// Takes up a snapshot that has come to a replica whose state is wrong. `None`: it is for openraft.
pub(super) async fn take_up<RT: Runtime>(
    state: &GroupState,
    (own, vote): (Vote, Vote),
    snapshot: Snapshot,
    total: u64,
) -> Result<SnapshotAnswer, Snapshot> {
    let (index, _) = position(snapshot.meta.last_log_id.as_ref());
    if !state.is_diverged() || index < state.applied().0 || vote < own {
        return Err(snapshot);
    }
    state.comparison.borrow_mut().came(snapshot);
    let until = RT::now() + SNAPSHOT_PATIENCE;
    while state.is_diverged() && RT::now() < until {
        RT::sleep(LOOK_EVERY).await;
    }
    let have = if state.is_diverged() { 0 } else { total };
    Ok(SnapshotAnswer { vote: own, have })
}
