//! Transactions where their keys live: watched keys, the decision about EXEC, and carrying out.

use slotcore_engine::cmd::op::decode_op;
use slotcore_engine::cmd::spanning;
use slotcore_engine::cmd::transaction::{Step, for_each_operation};
use slotcore_engine::cmd::{Args, CommandSpec, Exec, Flags, Reply, Run, by_id, prepare};
use slotcore_engine::keyspace::EventClasses;
use slotcore_rt::clock::{Clock, SystemClock};

use super::gate::{Held, Passed};
use super::watches::{Touched, Watcher, watcher};
use crate::batch::Who;
use crate::core_state::CoreState;
use crate::dispatch::{Outcome, note_error};
use crate::elsewhere::Place;
use crate::parcel::{Asker, How};
use crate::reply::RespReply;
use crate::requests_ahead::Request;

/// What stands before the reason when an EXEC is refused.
pub(crate) const ABORTED_BECAUSE: &str = "EXECABORT Transaction discarded because of: ";

impl CoreState {
    /// Carries out a step of a transaction whose keys live here. Where it must be put off nothing was answered.
    pub(crate) fn run_step(
        &mut self,
        who: Who,
        spec: &'static CommandSpec,
        step: Step,
        args: Args<'_>,
        seed: u64,
    ) -> Outcome {
        match step {
            Step::Carry => return self.carry(who, spec, args, seed),
            Step::CarryPart => {
                spanning::note(&mut self.keyspace, &args);
                self.holds.applied();
                return spanning::with_own_part(&args, |spec, args| self.carry(who, spec, args, seed));
            }
            Step::Watch => {
                self.watch_here(who, &args);
                self.answer_with(who, spec, |reply| reply.ok());
            }
            Step::Unwatch => {
                self.forget_here(self.watcher_of(who));
                // A core that forgets for its connection waits for no answer.
                if let Who::Client(_) = who {
                    self.answer_with(who, spec, |reply| reply.ok());
                }
            }
            Step::Multi | Step::Exec | Step::Discard => unreachable!("{} is never sent on", spec.name),
        }
        self.tally.note(spec);
        Outcome::Answered
    }

    fn watcher_of(&self, who: Who) -> Watcher {
        match who {
            Who::Client(conn) => watcher(self.mesh.me().0, conn),
            Who::Core(core, asker, _) => watcher(core, asker.conn),
            Who::Waiter(_) | Who::Nobody => unreachable!("only clients watch"),
        }
    }

    fn watch_here(&mut self, who: Who, args: &Args<'_>) {
        let (core, conn) = self.watcher_of(who);
        // Whoever has gone is not watched for; another core's connections are forgotten when it says so.
        if core == self.mesh.me().0 && self.net.conn(slotcore_netio::ConnId::from_parts(conn)).is_none() {
            return;
        }
        let gathered = self.last_gathered();
        let wall_ms = self.now.wall_ms();
        if !self.keyspace.is_complete() {
            args.iter_from(1).for_each(|key| self.keyspace.make_known(key));
        }
        for key in args.iter_from(1) {
            let expire = self.keyspace.expire_at(key);
            let there = expire.is_some_and(|expire| expire.is_none_or(|at| at > wall_ms));
            self.watches.watch((core, conn), key, there, gathered);
        }
        self.server.facts.watched_keys = self.watches.len() as u64;
        // Nothing was read.
        self.keyspace.take_needs_tick();
    }

    /// A connection of this core forgets what it watches here, behind what it had asked before. `place`: where a reply of
    /// it would have gone.
    #[cold]
    pub(crate) fn forget_applied(&mut self, who: Who, place: Place) {
        if let (Who::Client(conn), Place::Early) = (who, place) {
            self.swap_back(conn);
        }
        self.forget_here(self.watcher_of(who));
    }

    pub(crate) fn forget_here(&mut self, who: Watcher) {
        self.watches.forget(who);
        self.server.facts.watched_keys = self.watches.len() as u64;
    }

    /// The last batch that commands were put into.
    fn last_gathered(&self) -> u64 {
        if self.batch.is_empty() {
            self.next_batch - 1
        } else {
            self.next_batch
        }
    }

    /// The oldest batch that is not applied.
    fn oldest_unapplied(&self) -> u64 {
        self.proposed.front().map_or(self.next_batch, |sealed| sealed.seq)
    }

    /// A write is about to be put into the batch while some keys are watched.
    #[cold]
    pub(crate) fn note_gathered(&mut self, spec: &'static CommandSpec, args: &Args<'_>) {
        let (batch, waiters) = (self.next_batch, !self.keyspace.waiters().is_empty());
        if spec.run.is_carrier() {
            for_each_operation(args, 0, |spec, args, _| {
                if spec.is_write() {
                    self.watches.gathered(spec, &args, batch, waiters);
                }
            });
        } else {
            self.watches.gathered(spec, args, batch, waiters);
        }
    }

    /// A write is about to be applied while some keys are watched: which of them it may change, and where its reply will
    /// begin. What a transaction changes it notes itself.
    #[cold]
    pub(crate) fn before_write(
        &mut self,
        who: Who,
        spec: &'static CommandSpec,
        args: &Args<'_>,
    ) -> (Vec<Touched>, usize) {
        if spec.run.is_carrier() || matches!(spec.run, Run::Transaction(Step::CarryPart)) {
            return (Vec::new(), 0);
        }
        if spec.flags.has(Flags::LOGGED) {
            self.before_unnamed();
            return (Vec::new(), 0);
        }
        if !self.keyspace.is_complete() {
            self.watches.make_known(&mut self.keyspace, spec, args);
        }
        let touched = self.watches.before(&mut self.keyspace, spec, args);
        let at = match who {
            Who::Client(conn) => self.net.io(conn).map_or(0, |(_, out)| out.len()),
            Who::Core(core, ..) => self.mesh.to(core).replies.len(),
            Who::Waiter(_) | Who::Nobody => 0,
        };
        (touched, at)
    }

    /// It has been applied.
    #[cold]
    pub(crate) fn after_write(&mut self, who: Who, spec: &'static CommandSpec, (touched, at): (Vec<Touched>, usize)) {
        if spec.flags.has(Flags::LOGGED) {
            return self.after_unnamed();
        }
        if touched.is_empty() {
            return;
        }
        let reply = match who {
            Who::Client(conn) => self.net.io(conn).and_then(|(_, out)| out.get(at..)),
            Who::Core(core, ..) => self.mesh.to(core).reply_since(at),
            Who::Waiter(_) | Who::Nobody => None,
        };
        self.watches
            .after(&mut self.keyspace, spec, &touched, reply.unwrap_or_default());
    }

    /// Something is about to write whose keys nobody can tell beforehand, a script or a command that has waited, while some
    /// keys are watched: the keyspace notes whatever it changes.
    #[cold]
    pub(crate) fn before_unnamed(&mut self) {
        let notify = self.server.config.settings().notify_keyspace_events;
        self.keyspace.listen_to(notify.wanted().and(EventClasses::CHANGES));
    }

    /// It has written.
    #[cold]
    pub(crate) fn after_unnamed(&mut self) {
        self.watches.after_unnamed(&self.keyspace);
        self.listen_to_keys();
    }

    /// A transaction of a connection that watches keys here has come: it goes on when it is known whether they were changed.
    pub(crate) fn hold_transaction(&mut self, from: u16, asker: Asker, how: How, operation: &[u8]) {
        let own = if self.waiting_for(from, asker) > 0 {
            self.last_gathered()
        } else {
            0
        };
        self.gate.hold(from, asker, how, operation, own);
        self.pass_gate();
    }

    /// True when a transaction waits for nothing but [`CoreState::pass_gate`].
    pub fn gate_is_due(&self) -> bool {
        !self.is_held() && !self.gate.is_empty() && self.gate.is_due(self.oldest_unapplied())
    }

    /// Decides about transactions that waited for writes to be applied. To be called in the turn whose time their entry
    /// will have: a watched key must not expire in between.
    pub(crate) fn pass_gate(&mut self) {
        while !self.is_held() {
            if !self.keyspace.is_complete() {
                self.watches.make_all_known(&mut self.keyspace);
            }
            let Self {
                gate,
                watches,
                keyspace,
                now,
                ..
            } = self;
            let unapplied = self.proposed.front().map_or(self.next_batch, |sealed| sealed.seq);
            let stamp_ms = self.last_stamp_ms.max(now.wall_ms()).max(keyspace.now_ms());
            let passed = gate.next(watches, unapplied, |held| {
                watches.is_unchanged(keyspace, watcher(held.from, held.asker.conn), stamp_ms)
            });
            self.keyspace.take_needs_tick();
            match passed {
                None => return,
                Some(Passed::Failed(held)) => self.fail(&held),
                Some(Passed::Go(held)) => self.let_through(&held),
            }
        }
    }

    fn fail(&mut self, held: &Held) {
        self.forget_here(watcher(held.from, held.asker.conn));
        self.server.metrics.transactions.failed_watches += 1;
        let proto = held.how.proto;
        self.mesh
            .to(held.from)
            .push_reply(held.asker, |out| RespReply::new(out, proto).null_array());
    }

    fn let_through(&mut self, held: &Held) {
        let who = watcher(held.from, held.asker.conn);
        let may_expire = self.watches.may_expire(&mut self.keyspace, who);
        self.forget_here(who);
        let mut spans = Vec::new();
        let (id, _) = decode_op(&held.operation, &mut spans).expect("encoded by a core of this process");
        let spec = by_id(id).expect("encoded by a core of this process");
        let request = Request::alone(held.asker, held.how, spec);
        self.run_for_other(held.from, &request, &held.operation, &spans);
        if may_expire {
            // The entry gets the time that the decision was taken at.
            self.seal();
        }
    }

    /// Carries out the operations of a transaction: here and now.
    fn carry(&mut self, who: Who, spec: &'static CommandSpec, args: Args<'_>, seed: u64) -> Outcome {
        let proto = match who {
            Who::Client(conn) => self.server.clients.get(conn.index()).map_or(2, |client| client.proto),
            Who::Core(_, _, how) => how.proto,
            Who::Waiter(_) | Who::Nobody => 2,
        };
        let mut out = std::mem::take(&mut self.transaction_out);
        out.clear();
        RespReply::new(&mut out, proto).array(args.len() - 1);
        for_each_operation(&args, seed, |spec, args, seed| {
            self.carry_one(who, spec, args, seed, proto, &mut out);
        });
        let put_off = self.keyspace.take_needs_tick();
        if !put_off {
            self.tally.note(spec);
            self.server.metrics.transactions.executed += 1;
            self.answer_with_bytes(who, spec, &out);
        }
        self.transaction_out = out;
        if put_off { Outcome::NeedsTick } else { Outcome::Answered }
    }

    fn carry_one(
        &mut self,
        who: Who,
        spec: &'static CommandSpec,
        args: Args<'_>,
        seed: u64,
        proto: u8,
        out: &mut Vec<u8>,
    ) {
        let Run::Data(f) = spec.run else {
            // UNWATCH: nothing is watched any more.
            return RespReply::new(out, proto).ok();
        };
        let complete = self.keyspace.is_complete();
        if !complete {
            prepare(&mut self.keyspace, spec, &args, seed);
        }
        let watched = spec.is_write() && !self.watches.is_empty();
        let is_script = watched && spec.flags.has(Flags::LOGGED);
        if is_script {
            self.before_unnamed();
        } else if watched && !complete {
            self.watches.make_known(&mut self.keyspace, spec, &args);
        }
        let touched = (watched && !is_script).then(|| self.watches.before(&mut self.keyspace, spec, &args));
        let timed = self.times_all || !spec.flags.has(Flags::FAST);
        let began = timed.then(|| SystemClock.tick());
        let mark = out.len();
        let mut reply = RespReply::new(out, proto);
        f(&mut Exec::nested(&mut self.keyspace, args, seed), &mut reply);
        let mut failed = reply.failed();
        if self.keyspace.has_missed() {
            // It looks at more than it names, and only reads.
            while self.keyspace.supply_missed() {
                out.truncate(mark);
                let mut reply = RespReply::new(out, proto);
                f(&mut Exec::nested(&mut self.keyspace, args, seed), &mut reply);
                failed = reply.failed();
            }
            self.keyspace.lend_keys(None);
        }
        if failed {
            note_error(&mut self.server.metrics, spec, out, mark);
        }
        if let Some(touched) = touched {
            self.watches.after(&mut self.keyspace, spec, &touched, &out[mark..]);
        }
        if is_script {
            self.after_unnamed();
        }
        self.tally.note(spec);
        if let Some(began) = began {
            self.note_slow(who, args, spec, began);
        }
    }

    fn answer_with(&mut self, who: Who, spec: &'static CommandSpec, write: impl FnOnce(&mut RespReply<'_>)) {
        let proto = match who {
            Who::Client(conn) => self.server.clients.get(conn.index()).map_or(2, |client| client.proto),
            Who::Core(_, _, how) => how.proto,
            Who::Waiter(_) | Who::Nobody => 2,
        };
        let mut bytes = Vec::new();
        write(&mut RespReply::new(&mut bytes, proto));
        self.answer_with_bytes(who, spec, &bytes);
    }

    fn answer_with_bytes(&mut self, who: Who, spec: &'static CommandSpec, bytes: &[u8]) {
        match who {
            Who::Client(conn) => {
                let Some(client) = self.server.clients.get_mut(conn.index()) else {
                    return;
                };
                client.begin_command(spec.full_name, self.now.tick);
                let wanted = client.wants_reply();
                client.end_command();
                if wanted && let Some((_, out)) = self.net.io(conn) {
                    out.extend_from_slice(bytes);
                }
            }
            Who::Core(core, asker, how) => self.mesh.to(core).push_reply(asker, |out| {
                if !how.silent {
                    out.extend_from_slice(bytes);
                }
            }),
            Who::Waiter(_) | Who::Nobody => {}
        }
    }
}
