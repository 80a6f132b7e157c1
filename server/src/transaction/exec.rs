//! EXEC where the connection is: to which core a transaction goes, and how its reply is put together.
//!
//! EXEC of a connection that watches keys, or with commands in it that are not about keys, keeps everything behind it back
//! until it is answered ([`Pending`]): nobody knows yet whether it succeeds, and what comes next must not overtake it.

use slotcore_engine::cmd::op::decode_op;
use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{Args, CommandSpec, Reply, Run, ServerCmd, by_id};
use slotcore_netio::ConnId;
use slotcore_rt::ids::CoreId;

use super::owner::ABORTED_BECAUSE;
use super::queue::{Owner, Pending, Queue};
use crate::batch::Who;
use crate::clients::{ClientState, ReplyMode};
use crate::cold_path::looks_further;
use crate::commands::refusals::NOT_IN_MEMORY;
use crate::core_state::{CoreState, lane_of};
use crate::dispatch::{Outcome, refuse_now};
use crate::elsewhere::Place;
use crate::gathering::values;
use crate::parcel::{Asker, How};
use crate::reply::RespReply;
use crate::reply_order::Source;
use crate::route::{CROSSSLOT, Route};

const NO_MONITOR: &str = "ERR MONITOR isn't allowed for DENY BLOCKING client";
const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

impl CoreState {
    pub(super) fn exec(&mut self, id: ConnId) {
        let Some(queue) = self.take_queue(id) else { return };
        if let Some(text) = self.exec_refusal(id, &queue) {
            self.transactions_kept.give(queue);
            self.forget_watched(id);
            self.server.metrics.transactions.aborted += 1;
            return self.say_error(id, &text);
        }
        let me = self.server.core;
        let session = &mut lane_of(&mut self.lanes, id).session;
        if is_spanning(&queue, &session.watched.cores) {
            return self.exec_spanning(id, queue);
        }
        let owner = match (queue.owner, session.watched.cores.first()) {
            (Owner::Core(core), _) => core,
            (_, Some(&core)) => CoreId(core),
            _ => me,
        };
        let watches = !session.watched.cores.is_empty();
        if watches {
            // The owner forgets them itself.
            self.forget_watched_here(id);
        }
        if watches || queue.is_mixed() {
            self.send_and_wait(id, queue, owner, watches);
        } else if owner != me || (self.relays && self.may_relay_of(id)) {
            self.send(id, &queue, owner, false, false);
            self.transactions_kept.give(queue);
        } else {
            self.exec_here(id, &queue);
            self.transactions_kept.give(queue);
        }
    }

    /// Why EXEC fails at once, if so.
    fn exec_refusal(&self, id: ConnId, queue: &Queue) -> Option<String> {
        if queue.broken {
            return Some(ABORTED.into());
        }
        // A transaction over cores is held together by what one process knows: in a cluster it may lead none of their groups.
        let spans_groups =
            self.replication.is_some() && is_spanning(queue, &self.lanes[id.index()].session.watched.cores);
        if queue.crosses_slots || spans_groups {
            return Some(CROSSSLOT.into());
        }
        let reason = refuse_now(queue.carrier(), self.write_barrier)?;
        Some(format!("{ABORTED_BECAUSE}{reason}"))
    }

    /// Carries out a transaction all of whose keys live here.
    fn exec_here(&mut self, id: ConnId, queue: &Queue) {
        let spec = queue.carrier();
        let mut spans = Vec::new();
        let args = queue.arguments(&mut spans);
        let lane = lane_of(&mut self.lanes, id);
        if let Some(order) = &mut lane.order {
            order.expect(Source::Here);
        }
        if spec.is_write() {
            if !self.watches.is_empty() {
                self.note_gathered(spec, &args);
            }
            self.batch.push_write(id, spec.id, &args);
            return self.waits(id);
        }
        let asks_majority =
            self.replication.is_some() && (self.server.clients.get(id.index())).is_some_and(ClientState::asks_majority);
        let waits = lane.waiting > 0 || !self.reads_allowed || asks_majority;
        if !waits {
            if self.tracking.copies {
                self.tracking.note((self.server.core.0, id), spec, &args);
            }
            let place = self.begin_ordered(id);
            let outcome = self.run_step(Who::Client(id), spec, Step::Carry, args, self.seeds);
            self.seeds = self.seeds.wrapping_add(0x9e37_79b9_7f4a_7c15);
            match (outcome, place) {
                (Outcome::Answered, place) => return self.end_ordered(id, place),
                // Answered when its entry is applied: nothing was written.
                (Outcome::NeedsTick | Outcome::Waits, Place::Early) => self.swap_back(id),
                (Outcome::NeedsTick | Outcome::Waits, _) => {}
            }
        }
        // All of it sees one moment, which an entry gives it.
        self.batch.touch();
        self.batch.push_aside(id, spec.id, &args);
        self.waits(id);
    }

    /// Sends a transaction to the core that owns its keys.
    fn send(&mut self, id: ConnId, queue: &Queue, owner: CoreId, heard: bool, watches: bool) -> bool {
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return false;
        };
        client.begin_command("exec", self.now.tick);
        let silent = !client.wants_reply();
        let how = How {
            silent: silent && !heard,
            watches,
            tracks: self.tracking.copies,
            ..How::of(client)
        };
        client.end_command();
        let spec = queue.carrier();
        let mut spans = Vec::new();
        let args = queue.arguments(&mut spans);
        let asker = if heard { Asker::exec(id) } else { Asker::whole(id) };
        self.mesh.to(owner.0).push_request(asker, how, spec.id, &args);
        self.server.metrics.net.commands_forwarded += u64::from(owner != self.server.core);
        self.expect(id, Source::Core(owner.0));
        silent
    }

    fn send_and_wait(&mut self, id: ConnId, queue: Box<Queue>, owner: CoreId, watches: bool) {
        let silent = self.send(id, &queue, owner, true, watches);
        let mixed = if queue.is_mixed() {
            Some(queue)
        } else {
            self.transactions_kept.give(queue);
            None
        };
        lane_of(&mut self.lanes, id).session.pending = Some(Box::new(Pending {
            silent,
            mixed,
            left_input: false,
            spanning: None,
        }));
        // If it is this core, it shall be now.
        self.take_own_mail();
    }

    /// The answer to an EXEC has come until which the connection was held back.
    pub(crate) fn exec_answered(&mut self, id: ConnId, source: Source, reply: &[u8]) {
        let Some(pending) = lane_of(&mut self.lanes, id).session.pending.take() else {
            return;
        };
        let succeeded = reply.starts_with(b"*") && !reply.starts_with(b"*-");
        let left_input = pending.left_input;
        match pending.mixed {
            Some(queue) if succeeded => {
                self.arrive(id, source, b"");
                self.run_mixed(id, &queue, reply, pending.silent);
                self.transactions_kept.give(queue);
            }
            mixed => {
                self.arrive(id, source, if pending.silent { b"" } else { reply });
                mixed.into_iter().for_each(|queue| self.transactions_kept.give(queue));
            }
        }
        if left_input {
            self.net.mark_ready(id);
        }
    }

    /// Puts the replies of a transaction together: `reply` holds those of the commands about keys; the others are carried
    /// out now, each at its place.
    fn run_mixed(&mut self, id: ConnId, queue: &Queue, reply: &[u8], silent: bool) {
        let mut replies = values(reply);
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        let mode = client.reply_mode;
        if silent {
            client.reply_mode = ReplyMode::Off;
        }
        let mut head = Vec::new();
        RespReply::new(&mut head, client.proto).array(queue.len());
        self.put_piece(id, &head);
        let mut spans = Vec::new();
        for command in queue.server_commands() {
            match command {
                None => self.put_piece(id, replies.next().unwrap_or_default()),
                Some(operation) => {
                    let (number, _) = decode_op(operation, &mut spans).expect("encoded by the queue");
                    let spec = by_id(number).expect("encoded by the queue");
                    self.run_own(id, spec, Args::new(operation, &spans));
                }
            }
        }
        if silent && let Some(client) = self.server.clients.get_mut(id.index()) {
            client.reply_mode = mode;
        }
    }

    fn put_piece(&mut self, id: ConnId, piece: &[u8]) {
        if self
            .server
            .clients
            .get(id.index())
            .is_some_and(ClientState::wants_reply)
        {
            self.put_reply(id, piece);
        }
    }

    fn put_reply(&mut self, id: ConnId, piece: &[u8]) {
        let lane = lane_of(&mut self.lanes, id);
        if let Some((_, out)) = self.net.io(id) {
            match &mut lane.order {
                Some(order) => {
                    order.expect(Source::Piece);
                    order.arrive(Source::Piece, piece, out);
                }
                None => out.extend_from_slice(piece),
            }
        }
    }

    /// Carries out a command about connection or server that was kept.
    fn run_own(&mut self, id: ConnId, spec: &'static CommandSpec, args: Args<'_>) {
        let Run::Server(cmd) = spec.run else { return };
        let Some(client) = self.server.clients.get(id.index()) else {
            return;
        };
        let how = How::of(client);
        let (map, me) = (&self.server.cluster, self.server.core);
        let mut numbers = std::mem::take(&mut self.key_numbers);
        let route = self.router.route(map, me, client.endpoint, spec, &args, &mut numbers);
        self.key_numbers = numbers;
        match route {
            Route::Everywhere(kind) => self.run_everywhere(id, how, spec, args, kind),
            Route::Core(core) => {
                self.mesh.to(core.0).push_request(Asker::whole(id), how, spec.id, &args);
                self.expect(id, Source::Core(core.0));
            }
            _ if matches!(cmd, ServerCmd::Publish | ServerCmd::SPublish) => {
                let receivers = self.run_publish_in_exec(id, how, spec, cmd, args);
                if let Some(receivers) = receivers
                    && !how.silent
                {
                    let mut reply = std::mem::take(&mut self.transaction_out);
                    reply.clear();
                    RespReply::new(&mut reply, how.proto).int(receivers);
                    self.put_reply(id, &reply);
                    self.transaction_out = reply;
                }
            }
            _ => {
                let mut reply = std::mem::take(&mut self.transaction_out);
                reply.clear();
                self.swap_out(id, &mut reply);
                if cmd == ServerCmd::Monitor {
                    self.answer_refusal(Who::Client(id), NO_MONITOR);
                } else if !self.keyspace.is_complete() && looks_further(spec) {
                    self.answer_refusal(Who::Client(id), NOT_IN_MEMORY);
                } else {
                    self.run_server(id, spec, cmd, args);
                }
                self.swap_out(id, &mut reply);
                // It knows itself whether it is answered.
                self.put_reply(id, &reply);
                self.transaction_out = reply;
            }
        }
    }
}

/// Whether the keys of a transaction, with those watched for it, live on several cores.
fn is_spanning(queue: &Queue, watched: &[u16]) -> bool {
    match queue.owner {
        Owner::Anywhere => watched.len() > 1,
        Owner::Core(core) => watched.iter().any(|&other| other != core.0),
        Owner::Several => true,
    }
}
