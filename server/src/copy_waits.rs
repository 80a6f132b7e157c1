//! `WAIT` and `WAITAOF` where the connection is, and what cores do for those of others: [`crate::copies`] decides.
//!
//! A connection that waits sends nothing further meanwhile, as with commands that wait for keys (`Lane::blocks`). Inside a
//! transaction nobody waits: what is certain is answered.

use std::collections::BTreeMap;

use slotcore_engine::cmd::{CommandSpec, Reply, Run, ServerCmd};
use slotcore_engine::log::CoreLog;
use slotcore_netio::ConnId;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Consensus, Group, StateMachine};

use crate::blocked::Ending;
use crate::blocking::UNBLOCKED;
use crate::clients::Endpoint;
use crate::cluster_turn::Replication;
use crate::commands::{CopyWish, certain_copies, write_copies};
use crate::config::Durability;
use crate::copies::{Copies, CopyWait, WaitNo};
use crate::core_state::{CoreState, Now, lane_of};
use crate::dispatch::{note_error, refuse};
use crate::leadership::Standing;
use crate::parcel::Note;
use crate::reply::RespReply;
use crate::reply_order::Source;
use crate::window::{Parsed, Window};

/// Whether a command is one of these.
pub(crate) fn asks_for_copies(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Server(ServerCmd::Wait | ServerCmd::WaitAof))
}

impl CoreState {
    /// Carries out such a command outside of a transaction. Nothing that its connection sent before is under way.
    #[cold]
    pub(crate) fn run_copy_wait(&mut self, window: &Window, c: &Parsed, spec: &'static CommandSpec) {
        let (id, now) = (c.conn, self.now.tick);
        let (Some(client), Run::Server(cmd)) = (self.server.clients.get_mut(id.index()), spec.run) else {
            return;
        };
        if let Some(text) = refuse(spec, client, self.write_barrier) {
            return self.refuse_here(id, spec, text);
        }
        client.begin_command(spec.full_name, now);
        let (silent, endpoint) = (!client.wants_reply(), client.endpoint);
        let wish = CopyWish::of(cmd, &window.args(c, self.net.input(id)));
        self.tally.note(spec);
        let me = self.server.core;
        self.expect(id, Source::Core(me.0));
        lane_of(&mut self.lanes, id).blocks = Some(me);
        let wish = match wish {
            Ok(wish) => wish,
            Err(text) => {
                let mut out = Vec::new();
                RespReply::new(&mut out, 2).error(text);
                note_error(&mut self.server.metrics, spec, &out, 0);
                return self.end_command_with(id, if silent { b"" } else { &out });
            }
        };
        // On its own a node has no replicas, and never will.
        let asks = self.replication.is_some() || wish.both;
        let asked: Vec<u16> = match endpoint {
            _ if !asks => Vec::new(),
            Endpoint::Core => vec![me.0],
            Endpoint::AnySlot => (0..self.mesh.cores() as u16).collect(),
        };
        let number = self.copy_waits.begin(CopyWait {
            conn: id,
            silent,
            both: wish.both,
            wanted: wish.wanted,
            told: asked.iter().map(|core| (*core, None)).collect::<BTreeMap<_, _>>(),
            deadline: wish.timeout.map(|timeout| now + timeout),
        });
        if !asks && wish.wanted == Copies::default() {
            return self.end_copy_wait(number, Ending::TimeUp);
        }
        if let Some(client) = self.server.clients.get_mut(id.index()) {
            client.blocked = true;
        }
        self.count_blocked();
        let (durably, flush) = (wish.both, wish.wanted.local);
        for core in asked {
            if core == me.0 {
                self.copy_asks.ask(core, number, durably, flush);
            } else {
                let want = Note::WantCopies {
                    wait: number,
                    durably,
                    flush,
                };
                self.mesh.to(core).notes.push(want);
            }
        }
    }

    /// Takes in what `core` has told.
    pub(crate) fn copies_told(&mut self, core: u16, wait: WaitNo, copies: Copies) {
        if self.copy_waits.told(wait, core, copies) {
            self.end_copy_wait(wait, Ending::TimeUp);
        }
    }

    /// Answers those whose time is up.
    pub(crate) fn end_due_copy_waits(&mut self, now: Now) {
        while let Some(number) = self.copy_waits.next_due(now.tick) {
            self.end_copy_wait(number, Ending::TimeUp);
        }
    }

    /// Nobody waits for this any more: whoever did is told how many copies there are, or why not.
    pub(crate) fn end_copy_wait(&mut self, number: WaitNo, ending: Ending) {
        let Some(wait) = self.copy_waits.end(number) else {
            return;
        };
        let me = self.server.core.0;
        for &core in wait.told.keys() {
            if core == me {
                self.copy_asks.forget(me, number);
            } else {
                self.mesh.to(core).notes.push(Note::EnoughCopies(number));
            }
        }
        self.count_blocked();
        let proto = self
            .server
            .clients
            .get(wait.conn.index())
            .map_or(2, |client| client.proto);
        let mut out = Vec::new();
        let mut reply = RespReply::new(&mut out, proto);
        match ending {
            Ending::TimeUp => write_copies(wait.known(), wait.both, &mut reply),
            Ending::Unblocked => {
                self.server.metrics.errors.count(UNBLOCKED);
                reply.error(UNBLOCKED);
            }
            Ending::Gone => {}
        }
        self.end_command_with(wait.conn, if wait.silent { b"" } else { &out });
    }

    fn end_command_with(&mut self, id: ConnId, reply: &[u8]) {
        if self.net.conn(id).is_none() {
            return;
        }
        if let Some(client) = self.server.clients.get_mut(id.index()) {
            client.blocked = false;
            client.end_command();
        }
        self.answer(id, Source::Core(self.server.core.0), reply, false);
    }

    /// Looks how far the copies of this core's log reach, and tells who wants to know.
    #[cold]
    pub(crate) fn look_at_copies<S: StateMachine>(&mut self, log: &mut CoreLog, group: &Group<GlommioRuntime, S>) {
        let progress = group.progress();
        if self
            .copy_asks
            .mark(log.appended(), progress.appended.max(progress.applied))
        {
            log.request_sync();
        }
        let durability = self.server.config.settings().durability;
        let leads = self
            .replication
            .as_ref()
            .is_none_or(|replication| matches!(replication.standing, Standing::Leads));
        // Without a replica it is not known who votes.
        let is_outside = self.replication.as_deref().is_some_and(Replication::is_outside);
        let others = if is_outside { 0 } else { group.certain_copies() };
        let news = self.copy_asks.news(|frame, last, durably| {
            let certain = certain_copies(others, durability, durably);
            // What is in another node's log is durable there in `always` only.
            let counts = leads && (!durably || durability == Durability::Always);
            let held = group.holders_of(last).filter(|_| counts).unwrap_or(0);
            Copies {
                local: if leads { log.durable() >= frame } else { certain.local },
                replicas: certain.replicas.max(u16::try_from(held).unwrap_or(u16::MAX)),
            }
        });
        let me = self.server.core.0;
        for (core, wait, copies) in news {
            if core == me {
                self.copies_told(core, wait, copies);
            } else {
                self.mesh.to(core).notes.push(Note::Copies { wait, copies });
            }
        }
    }
}
