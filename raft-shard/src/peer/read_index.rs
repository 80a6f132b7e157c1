//! A replica asks its leader how far it has to be; see [`crate::freshness`].

use std::rc::Rc;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{GroupId, LogIndex, ReplicaId};

use super::hub::{PATIENCE, Peer, PeerHub};
use super::message::{Answer, CallId, Message, Request};
use crate::consensus::Consensus;
use crate::freshness::Vouched;
use crate::group::Group;
use crate::group_state::GroupState;
use crate::runtime::Runtime;
use crate::state_machine::StateMachine;

/// Questions that wait for a quorum at once: each replica asks one at a time. What comes on top of them is not answered.
const QUESTIONS_MAX: usize = 64;

/// A question that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    from: ReplicaId,
    call: CallId,
    vouched: Vouched,
    arrived: Tick,
}

/// Takes in a question of another replica.
pub(super) fn take(state: &GroupState, from: Peer, call: CallId, vouched: Vouched, arrived: Tick) {
    let mut questions = state.questions.borrow_mut();
    if questions.len() < QUESTIONS_MAX {
        questions.push(Question {
            from,
            call,
            vouched,
            arrived,
        });
    }
}

/// Asks `leader`, unless a question is under way. What comes of it is in [`Group::fresh_as_of`] once tasks have run.
pub fn ask<RT: Runtime>(
    hub: &Rc<PeerHub<RT>>,
    group: GroupId,
    leader: ReplicaId,
    state: &Rc<GroupState>,
    vouched: Vouched,
) {
    if !state.freshness.borrow_mut().ask() {
        return;
    }
    let asked_at = RT::now();
    let call = hub.call(leader, group, Request::ReadIndex(vouched));
    let state = state.clone();
    drop(RT::spawn(async move {
        let index = match call.await {
            Ok(Answer::ReadIndex(index)) => index,
            Ok(_) | Err(_) => None,
        };
        let counts_from = match state.counts_from_answers.get() {
            true => RT::now(),
            false => asked_at,
        };
        state.freshness.borrow_mut().answered(counts_from, index, vouched);
    }));
}

/// Answers what other replicas have asked of this one, as far as it may. To be called when Raft's tasks are quiet.
/// `by_lease`: whether a lease is enough for who is content with it.
pub fn answer<RT: Runtime, S: StateMachine>(hub: &PeerHub<RT>, id: GroupId, group: &mut Group<RT, S>, by_lease: bool) {
    if group.state().questions.borrow().is_empty() {
        return;
    }
    let mut questions = group.state().questions.take();
    let now = RT::now();
    let say = |question: &Question, index: Option<LogIndex>| {
        let answer = Answer::ReadIndex(index);
        hub.push(question.from, id, &Message::Answer(question.call, answer));
    };
    let mut waits_since = None;
    questions.retain(|question| {
        if !group.is_leader() {
            say(question, None);
            return false;
        }
        let by_lease = by_lease && question.vouched == Vouched::ByLease && group.may_read(now);
        if by_lease || group.may_read_from(question.arrived) {
            say(question, Some(group.state().applied().0));
            return false;
        }
        // Whoever asked has given up by then.
        let waits = now.since(question.arrived) < PATIENCE;
        if waits {
            waits_since = waits_since.max(Some(question.arrived));
        }
        waits
    });
    if let Some(arrived) = waits_since
        && group.state().asked_quorum.get() < arrived
    {
        group.state().asked_quorum.set(now);
        // A group that has failed ends its core.
        let _ = group.ask_quorum();
    }
    group.state().questions.borrow_mut().append(&mut questions);
}
