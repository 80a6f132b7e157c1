//! Commands of this node that another one carries out.

use std::time::Duration;

use slotcore_engine::cmd::once::ONCE;
use slotcore_engine::cmd::op::{decode_op, encode_op};
use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::waiting::may_wait;
use slotcore_engine::cmd::{Args, CommandSpec, END_WAIT, Reply, Run, by_id};
use slotcore_netio::ConnId;
use slotcore_rt::clock::Tick;

use super::table::{Asked, Fate, Kind, Lane, Waiting, lane};
use super::wire::{NOT_HERE, REPLY_LOST};
use super::{EXPIRE_EVERY_MS, Relay, short};
use crate::batch::{Item, ItemKind, Who};
use crate::blocked::Ending;
use crate::clients::Endpoint;
use crate::core_state::{CoreState, lane_of};
use crate::mesh::Unread;
use crate::nodes::NodeList;
use crate::parcel::{Asker, How, reply_at};
use crate::reply::RespReply;
use crate::reply_order::Source;
use crate::requests_ahead::Request;
use crate::unexecuted::Unexecuted;

/// Longest command that is sent to another node, in bytes: with what goes along it fits into one message of a link.
const OP_BYTES_MAX: usize = 128 << 20;

const TOO_LONG: &str = "ERR the command is too long to be sent to the node that leads its slot: ask that node itself";
/// Nobody led for as long as a command is held.
pub(crate) const NO_LEADER: &str = "CLUSTERDOWN No node leads the slots of the command; it was not executed";
/// What nobody can tell.
pub(crate) const OUTCOME_UNKNOWN: &str =
    "TIMEOUT The outcome is unknown: the node that leads was lost, and the command may have been executed";
/// As Redis ends the waits of a master that becomes a replica.
pub(crate) const UNBLOCKED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
const NOT_KEPT: &str =
    "ERR the command was executed, but its reply was lost with the node that led, and was too long to be kept";
const UNBLOCKED_BY_CLIENT: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

impl CoreState {
    /// This node is one of these. Those of earlier lists keep their places, as numbers are never used again.
    pub fn set_far_nodes(&mut self, list: &NodeList) {
        let me = short(list.me);
        let highest = list.nodes.iter().map(|node| short(node.number)).max();
        let nodes = highest.unwrap_or(me).max(self.relay.nodes);
        self.mesh.make_far(nodes);
        let destinations = self.mesh.cores() + usize::from(nodes) + 1;
        self.foreign_waiting.resize_with(destinations, Vec::new);
        let relay = &mut self.relay;
        (relay.me, relay.nodes) = (me, nodes);
        relay.linked.resize(usize::from(nodes) + 1, false);
        self.relays = relay.is_needed();
    }

    /// Who leads this core's group, if anybody is known to. This node leads once it may carry out commands.
    pub fn set_leader(&mut self, leader: Option<u16>) {
        if leader == self.relay.leader || !self.relay.is_on() {
            return;
        }
        if self.relay.leads() {
            self.forget_watchers();
        }
        let own = self.mesh.far(self.relay.me);
        let parcel = self.mesh.take(own);
        self.take_far_replies(&parcel.replies);
        self.mesh.recycle(parcel);
        if let Some(old) = self.relay.leader.filter(|&old| old != self.relay.me) {
            // What is not sent yet goes to the new one.
            let far = self.mesh.far(old);
            self.mesh.to(far).requests.clear();
        }
        self.relay.leader = leader;
        self.relay.epoch += 1;
        self.recall();
    }

    /// What is under way has to go again.
    pub(super) fn recall(&mut self) {
        let mut given_up = Vec::new();
        let now = self.now.tick;
        self.relay.table.recall(now, |asked, fate| given_up.push((asked, fate)));
        self.give_up(given_up);
        self.relays = self.relay.is_needed();
    }

    /// A link to a node is there, or is not any more.
    pub fn set_linked(&mut self, node: u16, linked: bool) {
        let Some(place) = self.relay.linked.get_mut(usize::from(node)) else {
            return;
        };
        *place = linked;
        if linked {
            return;
        }
        self.forget_node(node);
        if self.relay.leader == Some(node) {
            // What it knew of watched keys it has forgotten.
            self.relay.epoch += 1;
            self.recall();
        }
    }

    /// Commands of other cores' connections, and of its own, that this core cannot carry out.
    pub(crate) fn goes_elsewhere(&self, from: u16, request: &Request) -> bool {
        if matches!(request.spec.run, Run::Server(_)) {
            return false;
        }
        if self.mesh.node_of(from).is_some() {
            return !self.relay.leads();
        }
        if request.spec.id == END_WAIT.id {
            return false;
        }
        // Behind what is in a batch it goes into a batch, too; should that not be executed, all of it goes elsewhere in order.
        self.is_for_leader(lane(from, request.asker.conn)) && self.waiting_for(from, request.asker) == 0
    }

    /// Whether a connection's command must go to whoever leads, or behind others that do.
    fn is_for_leader(&self, lane: Lane) -> bool {
        !self.relay.leads() || self.relay.table.has(lane) || self.relay.watching.contains_key(&lane)
    }

    /// Whether a command that comes in by a connection of this core may go to another node.
    #[cold]
    pub(crate) fn may_relay(&self, id: ConnId, spec: &CommandSpec) -> bool {
        matches!(spec.run, Run::Data(_)) && self.may_relay_of(id)
    }

    /// The same of whatever the connection asks about keys.
    #[cold]
    pub(crate) fn may_relay_of(&self, id: ConnId) -> bool {
        self.is_by_any_slot(id) && self.is_for_leader(lane(self.mesh.me().0, id)) && self.lanes[id.index()].waiting == 0
    }

    fn is_by_any_slot(&self, id: ConnId) -> bool {
        let client = self.server.clients.get(id.index());
        client.is_some_and(|client| client.endpoint == Endpoint::AnySlot)
    }

    /// Sends a command to whoever leads, or has it wait for a leader.
    pub(crate) fn relay(&mut self, from: u16, request: &Request, op: &[u8], spans: &[(u32, u32)]) {
        let (asker, how, spec) = (request.asker, request.how, request.spec);
        match self.mesh.node_of(from) {
            Some(_) => self.send_back(from, asker, spec),
            None => self.ask_leader(from, asker, how, spec, &Args::new(op, spans), op),
        }
    }

    fn ask_leader(
        &mut self,
        from: u16,
        asker: Asker,
        how: How,
        spec: &'static CommandSpec,
        args: &Args<'_>,
        op: &[u8],
    ) {
        let lane = lane(from, asker.conn);
        match spec.run {
            Run::Transaction(Step::Watch) => {
                self.relay.watching.entry(lane).or_insert(self.relay.epoch);
            }
            // Nobody waits for an answer.
            Run::Transaction(Step::Unwatch) => {
                self.forget_here(lane);
                return self.forget_relayed(from, asker.conn);
            }
            _ => {}
        }
        if how.watches {
            let known = self.relay.watching.remove(&lane);
            if known != Some(self.relay.epoch) || self.relay.leads() {
                self.server.metrics.transactions.failed_watches += 1;
                let reply = |out: &mut Vec<u8>| RespReply::new(out, how.proto).null_array();
                return self.mesh.to(from).push_reply(asker, reply);
            }
        }
        if op.len() > OP_BYTES_MAX {
            return self.refuse_core(from, asker, how, TOO_LONG);
        }
        let kind = match () {
            () if how.watches => Kind::Watching,
            () if may_wait(spec, args) => Kind::Blocking,
            () if spec.is_write() => Kind::Write,
            () => Kind::Read,
        };
        let op = op.into();
        let asked = Asked {
            from,
            asker,
            how,
            kind,
            op,
        };
        self.relay.table.ask(asked, self.now.tick);
        self.relays = true;
        self.server.metrics.net.commands_forwarded += 1;
    }

    /// A command was gathered here and is not executed by its batch. True: it goes to whoever leads, or its client was
    /// answered.
    #[cold]
    pub(crate) fn relay_unexecuted(&mut self, item: &Item, operation: &[u8], why: Unexecuted) -> bool {
        if !self.relay.is_on() || !matches!(item.kind, ItemKind::Write | ItemKind::Aside(_)) {
            return false;
        }
        let mut spans = Vec::new();
        let (id, _) = decode_op(operation, &mut spans).expect("encoded by this process");
        let may_be_twice = id == ONCE || item.kind != ItemKind::Write;
        let is_near = !matches!(item.who, Who::Core(from, ..) if self.mesh.node_of(from).is_some());
        match why {
            Unexecuted::InDoubt if !may_be_twice => return false,
            // It has been held for long enough.
            Unexecuted::NoLeader if is_near => return false,
            _ => {}
        }
        let args = Args::new(operation, &spans);
        match item.who {
            Who::Waiter(_) | Who::Nobody => return false,
            Who::Core(from, asker, how) if how.watches => {
                let reply = |out: &mut Vec<u8>| RespReply::new(out, how.proto).null_array();
                self.mesh.to(from).push_reply(asker, reply);
            }
            Who::Core(from, asker, how) => match (self.mesh.node_of(from), by_id(id)) {
                (Some(_), _) => self
                    .mesh
                    .to(from)
                    .push_reply(asker, |out| out.extend_from_slice(NOT_HERE)),
                (None, Some(spec)) => self.ask_leader(from, asker, how, spec, &args, operation),
                (None, None) => return false,
            },
            Who::Client(conn) => {
                let Some(spec) = by_id(id) else { return false };
                if !self.relay_of_client(conn, spec, &args, operation) {
                    return false;
                }
            }
        }
        self.waited(item.who);
        true
    }

    /// The next command of a connection that its own core would have answered is answered by whoever leads.
    fn relay_of_client(&mut self, conn: ConnId, spec: &'static CommandSpec, args: &Args<'_>, op: &[u8]) -> bool {
        if self.net.conn(conn).is_none() {
            return false;
        }
        if let Run::Server(cmd) = spec.run {
            let place = self.begin_ordered(conn);
            self.run_server(conn, spec, cmd, *args);
            self.end_ordered(conn, place);
            return true;
        }
        let is_step = matches!(spec.run, Run::Transaction(step) if !matches!(step, Step::Carry | Step::Watch));
        if is_step || !self.is_by_any_slot(conn) {
            return false;
        }
        let Some(client) = self.server.clients.get_mut(conn.index()) else {
            return false;
        };
        client.begin_command(spec.full_name, self.now.tick);
        let how = How::of(client);
        client.end_command();
        let me = self.mesh.me().0;
        let lane = lane_of(&mut self.lanes, conn);
        let order = lane.order.get_or_insert_with(|| {
            let mut order = self.spare_orders.pop().unwrap_or_default();
            order.expect_many(Source::Here, lane.waiting);
            order
        });
        order.divert(Source::Core(me));
        lane.away += 1;
        self.ask_leader(me, Asker::whole(conn), how, spec, args, op);
        true
    }

    /// Puts what can go now into the parcel for the leader.
    pub(super) fn send_held(&mut self) {
        let Some(node) = self.relay.target() else { return };
        let far = self.mesh.far(node);
        let Self { relay, mesh, now, .. } = self;
        relay.table.send(now.tick, |asked, number, once| {
            let asker = Asker {
                conn: far_conn(mesh.cores(), asked.from, asked.asker.conn),
                part: number,
            };
            let how = How {
                local: false,
                tracks: false,
                ..asked.how
            };
            mesh.to(far).push_encoded_request(asker, how, once.as_ref(), &asked.op);
        });
    }

    /// To be called at the end of a turn, before what it has for others is sent.
    pub fn end_relay_turn(&mut self) {
        if !self.relays {
            return;
        }
        let now = self.now.tick;
        if now >= self.relay.next_expire {
            self.relay.next_expire = now + Duration::from_millis(EXPIRE_EVERY_MS);
            let mut given_up = Vec::new();
            self.relay.table.expire(now, |asked, fate| given_up.push((asked, fate)));
            self.give_up(given_up);
        }
        if !self.relay.leads() {
            self.send_held();
        }
        self.relays = self.relay.is_needed();
    }

    /// When [`CoreState::end_relay_turn`] has something to do although nothing happens.
    pub fn relay_wake(&self) -> Option<Tick> {
        let again = self.relay.target().and(self.relay.table.next_try());
        let expire = (!self.relay.is_empty()).then_some(self.relay.next_expire);
        again.into_iter().chain(expire).min()
    }

    /// This core leads: it carries out itself what it still has in the table.
    #[cold]
    pub(crate) fn loop_back(&mut self) {
        let leads = self.relay.leads();
        if leads {
            self.send_held();
        }
        let own = self.mesh.far(self.relay.me);
        while !self.mesh.to(own).is_empty() {
            let parcel = self.mesh.take(own);
            self.take_far_replies(&parcel.replies);
            let mut unread = Unread {
                from: own,
                parcel,
                at: 0,
            };
            // If it does not lead any more, they were recalled.
            if leads {
                self.run_parcel(&mut unread, usize::MAX);
            }
            self.mesh.recycle(unread.parcel);
        }
        self.relays = self.relay.is_needed();
    }

    /// Takes in answers of another node, or of this one to what it has sent itself.
    pub(super) fn take_far_replies(&mut self, replies: &[u8]) {
        let mut at = 0;
        while at < replies.len() {
            let (asker, reply, next) = reply_at(replies, at);
            at = next;
            if reply == NOT_HERE {
                self.relay.table.refused(asker.part, self.now.tick);
            } else if let Some(asked) = self.relay.table.answered(asker.part) {
                match reply == REPLY_LOST {
                    true => self.refuse_core(asked.from, asked.asker, asked.how, NOT_KEPT),
                    false => {
                        let to = self.mesh.to(asked.from);
                        to.push_reply(asked.asker, |out| out.extend_from_slice(reply));
                    }
                }
            }
        }
    }

    fn give_up(&mut self, given_up: Vec<(Asked, Fate)>) {
        for (asked, fate) in given_up {
            let text = match fate {
                Fate::NotExecuted => NO_LEADER,
                Fate::Unknown => OUTCOME_UNKNOWN,
                Fate::Unblocked => UNBLOCKED,
            };
            self.refuse_core(asked.from, asked.asker, asked.how, text);
        }
    }

    /// If the wait of a connection is, or would be, another node's business, ends it there.
    #[cold]
    pub(crate) fn end_relayed_wait(&mut self, core: u16, conn: ConnId, ending: Ending) -> bool {
        if self.mesh.node_of(core).is_some() {
            return false;
        }
        match self.relay.table.end_wait(lane(core, conn), ending == Ending::Gone) {
            Waiting::Nothing => false,
            Waiting::Held(asked) => {
                let Asked { from, asker, how, .. } = asked;
                match ending {
                    Ending::Unblocked => self.refuse_core(from, asker, how, UNBLOCKED_BY_CLIENT),
                    Ending::Gone => self.mesh.to(from).push_reply(asker, |_| ()),
                    Ending::TimeUp => {
                        let reply = |out: &mut Vec<u8>| RespReply::new(out, how.proto).null_array();
                        self.mesh.to(from).push_reply(asker, reply);
                    }
                }
                true
            }
            Waiting::UnderWay => {
                let mut op = Vec::new();
                encode_op(&mut op, END_WAIT.id, &Args::new(&[], &[(0, 0)]));
                self.tell_leader(core, conn, u32::from(ending.to_byte()), &op);
                true
            }
        }
    }

    /// A connection watches nothing any more.
    #[cold]
    pub(crate) fn forget_relayed(&mut self, core: u16, conn: ConnId) {
        let known = self.relay.watching.remove(&lane(core, conn));
        if known == Some(self.relay.epoch) {
            let spec = slotcore_engine::cmd::lookup(b"unwatch").expect("a command of the table");
            let mut op = Vec::new();
            encode_op(&mut op, spec.id, &Args::new(&[], &[(0, 0)]));
            self.tell_leader(core, conn, 0, &op);
        }
    }

    /// Sends what needs no answer to whoever leads.
    fn tell_leader(&mut self, core: u16, conn: ConnId, part: u32, op: &[u8]) {
        if let Some(node) = self.relay.target() {
            let asker = Asker {
                conn: far_conn(self.mesh.cores(), core, conn),
                part,
            };
            let far = self.mesh.far(node);
            self.mesh.to(far).push_encoded_request(asker, How::unheard(), None, op);
        }
    }

    /// This core leads no more, and knows nothing of what happens to watched keys.
    fn forget_watchers(&mut self) {
        for who in self.watches.watchers() {
            if self.mesh.node_of(who.0).is_none() {
                self.relay.watching.insert(who, 0);
            }
            self.forget_here(who);
        }
    }
}

/// A connection as the leader knows it: unique among those of all cores of this node.
fn far_conn(cores: usize, core: u16, conn: ConnId) -> ConnId {
    let (index, generation) = conn.parts();
    ConnId::from_parts((index * cores as u32 + u32::from(core), generation))
}

impl Relay {
    /// Nodes besides this one.
    pub(super) fn others(&self) -> impl Iterator<Item = u16> + use<> {
        let me = self.me;
        (1..=self.nodes).filter(move |&node| node != me)
    }
}
