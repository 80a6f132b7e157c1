//! Transactions where the connection is: what is kept behind MULTI.
//!
//! All of this happens when commands are gathered, in the order in which they came; a reply that must stand behind those
//! of unapplied writes goes into the batch as a line of text.

use slotcore_engine::cmd::stored::selected;
use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{Args, CallerText, CommandSpec, Flags, Reply, Run, ServerCmd, keys, lookup};
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::ord::slot_of;
use slotcore_netio::ConnId;

use super::owner::ABORTED_BECAUSE;
use super::queue::{Owner, QUEUED_BYTES_MAX, QUEUED_COMMANDS_MAX, Queue};
use crate::batch::Who;
use crate::clients::Endpoint;
use crate::core_state::{CoreState, lane_of};
use crate::dispatch::{refuse_client, refuse_now};
use crate::reply::RespReply;
use crate::reply_order::Source;
use crate::route::Route;
use crate::scripts::{self, Form};
use crate::window::{Parsed, Window};

const NESTED: &str = "ERR MULTI calls can not be nested";
const WATCH_INSIDE: &str = "ERR WATCH inside MULTI is not allowed";
const EXEC_OUTSIDE: &str = "ERR EXEC without MULTI";
const DISCARD_OUTSIDE: &str = "ERR DISCARD without MULTI";
const NOT_INSIDE: &str = "ERR Command not allowed inside a transaction";

/// Keeps a command that runs a script, in the form in which it is logged; `scarce`: while memory is exhausted.
#[cold]
fn keep_script(
    keyspace: &mut Keyspace,
    queue: &mut Queue,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    caller: Option<&CallerText>,
    scarce: bool,
) -> bool {
    let mut operation = Vec::new();
    match scripts::form(keyspace, spec, args, caller, scarce, &mut operation) {
        // Nobody knows the script: that is what it will answer, as in the log no SHA-1 is known.
        Form::AsItCame | Form::Refused(_) => queue.push(spec, args),
        Form::Rewritten => queue.push_encoded(spec, &operation),
        Form::RewrittenRead => queue.push_encoded(scripts::reads_as(), &operation),
        Form::Read(twin) => queue.push(twin, args),
    }
}

impl CoreState {
    /// A command of a connection that has said MULTI.
    #[cold]
    pub(crate) fn run_in_multi(&mut self, window: &Window, c: &Parsed) {
        let id = c.conn;
        let spec = match c.spec {
            Ok(spec) => spec,
            Err(at) => {
                let text = window.refusals[at as usize].clone();
                return self.refuse_queued(window, c, &text);
            }
        };
        match spec.run {
            Run::Transaction(Step::Multi) => self.say_error(id, NESTED),
            Run::Transaction(Step::Watch) => self.say_error(id, WATCH_INSIDE),
            Run::Transaction(Step::Exec) => self.exec(id),
            Run::Transaction(Step::Discard) => self.discard(id),
            Run::Server(ServerCmd::Quit | ServerCmd::Reset) => {
                self.end_multi(id);
                self.forget_watched(id);
                self.run_as_ever(window, c);
            }
            _ => self.keep(window, c, spec),
        }
    }

    /// A step of a transaction outside of MULTI, or RESET.
    #[cold]
    pub(crate) fn run_session(&mut self, window: &Window, c: &Parsed) {
        let id = c.conn;
        let Ok(spec) = c.spec else { return };
        let Some(client) = self.server.clients.get(id.index()) else {
            return;
        };
        if refuse_client(spec, client).is_some() {
            // Which is told there.
            return self.run_as_ever(window, c);
        }
        match spec.run {
            Run::Transaction(Step::Multi) => {
                let queue = self.transactions_kept.take();
                lane_of(&mut self.lanes, id).session.queue = Some(queue);
                self.show_queued(id, 0, 0);
                self.tally.note(spec);
                self.say(id, "OK");
            }
            Run::Transaction(Step::Exec) => self.say_error(id, EXEC_OUTSIDE),
            Run::Transaction(Step::Discard) => self.say_error(id, DISCARD_OUTSIDE),
            Run::Transaction(Step::Watch) => self.watch(window, c, spec),
            _ => {
                // UNWATCH and RESET.
                self.forget_watched(id);
                self.run_as_ever(window, c);
            }
        }
    }

    pub(crate) fn run_as_ever(&mut self, window: &Window, c: &Parsed) {
        if lane_of(&mut self.lanes, c.conn).order.is_some() {
            self.run_in_order(window, c);
        } else {
            self.run_parsed(window, c);
        }
    }

    /// Keeps a command for EXEC.
    fn keep(&mut self, window: &Window, c: &Parsed, spec: &'static CommandSpec) {
        let id = c.conn;
        if spec.flags.has(Flags::NO_MULTI) {
            return self.refuse_queued(window, c, NOT_INSIDE);
        }
        if let Some(text) = refuse_now(spec, self.write_barrier) {
            return self.refuse_queued(window, c, text);
        }
        let Some(client) = self.server.clients.get(id.index()) else {
            return;
        };
        let one_slot = client.endpoint == Endpoint::Core;
        let Some((input, _)) = self.net.io(id) else { return };
        let args = window.args(c, input);
        self.key_numbers.clear();
        keys(spec, &args, &mut self.key_numbers);
        let slot = self.key_numbers.first().map(|&at| slot_of(args.get(at as usize)));
        let owner = match c.route {
            _ if matches!(spec.run, Run::Server(_)) => Owner::Anywhere,
            Route::Core(core) => Owner::Core(core),
            Route::ByKey(_) | Route::Everywhere(_) | Route::Scan(_) | Route::Together | Route::AllAtOnce => {
                Owner::Several
            }
            _ if slot.is_some() => Owner::Core(self.server.core),
            _ => Owner::Anywhere,
        };
        let scarce = self.is_scarce();
        let caller = spec.flags.has(Flags::RUNS_SCRIPT).then(|| self.caller(id)).flatten();
        let Some((input, _)) = self.net.io(id) else { return };
        let args = window.args(c, input);
        let selects = matches!(spec.run, Run::Server(ServerCmd::Select)) && !one_slot;
        let database = selects.then(|| selected(args.get(1)).ok()).flatten();
        let Some(queue) = &mut lane_of(&mut self.lanes, id).session.queue else {
            return;
        };
        // Once it is known that EXEC will fail nothing more need be kept.
        let has_room = queue.broken
            || match spec.flags.has(Flags::RUNS_SCRIPT) {
                true => keep_script(&mut self.keyspace, queue, spec, &args, caller.as_ref(), scarce),
                false => queue.push(spec, &args),
            };
        if !has_room {
            let text = format!(
                "ERR a transaction may have {QUEUED_COMMANDS_MAX} commands of {} MiB together",
                QUEUED_BYTES_MAX >> 20
            );
            return self.refuse_queued(window, c, &text);
        }
        queue.owner = queue.owner.and(owner);
        queue.selected = database.or(queue.selected);
        if one_slot && let Some(slot) = slot {
            queue.crosses_slots |= *queue.slot.get_or_insert(slot) != slot;
        }
        let (count, bytes) = (queue.len(), queue.memory());
        self.show_queued(id, count as i64, bytes);
        self.say(id, "QUEUED");
    }

    /// A command that cannot be kept: EXEC will fail.
    fn refuse_queued(&mut self, window: &Window, c: &Parsed, text: &str) {
        let id = c.conn;
        let name = self
            .net
            .io(id)
            .and_then(|(input, _)| lookup(window.args(c, input).get(0)));
        if let Some(spec) = name {
            self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
        }
        // An EXEC with arguments is the end all the same.
        if name.is_some_and(|spec| matches!(spec.run, Run::Transaction(Step::Exec))) {
            self.end_multi(id);
            self.forget_watched(id);
            let reason = text.strip_prefix("ERR ").unwrap_or(text);
            return self.say_error(id, &format!("{ABORTED_BECAUSE}{reason}"));
        }
        if let Some(queue) = &mut lane_of(&mut self.lanes, id).session.queue {
            queue.clear();
            queue.broken = true;
        }
        self.say_error(id, text);
    }

    fn discard(&mut self, id: ConnId) {
        self.end_multi(id);
        self.forget_watched(id);
        self.server.metrics.transactions.discarded += 1;
        self.say(id, "OK");
    }

    /// Takes what was kept; the connection is out of MULTI.
    pub(super) fn take_queue(&mut self, id: ConnId) -> Option<Box<Queue>> {
        let queue = lane_of(&mut self.lanes, id).session.queue.take();
        self.show_queued(id, -1, 0);
        queue
    }

    fn end_multi(&mut self, id: ConnId) {
        if let Some(queue) = self.take_queue(id) {
            self.transactions_kept.give(queue);
        }
    }

    /// For `CLIENT LIST`.
    fn show_queued(&mut self, id: ConnId, count: i64, bytes: usize) {
        if let Some(client) = self.server.clients.get_mut(id.index()) {
            (client.queued, client.queued_bytes) = (count, bytes);
        }
    }

    /// The connection is closed: nothing of its transactions is left.
    pub(crate) fn end_session(&mut self, id: ConnId) {
        if let Some(queue) = lane_of(&mut self.lanes, id).session.queue.take() {
            self.transactions_kept.give(queue);
        }
        self.forget_watched(id);
    }

    /// Answers a status line, behind everything that the connection waits for.
    pub(super) fn say(&mut self, id: ConnId, text: &str) {
        let lane = lane_of(&mut self.lanes, id);
        if let Some(order) = &mut lane.order {
            order.expect(Source::Here);
        }
        if lane.waiting > 0 {
            self.batch.push_said(Who::Client(id), text);
            return self.waits(id);
        }
        let place = self.begin_ordered(id);
        self.say_now(Who::Client(id), text);
        self.end_ordered(id, place);
    }

    /// The same with an error.
    pub(in crate::transaction) fn say_error(&mut self, id: ConnId, text: &str) {
        let lane = lane_of(&mut self.lanes, id);
        if let Some(order) = &mut lane.order {
            order.expect(Source::Here);
        }
        if lane.waiting > 0 {
            self.batch.push_refusal(Who::Client(id), text);
            return self.waits(id);
        }
        let place = self.begin_ordered(id);
        self.answer_refusal(Who::Client(id), text);
        self.end_ordered(id, place);
    }

    /// Answers a status line: it is its turn.
    pub(crate) fn say_now(&mut self, who: Who, text: &str) {
        let Who::Client(id) = who else { return };
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        client.begin_command("multi", self.now.tick);
        let (wanted, proto) = (client.wants_reply(), client.proto);
        client.end_command();
        if wanted && let Some((_, out)) = self.net.io(id) {
            RespReply::new(out, proto).simple(text);
        }
    }
}
