//! The way of commands whose keys are in files: see `cold.rs`.

use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{
    Args, CommandSpec, DataFn, Exec, Flags, KeySearch, KeySpec, Run, ServerCmd, for_each_needed, is_rehearsed,
    rehearse, resolve,
};
use slotcore_engine::keyspace::{FileKeys, Keyspace, Missed, Residency};
use slotcore_engine::ord::{KeyHash, slot_of};
use slotcore_engine::store::{Fetch, FetchId, StoreError};
use slotcore_netio::ConnId;
use slotcore_netio::resp::decode::{Limits, Request as Decoded};

use crate::apply::From;
use crate::batch::Who;
use crate::cold::{AHEAD_COMMANDS_MAX, ColdLane, Rerun, Waiter};
use crate::core_state::{CoreState, lane_of};
use crate::dispatch::{Outcome, refuse, refuse_now, run_data};
use crate::mesh::Unread;
use crate::parcel::{Asker, Parcel, put_request};
use crate::pause::Held;
use crate::requests_ahead::Request;
use crate::route::Route;
use crate::transaction::Owner;
use crate::window::{Parsed, Window};

/// What is added to the seed of random choices after each command that may have used it.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A key that a command needs.
struct Needed {
    hash: KeyHash,
    /// The key itself when only files know it.
    unknown: Option<Box<[u8]>>,
}

/// Whether a command may look at more than the keys that its arguments name: only running it tells.
pub(crate) fn looks_further(spec: &CommandSpec) -> bool {
    match spec.run {
        Run::Data(_) => {
            let unsaid = |keys: &KeySpec| matches!(keys.search, KeySearch::Unknown);
            (spec.key_specs.is_empty() && !spec.is_write()) || spec.key_specs.iter().any(unsaid)
        }
        Run::Server(cmd) => matches!(
            cmd,
            ServerCmd::ClusterCountKeysInSlot | ServerCmd::ClusterGetKeysInSlot | ServerCmd::Debug
        ),
        Run::Transaction(_) | Run::Container => false,
    }
}

/// All keys a command needs when at least one of them is known to files only; else none.
fn needs_files(ks: &Keyspace, spec: &CommandSpec, args: &Args<'_>) -> Vec<Needed> {
    let (mut needed, mut any) = (Vec::new(), false);
    for_each_needed(spec, args, &mut |key| {
        let hash = ks.key_hash(key);
        let unknown = (ks.residency(hash, key) == Residency::Unknown).then(|| key.into());
        any |= unknown.is_some();
        needed.push(Needed { hash, unknown });
    });
    if !any {
        needed.clear();
    }
    needed
}

fn held_if(waits: bool) -> Held {
    if waits { Held::Now } else { Held::Not }
}

/// Pins what a command needs that goes into the batch: it must be there when the batch is applied.
fn pin_needed(ks: &mut Keyspace, spec: &CommandSpec, args: &Args<'_>, pins: &mut Vec<KeyHash>) {
    for_each_needed(spec, args, &mut |key| {
        let hash = ks.key_hash(key);
        ks.pin(hash);
        pins.push(hash);
    });
}

impl CoreState {
    /// Whether the command just decoded must wait, and does from now on.
    #[cold]
    pub(crate) fn waits_for_files(
        &mut self,
        id: ConnId,
        spec: &'static CommandSpec,
        window: &Window,
        c: &Parsed,
    ) -> bool {
        if spec.is_write() && !self.write_gate.is_open() {
            self.cold.stats.writes_held += 1;
            self.wait_for_others(id);
            return true;
        }
        if self.keyspace.is_complete() {
            return false;
        }
        let args = window.args(c, self.net.input(id));
        let needed = needs_files(&self.keyspace, spec, &args);
        if needed.is_empty() {
            return false;
        }
        if self.cold.is_busy() {
            self.wait_for_others(id);
            return true;
        }
        self.cold.stats.waits += 1;
        self.fetch_for_client(id, needed);
        lane_of(&mut self.lanes, id).is_stalled()
    }

    /// Nothing more is taken from the connection until others have got on.
    fn wait_for_others(&mut self, id: ConnId) {
        let lane = lane_of(&mut self.lanes, id);
        if !lane.waits_later {
            lane.waits_later = true;
            self.cold.later.push_back(id);
        }
    }

    fn fetch_for_client(&mut self, id: ConnId, needed: Vec<Needed>) {
        let mut cold = lane_of(&mut self.lanes, id).cold.take().unwrap_or_default();
        self.fetch(&Waiter::Client(id), needed, &mut cold);
        lane_of(&mut self.lanes, id).cold = Some(cold);
    }

    /// Asks for keys on behalf of `waiter`, and pins them.
    fn fetch(&mut self, waiter: &Waiter, needed: Vec<Needed>, cold: &mut ColdLane) {
        for Needed { hash, unknown } in needed {
            self.keyspace.pin(hash);
            cold.pins.push(hash);
            if let Some(key) = unknown {
                let asked = self.store.borrow_mut().fetch(&mut self.keyspace, hash, &key);
                cold.awaited += u32::from(self.awaits(asked, *waiter));
            }
        }
    }

    /// Enters `waiter` for what was asked for; false when that is known already.
    pub(crate) fn awaits(&mut self, asked: Result<Fetch, StoreError>, waiter: Waiter) -> bool {
        match asked {
            Ok(Fetch::Known) => false,
            Ok(Fetch::Wait(fetch)) => {
                self.cold.waiters.entry(fetch).or_default().push(waiter);
                true
            }
            Err(error) => {
                // Nothing may be answered from here on: the waiter waits until the process ends, with this turn.
                self.store_failure.get_or_insert(error);
                true
            }
        }
    }

    /// Asks for what the commands behind one that waits will need. Nothing is taken, and nothing is decided: they are looked
    /// at again when their turn has come.
    #[cold]
    pub(crate) fn look_further(&mut self, window: &mut Window, id: ConnId, mut at: usize, limits: &Limits) {
        let first = window.spans.len();
        // The first of them is the one that waits.
        for _ in 0..=AHEAD_COMMANDS_MAX {
            if self.cold.is_busy() || self.keyspace.is_complete() {
                break;
            }
            window.spans.truncate(first);
            let Ok(Decoded::Complete(bytes)) = self.net.decode(id, at, limits, &mut window.spans) else {
                break;
            };
            let input = self.net.input(id);
            if window.spans.len() > first
                && let Ok(spec) = resolve(&Args::new(&input[at..], &window.spans[first..]))
            {
                let (spec, stored) = window.store(spec, input, at, first);
                let args = Args::new(window.bytes_at(input, at, stored), &window.spans[first..]);
                let needed = needs_files(&self.keyspace, spec, &args);
                let (map, me) = (&self.server.cluster, self.server.core);
                let is_here = |needed: &Needed| {
                    needed
                        .unknown
                        .as_ref()
                        .is_none_or(|key| map.owner_of(slot_of(key)) == me)
                };
                if !needed.is_empty() && needed.iter().all(is_here) {
                    self.fetch_for_client(id, needed);
                }
            }
            at += bytes;
        }
        window.spans.truncate(first);
        self.net.rewind(id);
    }

    /// As [`CoreState::waits_for_files`], for the last command of the window, which is taken out again when it must.
    pub(crate) fn waits_at_gathering(&mut self, window: &mut Window, first: usize) -> Held {
        let Some(&c) = window.commands.last() else {
            return Held::Not;
        };
        let id = c.conn;
        let held = match (c.spec, c.route) {
            (Ok(spec), Route::Here) => held_if(self.waits_for_files(id, spec, window, &c)),
            (Ok(spec), Route::Session) => self.step_waits(window, spec, &c),
            _ => Held::Not,
        };
        if held != Held::Not {
            window.commands.pop();
            window.spans.truncate(first);
            lane_of(&mut self.lanes, id).blocks = None;
        }
        held
    }

    /// The same for a step of a transaction.
    fn step_waits(&mut self, window: &Window, spec: &CommandSpec, c: &Parsed) -> Held {
        let id = c.conn;
        let me = self.server.core;
        let queued = self.lanes[id.index()].session.queue.is_some();
        let mut spans = Vec::new();
        let (carrier, args) = match spec.run {
            // WATCH, of keys of this core; others look for themselves.
            Run::Transaction(Step::Watch) if !queued => (spec, window.args(c, self.net.input(id))),
            Run::Transaction(Step::Exec) if window.commands.iter().filter(|other| other.conn == id).count() > 1 => {
                // What is in the transaction is known when what came before was carried out.
                return Held::AskAgain;
            }
            Run::Transaction(Step::Exec) => match &self.lanes[id.index()].session.queue {
                Some(queue) if queue.owner == Owner::Core(me) => (queue.carrier(), queue.arguments(&mut spans)),
                _ => return Held::Not,
            },
            _ => return Held::Not,
        };
        if carrier.is_write() && !self.write_gate.is_open() {
            self.cold.stats.writes_held += 1;
            self.wait_for_others(id);
            return Held::Now;
        }
        let mut needed = needs_files(&self.keyspace, carrier, &args);
        let map = &self.server.cluster;
        let is_here = |key: &[u8]| map.owner_of(slot_of(key)) == me;
        needed.retain(|needed| needed.unknown.as_ref().is_none_or(|key| is_here(key)));
        if !needed.iter().any(|needed| needed.unknown.is_some()) {
            return Held::Not;
        }
        if self.cold.is_busy() {
            self.wait_for_others(id);
            return Held::Now;
        }
        self.cold.stats.waits += 1;
        self.fetch_for_client(id, needed);
        held_if(lane_of(&mut self.lanes, id).is_stalled())
    }

    /// Runs a command while keys are in files, or will soon be. False: nothing was done that the ordinary way would not do,
    /// and it is the one to go.
    #[cold]
    pub(crate) fn run_warily(&mut self, window: &Window, c: &Parsed) -> bool {
        let (Ok(spec), id) = (c.spec, c.conn) else { return false };
        let refused = match self.server.clients.get(id.index()) {
            Some(client) => refuse(spec, client, self.write_barrier).is_some(),
            None => true,
        };
        let lane = lane_of(&mut self.lanes, id);
        let (complete, alone) = (self.keyspace.is_complete(), lane.waiting == 0 && lane.order.is_none());
        if refused {
            return false;
        }
        let is_further = looks_further(spec);
        if is_further && !(alone && self.reads_allowed) {
            // It may have to be run twice, which it cannot between writes: it waits until they are applied. Where all keys
            // are in memory they may have been evicted by then, and it has none that could be pinned.
            lane.held = !alone;
            lane.stop(c.base);
            if alone {
                self.wait_for_others(id);
            }
            return true;
        }
        if !complete && is_rehearsed(spec) {
            let rerun = self.rerun_of(id);
            let seed = self.begin_rerun(rerun);
            let args = window.args(c, self.net.input(id));
            rehearse(spec, &mut Exec::new(&mut self.keyspace, args, seed));
            if let Some(missed) = self.keyspace.take_missed() {
                self.client_missed(id, c.base, missed, seed);
                return true;
            }
        }
        let is_data = matches!(spec.run, Run::Data(_));
        if spec.is_write() || (is_data && (!alone || !self.reads_allowed)) {
            let args = window.args(c, self.net.input(id));
            pin_needed(&mut self.keyspace, spec, &args, &mut self.batch.pins);
            return false;
        }
        match spec.run {
            _ if complete && !is_further => return false,
            Run::Data(_) if spec.full_name == "keys" => {
                let pattern = window.args(c, self.net.input(id)).get(1).to_vec();
                self.begin_walk(Who::Client(id), spec, pattern);
            }
            Run::Data(f) => self.read_warily(window, c, spec, f),
            Run::Server(cmd) if is_further => self.look_warily(window, c, spec, cmd),
            Run::Server(_) | Run::Transaction(_) | Run::Container => return false,
        }
        true
    }

    fn read_warily(&mut self, window: &Window, c: &Parsed, spec: &'static CommandSpec, f: DataFn) {
        let id = c.conn;
        let rerun = self.rerun_of(id);
        let seed = self.begin_rerun(rerun);
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        let Some((input, out)) = self.net.io(id) else { return };
        let (mode, mark) = (client.reply_mode, out.len());
        let args = window.args(c, input);
        let mut exec = Exec::new(&mut self.keyspace, args, seed);
        let outcome = run_data(&mut exec, client, out, spec, f, self.now, &mut self.server.metrics);
        self.keyspace.lend_keys(None);
        if let Some(missed) = self.keyspace.take_missed() {
            out.truncate(mark);
            client.reply_mode = mode;
            self.client_missed(id, c.base, missed, seed);
            return;
        }
        match outcome {
            Outcome::Answered => {
                self.tally.note(spec);
                if self.tracking.copies {
                    self.tracking.note((self.server.core.0, id), spec, &args);
                }
            }
            Outcome::NeedsTick if looks_further(spec) => {
                // It may miss something again then: it is run anew when the time has come.
                self.batch.touch();
                lane_of(&mut self.lanes, id).stop(c.base);
                self.wait_for_others(id);
            }
            Outcome::NeedsTick => {
                pin_needed(&mut self.keyspace, spec, &args, &mut self.batch.pins);
                self.batch.touch();
                self.batch.push_aside(id, spec.id, &args);
                self.waits(id);
            }
            Outcome::Waits => {
                pin_needed(&mut self.keyspace, spec, &args, &mut self.batch.pins);
                self.batch.push_write(id, spec.id, &args);
                self.note_blocking(Who::Client(id), spec);
                self.waits(id);
            }
        }
        if !spec.flags.has(Flags::FAST) {
            self.seeds = self.seeds.wrapping_add(SEED_STEP);
        }
    }

    /// A command about the keys of a slot.
    fn look_warily(&mut self, window: &Window, c: &Parsed, spec: &'static CommandSpec, cmd: ServerCmd) {
        let id = c.conn;
        let spans = &window.spans[c.spans.0 as usize..c.spans.1 as usize];
        let rerun = self.rerun_of(id);
        let seed = self.begin_rerun(rerun);
        let mut copy = std::mem::take(&mut self.scratch_in);
        let Some((input, out)) = self.net.io(id) else { return };
        let mark = out.len();
        window.copy_to(c, input, &mut copy);
        self.run_server(id, spec, cmd, Args::new(&copy, spans));
        self.scratch_in = copy;
        self.keyspace.lend_keys(None);
        if let Some(missed) = self.keyspace.take_missed() {
            if let Some((_, out)) = self.net.io(id) {
                out.truncate(mark);
            }
            self.client_missed(id, c.base, missed, seed);
        }
    }

    /// Gives a command that is run again what it lacked. Returns the seed of its random choices.
    #[cold]
    pub(crate) fn begin_rerun(&mut self, rerun: Option<Rerun>) -> u64 {
        let Some(rerun) = rerun else { return self.seeds };
        if let Some((keys, state)) = rerun.lent
            && state == self.store.borrow().flushed()
        {
            self.keyspace.lend_keys(Some(keys));
        }
        rerun.seed
    }

    /// What a connection's command is run again with, if it is.
    pub(crate) fn rerun_of(&mut self, id: ConnId) -> Option<Rerun> {
        lane_of(&mut self.lanes, id).cold.as_mut()?.rerun.take()
    }

    /// A command of a connection has looked for what only files know: it is run again when that has come.
    #[cold]
    pub(crate) fn client_missed(&mut self, id: ConnId, base: usize, missed: Missed, seed: u64) {
        let mut cold = lane_of(&mut self.lanes, id).cold.take().unwrap_or_default();
        self.fetch_missed(Waiter::Client(id), missed, seed, &mut cold);
        if cold.awaited == 0 {
            self.net.mark_ready(id);
        }
        let lane = lane_of(&mut self.lanes, id);
        lane.cold = Some(cold);
        lane.stop(base);
    }

    fn fetch_missed(&mut self, waiter: Waiter, missed: Missed, seed: u64, cold: &mut ColdLane) {
        self.cold.stats.reruns += 1;
        self.keyspace.lend_keys(None);
        if let Missed::Key(key) = &missed {
            let hash = self.keyspace.key_hash(key);
            self.keyspace.pin(hash);
            cold.pins.push(hash);
        }
        cold.rerun = Some(Rerun { lent: None, seed });
        let asked = self.store.borrow_mut().fetch_missed(&mut self.keyspace, missed);
        cold.awaited += u32::from(self.awaits(asked, waiter));
    }

    /// What a connection had asked for has served its purpose, once what it sent was carried out.
    #[cold]
    pub(crate) fn warm_up(&mut self, id: ConnId) {
        if let Some(cold) = lane_of(&mut self.lanes, id).cold.take_if(|cold| cold.awaited == 0) {
            self.settle_pins(cold.pins);
        }
    }

    /// Commands that needed these keys were carried out, or are in the batch that was last touched.
    fn settle_pins(&mut self, mut pins: Vec<KeyHash>) {
        if !self.batch.is_empty() {
            self.batch.pins.append(&mut pins);
        } else if let Some(last) = self.proposed.back_mut() {
            last.pins.append(&mut pins);
        } else {
            self.unpin(&pins);
        }
    }

    /// The connection is gone, and with it what it waited for.
    pub(crate) fn forget_cold(&mut self, lane: usize) {
        if let Some(cold) = self.lanes.get_mut(lane).and_then(|lane| lane.cold.take()) {
            self.unpin(&cold.pins);
        }
    }

    /// Lets keys be evicted again.
    pub(crate) fn unpin(&mut self, pins: &[KeyHash]) {
        for &hash in pins {
            self.keyspace.unpin(hash);
        }
    }

    fn next_fetched(&mut self) -> Option<(FetchId, Option<FileKeys>)> {
        self.store.borrow_mut().take_fetched()
    }

    /// Takes in what was fetched: those who waited go on.
    pub fn take_fetched(&mut self) {
        while let Some((fetch, keys)) = self.next_fetched() {
            for waiter in self.cold.waiters.remove(&fetch).unwrap_or_default() {
                match waiter {
                    Waiter::Client(id) => self.client_got(id, keys.clone()),
                    Waiter::Core(core, conn) => self.core_got(core, conn, keys.clone()),
                    Waiter::Walk(walk) => self.walk_got(walk, keys.clone()),
                    Waiter::Victims => self.victims_came(keys.clone()),
                }
            }
        }
        let mut behind = std::mem::take(&mut self.cold.behind);
        behind.retain(|&(core, asker)| {
            let waits = !self.write_gate.is_open() || !self.reads_allowed || self.waiting_for(core, asker) > 0;
            if !waits {
                self.core_got(core, asker.conn, None);
            }
            waits
        });
        self.cold.behind = behind;
        if !self.cold.is_busy() && self.write_gate.is_open() {
            while let Some(id) = self.cold.later.pop_front() {
                if self.net.conn(id).is_some() {
                    lane_of(&mut self.lanes, id).waits_later = false;
                    self.net.mark_ready(id);
                }
            }
        }
    }

    pub(crate) fn client_got(&mut self, id: ConnId, keys: Option<FileKeys>) {
        if self.net.conn(id).is_none() {
            return;
        }
        let state = self.store.borrow().flushed();
        if let Some(cold) = &mut lane_of(&mut self.lanes, id).cold {
            cold.got(keys, state);
            if cold.awaited == 0 {
                self.net.mark_ready(id);
            }
        }
    }

    pub(crate) fn core_got(&mut self, core: u16, conn: ConnId, keys: Option<FileKeys>) {
        let state = self.store.borrow().flushed();
        if let Some(parked) = self.cold.parked.get_mut(&(core, conn)) {
            parked.cold.got(keys, state);
            if parked.cold.awaited == 0 {
                self.cold.thawed.push_back((core, conn));
            }
        }
    }

    /// Goes on with requests of other cores, and own parts of commands, whose keys have come.
    pub(crate) fn run_thawed(&mut self) {
        while self.has_room()
            && !self.is_held()
            && let Some((from, conn)) = self.cold.thawed.pop_front()
        {
            let Some(mut parked) = self.cold.parked.remove(&(from, conn)) else {
                continue;
            };
            self.cold.rerun = parked.cold.rerun.take();
            let parcel = Parcel {
                requests: parked.requests,
                ..Parcel::default()
            };
            let mut unread = Unread { from, parcel, at: 0 };
            self.run_parcel(&mut unread, usize::MAX);
            self.cold.rerun = None;
            self.mesh.recycle(unread.parcel);
            self.settle_pins(parked.cold.pins);
            self.queue_ended(from, conn);
        }
    }

    /// A connection of this core goes on when no own parts of its commands wait any more.
    fn queue_ended(&mut self, from: u16, conn: ConnId) {
        if from == self.mesh.me().0 && !self.cold.parked.contains_key(&(from, conn)) {
            self.client_got(conn, None);
        }
    }

    /// Whether a request of another core must wait, and does from now on.
    #[cold]
    fn park(&mut self, from: u16, request: &Request, args: &Args<'_>, op: &[u8]) -> bool {
        let Request { asker, spec, .. } = *request;
        if self.queue_up(from, request, op) {
            return true;
        }
        let held = spec.is_write() && !self.write_gate.is_open();
        let complete = self.keyspace.is_complete();
        let alone = self.reads_allowed && self.waiting_for(from, asker) == 0;
        if held || (looks_further(spec) && !alone) {
            self.cold.stats.writes_held += u64::from(held);
            self.park_behind(from, asker);
        } else {
            let needed = if complete {
                Vec::new()
            } else {
                needs_files(&self.keyspace, spec, args)
            };
            if needed.is_empty() {
                return false;
            }
            self.cold.stats.waits += 1;
            let mut cold = ColdLane::default();
            self.fetch(&Waiter::Core(from, asker.conn), needed, &mut cold);
            if cold.awaited == 0 {
                // Filters knew. Nothing is evicted before the request is carried out.
                self.unpin(&cold.pins);
                return false;
            }
            self.open_queue(from, asker, cold);
        }
        self.queue_up(from, request, op)
    }

    /// Puts a request behind what its connection waits for. False: it waits for nothing.
    fn queue_up(&mut self, from: u16, request: &Request, op: &[u8]) -> bool {
        let Request { asker, how, once, .. } = request;
        let Some(parked) = self.cold.parked.get_mut(&(from, asker.conn)) else {
            return false;
        };
        put_request(&mut parked.requests, *asker, *how, once.as_deref(), op);
        true
    }

    /// Requests for this connection queue until what came before is done.
    fn park_behind(&mut self, from: u16, asker: Asker) {
        let cold = ColdLane {
            awaited: 1,
            ..ColdLane::default()
        };
        self.open_queue(from, asker, cold);
        self.cold.behind.push((from, asker));
    }

    /// Requests for this connection queue from now on.
    pub(crate) fn open_queue(&mut self, from: u16, asker: Asker, cold: ColdLane) {
        let conn = asker.conn;
        if cold.awaited == 0 {
            self.cold.thawed.push_back((from, conn));
        }
        self.cold.parked.entry((from, conn)).or_default().cold = cold;
        if from == self.mesh.me().0 && self.net.conn(conn).is_some() {
            // What the connection sent next must not come before.
            lane_of(&mut self.lanes, conn).cold.get_or_insert_default().awaited += 1;
        }
    }

    /// A request of another core has looked for what only files know.
    #[cold]
    fn request_missed(&mut self, from: u16, request: &Request, op: &[u8], missed: Missed, seed: u64) {
        let asker = request.asker;
        let mut cold = ColdLane::default();
        self.fetch_missed(Waiter::Core(from, asker.conn), missed, seed, &mut cold);
        self.open_queue(from, asker, cold);
        self.queue_up(from, request, op);
    }

    /// Carries out a request of another core while keys are in files, or will soon be. False: as for
    /// [`CoreState::run_warily`].
    #[cold]
    pub(crate) fn request_warily(&mut self, from: u16, request: &Request, op: &[u8], args: &Args<'_>) -> bool {
        let Request { asker, how, spec, .. } = *request;
        if self.park(from, request, args, op) {
            return true;
        }
        let complete = self.keyspace.is_complete();
        if refuse_now(spec, self.write_barrier).is_some() {
            return false;
        }
        let is_further = looks_further(spec);
        let rerun = if is_further { self.cold.rerun.take() } else { None };
        let seed = self.begin_rerun(rerun);
        if !complete && is_rehearsed(spec) {
            rehearse(spec, &mut Exec::new(&mut self.keyspace, *args, seed));
            if let Some(missed) = self.keyspace.take_missed() {
                self.request_missed(from, request, op, missed, seed);
                return true;
            }
        }
        let is_data = matches!(spec.run, Run::Data(_));
        if spec.is_write() || (is_data && (self.waiting_for(from, asker) > 0 || !self.reads_allowed)) {
            pin_needed(&mut self.keyspace, spec, args, &mut self.batch.pins);
            return false;
        }
        let mark = self.mesh.to(from).replies.len();
        let outcome = match spec.run {
            _ if complete && !is_further => return false,
            Run::Data(_) if spec.full_name == "keys" => {
                self.begin_walk(Who::Core(from, asker, how), spec, args.get(1).to_vec());
                return true;
            }
            Run::Data(_) => self.run_for_core(from, asker, how, spec, *args, From::Side(seed)),
            Run::Server(cmd) if is_further => {
                self.run_visiting(from, asker, how, spec, cmd, *args);
                Outcome::Answered
            }
            Run::Server(_) | Run::Transaction(_) | Run::Container => return false,
        };
        self.keyspace.lend_keys(None);
        if let Some(missed) = self.keyspace.take_missed() {
            self.mesh.to(from).cut_replies(mark);
            self.request_missed(from, request, op, missed, seed);
        } else if outcome == Outcome::NeedsTick && is_further {
            self.batch.touch();
            self.park_behind(from, asker);
            self.queue_up(from, request, op);
        } else if outcome == Outcome::NeedsTick {
            pin_needed(&mut self.keyspace, spec, args, &mut self.batch.pins);
            self.batch.touch();
            self.batch.push_encoded_aside(Who::Core(from, asker, how), op);
            self.core_waits(from, asker, how);
        } else if outcome == Outcome::Waits {
            pin_needed(&mut self.keyspace, spec, args, &mut self.batch.pins);
            self.batch.push_encoded_write(Who::Core(from, asker, how), op);
            self.note_blocking(Who::Core(from, asker, how), spec);
            self.core_waits(from, asker, how);
        } else if !spec.flags.has(Flags::FAST) {
            self.seeds = self.seeds.wrapping_add(SEED_STEP);
        }
        true
    }
}
