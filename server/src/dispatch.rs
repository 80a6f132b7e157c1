//! The first half of a command: from a connection's input to an immediate reply, or into the batch.

mod looking_up;
mod refusing;
mod server_commands;
mod slow;

pub(crate) use refusing::{refuse, refuse_client, refuse_now};

use slotcore_engine::cmd::{Args, CommandSpec, DataFn, Exec, Flags, NoReply, Reply, Run, Waiting, as_asked};
use slotcore_netio::ConnId;
use slotcore_netio::resp::decode::Request;
use slotcore_rt::clock::{Clock, SystemClock};

use crate::batch::Who;
use crate::clients::{ClientState, Endpoint};
use crate::commands::refusals::ONLY_LISTENS;
use crate::core_state::{CoreState, Now, lane_of};
use crate::metrics::CoreMetrics;
use crate::pause::Held;
use crate::reply::RespReply;
use crate::route::Route;
use crate::window::{Parsed, Window};

/// Commands of one connection that may wait in unapplied batches before its input is left alone.
const WAITING_MAX: u32 = 8192;

/// Numbers of commands about connection, server and publishing are at or above this one.
const FIRST_SERVER_ID: u16 = 512;

/// How a command that touches keys ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// Nothing was answered: the group clock must be brought up to the wall clock first.
    NeedsTick,
    /// Nothing was answered: it waits, or is to be executed from the log, where it may.
    Waits,
}

impl CoreState {
    /// Begins the part of a turn in which commands are taken. `reads_allowed`: this core may answer reads by itself now.
    pub fn begin_turn(&mut self, now: Now, reads_allowed: bool) {
        (self.now, self.reads_allowed) = (now, reads_allowed);
        self.keyspace.set_time(self.keyspace.now_ms(), now.wall_ms());
        if self.minds_memory {
            self.look_at_memory();
        }
        self.holds.begin_turn();
        if !self.gate.is_empty() {
            self.pass_gate();
        }
        self.wary = !self.keyspace.is_complete() || !self.write_gate.is_open() || self.pins_from.is_some();
        self.take_fetched();
    }

    /// Parses and executes what arrived, a window at a time, until nothing is left or too much is in flight. Nothing here
    /// waits.
    pub fn run_ready(&mut self) {
        let mut window = std::mem::take(&mut self.window);
        while self.has_room() && !self.is_held() {
            let Some(id) = self.net.next_ready() else { break };
            self.spin.heard(id.index());
            self.gather(&mut window, id);
        }
        self.run_window(&mut window);
        self.window = window;
    }

    /// Parses the input of one connection into the window, running the window whenever it is full.
    fn gather(&mut self, window: &mut Window, id: ConnId) {
        let (limits, endpoint) = match self.server.clients.get(id.index()) {
            Some(client) => (
                slotcore_netio::resp::decode::Limits {
                    authenticated: client.authenticated,
                    ..self.limits
                },
                client.endpoint,
            ),
            None => return,
        };
        window.database = self.database_of(id);
        // One core that is asked as one Redis has every key; and who may do nothing yet is told so, not sent elsewhere.
        // In a cluster other nodes have some, too.
        let may_route =
            limits.authenticated && (endpoint == Endpoint::Core || self.mesh.cores() > 1 || self.relay.is_on());
        let mut routed = may_route && self.may_do_anything(id);
        let mut taken = 0;
        loop {
            let lane = lane_of(&mut self.lanes, id);
            if let Some(pending) = &mut lane.session.pending {
                pending.left_input = true;
                if lane.blocks.is_none() {
                    break;
                }
            }
            if lane.blocks.is_some() {
                if self.net.has_ended(id) {
                    window.taken.push((id, taken));
                    self.run_window(window);
                    self.give_up_blocked(id);
                    return;
                }
                break;
            }
            // A client that does not read its replies is given no more of them; it is looked at again once it has read.
            if lane.said_quit || lane.is_ending() || self.net.is_choked(id) {
                break;
            }
            if lane.is_stalled() {
                break;
            }
            if lane.waiting + lane.away >= WAITING_MAX || !self.has_room() {
                lane_of(&mut self.lanes, id).held = true;
                break;
            }
            if window.is_full() || (!limits.authenticated && !window.commands.is_empty()) {
                window.taken.push((id, taken));
                taken = 0;
                self.run_window(window);
                // One of them waits, and what is behind it is still there: it would be run again and again in this turn.
                if lane_of(&mut self.lanes, id).is_held_up() {
                    return;
                }
                // What they have made ready is looked at here; the window must not get it a second time.
                self.net.unmark_ready(id);
                routed = may_route && self.may_do_anything(id);
                window.database = self.database_of(id);
                continue;
            }
            let first = window.spans.len();
            match self.net.decode(id, taken, &limits, &mut window.spans) {
                Ok(Request::Complete(bytes)) => {
                    if window.spans.len() > first {
                        let restricted = self.server.clients.get(id.index()).is_some_and(|c| c.is_restricted);
                        let route = match restricted {
                            false => self.look_up(window, id, taken, first, routed.then_some(endpoint)),
                            true => self.look_up_restricted(window, id, taken, first, routed.then_some(endpoint)),
                        };
                        if route == Route::Wait {
                            window.spans.truncate(first);
                            if window.commands.is_empty() {
                                lane_of(&mut self.lanes, id).held = true;
                                break;
                            }
                            window.urgent = true;
                            continue;
                        }
                        if self.pause.is_some() {
                            let held = self.held(window);
                            if held != Held::Not {
                                window.commands.pop();
                                window.spans.truncate(first);
                            }
                            match held {
                                Held::Not => {}
                                Held::Now if self.net.has_ended(id) => return self.end_input(window, id, taken),
                                Held::Now => break,
                                Held::AskAgain => {
                                    window.urgent = true;
                                    continue;
                                }
                            }
                        }
                        if self.wary && limits.authenticated {
                            match self.waits_at_gathering(window, first) {
                                Held::Not => {}
                                Held::Now => {
                                    self.look_further(window, id, taken, &limits);
                                    break;
                                }
                                Held::AskAgain => {
                                    window.urgent = true;
                                    continue;
                                }
                            }
                        }
                        if let Route::Core(core) = route
                            && (self.mesh.is_clogged(core.0) || (self.relays && self.relay.is_full()))
                        {
                            window.commands.pop();
                            window.spans.truncate(first);
                            lane_of(&mut self.lanes, id).blocks = None;
                            self.clogged.push(id);
                            break;
                        }
                    }
                    taken += bytes;
                }
                // No whole request is left, and no more bytes will come.
                Ok(Request::Incomplete) if self.net.has_ended(id) => return self.end_input(window, id, taken),
                Ok(Request::Incomplete | Request::Quoted(_)) => break,
                Err(error) => {
                    // What came before is answered first.
                    window.taken.push((id, taken));
                    self.run_window(window);
                    if lane_of(&mut self.lanes, id).is_held_up() {
                        return;
                    }
                    self.server.metrics.net.protocol_errors += 1;
                    self.break_off(id, error.to_string());
                    return;
                }
            }
        }
        window.taken.push((id, taken));
    }

    /// Nothing more is taken from a connection that has sent all it will: it is closed when what was taken is answered.
    #[cold]
    fn end_input(&mut self, window: &mut Window, id: ConnId, taken: usize) {
        window.taken.push((id, taken));
        self.run_window(window);
        if lane_of(&mut self.lanes, id).is_held_up() {
            return;
        }
        lane_of(&mut self.lanes, id).quits = true;
        self.end_if_answered(id);
    }

    fn run_window(&mut self, window: &mut Window) {
        for key in window.commands.iter().filter_map(|c| c.key) {
            self.keyspace.prefetch_record(key);
        }
        for command in &window.commands {
            let lane = &mut self.lanes[command.conn.index()];
            if lane.quits || lane.stops_before(command.base) {
                continue;
            }
            if let Ok(spec) = command.spec
                && spec.flags.has(Flags::HAS_SCRIPT)
            {
                self.note_script_of(window, command, spec);
            }
            if self.monitors.is_on {
                self.show_command(window, command);
            }
            if self.tracking.is_on {
                self.tracking.copies = self.keeps_copies(command.conn, command.spec.ok());
            }
            if self.lanes[command.conn.index()].session.queue.is_some() {
                self.run_in_multi(window, command);
            } else if command.route != Route::Here {
                self.run_elsewhere(window, command);
            } else if self.lanes[command.conn.index()].order.is_some() {
                self.run_in_order(window, command);
            } else {
                self.run_parsed(window, command);
            }
            self.after_changes(Some(Who::Client(command.conn)));
        }
        if self.tracking.is_on {
            self.tracking.command_done();
        }
        for &(id, bytes) in &window.taken {
            let lane = lane_of(&mut self.lanes, id);
            let stopped = lane.stop_at.take();
            if lane.cold.is_some() && stopped.is_none() {
                self.warm_up(id);
            }
            if stopped.is_some() {
                self.net.rewind(id);
            }
            let bytes = stopped.unwrap_or(bytes);
            if bytes > 0 {
                self.net.consume(id, bytes);
            }
            self.resume_behind(id);
        }
        if !window.commands.is_empty() {
            let ended = SystemClock.tick();
            let run_ns = ended.since(self.now.tick).as_nanos() as u64;
            self.tally.settle(&mut self.server.metrics, run_ns, run_ns);
        }
        window.clear();
    }

    #[inline]
    pub(crate) fn run_parsed(&mut self, window: &Window, c: &Parsed) {
        let id = c.conn;
        let spans = &window.spans[c.spans.0 as usize..c.spans.1 as usize];
        let waiting = self.lanes[id.index()].waiting;
        if self.wary && self.run_warily(window, c) {
            return;
        }
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        if let Ok(spec) = c.spec
            && spec.flags.has(Flags::RUNS_SCRIPT)
            && (spec.is_write() || client.is_restricted)
        {
            return self.run_script(window, c, spec);
        }
        let refusal = match c.spec {
            Ok(spec) => refuse(spec, client, self.write_barrier),
            Err(at) => Some(window.refusals[at as usize].as_str()),
        };
        let Some((input, out)) = self.net.io(id) else { return };
        let args = Args::new(window.bytes(c, input), spans);
        match (c.spec, refusal) {
            (spec, Some(text)) => {
                let in_full;
                let text = match spec {
                    Ok(spec) if text == ONLY_LISTENS => {
                        in_full = format!("ERR Can't execute '{}': {ONLY_LISTENS}", spec.full_name);
                        &in_full
                    }
                    _ => text,
                };
                if let Ok(spec) = spec {
                    self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
                }
                if waiting > 0 {
                    self.batch.push_refusal(Who::Client(id), text);
                    self.waits(id);
                } else {
                    client.begin_command("", self.now.tick);
                    if client.wants_reply() {
                        self.server.metrics.errors.count(text);
                        RespReply::new(out, client.proto).error(text);
                    }
                    client.end_command();
                }
            }
            (Ok(spec), None) if spec.is_write() => {
                if !self.watches.is_empty() {
                    let batch = self.next_batch;
                    let waiters = !self.keyspace.waiters().is_empty();
                    self.watches.gathered(spec, &args, batch, waiters);
                }
                self.batch.push_write(id, spec.id, &args);
                self.note_blocking(Who::Client(id), spec);
                self.waits(id);
            }
            (Ok(spec), None) if waiting > 0 => {
                self.batch.push_aside(id, spec.id, &args);
                self.waits(id);
            }
            (Ok(spec), None) => match spec.run {
                Run::Data(_)
                    if (!self.reads_allowed || client.asks_majority())
                        && !(self.replication.as_ref()).map_or(self.reads_allowed, |r| {
                            r.reads_now(client, self.reads_allowed, self.now.tick)
                        }) =>
                {
                    self.batch.push_aside(id, spec.id, &args);
                    self.waits(id);
                }
                Run::Data(f) => {
                    let timed = self.times_all || !spec.flags.has(Flags::FAST);
                    let began = timed.then(|| SystemClock.tick());
                    if let Some(hash) = c.key {
                        self.keyspace.expect_key(args.get(spec.first_key as usize), hash);
                    }
                    let mut exec = Exec::new(&mut self.keyspace, args, self.seeds);
                    let outcome = run_data(&mut exec, client, out, spec, f, self.now, &mut self.server.metrics);
                    self.keyspace.forget_key();
                    match outcome {
                        Outcome::Answered => {
                            self.tally.note(spec);
                            if self.tracking.copies {
                                self.tracking.note((self.server.core.0, id), spec, &args);
                            }
                        }
                        Outcome::NeedsTick => {
                            self.batch.touch();
                            self.batch.push_aside(id, spec.id, &args);
                            self.waits(id);
                        }
                        Outcome::Waits => {
                            self.batch.push_write(id, spec.id, &args);
                            self.note_blocking(Who::Client(id), spec);
                            self.waits(id);
                        }
                    }
                    if let Some(began) = began {
                        // Only slow commands choose at random, or are worth a clock reading of their own.
                        self.seeds = self.seeds.wrapping_add(0x9e37_79b9_7f4a_7c15);
                        let mut copy = std::mem::take(&mut self.scratch_in);
                        if let Some((input, _)) = self.net.io(id) {
                            window.copy_to(c, input, &mut copy);
                            self.note_slow(Who::Client(id), Args::new(&copy, spans), spec, began);
                        }
                        self.scratch_in = copy;
                        if spec.flags.has(Flags::RUNS_SCRIPT) {
                            self.carry_out_effects();
                        }
                    }
                }
                Run::Server(cmd) => {
                    let mut copy = std::mem::take(&mut self.scratch_in);
                    window.copy_to(c, input, &mut copy);
                    self.run_server(id, spec, cmd, Args::new(&copy, spans));
                    self.scratch_in = copy;
                }
                Run::Transaction(step) => {
                    let mut copy = std::mem::take(&mut self.scratch_in);
                    window.copy_to(c, input, &mut copy);
                    self.run_step(Who::Client(id), spec, step, Args::new(&copy, spans), self.seeds);
                    self.scratch_in = copy;
                }
                Run::Container => {}
            },
            (Err(_), None) => {}
        }
    }

    /// Notes one more command of a connection that waits for a batch, and closes the batch when it is full.
    #[inline]
    pub(crate) fn waits(&mut self, id: ConnId) {
        self.lanes[id.index()].waiting += 1;
        if self.tracking.copies {
            self.batch.mark_copies();
        }
        if self.batch.is_full() {
            self.seal();
        }
    }

    /// The rest of a connection's input cannot be understood: says so in order, then closes.
    fn break_off(&mut self, id: ConnId, text: String) {
        lane_of(&mut self.lanes, id).broken = Some(text);
        self.end_if_answered(id);
    }

    fn end_if_answered(&mut self, id: ConnId) {
        let lane = lane_of(&mut self.lanes, id);
        if lane.waiting == 0 && lane.order.is_none() {
            self.finish_ending(id);
        }
    }

    /// Nothing is waited for any more by a connection from which nothing more is taken: a malformed request is answered,
    /// then it is closed.
    pub(crate) fn finish_ending(&mut self, id: ConnId) {
        let lane = lane_of(&mut self.lanes, id);
        if let Some(text) = &lane.broken {
            let proto = self.server.clients.get(id.index()).map_or(2, |c| c.proto);
            if let Some((_, out)) = self.net.io(id) {
                self.server.metrics.errors.count(text);
                RespReply::new(out, proto).error(text);
            }
        }
        self.net.close_after_flush(id);
    }
}

/// Executes a command that touches keys, for one client.
#[inline]
pub(crate) fn run_data(
    exec: &mut Exec<'_>,
    client: &mut ClientState,
    out: &mut Vec<u8>,
    spec: &'static CommandSpec,
    f: DataFn,
    now: Now,
    metrics: &mut CoreMetrics,
) -> Outcome {
    client.begin_command(spec.full_name, now.tick);
    if !client.wants_reply() {
        f(exec, &mut NoReply);
        if exec.waiting == Waiting::Waits {
            return Outcome::Waits;
        }
        client.end_command();
        return Outcome::Answered;
    }
    let mark = out.len();
    let mut reply = RespReply::new(out, client.proto);
    f(exec, &mut reply);
    if reply.failed() {
        note_error(metrics, spec, out, mark);
    }
    if exec.ks.take_needs_tick() {
        out.truncate(mark);
        exec.ks.forget_events();
        return Outcome::NeedsTick;
    }
    if exec.waiting == Waiting::Waits {
        return Outcome::Waits;
    }
    Outcome::Answered
}

/// Counts the error reply that starts at `mark`.
#[cold]
pub(crate) fn note_error(metrics: &mut CoreMetrics, spec: &'static CommandSpec, out: &[u8], mark: usize) {
    let spec = as_asked(spec);
    metrics.commands.failed(spec.id.0, spec.full_name);
    let line = out[mark..].split(|c| *c == b'\r').next().unwrap_or_default();
    metrics
        .errors
        .count(std::str::from_utf8(line.get(1..).unwrap_or_default()).unwrap_or("ERR"));
}
