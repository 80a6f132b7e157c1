//! Requests of peers, carried out by a group's replica on this core.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::ready;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use openraft::raft::AppendEntriesRequest;
use openraft_rt::{Mpsc, MpscReceiver};
use slotcore_rt::ids::GroupId;

use super::compare;
use super::hub::{Peer, PeerHub};
use super::landing::Landing;
use super::message::{Answer, CallId, Message, Request, SnapshotAnswer, SnapshotPart};
use super::read_index;
use super::take_snapshot::{Arrived, Arriving, Finished};
use crate::inbound::Inbound;
use crate::runtime::Runtime;
use crate::runtime::mpsc::{LocalMpsc, Sender};
use crate::state_machine::StateMachine;
use crate::types::{RaftTypes, Snapshot, Vote};

/// Appends of one peer and group under way at once: as many as it has entries of in flight, so that the log flushes them
/// together.
const APPENDS_AT_ONCE: usize = 16;
/// Between two looks at a snapshot: the next turn of a core has come then.
const PAUSE: Duration = Duration::from_micros(100);
/// Appends that wait behind them. A peer sends far fewer before it hears of the first; more are dropped.
const APPENDS_WAITING_MAX: usize = 1024;

type Append<RT> = (CallId, AppendEntriesRequest<RaftTypes<RT>>);

/// Carries out requests for one group.
pub(super) trait Serve<RT: Runtime> {
    /// Never waits; the answer goes out by the hub, or never.
    fn request(&self, from: Peer, call: CallId, request: Request<RT>);
}

/// See the module's text.
pub(super) struct GroupServer<RT: Runtime, S: StateMachine> {
    group: GroupId,
    inbound: Inbound<RT, S>,
    hub: Weak<PeerHub<RT>>,
    appenders: RefCell<BTreeMap<Peer, Sender<Append<RT>>>>,
    /// The snapshot that comes, if one does: a group has one leader, and needs no other state than its newest.
    arriving: Rc<RefCell<Arriving>>,
}

impl<RT: Runtime, S: StateMachine> GroupServer<RT, S> {
    pub(super) fn new(
        group: GroupId,
        inbound: Inbound<RT, S>,
        landing: Box<dyn Landing>,
        hub: Weak<PeerHub<RT>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            group,
            inbound,
            hub,
            appenders: RefCell::default(),
            arriving: Rc::new(RefCell::new(Arriving::onto(landing))),
        })
    }

    /// Appends of one peer are handled in the order in which they arrive; it ends with the server.
    fn start_appender(&self, from: Peer) -> Sender<Append<RT>> {
        let (sender, queue) = LocalMpsc::channel(APPENDS_WAITING_MAX);
        let (inbound, hub, group) = (self.inbound.clone(), self.hub.clone(), self.group);
        let queue = stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) });
        let answers = queue
            .map(move |(call, request): Append<RT>| {
                let inbound = inbound.clone();
                async move { (call, inbound.append_entries(request).await) }
            })
            .buffered(APPENDS_AT_ONCE);
        drop(RT::spawn(answers.for_each(move |(call, answer)| {
            // A replica that has stopped answers nothing.
            if let (Ok(answer), Some(hub)) = (answer, hub.upgrade()) {
                hub.push(from, group, &Message::Answer(call, Answer::Append(answer)));
            }
            ready(())
        })));
        sender
    }
}

impl<RT: Runtime, S: StateMachine> Serve<RT> for GroupServer<RT, S> {
    fn request(&self, from: Peer, call: CallId, request: Request<RT>) {
        if let Request::Append(request) | Request::Heartbeat(request) = request {
            let mut appenders = self.appenders.borrow_mut();
            let appender = appenders.entry(from).or_insert_with(|| self.start_appender(from));
            // Without room it is as if the message had been lost on the way.
            let _ = appender.try_send((call, request));
            return;
        }
        if let Request::ReadIndex(vouched) = request {
            return read_index::take(self.inbound.state(), from, call, vouched, RT::now());
        }
        if let Request::Rebuild(index) = request {
            compare::needed(&self.inbound, &self.hub, self.group, from, index);
        }
        let (inbound, hub, group) = (self.inbound.clone(), self.hub.clone(), self.group);
        let arriving = self.arriving.clone();
        drop(RT::spawn(async move {
            let answer = match request {
                Request::Snapshot(vote, part) => take_part(&inbound, &arriving, from, vote, part).await,
                Request::Diverged(index) => {
                    compare::told(&inbound, from, index);
                    Some(Answer::Heard)
                }
                request => carry_out(&inbound, request).await,
            };
            if let Some(answer) = answer
                && let Some(hub) = hub.upgrade()
            {
                hub.push(from, group, &Message::Answer(call, answer));
            }
        }));
    }
}

/// `None` when this replica has stopped.
async fn carry_out<RT: Runtime, S: StateMachine>(inbound: &Inbound<RT, S>, request: Request<RT>) -> Option<Answer<RT>> {
    match request {
        Request::Append(_) | Request::Heartbeat(_) => unreachable!("appends go through their queue"),
        Request::Snapshot(..) => unreachable!("parts are put together first"),
        Request::ReadIndex(_) => unreachable!("the core answers it when its tasks are quiet"),
        Request::Diverged(_) => unreachable!("it is asked about who says so"),
        Request::Seen(index) => Some(Answer::Seen(compare::seen::<RT>(inbound.state(), index).await)),
        Request::Rebuild(_) => Some(Answer::Heard),
        Request::Vote(request) => inbound.vote(request).await.ok().map(Answer::Vote),
        Request::PreVote(request) => inbound.pre_vote(request).await.ok().map(Answer::Vote),
        Request::Transfer(request) => inbound.transfer_leader(request).await.ok().map(Answer::Transfer),
    }
}

/// Takes in a part of a snapshot, and the whole when it is one. `None` when this replica has stopped.
async fn take_part<RT: Runtime, S: StateMachine>(
    inbound: &Inbound<RT, S>,
    arriving: &RefCell<Arriving>,
    from: Peer,
    vote: Vote,
    part: SnapshotPart,
) -> Option<Answer<RT>> {
    let total = part.total;
    let own = inbound.own_vote();
    if vote < own {
        // Who leads now may be sending one.
        return Some(Answer::Snapshot(SnapshotAnswer { vote: own, have: 0 }));
    }
    let arrived = arriving.borrow_mut().take(from, part);
    let looked_at = match arrived {
        Arrived::Bytes(have) => Err(have),
        Arrived::Whole(name) => loop {
            let finished = arriving.borrow_mut().finish(name);
            match finished {
                Finished::More => RT::sleep(PAUSE).await,
                Finished::Gone => break Err(0),
                Finished::Kept(meta, snapshot) => break Ok(Snapshot { meta, snapshot }),
            }
        },
    };
    let answer = match looked_at {
        Err(have) => SnapshotAnswer {
            vote: inbound.own_vote(),
            have,
        },
        Ok(snapshot) => {
            let votes = (inbound.own_vote(), vote);
            match compare::take_up::<RT>(inbound.state(), votes, snapshot, total).await {
                Ok(answer) => answer,
                Err(snapshot) => SnapshotAnswer {
                    vote: inbound.install_snapshot(vote, snapshot).await.ok()?.vote,
                    have: total,
                },
            }
        }
    };
    arriving.borrow_mut().settle();
    Some(Answer::Snapshot(answer))
}
