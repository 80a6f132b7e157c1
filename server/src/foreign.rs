//! Commands that other cores forward because their keys live here, and parts of this core's own.

use slotcore_engine::cmd::op::{decode_op, encode_op};
use slotcore_engine::cmd::{Args, CommandSpec, END_WAIT, Flags, NoReply, Reply, Run, ServerCmd, Waiting};
use slotcore_rt::clock::{Clock, SystemClock};

use crate::apply::{From, PROPOSED_MAX};
use crate::batch::Who;
use crate::blocked::Ending;
use crate::commands::{Around, Flow};
use crate::core_state::{CoreState, NetBuffers};
use crate::dispatch::{Outcome, note_error, refuse_now};
use crate::mesh::Unread;
use crate::parcel::{Asker, How, Note, Parcel, REPLY_HEAD_BYTES};
use crate::pubsub;
use crate::reply::RespReply;
use crate::requests_ahead::Request;
use crate::scripts::{self, Form};
use crate::transaction::ABORTED_BECAUSE;

/// Parcels with requests that may lie unread; beyond, they stay with their senders.
const UNREAD_MAX: usize = 16;

impl CoreState {
    /// Takes what the other cores have sent, to be read by [`CoreState::take_mail`]. To be called before it is found out
    /// whether this core may answer reads: a client of another core may have asked after a moment that comes before this.
    pub fn receive_mail(&mut self) {
        let mut unread = self.mesh.unread.len();
        // Who is held waits for a word of another core, behind whatever that one has sent before.
        while (unread < UNREAD_MAX || self.is_held())
            && let Some((from, parcel)) = self.mesh.receive()
        {
            unread += usize::from(!parcel.requests.is_empty());
            self.mesh.arrived.push_back((from, parcel));
        }
    }

    /// Reads what the other cores have sent. True when there was something.
    pub fn take_mail(&mut self) -> bool {
        let mut any = !self.mesh.arrived.is_empty();
        while let Some((from, parcel)) = self.mesh.arrived.pop_front() {
            self.open_parcel(from, parcel);
        }
        self.tend_tracking();
        self.tend_monitors();
        if !self.cold.thawed.is_empty() && !self.is_held() {
            self.run_thawed();
            any = true;
        }
        self.run_requests();
        any
    }

    /// Does what this core has asked of itself, and takes in the answers that it has given itself.
    pub fn take_own_mail(&mut self) {
        let me = self.mesh.me().0;
        if self.relays {
            self.loop_back();
        }
        while !self.mesh.to(me).is_empty() {
            let parcel = self.mesh.take_own();
            self.take_replies(me, &parcel.replies);
            let mut unread = Unread {
                from: me,
                parcel,
                at: 0,
            };
            // At once, whatever is under way: what the connection sent next must not come before.
            self.run_parcel(&mut unread, usize::MAX);
            self.mesh.recycle(unread.parcel);
        }
    }

    fn open_parcel(&mut self, from: u16, mut parcel: Parcel) {
        for note in parcel.notes.drain(..) {
            match note {
                Note::Arrival(fd) => self.net.accept(fd),
                Note::HandOver(fd, input, client) => self.take_over(fd, input, *client),
                Note::Script(body) => {
                    self.keyspace.scripts_mut().note(&body);
                }
                Note::WantSnapshot(asker) => {
                    self.count_tracked();
                    self.count_listeners();
                    let snapshot = self.server.snapshot(&self.keyspace, &NetBuffers(&self.net));
                    let note = Note::Snapshot(asker, Box::new(snapshot));
                    self.mesh.to(from).notes.push(note);
                }
                Note::Snapshot(asker, snapshot) => self.snapshot_arrived(asker, from, *snapshot),
                Note::WantCopies { wait, durably, flush } => self.copy_asks.ask(from, wait, durably, flush),
                Note::Copies { wait, copies } => self.copies_told(from, wait, copies),
                Note::EnoughCopies(wait) => self.copy_asks.forget(from, wait),
                about_transaction => self.take_note(from, about_transaction),
            }
        }
        self.take_replies(from, &parcel.replies);
        self.take_casts(&parcel.casts);
        if parcel.requests.is_empty() {
            self.mesh.recycle(parcel);
        } else {
            self.mesh.unread.push_back(Unread { from, parcel, at: 0 });
        }
    }

    /// Carries out what was asked, as far as there is room.
    fn run_requests(&mut self) {
        while self.has_room()
            && !self.is_held()
            && !self.relay.is_full()
            && let Some(mut unread) = self.mesh.unread.pop_front()
        {
            if self.run_parcel(&mut unread, PROPOSED_MAX) {
                self.mesh.recycle(unread.parcel);
            } else {
                self.mesh.unread.push_front(unread);
            }
        }
    }

    /// Carries out the requests of a parcel as long as there are fewer than `proposed_max` batches under way. True when
    /// all are done.
    pub(crate) fn run_parcel(&mut self, unread: &mut Unread, proposed_max: usize) -> bool {
        let began = SystemClock.tick();
        let mut ahead = std::mem::take(&mut self.requests_ahead);
        let requests = &unread.parcel.requests;
        'parcel: while ahead.look(&self.keyspace, requests, unread.at) {
            for (request, spans) in ahead.requests() {
                if self.proposed.len() >= proposed_max {
                    break 'parcel;
                }
                self.run_request(unread.from, request, &requests[request.op.0..request.op.1], spans);
                self.after_changes(Some(Who::Core(unread.from, request.asker, request.how)));
                unread.at = request.op.1;
            }
        }
        self.requests_ahead = ahead;
        let run_ns = SystemClock.tick().since(began).as_nanos() as u64;
        self.tally.settle(&mut self.server.metrics, run_ns, run_ns);
        unread.at == requests.len()
    }

    fn run_request(&mut self, from: u16, request: &Request, op: &[u8], spans: &[(u32, u32)]) {
        if self.relays && self.goes_elsewhere(from, request) {
            return self.relay(from, request, op, spans);
        }
        let Request { asker, how, spec, .. } = *request;
        let args = Args::new(op, spans);
        if spec.id == END_WAIT.id {
            return self.end_wait_for(from, asker.conn, Ending::from_byte(asker.part as u8));
        }
        self.server.metrics.net.commands_for_others += u64::from(from != self.mesh.me().0);
        if self.wary && self.request_warily(from, request, op, &args) {
            return;
        }
        if spec.flags.has(Flags::LOGGED) {
            return self.run_script_request(from, request, op, spans);
        }
        if let Run::Server(cmd) = spec.run {
            self.run_visiting(from, asker, how, spec, cmd, args);
            return;
        }
        if how.watches {
            return self.hold_transaction(from, asker, how, op);
        }
        self.run_for_other(from, request, op, spans);
    }

    /// Executes a command for another core's connection, or puts it into the batch.
    pub(crate) fn run_for_other(&mut self, from: u16, request: &Request, op: &[u8], spans: &[(u32, u32)]) {
        let Request { asker, how, spec, .. } = *request;
        let who = Who::Core(from, asker, how);
        let args = Args::new(op, spans);
        let waits = self.waiting_for(from, asker) > 0;
        if let Some(text) = refuse_now(spec, self.write_barrier) {
            let prefixed = spec.run.is_carrier().then(|| format!("{ABORTED_BECAUSE}{text}"));
            let text = prefixed.as_deref().unwrap_or(text);
            self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
            if waits {
                self.batch.push_refusal(who, text);
                self.core_waits(from, asker, how);
            } else {
                self.refuse_core(from, asker, how, text);
            }
        } else if spec.is_write() {
            if !self.watches.is_empty() {
                self.note_gathered(spec, &args);
            }
            match &request.once {
                None => self.batch.push_encoded_write(who, op),
                Some(once) => self.batch.push_once(who, once, op),
            }
            self.note_blocking(who, spec);
            self.core_waits(from, asker, how);
        } else {
            let asks_majority = how.majority && self.replication.is_some();
            let now = !waits && self.reads_allowed && !asks_majority;
            let outcome = now.then(|| self.read_for_core(from, request, args));
            match outcome {
                Some(Outcome::Answered) => return,
                None | Some(Outcome::NeedsTick) => {
                    if outcome.is_some() || spec.run.is_carrier() {
                        self.batch.touch();
                    }
                    self.batch.push_encoded_aside(who, op);
                }
                Some(Outcome::Waits) => {
                    self.batch.push_encoded_write(who, op);
                    self.note_blocking(who, spec);
                }
            }
            self.core_waits(from, asker, how);
        }
    }

    /// A command that runs a script.
    #[cold]
    fn run_script_request(&mut self, from: u16, request: &Request, op: &[u8], spans: &[(u32, u32)]) {
        let mut rewritten = std::mem::take(&mut self.script_op);
        let scarce = self.is_scarce();
        let form = scripts::form(
            &mut self.keyspace,
            request.spec,
            &Args::new(op, spans),
            None,
            scarce,
            &mut rewritten,
        );
        let Request { asker, how, spec, .. } = *request;
        let who = Who::Core(from, asker, how);
        let refusal = match form {
            Form::Refused(text) => Some(text),
            _ => refuse_now(spec, self.write_barrier),
        };
        match (form, refusal) {
            (_, Some(text)) if self.waiting_for(from, asker) == 0 => self.refuse_core(from, asker, how, text),
            (_, Some(text)) => {
                self.batch.push_refusal(who, text);
                self.core_waits(from, asker, how);
            }
            (Form::Read(twin), None) => {
                let mut twin_op = Vec::with_capacity(op.len());
                encode_op(&mut twin_op, twin.id, &Args::new(op, spans));
                self.run_request(from, &request.for_command(twin), &twin_op, spans);
            }
            (Form::RewrittenRead, None) => {
                let mut spans = Vec::new();
                decode_op(&rewritten, &mut spans).expect("just encoded");
                self.run_request(from, &request.for_command(scripts::reads_as()), &rewritten, &spans);
            }
            (form, None) => {
                if !self.watches.is_empty() {
                    self.note_gathered(spec, &Args::new(op, spans));
                }
                let is_rewritten = matches!(form, Form::Rewritten);
                let op = if is_rewritten { &rewritten } else { op };
                match &request.once {
                    None => self.batch.push_encoded_write(who, op),
                    Some(once) => self.batch.push_once(who, once, op),
                }
                self.core_waits(from, asker, how);
            }
        }
        self.script_op = rewritten;
    }

    /// Executes a command that only reads.
    #[inline]
    fn read_for_core(&mut self, from: u16, request: &Request, args: Args<'_>) -> Outcome {
        let Request { asker, how, spec, .. } = *request;
        if let Some(hash) = request.key {
            self.keyspace.expect_key(args.get(spec.first_key as usize), hash);
        }
        let outcome = self.run_for_core(from, asker, how, spec, args, From::Side(self.seeds));
        self.keyspace.forget_key();
        if !spec.flags.has(Flags::FAST) {
            self.seeds = self.seeds.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        outcome
    }

    /// Executes a command that touches keys, for a connection of another core.
    pub(crate) fn run_for_core(
        &mut self,
        core: u16,
        asker: Asker,
        how: How,
        spec: &'static CommandSpec,
        args: Args<'_>,
        origin: From,
    ) -> Outcome {
        if how.tracks {
            self.note_for((core, asker.conn), spec, &args);
        }
        let f = match spec.run {
            Run::Data(f) => f,
            Run::Transaction(step) => {
                return self.run_step(Who::Core(core, asker, how), spec, step, args, origin.seed());
            }
            Run::Server(_) | Run::Container => return Outcome::Answered,
        };
        let timed = self.times_all || (!spec.flags.has(Flags::FAST) && spec.id.0 != self.untimed_id);
        let began = timed.then(|| SystemClock.tick());
        let mut exec = origin.exec(&mut self.keyspace, args);
        let parcel = self.mesh.to(core);
        let mark = parcel.replies.len();
        let failed = parcel.push_reply(asker, |out| {
            if how.silent {
                f(&mut exec, &mut NoReply);
                return false;
            }
            let mut reply = RespReply::new(out, how.proto);
            f(&mut exec, &mut reply);
            reply.failed()
        });
        if exec.ks.take_needs_tick() {
            parcel.cut_replies(mark);
            exec.ks.forget_events();
            return Outcome::NeedsTick;
        }
        if exec.waiting == Waiting::Waits {
            parcel.cut_replies(mark);
            self.tally.note(spec);
            return Outcome::Waits;
        }
        if failed {
            let text = &parcel.replies[mark + REPLY_HEAD_BYTES..];
            note_error(&mut self.server.metrics, spec, text, 0);
        }
        self.tally.note(spec);
        if let Some(began) = began {
            self.note_slow(Who::Core(core, asker, how), args, spec, began);
            if spec.flags.has(Flags::RUNS_SCRIPT) {
                self.carry_out_effects();
            }
        }
        Outcome::Answered
    }

    /// Carries out a command about the server for a client of another core.
    pub(crate) fn run_visiting(
        &mut self,
        core: u16,
        asker: Asker,
        how: How,
        spec: &'static CommandSpec,
        cmd: ServerCmd,
        args: Args<'_>,
    ) {
        if matches!(cmd, ServerCmd::Publish | ServerCmd::SPublish) {
            let receivers = self.deliver(cmd == ServerCmd::SPublish, args.get(1), args.get(2));
            let reply = |out: &mut Vec<u8>| RespReply::new(out, how.proto).int(receivers);
            self.mesh.to(core).push_reply(asker, reply);
            self.tally.note(spec);
            return;
        }
        if cmd == ServerCmd::ClientTracking {
            let mut reply = std::mem::take(&mut self.scratch_out);
            reply.clear();
            self.answer_whereabouts(&args, &mut RespReply::new(&mut reply, how.proto));
            self.mesh
                .to(core)
                .push_reply(asker, |out| out.extend_from_slice(&reply));
            self.scratch_out = reply;
            return;
        }
        let around = Around {
            keyspace: &mut self.keyspace,
            buffers: &NetBuffers(&self.net),
            now: self.now.tick,
            wall_us: self.now.wall_us,
        };
        let (server, subs) = (&mut self.server, &self.pubsub);
        let flow = self.mesh.to(core).push_reply(asker, |out| {
            if pubsub::answer(subs, cmd, args, true, &mut RespReply::new(out, how.proto)) {
                return Flow::Done;
            }
            server.run_visiting(cmd, args, how.local, around, &mut RespReply::new(out, how.proto))
        });
        self.tally.note(spec);
        self.carry_out(flow);
    }

    /// Answers a command of another core's connection with an error.
    #[cold]
    pub(crate) fn refuse_core(&mut self, core: u16, asker: Asker, how: How, text: &str) {
        self.server.metrics.errors.count(text);
        self.mesh.to(core).push_reply(asker, |out| {
            if !how.silent {
                RespReply::new(out, how.proto).error(text);
            }
        });
    }

    /// Commands of a connection that are in batches of this core not applied yet. Parts of a command of this core's own
    /// connection wait in its lane, with everything else of it.
    #[inline]
    pub(crate) fn waiting_for(&self, core: u16, asker: Asker) -> u32 {
        if core == self.mesh.me().0 {
            return self.lanes[asker.conn.index()].waiting;
        }
        let lanes = &self.foreign_waiting[usize::from(core)];
        lanes.get(asker.conn.index()).copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn core_waits(&mut self, core: u16, asker: Asker, how: How) {
        let lane = asker.conn.index();
        if core == self.mesh.me().0 {
            if self.net.conn(asker.conn).is_some() {
                self.lanes[lane].waiting += 1;
            }
        } else {
            let lanes = &mut self.foreign_waiting[usize::from(core)];
            if lane >= lanes.len() {
                lanes.resize(lane + 1, 0);
            }
            lanes[lane] += 1;
        }
        if how.tracks {
            self.batch.mark_copies();
        }
        if self.batch.is_full() {
            self.seal();
        }
    }

    /// One command less that waits for its entry.
    #[inline]
    pub(crate) fn waited_for_core(&mut self, core: u16, asker: Asker) {
        if core == self.mesh.me().0 {
            if self.net.conn(asker.conn).is_some() {
                self.lanes[asker.conn.index()].waiting -= 1;
            }
            return;
        }
        self.foreign_waiting[usize::from(core)][asker.conn.index()] -= 1;
    }
}
