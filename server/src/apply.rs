//! The second half of a command: the batch becomes an entry, the entry is committed, its commands are executed and
//! answered.

use bytes::Bytes;
use slotcore_engine::cmd::op::{self, BatchHeader};
use slotcore_engine::cmd::{Args, CommandSpec, Exec, Flags, NoReply, Reply, Run, by_id, prepare};
use slotcore_engine::keyspace::Keyspace;
use slotcore_netio::ConnId;
use slotcore_rt::clock::{Clock, SystemClock};

use crate::batch::{Item, ItemKind, Sealed, Who};
use crate::core_state::{CoreState, Now, lane_of};
use crate::dispatch::{Outcome, run_data};
use crate::elsewhere::Place;
use crate::entry_ops::EntryOps;
use crate::reply::RespReply;

/// Batches in flight at once. Together with the batch's own limits this bounds what a core holds for its clients.
pub(crate) const PROPOSED_MAX: usize = 32;
/// Waiting commands of a connection below which its input is looked at again.
const WAITING_RESUME: u32 = 1024;

/// Where the command comes from that is executed now.
#[derive(Clone, Copy)]
pub(crate) enum From {
    /// From the log: its seed, and which operation of its entry it is.
    Log(u64, u32),
    /// From beside it, with this seed.
    Side(u64),
}

impl From {
    /// Decides its random choices.
    pub(crate) fn seed(self) -> u64 {
        match self {
            Self::Log(seed, _) | Self::Side(seed) => seed,
        }
    }

    /// The command, about to be carried out.
    #[inline]
    pub(crate) fn exec<'a>(self, keyspace: &'a mut Keyspace, args: Args<'a>) -> Exec<'a> {
        match self {
            Self::Log(seed, number) => Exec::logged(keyspace, args, seed, number),
            Self::Side(seed) => Exec::new(keyspace, args, seed),
        }
    }
}

impl CoreState {
    /// False when no more commands should be taken: too many batches wait for their entry.
    pub(crate) fn has_room(&self) -> bool {
        self.proposed.len() < PROPOSED_MAX
    }

    /// Closes the batch, if there is anything in it, and puts its payload into the outbox.
    pub(crate) fn seal(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        // The stamp never goes back, whatever the wall clock does.
        // While the core is held it stands still.
        if !self.holds.is_granted() {
            self.last_stamp_ms = self.last_stamp_ms.max(self.now.wall_ms()).max(self.keyspace.now_ms());
        }
        self.seeds = self.seeds.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let header = BatchHeader {
            time_ms: self.last_stamp_ms,
            seed: self.seeds,
            origin: self.origin,
            batch_seq: self.next_batch,
        };
        self.next_batch += 1;
        let (payload, sealed) = self.batch.seal(&header, self.now.tick, self.spare.pop());
        self.write_gate.spend(payload.len());
        self.outbox.push_back(payload);
        self.proposed.push_back(sealed);
    }

    /// Closes the turn's batch and returns the next payload to propose. `tick`: propose the time even when nobody sent a
    /// command, because keys have expired.
    pub fn next_proposal(&mut self, tick: bool) -> Option<Bytes> {
        if !self.may_propose() {
            return None;
        }
        if self.outbox.is_empty() {
            if tick && self.batch.is_empty() && self.proposed.is_empty() {
                self.batch.touch();
            }
            self.seal();
        }
        self.outbox.pop_front()
    }

    /// An entry for one operation that nobody waits for.
    pub fn entry_of(&mut self, operation: &[u8], now: Now) -> Bytes {
        self.last_stamp_ms = self.last_stamp_ms.max(now.wall_ms()).max(self.keyspace.now_ms());
        self.seeds = self.seeds.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let header = BatchHeader {
            time_ms: self.last_stamp_ms,
            seed: self.seeds,
            origin: self.origin,
            // No batch has this number.
            batch_seq: 0,
        };
        let mut entry = Vec::with_capacity(op::BATCH_HEADER_BYTES + operation.len());
        op::encode_header(&mut entry, &header);
        entry.extend_from_slice(operation);
        Bytes::from(entry)
    }

    /// Executes a committed entry, and answers whoever waits for it here.
    pub fn apply(&mut self, payload: &[u8]) {
        let header = match op::decode_header(payload) {
            Ok(header) => header,
            Err(error) => panic!("a committed entry cannot be read: {error}"),
        };
        debug_assert!(
            !self.keyspace.has_missed(),
            "whoever looks for keys takes what it missed"
        );
        self.keyspace.take_missed();
        let ours = header.origin == self.origin
            && match self.replication.is_some() {
                false => self.proposed.front().is_some_and(|b| b.seq == header.batch_seq),
                true => self.flight_lands(header.batch_seq),
            };
        let mut ops = std::mem::take(&mut self.ops);
        ops.begin(&mut self.keyspace, &header);
        if ours && let Some(sealed) = self.proposed.pop_front() {
            self.apply_batch(sealed, &mut ops, payload);
        } else {
            ops.run_all(&mut self.keyspace, payload);
            self.after_others_changes();
        }
        assert!(
            !self.keyspace.has_missed(),
            "what an entry needs is in memory before it is executed"
        );
        self.ops = ops;
        if self.keyspace.scripts().is_some() {
            match ours {
                true => self.carry_out_effects(),
                // Whoever has proposed it carries them out.
                false => drop(self.keyspace.take_script_effects()),
            }
        }
    }

    /// Answers the oldest batch, which only reads, without an entry.
    pub(crate) fn answer_reads(&mut self) {
        let Some(sealed) = self.proposed.pop_front() else {
            return;
        };
        let mut ops = std::mem::take(&mut self.ops);
        self.apply_batch(sealed, &mut ops, &[]);
        self.ops = ops;
        if self.keyspace.scripts().is_some() {
            self.carry_out_effects();
        }
    }

    fn apply_batch(&mut self, sealed: Sealed, ops: &mut EntryOps, payload: &[u8]) {
        let began = SystemClock.tick();
        if sealed.copying.is_empty() {
            for item in &sealed.items {
                self.apply_item(item, &sealed, ops, payload);
            }
        } else {
            self.apply_copying(&sealed, ops, payload);
        }
        let ended = SystemClock.tick();
        let run_ns = ended.since(began).as_nanos() as u64;
        let waited_ns = ended.since(sealed.sealed_at).as_nanos() as u64;
        self.tally.settle(&mut self.server.metrics, run_ns, waited_ns);
        self.unpin(&sealed.pins);
        self.spare.push(sealed);
    }

    /// Answers a command that only reads, at this place of its batch, without an entry.
    #[cold]
    pub(crate) fn answer_aside(&mut self, at: usize, sealed: &Sealed) {
        let mut ops = std::mem::take(&mut self.ops);
        let copies = sealed.copying.contains(&(at as u32));
        self.tracking.copies |= copies;
        self.apply_item(&sealed.items[at], sealed, &mut ops, &[]);
        if copies {
            self.tracking.copies = false;
            self.tracking.command_done();
        }
        self.ops = ops;
        if self.keyspace.scripts().is_some() {
            self.carry_out_effects();
        }
    }

    /// Carries out a batch in which there are commands that read for clients that keep copies.
    #[cold]
    fn apply_copying(&mut self, sealed: &Sealed, ops: &mut EntryOps, payload: &[u8]) {
        let mut copying = sealed.copying.iter().map(|at| *at as usize).peekable();
        for (at, item) in sealed.items.iter().enumerate() {
            self.tracking.copies = copying.next_if_eq(&at).is_some();
            self.apply_item(item, sealed, ops, payload);
            self.tracking.command_done();
        }
    }

    #[inline]
    fn apply_item(&mut self, item: &Item, sealed: &Sealed, ops: &mut EntryOps, payload: &[u8]) {
        let place = match item.who {
            Who::Client(conn) => self.begin_ordered(conn),
            Who::Core(..) | Who::Waiter(_) | Who::Nobody => Place::Alone,
        };
        let mut waits = false;
        match item.kind {
            ItemKind::Write => {
                let found = ops
                    .next(&self.keyspace, payload)
                    .expect("the entry holds an operation for every write of its batch");
                let once = match found.once.copied() {
                    None => None,
                    Some(once) => match self.admit_once(item.who, &once) {
                        Some(at) => Some((once, at)),
                        None => return self.waited(item.who),
                    },
                };
                if !self.keyspace.is_complete() {
                    prepare(&mut self.keyspace, found.spec, &found.args, found.seed);
                }
                found.announce(&mut self.keyspace);
                let (spec, args, seed, number) = (found.spec, found.args, found.seed, found.number);
                let from = From::Log(seed, number);
                let watched = (!self.watches.is_empty()).then(|| self.before_write(item.who, spec, &args));
                match item.who {
                    Who::Client(conn) => {
                        self.run_for(conn, spec, args, from);
                    }
                    Who::Core(core, asker, how) => {
                        self.run_for_core(core, asker, how, spec, args, from);
                    }
                    Who::Waiter(id) => {
                        if let Run::Data(f) = spec.run {
                            f(&mut from.exec(&mut self.keyspace, args), &mut NoReply);
                        }
                        self.wait_ended(id);
                    }
                    Who::Nobody => {
                        if let Run::Data(f) = spec.run {
                            f(&mut from.exec(&mut self.keyspace, args), &mut NoReply);
                        }
                    }
                }
                self.keyspace.forget_key();
                if let Some(watched) = watched {
                    self.after_write(item.who, spec, watched);
                }
                if let Some((once, at)) = &once {
                    self.keep_answer(item.who, once, *at);
                }
                waits = self.keyspace.waiters().has_news() && self.take_news(item.who);
            }
            ItemKind::Forget => return self.forget_applied(item.who, place),
            ItemKind::Said(at) => {
                let mut spans = std::mem::take(&mut self.spans);
                let aside = &sealed.asides[at as usize..];
                op::decode_op(aside, &mut spans).expect("encoded by this process");
                let text = Args::new(aside, &spans).get(1);
                self.say_now(item.who, std::str::from_utf8(text).unwrap_or("OK"));
                self.spans = spans;
            }
            ItemKind::Aside(at) => {
                let mut spans = std::mem::take(&mut self.spans);
                let aside = &sealed.asides[at as usize..];
                let (id, bytes) = op::decode_op(aside, &mut spans).expect("encoded by this process");
                let spec = by_id(id).expect("encoded by this process");
                let args = Args::new(aside, &spans);
                let from = From::Side(self.seeds);
                if !self.keyspace.is_complete() {
                    prepare(&mut self.keyspace, spec, &args, from.seed());
                }
                let outcome = match (item.who, spec.run) {
                    (Who::Client(conn), Run::Server(cmd)) => {
                        self.run_server(conn, spec, cmd, args);
                        Outcome::Answered
                    }
                    (Who::Client(conn), _) => self.run_for(conn, spec, args, from),
                    (Who::Core(core, asker, how), _) => self.run_for_core(core, asker, how, spec, args, from),
                    (Who::Waiter(_) | Who::Nobody, _) => Outcome::Answered,
                };
                match outcome {
                    Outcome::Answered => {}
                    // It may wait only from the log.
                    Outcome::Waits => {
                        waits = true;
                        self.batch.push_encoded_write(item.who, &aside[..bytes]);
                        self.note_blocking(item.who, spec);
                    }
                    // An entry that carries the time brings it.
                    Outcome::NeedsTick => {
                        waits = true;
                        self.batch.touch();
                        self.batch.push_encoded_aside(item.who, &aside[..bytes]);
                    }
                }
                self.spans = spans;
            }
            ItemKind::Refusal(at) => {
                let mut spans = std::mem::take(&mut self.spans);
                let aside = &sealed.asides[at as usize..];
                op::decode_op(aside, &mut spans).expect("encoded by this process");
                let text = Args::new(aside, &spans).get(1);
                self.answer_refusal(item.who, std::str::from_utf8(text).unwrap_or("ERR"));
                self.spans = spans;
            }
        }
        match (item.who, waits) {
            (Who::Client(conn), false) => self.end_ordered(conn, place),
            (Who::Client(conn), true) => self.unanswered(conn, place),
            (Who::Core(..) | Who::Waiter(_) | Who::Nobody, _) => {}
        }
        self.after_changes(Some(item.who));
        if !waits {
            self.waited(item.who);
        }
        if self.keyspace.waiters().has_news() {
            self.serve_ready();
        }
    }

    /// Executes a command that touches keys; answers if the connection is still there.
    #[inline]
    fn run_for(&mut self, id: ConnId, spec: &'static CommandSpec, args: Args<'_>, from: From) -> Outcome {
        if self.tracking.copies {
            self.tracking.note((self.mesh.me().0, id), spec, &args);
        }
        let f = match spec.run {
            Run::Data(f) => f,
            Run::Transaction(step) => {
                self.run_step(Who::Client(id), spec, step, args, from.seed());
                return Outcome::Answered;
            }
            Run::Server(_) | Run::Container => return Outcome::Answered,
        };
        let timed = self.times_all || (!spec.flags.has(Flags::FAST) && spec.id.0 != self.untimed_id);
        let began = timed.then(|| SystemClock.tick());
        let mut exec = from.exec(&mut self.keyspace, args);
        let mut outcome = Outcome::Answered;
        match self.net.io(id) {
            Some((_, out)) => match self.server.clients.get_mut(id.index()) {
                Some(client) => {
                    outcome = run_data(&mut exec, client, out, spec, f, self.now, &mut self.server.metrics);
                }
                None => f(&mut exec, &mut NoReply),
            },
            None => f(&mut exec, &mut NoReply),
        }
        self.tally.note(spec);
        if let Some(began) = began {
            self.note_slow(Who::Client(id), args, spec, began);
        }
        outcome
    }

    #[cold]
    pub(crate) fn answer_refusal(&mut self, who: Who, text: &str) {
        let id = match who {
            Who::Client(id) => id,
            Who::Core(core, asker, how) => return self.refuse_core(core, asker, how, text),
            Who::Waiter(id) => return self.blocked.refused(id, self.now.tick),
            Who::Nobody => return,
        };
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        client.begin_command("", self.now.tick);
        let (answered, proto) = (client.wants_reply(), client.proto);
        client.end_command();
        if answered && let Some((_, out)) = self.net.io(id) {
            self.server.metrics.errors.count(text);
            RespReply::new(out, proto).error(text);
        }
    }

    /// One command less that waits for its entry.
    #[inline]
    pub(crate) fn waited(&mut self, who: Who) {
        let id = match who {
            Who::Client(id) => id,
            Who::Core(core, asker, _) => return self.waited_for_core(core, asker),
            Who::Waiter(_) | Who::Nobody => return,
        };
        if self.net.conn(id).is_none() {
            return;
        }
        let lane = lane_of(&mut self.lanes, id);
        lane.waiting -= 1;
        self.went_on(id);
    }

    /// A connection waits for less than before: its input may be looked at again.
    #[inline]
    pub(crate) fn went_on(&mut self, id: ConnId) {
        let lane = lane_of(&mut self.lanes, id);
        if lane.held && lane.waiting + lane.away <= WAITING_RESUME {
            lane.held = false;
            self.net.mark_ready(id);
        }
        if lane.waiting == 0 && lane.order.is_none() && lane.is_ending() {
            self.finish_ending(id);
        } else if lane.session.pending.is_some() {
            self.begin_spanning(id);
        }
        self.resume_behind(id);
    }

    /// Takes back a payload that could not be proposed now; it is the first to be proposed later.
    pub fn put_back(&mut self, payload: Bytes) {
        self.outbox.push_front(payload);
    }

    /// True when `payload`, just taken from the outbox, belongs to the oldest batch: nothing is under way before it.
    pub fn is_first(&self) -> bool {
        self.proposed.len() == self.outbox.len() + 1
    }

    /// The oldest batch was refused before it was executed: its commands are answered with `text`.
    pub fn refuse_batch(&mut self, text: &str) {
        let Some(sealed) = self.proposed.pop_front() else {
            return;
        };
        for item in &sealed.items {
            if item.kind == ItemKind::Forget {
                self.forget_applied(item.who, Place::Alone);
                continue;
            }
            if let Who::Client(conn) = item.who {
                let place = self.begin_ordered(conn);
                self.answer_refusal(item.who, text);
                self.end_ordered(conn, place);
            } else {
                self.answer_refusal(item.who, text);
            }
            self.waited(item.who);
        }
        self.unpin(&sealed.pins);
        self.spare.push(sealed);
    }
}

/// Executes a committed entry that is met when the log is read at start. What it needs of files the
/// keyspace's reader gets.
///
/// # Panics
/// When the entry cannot be read: nothing may be served then.
pub fn replay(keyspace: &mut Keyspace, payload: &[u8], ops: &mut EntryOps) {
    let header = match op::decode_header(payload) {
        Ok(header) => header,
        Err(error) => panic!("a committed entry cannot be read: {error}"),
    };
    ops.begin(keyspace, &header);
    ops.run_all(keyspace, payload);
    // Nobody listens, and what was logged was logged.
    keyspace.take_script_effects();
}
