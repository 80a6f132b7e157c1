//! Commands that wait for keys, between connections and the replicated state: [`CoreState`] registers whom to answer,
//! answers whoever is served, and proposes the ends of waits.
//!
//! A connection whose blocking command is not answered sends nothing further: its input is left where it is
//! (`Lane::blocks`), so that the commands behind it keep their place.

use std::time::Duration;

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::waiting::{id_to_bytes, next_turn};
use slotcore_engine::cmd::{Args, CommandSpec, END_WAIT, Flags, NoReply, Reply};
use slotcore_engine::waiters::WaiterId;
use slotcore_netio::ConnId;
use slotcore_rt::clock::{Clock, SystemClock};

use crate::batch::Who;
use crate::blocked::Ending;
use crate::core_state::{CoreState, Now, lane_of};
use crate::dispatch::note_error;
use crate::parcel::{Asker, How};
use crate::reply::RespReply;

/// What `CLIENT UNBLOCK id ERROR` makes of the reply.
pub(crate) const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
/// What a waiting client hears when another node leads: the text of Redis.
const DEMOTED: &str = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

impl CoreState {
    /// If the command that was put into the batch just now may block, remembers what it would be called.
    #[inline]
    pub(crate) fn note_blocking(&mut self, who: Who, spec: &CommandSpec) {
        if spec.flags.has(Flags::BLOCKING) {
            let id = WaiterId {
                batch: self.next_batch,
                op: self.batch.writes() - 1,
            };
            match who {
                Who::Client(conn) => self.blocked.note(self.mesh.me().0, conn, id),
                Who::Core(core, asker, _) => self.blocked.note(core, asker.conn, id),
                Who::Waiter(_) | Who::Nobody => {}
            }
        }
    }

    /// The operation just executed for `who` has registered a waiter, or made keys ready. True if it waits: it is not
    /// answered yet.
    #[cold]
    pub(crate) fn take_news(&mut self, who: Who) -> bool {
        let Some(registered) = self.keyspace.waiters_mut().take_registered() else {
            return false;
        };
        let proto = match who {
            Who::Client(conn) => {
                let client = self
                    .server
                    .clients
                    .get_mut(conn.index())
                    .filter(|_| self.net.conn(conn).is_some());
                // Gone already: the end of its wait is under way.
                client.map_or(2, |client| {
                    client.blocked = true;
                    client.proto
                })
            }
            Who::Core(_, _, how) => how.proto,
            Who::Waiter(_) | Who::Nobody => return false,
        };
        let timeout = Duration::from_millis(registered.timeout_ms);
        let deadline = (registered.timeout_ms > 0).then(|| SystemClock.tick() + timeout);
        self.blocked.begin(registered.id, who, proto, deadline);
        self.count_blocked();
        true
    }

    /// Gives everybody whose key may be ready a turn, before anything else is executed.
    #[cold]
    pub(crate) fn serve_ready(&mut self) {
        let watched = !self.watches.is_empty();
        if watched {
            self.before_unnamed();
        }
        while let Some(turn) = next_turn(&mut self.keyspace) {
            let (id, spec) = (turn.id(), turn.spec());
            let Some(proto) = self.blocked.proto_of(id) else {
                turn.run(&mut self.keyspace, &mut NoReply);
                continue;
            };
            let mut out = std::mem::take(&mut self.scratch_out);
            out.clear();
            let mut reply = RespReply::new(&mut out, proto);
            let answered = turn.run(&mut self.keyspace, &mut reply);
            if answered {
                if reply.failed() {
                    note_error(&mut self.server.metrics, spec, &out, 0);
                }
                if let Some(who) = self.blocked.served(id) {
                    self.answer_blocked(who, &out);
                }
            }
            self.scratch_out = out;
        }
        if watched {
            self.after_unnamed();
        }
        self.after_changes(None);
        self.call_those_who_heard();
    }

    /// Somebody waits no more.
    fn answer_blocked(&mut self, who: Who, reply: &[u8]) {
        self.count_blocked();
        match who {
            Who::Client(conn) => {
                if self.net.conn(conn).is_none() {
                    return;
                }
                let place = self.begin_ordered(conn);
                if let Some(client) = self.server.clients.get_mut(conn.index()) {
                    client.blocked = false;
                    if client.wants_reply()
                        && let Some((_, out)) = self.net.io(conn)
                    {
                        out.extend_from_slice(reply);
                    }
                    client.end_command();
                }
                self.end_ordered(conn, place);
            }
            Who::Core(core, asker, how) => {
                let reply = if how.silent { &[] } else { reply };
                self.mesh.to(core).push_reply(asker, |out| out.extend_from_slice(reply));
            }
            Who::Waiter(_) | Who::Nobody => {}
        }
        self.waited(who);
    }

    /// Proposes the ends of waits whose time is up.
    pub fn end_due_waits(&mut self, now: Now) {
        self.end_due_copy_waits(now);
        self.end_due_spanning_waits(now);
        while self.has_room()
            && let Some(id) = self.blocked.next_due(now.tick)
        {
            self.propose_end(id);
        }
    }

    pub(crate) fn propose_end(&mut self, id: WaiterId) {
        let bytes = id_to_bytes(id);
        let mut op = Vec::with_capacity(2 * bytes.len());
        encode_op(
            &mut op,
            END_WAIT.id,
            &Args::new(&bytes, &[(0, 0), (0, bytes.len() as u32)]),
        );
        self.batch.push_encoded_write(Who::Waiter(id), &op);
        if self.batch.is_full() {
            self.seal();
        }
    }

    /// The end of a wait was executed: whoever still waited is told.
    pub(crate) fn wait_ended(&mut self, id: WaiterId) {
        let Some((who, proto, ending)) = self.blocked.ended(id) else {
            return;
        };
        let mut out = std::mem::take(&mut self.scratch_out);
        out.clear();
        let mut reply = RespReply::new(&mut out, proto);
        match ending {
            Ending::TimeUp => reply.null_array(),
            Ending::Unblocked => {
                self.server.metrics.errors.count(UNBLOCKED);
                reply.error(UNBLOCKED);
            }
            Ending::Gone => {}
        }
        self.answer_blocked(who, &out);
        self.scratch_out = out;
    }

    /// Leadership is over: nobody is served here any more, and keys may have been changed elsewhere.
    pub(crate) fn end_leadership(&mut self) {
        self.watches.all_changed();
        while let Some((who, proto)) = self.blocked.take_any() {
            self.server.metrics.errors.count(DEMOTED);
            let mut out = Vec::new();
            RespReply::new(&mut out, proto).error(DEMOTED);
            self.answer_blocked(who, &out);
        }
    }

    /// If a connection waits for a key, of whatever core, its wait shall end.
    pub(crate) fn end_wait_of(&mut self, conn: ConnId, ending: Ending) {
        let Some(core) = self.lanes.get(conn.index()).and_then(|lane| lane.blocks) else {
            return;
        };
        if let Some(number) = self.copy_waits.of(conn) {
            return self.end_copy_wait(number, ending);
        }
        if let Some(part) = self.spanning_waits.of(conn) {
            return self.end_spanning_wait(part, ending);
        }
        if core == self.mesh.me() {
            return self.end_wait_for(core.0, conn, ending);
        }
        let how = How::unheard();
        // A request like others, so that it does not overtake the command.
        let args = Args::new(&[], &[(0, 0)]);
        let asker = Asker {
            conn,
            part: u32::from(ending.to_byte()),
        };
        self.mesh.to(core.0).push_request(asker, how, END_WAIT.id, &args);
    }

    /// The wait of a connection of `core` for a key of this one shall end.
    pub(crate) fn end_wait_for(&mut self, core: u16, conn: ConnId, ending: Ending) {
        if self.relays && self.end_relayed_wait(core, conn, ending) {
            return;
        }
        if let Some(id) = self.blocked.end(core, conn, ending) {
            self.propose_end(id);
        }
    }

    /// The input of a connection is looked at again if nothing of it is unanswered.
    #[inline]
    pub(crate) fn resume_behind(&mut self, conn: ConnId) {
        let lane = lane_of(&mut self.lanes, conn);
        if lane.blocks.is_some() && lane.waiting == 0 && lane.away == 0 {
            lane.blocks = None;
            if let Some(client) = self.server.clients.get_mut(conn.index()) {
                client.blocked = false;
            }
            self.net.mark_ready(conn);
        }
    }

    /// The peer of a connection that waits sends no more: as in Redis, it is given up. What it is answered nevertheless
    /// because a push came first is sent.
    pub(crate) fn give_up_blocked(&mut self, conn: ConnId) {
        if lane_of(&mut self.lanes, conn).blocks.is_some() {
            lane_of(&mut self.lanes, conn).quits = true;
            self.end_wait_of(conn, Ending::Gone);
        } else {
            self.net.mark_ready(conn);
        }
    }
}
