//! The first half of a command: from a connection's input to an immediate reply, or into the batch.

use std::time::Duration;

use slotcore_engine::cmd::stored::{swaps_databases, users_words};
use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::waiting::may_wait;
use slotcore_engine::cmd::{
    Args, CommandSpec, DataFn, Exec, Flags, NoReply, Reply, Run, ServerCmd, Waiting, as_asked, resolve,
};
use slotcore_engine::database::Database;
use slotcore_netio::ConnId;
use slotcore_netio::resp::decode::Request;
use slotcore_rt::clock::{Clock, SystemClock, Tick};

use crate::batch::Who;
use crate::blocked::Ending;
use crate::clients::{ClientState, Endpoint};
use crate::commands::refusals::{DISK_FULL, ONLY_LISTENS, OOM};
use crate::commands::{Around, Flow, NOAUTH, hello_reply};
use crate::copy_waits::asks_for_copies;
use crate::core_state::{CoreState, NetBuffers, Now, WriteBarrier, lane_of};
use crate::metrics::{CoreMetrics, LatencyKind, SlowLog, slow_log};
use crate::pause::Held;
use crate::pubsub;
use crate::reply::RespReply;
use crate::route::{CROSSSLOT, NOT_IN_CLUSTER, Route};
use crate::scripts;
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

    /// [`CoreState::look_up`] for a client whose user may not do everything.
    #[cold]
    fn look_up_restricted(
        &mut self,
        window: &mut Window,
        id: ConnId,
        base: usize,
        first: usize,
        endpoint: Option<Endpoint>,
    ) -> Route {
        let input = &self.net.input(id)[base..];
        let found = resolve(&Args::new(input, &window.spans[first..]));
        let denial = found.ok().and_then(|spec| {
            self.denied(id, spec, &window.spans[first..], base)
                .map(|text| (spec, text))
        });
        let Some((spec, text)) = denial else {
            return self.look_up(window, id, base, first, endpoint);
        };
        self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
        window.refusals.push(text);
        window.commands.push(Parsed {
            conn: id,
            base,
            spans: (first as u32, window.spans.len() as u32),
            stored: None,
            spec: Err(window.refusals.len() as u32 - 1),
            route: Route::Here,
            key: None,
        });
        Route::Here
    }

    /// Finds out what the request is whose spans start at `first`, and asks for its memory.
    #[inline]
    fn look_up(
        &mut self,
        window: &mut Window,
        id: ConnId,
        base: usize,
        first: usize,
        endpoint: Option<Endpoint>,
    ) -> Route {
        let input = self.net.input(id);
        let resolved = resolve(&Args::new(&input[base..], &window.spans[first..]));
        let (resolved, stored) = match resolved {
            Ok(spec) => {
                let (spec, stored) = window.store(spec, input, base, first);
                (Ok(spec), stored)
            }
            Err(text) => (Err(text), None),
        };
        let (mut route, mut urgent) = (Route::Here, false);
        let (spec, key) = match resolved {
            Ok(spec) => {
                let args = Args::new(window.bytes_at(input, base, stored), &window.spans[first..]);
                let mut own_way = None;
                if spec.id.0 >= FIRST_SERVER_ID {
                    if self.must_wait(window, id, spec) {
                        return Route::Wait;
                    }
                    if swaps_databases(spec) {
                        (own_way, urgent) = (Some(Route::AllAtOnce), true);
                    }
                    // Behind an EXEC that has to wait nothing must be parsed.
                    urgent |= changes_connection(spec) || changes_database(spec);
                    lane_of(&mut self.lanes, id).said_quit |= matches!(spec.run, Run::Server(ServerCmd::Quit));
                    if is_about_session(spec) {
                        own_way = Some(Route::Session);
                    } else if asks_for_copies(spec) && self.lanes[id.index()].session.queue.is_none() {
                        own_way = Some(Route::Copies);
                        lane_of(&mut self.lanes, id).blocks = Some(self.server.core);
                    }
                }
                if let Some(endpoint) = endpoint {
                    let (map, me) = (&self.server.cluster, self.server.core);
                    route = self.router.route(map, me, endpoint, spec, &args, &mut self.key_numbers);
                    if spec.flags.has(Flags::RUNS_SCRIPT)
                        && endpoint == Endpoint::AnySlot
                        && matches!(route, Route::Here | Route::Core(_))
                        && self.mesh.cores() > 1
                        && self.replication.is_none()
                        && scripts::may_wander(&mut self.keyspace, spec, &args)
                    {
                        route = Route::Together;
                    }
                    if matches!(route, Route::Together | Route::AllAtOnce) {
                        // Nothing behind it must be parsed; and groups on several nodes are not held together.
                        urgent = true;
                        if self.replication.is_some() {
                            route = if route == Route::Together {
                                Route::CrossSlot
                            } else {
                                Route::OneDatabase
                            };
                        }
                    }
                    if endpoint == Endpoint::AnySlot && spec.first_key > 0 {
                        let owner = if let Route::Core(core) = route { core } else { me };
                        let belonging = &mut lane_of(&mut self.lanes, id).belonging;
                        belonging.note(owner, me);
                        if belonging.wishes_now() {
                            self.movers.push(id);
                        }
                    }
                }
                if self.relays && route == Route::Here && endpoint.is_some() && self.may_relay(id, spec) {
                    route = Route::Core(self.server.core);
                }
                if may_wait(spec, &args) {
                    let owner = if let Route::Core(core) = route {
                        core
                    } else {
                        self.server.core
                    };
                    lane_of(&mut self.lanes, id).blocks = Some(owner);
                }
                let reads_now = route == Route::Here && spec.flags.has(Flags::READONLY) && spec.first_key > 0;
                let key = reads_now.then(|| self.keyspace.key_hash(args.get(spec.first_key as usize)));
                if let Some(key) = key {
                    self.keyspace.prefetch_bucket(key);
                }
                (Ok((spec, own_way)), key)
            }
            Err(text) => {
                window.refusals.push(text);
                (Err(window.refusals.len() as u32 - 1), None)
            }
        };
        window.urgent |= urgent;
        let (route, spec) = match self.redirection(route) {
            Some(text) => {
                if let Ok((spec, _)) = spec {
                    self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
                }
                window.refusals.push(text);
                (Route::Here, Err(window.refusals.len() as u32 - 1))
            }
            None => match spec {
                Ok((spec, Some(own_way))) => (own_way, Ok(spec)),
                Ok((spec, None)) => (route, Ok(spec)),
                Err(at) => (route, Err(at)),
            },
        };
        let spans = (first as u32, window.spans.len() as u32);
        window.commands.push(Parsed {
            conn: id,
            base,
            spans,
            stored,
            spec,
            route,
            key,
        });
        route
    }

    /// The database that a connection's next command works in.
    fn database_of(&self, id: ConnId) -> Database {
        let queue = self.lanes.get(id.index()).and_then(|lane| lane.session.queue.as_ref());
        if let Some(selected) = queue.and_then(|queue| queue.selected) {
            return selected;
        }
        self.server
            .clients
            .get(id.index())
            .map_or(Database::ZERO, |client| client.database)
    }

    /// What a client hears whose user may not do this, if so; it is noted in the log of denials.
    #[cold]
    fn denied(&mut self, id: ConnId, spec: &CommandSpec, spans: &[(u32, u32)], base: usize) -> Option<String> {
        let args = Args::new(&self.net.input(id)[base..], spans);
        let around = Around {
            keyspace: &mut self.keyspace,
            buffers: &NetBuffers(&self.net),
            now: self.now.tick,
            wall_us: self.now.wall_us,
        };
        self.server.denied(id.index(), spec, &args, around)
    }

    /// False for a connection that listens in RESP2: it is refused most commands, wherever they would go.
    fn may_do_anything(&self, id: ConnId) -> bool {
        !self
            .server
            .clients
            .get(id.index())
            .is_some_and(ClientState::only_listens)
    }

    /// True when a command must not be carried out before other things of its connection are done: one that changes what
    /// the connection hears stands alone, and a message is published after everything that was asked for before it.
    #[cold]
    fn must_wait(&self, window: &Window, id: ConnId, spec: &CommandSpec) -> bool {
        let lane = &self.lanes[id.index()];
        let mut before = window.commands.iter().filter(|command| command.conn == id);
        match spec.run {
            _ if changes_connection(spec) || asks_for_copies(spec) => {
                lane.waiting > 0 || lane.order.is_some() || before.next().is_some()
            }
            Run::Server(ServerCmd::Publish | ServerCmd::SPublish) => {
                lane.away > lane.publishes_away || before.any(|command| command.route != Route::Here)
            }
            _ => false,
        }
    }

    /// What a client is told whose command cannot be carried out on this core, if so.
    fn redirection(&self, route: Route) -> Option<String> {
        match route {
            Route::Moved(slot, core) => Some(match &self.server.view {
                Some(view) => view.moved(slot, core),
                None => {
                    let map = &self.server.cluster;
                    format!("MOVED {slot} {}:{}", map.host, map.node(core).port)
                }
            }),
            Route::CrossSlot => Some(CROSSSLOT.to_string()),
            Route::OneDatabase => Some(NOT_IN_CLUSTER.to_string()),
            _ => None,
        }
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
                    if !(self.reads_allowed
                        || client.reads_replica && self.replication.as_ref().is_some_and(|r| r.follows())) =>
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

    /// Carries out a command about connection or server.
    pub(crate) fn run_server(&mut self, id: ConnId, spec: &'static CommandSpec, cmd: ServerCmd, args: Args<'_>) {
        if matches!(cmd, ServerCmd::Publish | ServerCmd::SPublish) {
            return self.run_publish(id, spec, cmd, args);
        }
        let began = self.times_all.then(|| SystemClock.tick());
        let slot = id.index();
        let Some(client) = self.server.clients.get_mut(slot) else {
            return;
        };
        client.begin_command(spec.full_name, self.now.tick);
        let mut out = std::mem::take(&mut self.scratch_out);
        out.clear();
        let is_push = self.run_subscription(id, cmd, args, &mut out);
        let Some(proto) = self.server.clients.get(slot).map(|client| client.proto) else {
            return;
        };
        self.server.facts.clients = self.net.open_count() as u64;
        self.count_tracked();
        self.count_listeners();
        let mut reply = RespReply::new(&mut out, proto);
        let flow = if is_push
            || self.run_tracking(id, cmd, args, None, &mut reply)
            || pubsub::answer(&self.pubsub, cmd, args, false, &mut reply)
        {
            Flow::Done
        } else {
            let around = Around {
                keyspace: &mut self.keyspace,
                buffers: &NetBuffers(&self.net),
                now: self.now.tick,
                wall_us: self.now.wall_us,
            };
            self.server.run(cmd, slot, args, around, &mut reply)
        };
        if matches!(cmd, ServerCmd::Reset | ServerCmd::Monitor) {
            self.set_monitors(id, cmd == ServerCmd::Monitor);
        }
        if cmd == ServerCmd::Reset {
            self.track(id, None);
            self.unsubscribe_silently(id);
        }
        if reply.failed() {
            note_error(&mut self.server.metrics, spec, &out, 0);
        }
        self.tally.note(spec);
        let sleeps = match &flow {
            Flow::Sleep(time) => *time,
            _ => Duration::ZERO,
        };
        if began.is_some() || !sleeps.is_zero() {
            let ran = began.map_or(Duration::ZERO, |began| SystemClock.tick().since(began));
            self.note_time(Who::Client(id), args, spec, ran + sleeps);
        }
        let Some(client) = self.server.clients.get_mut(slot) else {
            return;
        };
        if flow == Flow::Hello {
            let (view, core) = (self.server.view.as_ref(), self.server.core);
            hello_reply(client, view, core, &mut RespReply::new(&mut out, client.proto));
        }
        if (client.wants_reply() || is_push)
            && let Some((_, to)) = self.net.io(id)
        {
            to.extend_from_slice(&out);
        }
        client.end_command();
        if client.close_after_reply {
            // Other cores may still have replies that come first.
            let lane = lane_of(&mut self.lanes, id);
            lane.quits = true;
            if lane.order.is_none() {
                self.net.close_after_flush(id);
            }
        }
        self.scratch_out = out;
        self.carry_out(flow);
    }

    /// Does what a command about the server asks for besides its reply.
    pub(crate) fn carry_out(&mut self, flow: Flow) {
        match flow {
            Flow::Done | Flow::Hello => {}
            Flow::Kill(slots) => {
                for slot in slots {
                    if let Some(id) = self.net.id_at(slot) {
                        self.net.kill(id);
                    }
                }
            }
            Flow::Unblock { slot, error } => {
                if let Some(id) = self.net.id_at(slot) {
                    let ending = if error { Ending::Unblocked } else { Ending::TimeUp };
                    self.end_wait_of(id, ending);
                }
            }
            Flow::Pause(pause) => self.begin_pause(pause),
            Flow::Unpause => self.end_pause(),
            Flow::Reconfigure(settings) => {
                self.wishes.changed.extend(settings);
                self.take_over_settings();
            }
            Flow::Lead => self.wishes.lead = true,
            Flow::Sleep(time) => self.wishes.sleep = Some(time),
            Flow::Shutdown { now } => self.wishes.shutdown = Some(now),
        }
    }

    /// Puts a command that took long into the slow log and the latency events.
    pub(crate) fn note_slow(&mut self, who: Who, args: Args<'_>, spec: &'static CommandSpec, began: Tick) {
        self.note_time(who, args, spec, SystemClock.tick().since(began));
    }

    /// [`CoreState::note_slow`] for a command that took this long, or will have taken.
    fn note_time(&mut self, who: Who, args: Args<'_>, spec: &'static CommandSpec, took: Duration) {
        let took_us = took.as_micros() as u64;
        let settings = self.server.config.settings();
        let at_s = self.now.wall_us / 1_000_000;
        if SlowLog::is_slow(took_us, settings.slow_log_slower_than_us) {
            let mut words = Vec::with_capacity(args.len());
            let opened = scripts::opened(spec, &args);
            let (spec, args) = opened
                .as_ref()
                .map_or((spec, args), |(spec, op, spans)| (*spec, Args::new(op, spans)));
            words.push(spec.container().unwrap_or(spec.name).as_bytes());
            words.extend(users_words(spec, &args));
            slow_log::redact(spec, &mut words);
            let (peer, name) = match who {
                Who::Client(id) => match self.server.clients.get(id.index()) {
                    Some(client) => (client.peer.to_string(), client.name.clone()),
                    None => return,
                },
                // The client is another core's, which knows it.
                Who::Core(core, ..) => (format!("core-{core}"), Vec::new()),
                Who::Waiter(_) | Who::Nobody => return,
            };
            let len_max = settings.slow_log_len_max;
            self.server
                .metrics
                .slow_log
                .push(at_s, took_us, words.into_iter(), peer, &name, len_max);
        }
        let ms = (took_us / 1000) as u32;
        self.server
            .metrics
            .latency
            .note(LatencyKind::Command, at_s, ms, settings.latency_threshold_ms);
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

/// Why a command that exists and has the right number of arguments is not carried out now, if so.
#[inline]
pub(crate) fn refuse(spec: &CommandSpec, client: &ClientState, barrier: Option<WriteBarrier>) -> Option<&'static str> {
    if (!client.authenticated || client.listens)
        && let Some(text) = refuse_client(spec, client)
    {
        return Some(text);
    }
    refuse_now(spec, barrier)
}

#[cold]
pub(crate) fn refuse_client(spec: &CommandSpec, client: &ClientState) -> Option<&'static str> {
    use ServerCmd as C;
    if !client.authenticated && !spec.flags.has(Flags::NO_AUTH) {
        return Some(NOAUTH);
    }
    let allowed = matches!(
        spec.run,
        Run::Server(
            C::Subscribe
                | C::Unsubscribe
                | C::PSubscribe
                | C::PUnsubscribe
                | C::SSubscribe
                | C::SUnsubscribe
                | C::Ping
                | C::Quit
                | C::Reset
        )
    );
    (client.only_listens() && !allowed).then_some(ONLY_LISTENS)
}

/// True for a step of a transaction, and for the command that ends one like everything else.
fn is_about_session(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Transaction(_) | Run::Server(ServerCmd::Reset))
}

/// True for a command after which its connection hears other things, or is answered in another way. It is carried out
/// when nothing else of the connection is under way, so that confirmations and messages have one order.
fn changes_connection(spec: &CommandSpec) -> bool {
    use ServerCmd as C;
    matches!(
        spec.run,
        Run::Server(
            C::Subscribe
                | C::Unsubscribe
                | C::PSubscribe
                | C::PUnsubscribe
                | C::SSubscribe
                | C::SUnsubscribe
                | C::Auth
                | C::AclSetUser
                | C::AclDelUser
                | C::AclLoad
                | C::Hello
                | C::Reset
                | C::Select
                | C::ClientTracking
                | C::ClientCaching
        )
    )
}

/// True for a step after which the next command may work in another database, or has to wait: behind it nothing must be
/// parsed.
fn changes_database(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Transaction(Step::Exec | Step::Discard))
}

/// The same, as far as it does not depend on who asks.
#[inline]
pub(crate) fn refuse_now(spec: &CommandSpec, barrier: Option<WriteBarrier>) -> Option<&'static str> {
    match barrier? {
        WriteBarrier::DiskFull => spec.is_write().then_some(DISK_FULL),
        WriteBarrier::MemoryFull => spec.flags.has(Flags::DENYOOM).then_some(OOM),
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
