//! What other nodes ask of this one, and the messages to and from them.

use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{CommandSpec, END_WAIT, Run};
use slotcore_engine::ord::slot_of_bytes;
use slotcore_engine::sessions::{Once, Verdict};

use super::wire::{self, BadMessage, Body, NOT_HERE, REPLY_LOST};
use crate::batch::Who;
use crate::blocked::Ending;
use crate::core_state::CoreState;
use crate::mesh::Unread;
use crate::metadata::Change;
use crate::nodes::NodeNumber;
use crate::parcel::{Asker, Cast, Parcel, casts, reply_at};
use crate::steering::Asked;

/// Bytes of replies in one message.
const REPLIES_BYTES_MAX: usize = 64 << 20;

impl CoreState {
    /// Takes in a message of a node.
    ///
    /// # Errors
    /// It makes no sense; nothing of it was done, and nothing more of that link must be taken in.
    pub fn take_far(&mut self, node: u16, message: &[u8]) -> Result<(), BadMessage> {
        if node == 0 || node > self.relay.nodes {
            return Ok(());
        }
        let (body, bytes) = wire::open(message, self.mesh.cores())?;
        match body {
            Body::Requests => {
                let parcel = Parcel {
                    requests: bytes.to_vec(),
                    ..Parcel::default()
                };
                let from = self.mesh.far(node);
                self.mesh.unread.push_back(Unread { from, parcel, at: 0 });
            }
            Body::Replies => self.take_far_replies(bytes),
            Body::Casts => self.take_far_casts(bytes),
            Body::Metadata => self.take_far_change(bytes),
            Body::HandOver => self.wishes.hand_over = Some(NodeNumber(u32::from(node))),
        }
        Ok(())
    }

    /// A node asks for a change by the metadata group.
    fn take_far_change(&mut self, bytes: &[u8]) {
        if let (Some(view), Ok(change)) = (&self.server.view, Change::decode(bytes)) {
            let from_afar = true;
            view.steering.ask(Asked { change, from_afar });
        }
    }

    /// Gives away what there is for other nodes: the node, and the message.
    pub fn send_far(&mut self, mut send: impl FnMut(u16, Vec<u8>)) {
        if !self.relay.is_on() {
            return;
        }
        for node in self.relay.others() {
            let far = self.mesh.far(node);
            if self.mesh.to(far).is_empty() {
                continue;
            }
            let parcel = self.mesh.take(far);
            for (body, bytes) in [(Body::Requests, &parcel.requests), (Body::Casts, &parcel.casts)] {
                if !bytes.is_empty() {
                    send(node, wire::message(body, bytes));
                }
            }
            for replies in pieces(&parcel.replies) {
                send(node, wire::message(Body::Replies, &replies));
            }
            self.mesh.recycle(parcel);
        }
    }

    /// Nobody of that node waits for anything any more.
    pub(super) fn forget_node(&mut self, node: u16) {
        let far = self.mesh.far(node);
        let parcel = self.mesh.take(far);
        self.mesh.recycle(parcel);
        self.mesh.unread.retain(|unread| unread.from != far);
        for who in self.watches.watchers() {
            if who.0 == far {
                self.forget_here(who);
            }
        }
        for id in self.blocked.end_all_of(far, Ending::Gone) {
            self.propose_end(id);
        }
    }

    /// A node asks for what this core cannot do.
    pub(super) fn send_back(&mut self, from: u16, asker: Asker, spec: &CommandSpec) {
        // Nobody waits for an answer to those two.
        let unheard = spec.id == END_WAIT.id || matches!(spec.run, Run::Transaction(Step::Unwatch));
        if !unheard {
            self.mesh
                .to(from)
                .push_reply(asker, |out| out.extend_from_slice(NOT_HERE));
        }
    }

    /// A write that counts once has come out of the log. `Some`: it is to be executed, and its reply will begin there. `None`:
    /// it is not, and whoever waits was answered.
    #[cold]
    pub(crate) fn admit_once(&mut self, who: Who, once: &Once) -> Option<usize> {
        let Who::Core(from, asker, _) = who else { return Some(0) };
        let now_ms = self.keyspace.now_ms();
        let replies = self.mesh.to(from);
        let answer = match self.keyspace.sessions_mut().admit(once, now_ms) {
            Verdict::Execute => return Some(replies.replies.len()),
            Verdict::Known(answer) => answer.unwrap_or(REPLY_LOST),
            Verdict::Early => NOT_HERE,
            Verdict::Settled => return None,
        };
        replies.push_reply(asker, |out| out.extend_from_slice(answer));
        None
    }

    /// It was executed.
    #[cold]
    pub(crate) fn keep_answer(&mut self, who: Who, once: &Once, at: usize) {
        let answer = match who {
            Who::Core(from, ..) => self.mesh.to(from).reply_since(at).unwrap_or_default(),
            Who::Client(_) | Who::Waiter(_) | Who::Nobody => &[],
        };
        self.keyspace.sessions_mut().executed(once, answer);
    }

    /// Tells the other nodes of a message for all who listen.
    pub(crate) fn publish_far(&mut self, channel: &[u8], message: &[u8]) {
        // What is cast to a node without a link is lost anyway.
        for node in self.relay.others().filter(|&node| self.relay.is_linked(node)) {
            let far = self.mesh.far(node);
            self.mesh.to(far).push_cast(Cast::Message, channel, message);
        }
    }

    fn take_far_casts(&mut self, bytes: &[u8]) {
        let me = self.mesh.me().0;
        for (_, channel, message) in casts(bytes) {
            self.deliver(false, channel, message);
            for core in (0..self.mesh.cores() as u16).filter(|&core| core != me) {
                if self.pubsub.interest().may_hear(core, false, slot_of_bytes(channel)) {
                    self.mesh.to(core).push_cast(Cast::Message, channel, message);
                }
            }
        }
    }
}

/// Replies in pieces that fit into a message. One that fits into none is lost, and whoever waits is told.
fn pieces(replies: &[u8]) -> Vec<Vec<u8>> {
    if replies.is_empty() {
        return Vec::new();
    }
    if replies.len() <= REPLIES_BYTES_MAX {
        return vec![replies.to_vec()];
    }
    let mut pieces = vec![Parcel::default()];
    let mut at = 0;
    while at < replies.len() {
        let (asker, reply, next) = reply_at(replies, at);
        at = next;
        let reply = if reply.len() > REPLIES_BYTES_MAX {
            REPLY_LOST
        } else {
            reply
        };
        if pieces
            .last()
            .is_some_and(|last| last.replies.len() + reply.len() > REPLIES_BYTES_MAX)
        {
            pieces.push(Parcel::default());
        }
        if let Some(last) = pieces.last_mut() {
            last.push_reply(asker, |out| out.extend_from_slice(reply));
        }
    }
    pieces.into_iter().map(|piece| piece.replies).collect()
}
