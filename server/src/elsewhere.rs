//! Commands of this core's connections that other cores carry out, and how their replies come back in order.

use slotcore_engine::cmd::op::{decode_op, encode_op};
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Run, by_id, keys};
use slotcore_engine::ord::slot_of;
use slotcore_netio::ConnId;

use crate::commands::Around;
use crate::core_state::{CoreState, NetBuffers, lane_of};
use crate::dispatch::{note_error, refuse_client};
use crate::gathering::{Combine, Gathering};
use crate::metrics::CoreSnapshot;
use crate::parcel::{Asker, How, Note, reply_at};
use crate::reply::RespReply;
use crate::reply_order::Source;
use crate::route::{ByKey, Everywhere, Route, scan_next};
use crate::transaction::Together;
use crate::window::{Parsed, Window};

/// Replies that wait for others from another core are sent after so many turns at the latest: in a busy cluster of cores
/// the other answers within one or two, and one send costs half of two.
const DELAY_FLUSHES: u8 = 3;

/// Orders kept for reuse.
const SPARE_ORDERS_MAX: usize = 1024;

/// Where the reply of a command that runs here goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// To the output: the connection waits for nobody else.
    Alone,
    /// To the output: its turn has come.
    Turn,
    /// Aside, until its turn comes.
    Early,
}

/// One core's part of a command.
#[derive(Clone, Default)]
struct Share {
    /// Its keys, by their place among all keys.
    places: Vec<u32>,
    /// Its arguments, the command's name first.
    words: Vec<(u32, u32)>,
}

impl CoreState {
    /// Sends a command to where it is carried out.
    pub(crate) fn run_elsewhere(&mut self, window: &Window, c: &Parsed) {
        let Ok(spec) = c.spec else { return };
        if c.route == Route::Session {
            return self.run_session(window, c);
        }
        if c.route == Route::Copies {
            return self.run_copy_wait(window, c, spec);
        }
        let id = c.conn;
        let spans = &window.spans[c.spans.0 as usize..c.spans.1 as usize];
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        client.begin_command(spec.full_name, self.now.tick);
        client.blocked = self.lanes[id.index()].blocks.is_some();
        let how = How {
            tracks: self.tracking.copies,
            ..How::of(client)
        };
        if c.route == Route::AllAtOnce && refuse_client(spec, client).is_some() {
            // Which is told there.
            client.end_command();
            return self.run_as_ever(window, c);
        }
        let is_restricted = client.is_restricted;
        client.end_command();
        let runs_together = c.route == Route::Together && spec.flags.has(Flags::RUNS_SCRIPT);
        let caller = if runs_together { self.caller(id) } else { None };
        let Some((input, _)) = self.net.io(id) else { return };
        let args = window.args(c, input);
        match c.route {
            Route::Core(core) => {
                if is_restricted && spec.flags.has(Flags::RUNS_SCRIPT) {
                    self.send_script(window, c, how, spec, core.0);
                } else {
                    self.mesh.to(core.0).push_request(Asker::whole(id), how, spec.id, &args);
                }
                self.server.metrics.net.commands_forwarded += 1;
                self.expect(id, Source::Core(core.0));
            }
            Route::Scan(core) => {
                let part = self.open_gathering(id, how, Combine::Scan(scan_next(&self.server.cluster, core)));
                self.ask(part, core.0, Vec::new());
                let Some((input, _)) = self.net.io(id) else { return };
                let args = window.args(c, input);
                let asker = Asker { conn: id, part };
                self.mesh.to(core.0).push_request(asker, how, spec.id, &args);
            }
            Route::ByKey(by) => self.take_apart(window, c, how, spec, by),
            Route::Together => {
                let together = Together::command(&self.server.cluster, spec, &args, caller.as_ref());
                self.run_together(id, how, together);
            }
            Route::Everywhere(kind) => {
                let mut copy = std::mem::take(&mut self.scratch_in);
                window.copy_to(c, self.net.input(id), &mut copy);
                self.run_everywhere(id, how, spec, Args::new(&copy, spans), kind);
                self.scratch_in = copy;
            }
            Route::AllAtOnce => {
                let mut copy = std::mem::take(&mut self.scratch_in);
                window.copy_to(c, self.net.input(id), &mut copy);
                self.run_at_once(id, how, spec, &Args::new(&copy, spans));
                self.scratch_in = copy;
            }
            Route::Here
            | Route::Copies
            | Route::Session
            | Route::Moved(..)
            | Route::OneDatabase
            | Route::CrossSlot
            | Route::Wait => {}
        }
        // This core's own part has its place among the commands of the connection.
        self.take_own_mail();
    }

    /// Asks each owner for its keys' part of a command.
    pub(crate) fn take_apart(&mut self, window: &Window, c: &Parsed, how: How, spec: &'static CommandSpec, by: ByKey) {
        let id = c.conn;
        let spans = &window.spans[c.spans.0 as usize..c.spans.1 as usize];
        let part = self.open_gathering(id, how, Combine::ByKey(by));
        let mut numbers = std::mem::take(&mut self.key_numbers);
        numbers.clear();
        let input = window.bytes(c, self.net.input(id));
        let args = Args::new(input, spans);
        keys(spec, &args, &mut numbers);
        let arguments_each = if by == ByKey::Pairs { 2 } else { 1 };
        let mut owned = vec![Share::default(); self.mesh.cores()];
        for (place, &number) in numbers.iter().enumerate() {
            let number = number as usize;
            let owner = self.server.cluster.owner_of(slot_of(args.get(number)));
            let share = &mut owned[usize::from(owner.0)];
            if share.words.is_empty() {
                share.words.push(spans[0]);
            }
            share.places.push(place as u32);
            share.words.extend_from_slice(&spans[number..number + arguments_each]);
        }
        for (core, share) in owned.into_iter().enumerate() {
            if share.places.is_empty() {
                continue;
            }
            let asker = Asker { conn: id, part };
            let args = Args::new(input, &share.words);
            self.mesh.to(core as u16).push_request(asker, how, spec.id, &args);
            if let Some(gathering) = &mut self.gatherings[part as usize - 1] {
                gathering.ask(core as u16, share.places);
            }
        }
        self.key_numbers = numbers;
    }

    /// Asks every core, this one included.
    pub(crate) fn run_everywhere(
        &mut self,
        id: ConnId,
        how: How,
        spec: &'static CommandSpec,
        args: Args<'_>,
        kind: Everywhere,
    ) {
        let part = self.open_gathering(id, how, Combine::Everywhere(kind));
        let me = self.mesh.me().0;
        let asker = Asker { conn: id, part };
        if kind == Everywhere::Counters {
            if let Some(gathering) = &mut self.gatherings[part as usize - 1] {
                encode_op(&mut gathering.command, spec.id, &args);
            }
            for core in (0..self.mesh.cores() as u16).filter(|&core| core != me) {
                self.ask(part, core, Vec::new());
                self.mesh.to(core).notes.push(Note::WantSnapshot(asker));
            }
            return;
        }
        if kind == Everywhere::Whereabouts {
            // What follows goes by what this changes.
            lane_of(&mut self.lanes, id).blocks = Some(self.server.core);
            if let Some(gathering) = &mut self.gatherings[part as usize - 1] {
                encode_op(&mut gathering.command, spec.id, &args);
            }
            for core in (0..self.mesh.cores() as u16).filter(|&core| core != me) {
                self.ask(part, core, Vec::new());
                self.mesh.to(core).push_request(asker, how, spec.id, &args);
            }
            return;
        }
        let for_client = matches!(spec.run, Run::Server(_)) && !kind.is_of_parts();
        for core in 0..self.mesh.cores() as u16 {
            self.ask(part, core, Vec::new());
            if core == me && for_client {
                continue;
            }
            self.mesh.to(core).push_request(asker, how, spec.id, &args);
        }
        if let Run::Server(cmd) = spec.run
            && for_client
        {
            // Here it is carried out for the client itself, which may be among those it concerns.
            let mut reply = std::mem::take(&mut self.ordered_out);
            reply.clear();
            self.swap_out(id, &mut reply);
            self.run_server(id, spec, cmd, args);
            self.swap_out(id, &mut reply);
            self.part_arrived(part, me, &reply);
            reply.clear();
            self.ordered_out = reply;
        }
    }

    pub(crate) fn swap_out(&mut self, id: ConnId, other: &mut Vec<u8>) {
        if let Some((_, out)) = self.net.io(id) {
            std::mem::swap(out, other);
        }
    }

    /// Begins a command in parts, which is the next one to be answered; its number is not 0.
    fn open_gathering(&mut self, id: ConnId, how: How, combine: Combine) -> u32 {
        let part = self.enter_gathering(id, how, combine);
        self.expect(id, Source::Gathering(part));
        part
    }

    /// Begins a command in parts; its number is not 0.
    pub(crate) fn enter_gathering(&mut self, id: ConnId, how: How, combine: Combine) -> u32 {
        let gathering = Gathering::new(id, how.proto, how.silent, combine);
        let part = match self.free_gatherings.pop() {
            Some(part) => part,
            None => {
                self.gatherings.push(None);
                self.gatherings.len() as u32
            }
        };
        self.gatherings[part as usize - 1] = Some(gathering);
        self.server.metrics.net.commands_forwarded += 1;
        part
    }

    pub(crate) fn ask(&mut self, part: u32, core: u16, places: Vec<u32>) {
        if let Some(gathering) = &mut self.gatherings[part as usize - 1] {
            gathering.ask(core, places);
        }
    }

    /// The next command of a connection is answered by `source`.
    pub(crate) fn expect(&mut self, id: ConnId, source: Source) {
        let lane = lane_of(&mut self.lanes, id);
        lane.away += 1;
        let waiting = lane.waiting;
        let order = lane.order.get_or_insert_with(|| {
            let mut order = self.spare_orders.pop().unwrap_or_default();
            order.expect_many(Source::Here, waiting);
            order
        });
        order.expect(source);
        self.net.delay(id, DELAY_FLUSHES);
    }

    /// Runs a command here for a connection that still waits for other cores.
    pub(crate) fn run_in_order(&mut self, window: &Window, c: &Parsed) {
        let id = c.conn;
        let lane = lane_of(&mut self.lanes, id);
        let before = lane.waiting;
        if let Some(order) = &mut lane.order {
            order.expect(Source::Here);
        }
        let place = self.begin_ordered(id);
        self.run_parsed(window, c);
        let lane = lane_of(&mut self.lanes, id);
        match place {
            // Answered when its entry is applied: nothing was written.
            Place::Turn if lane.waiting > before => {}
            Place::Early if lane.waiting > before => self.swap_back(id),
            place => self.end_ordered(id, place),
        }
    }

    /// Before a reply is written whose turn may not have come: unless it has, puts a buffer in the place of the
    /// connection's output. [`CoreState::end_ordered`] afterwards.
    #[inline]
    pub(crate) fn begin_ordered(&mut self, id: ConnId) -> Place {
        let Some(order) = &lane_of(&mut self.lanes, id).order else {
            return Place::Alone;
        };
        if order.is_turn_of(Source::Here) {
            return Place::Turn;
        }
        match self.net.io(id) {
            Some((_, out)) => {
                std::mem::swap(out, &mut self.ordered_out);
                Place::Early
            }
            None => Place::Alone,
        }
    }

    /// After it: gives the connection its output back, and the reply its place.
    #[inline]
    pub(crate) fn end_ordered(&mut self, id: ConnId, place: Place) {
        let order = &mut lane_of(&mut self.lanes, id).order;
        match place {
            Place::Alone => return,
            // The reply follows; what was written is a push.
            Place::Turn if self.diverted => {}
            Place::Turn => {
                if let (Some(order), Some((_, out))) = (order, self.net.io(id)) {
                    order.went(out);
                }
            }
            Place::Early => {
                if let Some((_, out)) = self.net.io(id) {
                    std::mem::swap(out, &mut self.ordered_out);
                    if self.diverted {
                        out.extend_from_slice(&self.ordered_out);
                    } else if let Some(order) = order {
                        order.arrive(Source::Here, &self.ordered_out, out);
                    }
                }
                self.ordered_out.clear();
            }
        }
        self.diverted = false;
        self.close_order(id);
    }

    /// Instead, when nothing was written: the reply comes later.
    pub(crate) fn unanswered(&mut self, id: ConnId, place: Place) {
        if let Place::Early = place {
            self.swap_back(id);
        }
    }

    pub(crate) fn swap_back(&mut self, id: ConnId) {
        if let Some((_, out)) = self.net.io(id) {
            std::mem::swap(out, &mut self.ordered_out);
        }
        self.ordered_out.clear();
    }

    /// Takes in replies of another core, or of this one to parts of its own commands.
    pub(crate) fn take_replies(&mut self, from: u16, replies: &[u8]) {
        let mut at = 0;
        while at < replies.len() {
            let (asker, reply, next) = reply_at(replies, at);
            at = next;
            if asker.part == 0 || asker.is_exec() {
                self.answer(asker.conn, Source::Core(from), reply, asker.is_exec());
            } else {
                self.part_arrived(asker.part, from, reply);
            }
        }
    }

    pub(crate) fn part_arrived(&mut self, part: u32, from: u16, reply: &[u8]) {
        let place = &mut self.gatherings[part as usize - 1];
        let Some(gathering) = place else { return };
        if !gathering.arrive(from, reply) {
            return;
        }
        if gathering.combine == Combine::Spanning {
            self.spanning_answered(part);
        } else {
            self.finish_gathering(part);
        }
    }

    /// Takes in what another core has counted.
    pub(crate) fn snapshot_arrived(&mut self, asker: Asker, from: u16, snapshot: CoreSnapshot) {
        if let Some(gathering) = &mut self.gatherings[asker.part as usize - 1] {
            gathering.snapshots.push(snapshot);
        }
        self.part_arrived(asker.part, from, b"");
    }

    /// All parts are there: the command is answered.
    fn finish_gathering(&mut self, part: u32) {
        let Some(mut gathering) = self.gatherings[part as usize - 1].take() else {
            return;
        };
        self.free_gatherings.push(part);
        let mut out = std::mem::take(&mut self.scratch_out);
        out.clear();
        gathering.write(&mut out);
        if !gathering.command.is_empty() && self.net.conn(gathering.conn).is_some() {
            self.run_on_figures(&gathering, &mut out);
        }
        if gathering.silent {
            out.clear();
        }
        if gathering.combine == Combine::Receivers && self.net.conn(gathering.conn).is_some() {
            lane_of(&mut self.lanes, gathering.conn).publishes_away -= 1;
        }
        self.answer(gathering.conn, Source::Gathering(part), &out, false);
        self.scratch_out = out;
    }

    /// Carries out a command that was waiting for what the other cores have told: figures, or where a client is.
    fn run_on_figures(&mut self, gathering: &Gathering, out: &mut Vec<u8>) {
        let mut spans = Vec::new();
        let (id, _) = decode_op(&gathering.command, &mut spans).expect("encoded by this core");
        let spec = by_id(id).expect("encoded by this core");
        let Run::Server(cmd) = spec.run else { return };
        let args = Args::new(&gathering.command, &spans);
        if let Combine::Everywhere(Everywhere::Whereabouts) = gathering.combine {
            let mut reply = RespReply::new(out, gathering.proto);
            self.run_tracking(gathering.conn, cmd, args, gathering.whereabouts(), &mut reply);
            if reply.failed() {
                note_error(&mut self.server.metrics, spec, out, 0);
            }
            self.tally.note(spec);
            return;
        }
        self.count_tracked();
        self.count_listeners();
        let around = Around {
            keyspace: &mut self.keyspace,
            buffers: &NetBuffers(&self.net),
            now: self.now.tick,
            wall_us: self.now.wall_us,
        };
        let mut reply = RespReply::new(out, gathering.proto);
        let (slot, others) = (gathering.conn.index(), &gathering.snapshots);
        self.server.run_merged(cmd, slot, args, around, others, &mut reply);
        self.tally.note(spec);
    }

    /// A whole reply has come for a connection, if that is still there. `exec`: to the EXEC that it waits for.
    pub(crate) fn answer(&mut self, id: ConnId, source: Source, reply: &[u8], exec: bool) {
        if self.net.conn(id).is_none() {
            return;
        }
        lane_of(&mut self.lanes, id).away -= 1;
        if exec {
            self.exec_answered(id, source, reply);
        } else {
            self.arrive(id, source, reply);
        }
        self.went_on(id);
    }

    /// Gives a reply of `source` its place.
    pub(crate) fn arrive(&mut self, id: ConnId, source: Source, reply: &[u8]) {
        let lane = lane_of(&mut self.lanes, id);
        if let Some(order) = &mut lane.order
            && let Some((_, out)) = self.net.io(id)
        {
            order.arrive(source, reply, out);
        }
        self.close_order(id);
    }

    /// Back to the short way once nobody else is waited for.
    fn close_order(&mut self, id: ConnId) {
        let lane = lane_of(&mut self.lanes, id);
        if lane.order.as_ref().is_some_and(|order| order.is_empty())
            && let Some(mut order) = lane.order.take()
        {
            order.trim();
            if self.spare_orders.len() < SPARE_ORDERS_MAX {
                self.spare_orders.push(order);
            }
            self.net.delay(id, 0);
        }
    }
}
