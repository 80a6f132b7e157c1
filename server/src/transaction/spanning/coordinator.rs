//! Transactions over cores on the core of the connection: who is asked for what, and when the client is answered.

use std::sync::atomic::Ordering;

use slotcore_engine::cmd::Reply;
use slotcore_engine::cmd::op::{BATCH_HEADER_BYTES, decode_op};
use slotcore_engine::cmd::together::Patience;
use slotcore_engine::cmd::{Args, CommandSpec, by_id};
use slotcore_netio::ConnId;

use super::super::owner::ABORTED_BECAUSE;
use super::super::queue::{Pending, Queue};
use super::{Carried, Plan, Together, Verdict, Wanted};
use crate::clients::Endpoint;
use crate::core_state::{CoreState, lane_of};
use crate::dispatch::note_error;
use crate::gathering::{Combine, Gathering, values};
use crate::parcel::{How, Note};
use crate::reply::RespReply;
use crate::reply_order::Source;
use crate::route::{CROSSSLOT, Route};

/// Said when the values to be stored do not fit.
const NO_ROOM: &str =
    "ERR what is to be stored does not fit into one entry of a core's log: a hash tag keeps keys on one core";

/// A transaction that this core coordinates.
#[derive(Debug)]
pub struct Coordinated {
    pub(super) conn: ConnId,
    pub(super) how: How,
    /// Its number among this core's commands in parts; known once it has begun.
    pub(super) part: u32,
    /// What each core carries out: parts of the transaction, or copies of values for `together`.
    pub(super) plan: Plan,
    /// Values are brought together for it.
    pub(super) together: Option<Box<Together>>,
    /// No EXEC has asked for it: it is one command.
    is_command: bool,
    /// Cores on which the connection watches keys.
    watched: Vec<u16>,
    /// Of the cores that hold, always the first ones: bytes of an entry that the log of each takes.
    rooms: Vec<usize>,
    /// Copies that are not durable yet.
    unkept: usize,
    /// Parts that were not carried out yet.
    unanswered: usize,
}

impl Coordinated {
    fn new(conn: ConnId, how: How, plan: Plan, together: Option<Box<Together>>, is_command: bool) -> Self {
        Self {
            conn,
            how,
            part: 0,
            plan,
            together,
            is_command,
            watched: Vec::new(),
            rooms: Vec::new(),
            unkept: 0,
            unanswered: 0,
        }
    }

    /// No core holds for it any more.
    pub(super) fn let_go(&mut self) {
        self.rooms.clear();
    }

    /// True while copies are asked for.
    fn fetches(&self) -> bool {
        self.together.as_ref().is_some_and(|together| together.stores.is_none())
    }

    /// True once what was brought together has been carried out.
    fn stores(&self) -> bool {
        self.together.as_ref().is_some_and(|together| together.stores.is_some())
    }

    /// Bytes of an entry that the log of a core takes which holds.
    fn room_of(&self, core: u16) -> usize {
        let at = self.plan.parts().iter().position(|part| part.core == core);
        at.and_then(|at| self.rooms.get(at)).copied().unwrap_or(0)
    }

    /// What is carried out now.
    fn carried(&self) -> &Plan {
        let stores = self.together.as_ref().and_then(|together| together.stores.as_ref());
        stores.unwrap_or(&self.plan)
    }
}

impl CoreState {
    /// EXEC of a connection whose keys, with those it watches, live on several cores. Begins when everything that the
    /// connection asked for before has been answered.
    pub(in crate::transaction) fn exec_spanning(&mut self, id: ConnId, queue: Box<Queue>) {
        let (plan, together) = match self.plan(&queue) {
            Ok(planned) => planned,
            Err(text) => {
                self.transactions_kept.give(queue);
                self.forget_watched(id);
                self.server.metrics.transactions.aborted += 1;
                return self.say_error(id, &text);
            }
        };
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        client.begin_command("exec", self.now.tick);
        let silent = !client.wants_reply();
        let how = How {
            silent: false,
            tracks: self.tracking.copies,
            ..How::of(client)
        };
        client.end_command();
        let mixed = if queue.is_mixed() {
            Some(queue)
        } else {
            self.transactions_kept.give(queue);
            None
        };
        self.coordinate(silent, mixed, Coordinated::new(id, how, plan, together, false));
    }

    /// A command whose keys live on several cores. Begins as [`CoreState::exec_spanning`] does.
    pub(crate) fn run_together(&mut self, id: ConnId, how: How, together: Together) {
        let plan = together.fetches();
        let silent = how.silent;
        let how = How {
            silent: false,
            // What it writes it has not read for the client.
            tracks: how.tracks && !together.writes().0,
            ..how
        };
        self.coordinate(
            silent,
            None,
            Coordinated::new(id, how, plan, Some(Box::new(together)), true),
        );
    }

    /// A command that every core carries out at one moment. Begins as [`CoreState::exec_spanning`] does.
    pub(crate) fn run_at_once(&mut self, id: ConnId, how: How, spec: &'static CommandSpec, args: &Args<'_>) {
        let mut plan = Plan::default();
        let (map, me) = (&self.server.cluster, self.server.core);
        plan.add(map, me.0, Route::AllAtOnce, spec, args)
            .expect("one short command for each core");
        let silent = how.silent;
        let how = How { silent: false, ..how };
        self.coordinate(silent, None, Coordinated::new(id, how, plan, None, true));
    }

    fn coordinate(&mut self, silent: bool, mixed: Option<Box<Queue>>, spanning: Coordinated) {
        let id = spanning.conn;
        lane_of(&mut self.lanes, id).session.pending = Some(Box::new(Pending {
            silent,
            mixed,
            left_input: false,
            spanning: Some(spanning),
        }));
        self.begin_spanning(id);
    }

    /// Who carries out what of the commands about keys; they are brought together when one of them cannot be taken apart.
    fn plan(&mut self, queue: &Queue) -> Result<(Plan, Option<Box<Together>>), String> {
        let (mut plan, mut spans) = (Plan::default(), Vec::new());
        let (map, me) = (&self.server.cluster, self.server.core);
        for operation in queue.about_keys() {
            let (number, _) = decode_op(operation, &mut spans).expect("encoded by the queue");
            let spec = by_id(number).expect("encoded by the queue");
            let args = Args::new(operation, &spans);
            let route = self
                .router
                .route(map, me, Endpoint::AnySlot, spec, &args, &mut self.key_numbers);
            if route == Route::Together {
                let together = Together::transaction(map, queue.about_keys()).ok_or(CROSSSLOT)?;
                return Ok((together.fetches(), Some(Box::new(together))));
            }
            plan.add(map, me.0, route, spec, &args)?;
        }
        Ok((plan, None))
    }

    /// Begins the transaction over cores of a connection, if it has one and nothing else of it is under way.
    #[cold]
    pub(crate) fn begin_spanning(&mut self, id: ConnId) {
        let lane = lane_of(&mut self.lanes, id);
        if lane.waiting > 0 || lane.away > 0 {
            return;
        }
        let Some(pending) = &mut lane.session.pending else {
            return;
        };
        let Some(mut spanning) = pending.spanning.take() else {
            return;
        };
        // A single command does not ask what was watched.
        if !spanning.is_command {
            spanning.watched = lane.session.watched.cores.clone();
            for &core in &spanning.watched {
                spanning.plan.part_of(core);
            }
            // Their owners forget them when they are released.
            self.forget_watched_here(id);
        }
        spanning.part = self.enter_gathering(id, spanning.how, Combine::Spanning);
        self.expect(id, Source::Gathering(spanning.part));
        let part = spanning.part;
        self.coordinated.push(spanning);
        self.ask_to_hold(part);
    }

    fn coordinated(&mut self, part: u32) -> Option<&mut Coordinated> {
        self.coordinated.iter_mut().find(|spanning| spanning.part == part)
    }

    /// Tells a core, which may be this one.
    pub(super) fn tell(&mut self, core: u16, note: Note) {
        if core == self.mesh.me().0 {
            self.take_note(core, note);
        } else {
            self.mesh.to(core).notes.push(note);
        }
    }

    /// Asks the next core to hold; when all do, they carry out their parts.
    pub(super) fn ask_to_hold(&mut self, part: u32) {
        let me = self.mesh.me().0;
        let Some(spanning) = self.coordinated(part) else { return };
        let Some(next) = spanning.plan.parts().get(spanning.rooms.len()) else {
            return self.carry_all(part);
        };
        let (writes, grows, bytes) = match &spanning.together {
            // Which of them will have to is not known yet.
            Some(together) => {
                let (writes, grows) = together.writes();
                (writes, grows, together.bytes())
            }
            // Whoever writes logs what all write.
            None => (next.writes, next.grows, spanning.plan.bytes()),
        };
        let wanted = Wanted {
            from: me,
            part,
            conn: spanning.conn,
            watches: spanning.watched.contains(&next.core),
            writes,
            grows,
            swaps: next.swaps,
            bytes: if writes { bytes } else { 0 },
        };
        let core = next.core;
        self.tell(core, Note::Hold(wanted));
    }

    /// A core has answered.
    pub(super) fn hold_answered(&mut self, part: u32, verdict: Verdict) {
        let Some(spanning) = self.coordinated(part) else { return };
        match verdict {
            Verdict::Held { room } => {
                spanning.rooms.push(room);
                self.ask_to_hold(part);
            }
            Verdict::Changed => {
                self.server.metrics.transactions.failed_watches += 1;
                self.end_spanning(part, |how, out| RespReply::new(out, how.proto).null_array());
            }
            Verdict::Refused(text) => {
                let text = match self.coordinated(part).is_some_and(|spanning| spanning.is_command) {
                    true => text.to_string(),
                    false => {
                        self.server.metrics.transactions.aborted += 1;
                        format!("{ABORTED_BECAUSE}{text}")
                    }
                };
                self.server.metrics.errors.count(&text);
                self.end_spanning(part, |how, out| RespReply::new(out, how.proto).error(&text));
            }
        }
    }

    /// All hold: nothing can come between any more.
    fn carry_all(&mut self, part: u32) {
        let numbers = self.spanning_numbers.clone();
        let Some(spanning) = self.coordinated(part) else { return };
        let (conn, how) = (spanning.conn, spanning.how);
        let plan = spanning.carried();
        // With one core that writes its entry is the whole.
        let whole = (plan.writers() > 1).then(|| plan.spanning(numbers.fetch_add(1, Ordering::Relaxed)));
        let (mut orders, mut copies) = (Vec::new(), 0);
        for own in plan.parts().iter().filter(|own| !own.is_empty()) {
            let copy = whole.as_ref().and_then(|whole| whole.operation_for(own.core));
            copies += usize::from(copy.is_some());
            orders.push((own.core, copy.unwrap_or_else(|| own.carrier())));
        }
        // How much is stored is known only now; nothing has happened yet.
        let fits = |(core, operation): &(u16, Vec<u8>)| operation.len() + BATCH_HEADER_BYTES <= spanning.room_of(*core);
        if spanning.stores() && !orders.iter().all(fits) {
            return self.hold_answered(part, Verdict::Refused(NO_ROOM));
        }
        (spanning.unkept, spanning.unanswered) = (copies, orders.len());
        if orders.is_empty() && self.coordinated(part).is_some_and(|spanning| spanning.fetches()) {
            // It has named no key.
            return self.carry_out_together(part);
        }
        if orders.is_empty() {
            return self.conclude_spanning(part);
        }
        for (core, _) in &orders {
            self.ask(part, *core, Vec::new());
        }
        for (core, operation) in orders {
            let note = Note::Carry {
                part,
                conn,
                how,
                operation,
            };
            self.tell(core, note);
        }
    }

    /// All parts were carried out.
    pub(crate) fn spanning_answered(&mut self, part: u32) {
        let Some(spanning) = self.coordinated(part) else { return };
        spanning.unanswered = 0;
        if spanning.fetches() {
            return self.carry_out_together(part);
        }
        self.conclude_spanning(part);
    }

    /// All copies are there: carries out the command, and has the owners store what has changed.
    fn carry_out_together(&mut self, part: u32) {
        let Some(gathering) = self.gatherings[part as usize - 1].take() else {
            return;
        };
        let seed = self.seeds;
        self.seeds = self.seeds.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let now_ms = self.now.wall_ms().max(self.keyspace.now_ms());
        // What scripts have left so far is not this one's.
        self.carry_out_effects();
        let Some(spanning) = self.coordinated.iter_mut().find(|spanning| spanning.part == part) else {
            return;
        };
        let (conn, proto) = (spanning.conn, spanning.how.proto);
        let Some(together) = &mut spanning.together else { return };
        let replies: Vec<(u16, &[u8])> = gathering.replies().collect();
        if let Some(ending) = self.spanning_waits.ending_of(part) {
            return self.end_spanning_wait(part, ending);
        }
        let is_first = together.patience != Patience::Again;
        let map = &self.server.cluster;
        let carried = together.carry_out(map, &replies, proto, now_ms, seed, &mut self.keyspace);
        together.effects = self.keyspace.take_script_effects();
        if matches!(carried, Carried::Lacks) {
            return self.fetch_more(part);
        }
        for spec in together.specs() {
            if !together.is_transaction && together.reply.first() == Some(&b'-') {
                note_error(&mut self.server.metrics, spec, &together.reply, 0);
            }
            // Once; and where an owner carries it out that one counts it.
            if is_first && together.answered_by.is_none() {
                self.tally.note(spec);
            }
        }
        match carried {
            Carried::Done | Carried::Lacks => {}
            Carried::Waits(waiter, timeout_ms) => return self.begin_spanning_wait(part, waiter, timeout_ms),
            Carried::WaitsOn => return self.rest_spanning(part),
        }
        self.gatherings[part as usize - 1] = Some(Gathering::new(conn, proto, false, Combine::Spanning));
        self.carry_all(part);
    }

    /// A script has asked for keys that it had not named: they are fetched, too, and it runs again. Nothing has happened so
    /// far, so cores may be released that would have to be asked later than one that is lacking.
    fn fetch_more(&mut self, part: u32) {
        let cores = self.mesh.cores() as u16;
        let Some(spanning) = self.coordinated(part) else { return };
        let (conn, proto) = (spanning.conn, spanning.how.proto);
        let Some(together) = &mut spanning.together else { return };
        let held: Vec<u16> = spanning.plan.parts().iter().map(|own| own.core).collect();
        let mut plan = together.fetches();
        let all_held = plan.parts().iter().all(|own| held.contains(&own.core));
        if !all_held {
            together.forget_copies();
            plan = together.fetches();
            spanning.rooms.clear();
        }
        let concerned: Vec<u16> = if all_held { held.clone() } else { (0..cores).collect() };
        for core in concerned {
            plan.part_of(core);
        }
        spanning.plan = plan;
        self.gatherings[part as usize - 1] = Some(Gathering::new(conn, proto, false, Combine::Spanning));
        if all_held {
            return self.carry_all(part);
        }
        for core in held {
            let note = Note::Release {
                part,
                conn,
                ends_watches: false,
            };
            self.tell(core, note);
        }
        self.ask_to_hold(part);
    }

    /// A copy is durable.
    pub(super) fn spanning_kept(&mut self, part: u32) {
        if let Some(spanning) = self.coordinated(part) {
            spanning.unkept -= 1;
        }
        self.conclude_spanning(part);
    }

    /// Answers the client when everything is done.
    fn conclude_spanning(&mut self, part: u32) {
        let Some(at) = self.coordinated.iter().position(|spanning| spanning.part == part) else {
            return;
        };
        if self.coordinated[at].unanswered > 0 || self.coordinated[at].unkept > 0 {
            return;
        }
        let Some(gathering) = self.gatherings[part as usize - 1].take() else {
            return;
        };
        let mut reply = Vec::new();
        let spanning = &self.coordinated[at];
        let replies: Vec<(u16, &[u8])> = gathering.replies().collect();
        match &spanning.together {
            Some(together) => {
                let refused = replies.iter().find(|(_, reply)| reply.first() == Some(&b'-'));
                let answers = |core: u16| replies.iter().find(|(other, _)| *other == core);
                let answered = together.answered_by.and_then(answers);
                let said = match (refused, answered) {
                    (Some((_, refused)), _) => refused,
                    (None, Some((_, answer))) => values(answer).next().unwrap_or_default(),
                    (None, None) => &together.reply,
                };
                reply.extend_from_slice(said);
            }
            None => {
                spanning.plan.compose(spanning.conn, spanning.how, &replies, &mut reply);
                if spanning.is_command && reply.starts_with(b"*") {
                    let only = values(&reply).next().unwrap_or_default().to_vec();
                    reply = only;
                }
            }
        }
        let effects = self.coordinated[at]
            .together
            .as_mut()
            .and_then(|together| together.effects.take());
        self.end_spanning(part, |_, out| out.extend_from_slice(&reply));
        if let Some(effects) = effects {
            self.perform_effects(effects);
        }
    }

    /// Lets all cores go that were asked, and answers.
    pub(super) fn end_spanning(&mut self, part: u32, write: impl FnOnce(How, &mut Vec<u8>)) {
        let Some(at) = self.coordinated.iter().position(|spanning| spanning.part == part) else {
            return;
        };
        let spanning = self.coordinated.swap_remove(at);
        self.wait_no_more(&spanning);
        self.gatherings[part as usize - 1] = None;
        self.free_gatherings.push(part);
        for own in spanning.plan.parts() {
            let note = Note::Release {
                part,
                conn: spanning.conn,
                ends_watches: !spanning.is_command,
            };
            self.tell(own.core, note);
        }
        let mut out = Vec::new();
        write(spanning.how, &mut out);
        self.answer(spanning.conn, Source::Gathering(part), &out, true);
    }
}
