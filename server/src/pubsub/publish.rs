//! `PUBLISH` and `SPUBLISH`: from the publisher's core to all who listen, wherever they are.

use slotcore_engine::cmd::{Args, CommandSpec, Reply, ServerCmd};
use slotcore_engine::ord::slot_of_bytes;
use slotcore_netio::{ConnId, Net};

use super::Kind;
use super::message::Encoded;
use crate::clients::ClientRegistry;
use crate::core_state::{CoreState, lane_of};
use crate::gathering::Combine;
use crate::parcel::{Asker, How};
use crate::reply::RespReply;
use crate::reply_order::Source;

/// The publisher of a message whose connection is gone: no connection has this number.
const NOBODY: (u32, u32) = (u32::MAX, 0);

/// Where the count of the receivers has its place, if other cores have to be asked for it.
#[derive(Clone, Copy)]
enum Counted {
    /// Where the next reply of the connection's own core would have it: that is the command being carried out.
    InPlace,
    /// Behind all that is owed to the connection.
    Behind,
}

impl CoreState {
    /// Carries out a `PUBLISH` or `SPUBLISH` of `id`, which may be gone.
    pub(crate) fn run_publish(&mut self, id: ConnId, spec: &'static CommandSpec, cmd: ServerCmd, args: Args<'_>) {
        let there = self.net.conn(id).is_some();
        let how = match self.server.clients.get_mut(id.index()).filter(|_| there) {
            Some(client) => {
                client.begin_command(spec.full_name, self.now.tick);
                let how = How::of(client);
                client.end_command();
                how
            }
            None => How::unheard(),
        };
        let receivers = self.publish(id, how, spec, cmd, args, Counted::InPlace);
        if let Some(receivers) = receivers
            && !how.silent
            && let Some((_, out)) = self.net.io(id)
        {
            RespReply::new(out, how.proto).int(receivers);
        }
        self.tally.note(spec);
    }

    /// The same inside of an EXEC whose replies so far have their places: this one comes behind them, as nothing that the
    /// connection sent later has been looked at. How many heard it, as in [`CoreState::publish`].
    pub(crate) fn run_publish_in_exec(
        &mut self,
        id: ConnId,
        how: How,
        spec: &'static CommandSpec,
        cmd: ServerCmd,
        args: Args<'_>,
    ) -> Option<i64> {
        self.tally.note(spec);
        self.publish(id, how, spec, cmd, args, Counted::Behind)
    }

    /// Sends a message whose receivers nobody counts: a script's.
    pub(crate) fn publish_for_nobody(&mut self, spec: &'static CommandSpec, cmd: ServerCmd, args: Args<'_>) {
        self.publish(
            ConnId::from_parts(NOBODY),
            How::unheard(),
            spec,
            cmd,
            args,
            Counted::InPlace,
        );
    }

    /// Sends the message of a `PUBLISH` or `SPUBLISH` of `id`, which may be gone. How many heard it, when that is known at once;
    /// else the connection is answered when the other cores have told.
    fn publish(
        &mut self,
        id: ConnId,
        how: How,
        spec: &'static CommandSpec,
        cmd: ServerCmd,
        args: Args<'_>,
        counted: Counted,
    ) -> Option<i64> {
        let (channel, message, sharded) = (args.get(1), args.get(2), cmd == ServerCmd::SPublish);
        let slot = slot_of_bytes(channel);
        let me = self.mesh.me().0;
        if self.relay.is_on() && !sharded {
            self.publish_far(channel, message);
        }
        let receivers = if self.pubsub.interest().may_hear(me, sharded, slot) {
            self.deliver(sharded, channel, message)
        } else {
            0
        };
        let mut part = None;
        for core in (0..self.mesh.cores() as u16).filter(|&core| core != me) {
            if self.pubsub.interest().may_hear(core, sharded, slot) {
                let part = *part.get_or_insert_with(|| self.begin_counting(id, how, counted));
                self.ask(part, core, Vec::new());
                let asker = Asker { conn: id, part };
                self.mesh.to(core).push_request(asker, how, spec.id, &args);
            }
        }
        let Some(part) = part else { return Some(receivers) };
        self.ask(part, me, Vec::new());
        let mut digits = itoa::Buffer::new();
        let own = [b":", digits.format(receivers).as_bytes(), b"\r\n"].concat();
        self.part_arrived(part, me, &own);
        None
    }

    /// Sends a message to all clients of this core who listen; their number.
    pub(crate) fn deliver(&mut self, sharded: bool, channel: &[u8], message: &[u8]) -> i64 {
        let Self {
            pubsub,
            net,
            server,
            encoded,
            ..
        } = self;
        let (kind, word): (_, &[u8]) = if sharded {
            (Kind::Shard, b"smessage")
        } else {
            (Kind::Channel, b"message")
        };
        let words = [word, channel, message];
        let mut receivers = push_to(net, &server.clients, encoded, pubsub.listeners(kind, channel), &words);
        if !sharded {
            for (pattern, who) in pubsub.matching(channel) {
                let words = [b"pmessage".as_slice(), pattern, channel, message];
                receivers += push_to(net, &server.clients, encoded, who, &words);
            }
        }
        receivers
    }

    /// The receivers of a message of `id` are counted on several cores: the answer follows.
    fn begin_counting(&mut self, id: ConnId, how: How, counted: Counted) -> u32 {
        let there = self.net.io(id).is_some();
        let conn = if there { id } else { ConnId::from_parts(NOBODY) };
        let part = self.enter_gathering(conn, how, Combine::Receivers);
        if there {
            match counted {
                Counted::InPlace => self.answer_later(id, Source::Gathering(part)),
                Counted::Behind => self.expect(id, Source::Gathering(part)),
            }
            lane_of(&mut self.lanes, id).publishes_away += 1;
        }
        part
    }

    /// The command of `id` that is being carried out here will be answered by `source`, and not when it returns.
    fn answer_later(&mut self, id: ConnId, source: Source) {
        let lane = lane_of(&mut self.lanes, id);
        lane.away += 1;
        match &mut lane.order {
            Some(order) => {
                order.divert(source);
                self.diverted = true;
            }
            None => {
                // Whatever else waits in batches came after it; it is itself still counted when it does.
                let behind = lane.waiting.saturating_sub(1);
                let mut order = self.spare_orders.pop().unwrap_or_default();
                order.expect(source);
                order.expect_many(Source::Here, behind);
                lane.order = Some(order);
            }
        }
    }
}

/// Appends a message to the output of each receiver; how many there were.
fn push_to(net: &mut Net, clients: &ClientRegistry, encoded: &mut Encoded, who: &[ConnId], words: &[&[u8]]) -> i64 {
    encoded.clear();
    let mut receivers = 0;
    for &id in who {
        let Some(client) = clients.get(id.index()) else {
            continue;
        };
        let Some((_, out)) = net.io(id) else { continue };
        out.extend_from_slice(encoded.get(client.proto, words));
        receivers += 1;
    }
    receivers
}
