//! Commands that wait for keys of several cores: [`SpanningWaits`] on the core of the connection, [`Calls`] on those of the
//! keys.
//!
//! Such a command is tried like any over cores. If there is nothing, every owner notes who waits for which of its keys
//! before it goes on, so that nothing is missed, and the command rests. When one of the keys becomes ready, and all who wait
//! for keys of that core alone have had their turn, the owner calls whoever is next, and the command is tried again. So an
//! element is taken by a command of the log as any other, never for a client that is known to be gone, and what is not
//! taken stays where it is. Nothing of this is replicated: whoever loses the server loses the wait.
//!
//! [`SpanningWaits`]: super::SpanningWaits
//! [`Calls`]: super::Calls

use std::time::Duration;

use slotcore_engine::cmd::Reply;
use slotcore_engine::keyspace::Kind;
use slotcore_engine::waiters::Waiter;

use super::{Coordinated, WaitedFor};
use crate::blocked::Ending;
use crate::blocking::UNBLOCKED;
use crate::core_state::{CoreState, Now, lane_of};
use crate::gathering::{Combine, Gathering};
use crate::parcel::Note;
use crate::reply::RespReply;

/// What cores tell each other of a wait.
#[derive(Debug)]
pub enum WaitNote {
    /// It has begun; the receiver is held.
    Begins(WaitedFor),
    /// It was tried in vain; the receiver is held.
    GoesOn,
    /// It is over.
    Ends,
    /// To the core of the connection: a key may be ready.
    Ready,
}

impl CoreState {
    /// Takes in what a core says about a wait.
    pub(super) fn take_wait_note(&mut self, from: u16, part: u32, what: WaitNote) {
        let who = (from, part);
        match what {
            WaitNote::Begins(waited_for) => {
                let waiters = self.keyspace.waiters_mut();
                let keys = waited_for.keys.iter();
                keys.for_each(|key| waiters.listen(key, waited_for.even_if_gone));
                self.calls.wait(who, waited_for);
            }
            WaitNote::GoesOn => self.calls.wait_on(who),
            WaitNote::Ends => {
                let Some((waited_for, called_for)) = self.calls.forget(who) else {
                    return;
                };
                let waiters = self.keyspace.waiters_mut();
                let keys = waited_for.keys.iter();
                keys.for_each(|key| waiters.listen_no_more(key, waited_for.even_if_gone));
                if let Some(key) = called_for {
                    self.call_for(&key, Some(waited_for.kind));
                }
            }
            WaitNote::Ready => self.retry_spanning(part),
        }
    }

    /// Behind an operation: those are called who wait for keys that have become ready.
    pub(crate) fn call_those_who_heard(&mut self) {
        for key in self.keyspace.waiters_mut().take_heard() {
            self.call_for(&key, None);
        }
    }

    /// `last_known`: what the key held, if it may have gone to files since.
    fn call_for(&mut self, key: &[u8], last_known: Option<Kind>) {
        let (kind, elements) = match (self.keyspace.kind_unread(key), last_known) {
            // One that tries in vain does no harm.
            (None, Some(kind)) if !self.keyspace.is_complete() => (Some(kind), 1),
            (None, _) => (None, usize::MAX),
            (Some(Kind::Stream), _) => (Some(Kind::Stream), usize::MAX),
            (Some(kind), _) => {
                let value = self.keyspace.peek(key).ok().flatten();
                (Some(kind), value.map_or(1, |value| value.len()))
            }
        };
        for (core, part) in self.calls.call(key, kind, elements) {
            let what = WaitNote::Ready;
            self.tell(core, Note::Wait { part, what });
        }
    }

    /// A command found nothing, and waits from now on. All owners of its keys hold.
    pub(super) fn begin_spanning_wait(&mut self, part: u32, waiter: Waiter, timeout_ms: u64) {
        let Some(spanning) = self.coordinated.iter_mut().find(|spanning| spanning.part == part) else {
            return;
        };
        let conn = spanning.conn;
        if self.net.conn(conn).is_none() || lane_of(&mut self.lanes, conn).quits {
            return self.end_spanning(part, |_, _| {});
        }
        let Some(together) = &mut spanning.together else { return };
        together.wait_as(&waiter.op);
        let owned = together.by_owner(&waiter.keys);
        let deadline = (timeout_ms > 0).then(|| self.now.tick + Duration::from_millis(timeout_ms));
        self.spanning_waits.begin(part, conn, deadline);
        for (core, keys) in owned {
            let waited_for = WaitedFor {
                kind: waiter.kind,
                even_if_gone: waiter.even_if_gone,
                keys,
            };
            let what = WaitNote::Begins(waited_for);
            self.tell(core, Note::Wait { part, what });
        }
        if let Some(client) = self.server.clients.get_mut(conn.index()) {
            client.blocked = true;
        }
        self.count_blocked();
        self.rest_spanning(part);
    }

    /// A command that waits found nothing: all cores go on, and it rests.
    pub(super) fn rest_spanning(&mut self, part: u32) {
        let Some(at) = self.coordinated.iter().position(|spanning| spanning.part == part) else {
            return;
        };
        let mut spanning = self.coordinated.swap_remove(at);
        self.gatherings[part as usize - 1] = None;
        spanning.let_go();
        let conn = spanning.conn;
        for own in spanning.plan.parts() {
            let what = WaitNote::GoesOn;
            self.tell(own.core, Note::Wait { part, what });
            let release = Note::Release {
                part,
                conn,
                ends_watches: false,
            };
            self.tell(own.core, release);
        }
        self.spanning_waits.rest(part, spanning);
        if let Some(ending) = self.spanning_waits.ending_of(part) {
            self.end_spanning_wait(part, ending);
        }
    }

    /// A key that a resting command waits for may be ready.
    fn retry_spanning(&mut self, part: u32) {
        let Some(spanning) = self.spanning_waits.take(part) else {
            return;
        };
        let gathering = Gathering::new(spanning.conn, spanning.how.proto, false, Combine::Spanning);
        self.gatherings[part as usize - 1] = Some(gathering);
        self.coordinated.push(spanning);
        self.ask_to_hold(part);
    }

    /// The wait shall end: at once if it rests, else when the try under way has failed.
    pub(crate) fn end_spanning_wait(&mut self, part: u32, ending: Ending) {
        if self.spanning_waits.end(part, ending)
            && let Some(spanning) = self.spanning_waits.take(part)
        {
            self.coordinated.push(spanning);
        } else if self.gatherings[part as usize - 1].is_some() {
            return;
        }
        if ending == Ending::Unblocked {
            self.server.metrics.errors.count(UNBLOCKED);
        }
        self.end_spanning(part, |how, out| {
            let mut reply = RespReply::new(out, how.proto);
            match ending {
                Ending::TimeUp => reply.null_array(),
                Ending::Unblocked => reply.error(UNBLOCKED),
                Ending::Gone => {}
            }
        });
    }

    /// Ends the waits whose time is up.
    pub(crate) fn end_due_spanning_waits(&mut self, now: Now) {
        while let Some(part) = self.spanning_waits.next_due(now.tick) {
            self.end_spanning_wait(part, Ending::TimeUp);
        }
    }

    /// A command is answered: if it waited, the owners of its keys are told that it does no more.
    pub(super) fn wait_no_more(&mut self, spanning: &Coordinated) {
        let part = spanning.part;
        if !self.spanning_waits.forget(part) {
            return;
        }
        self.count_blocked();
        for own in spanning.plan.parts() {
            let what = WaitNote::Ends;
            self.tell(own.core, Note::Wait { part, what });
        }
    }
}
