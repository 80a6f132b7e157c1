//! Commands that were gathered and will not be executed by their batch: they are gathered again, or their clients are told.
//!
//! What a client is told is a promise. `MOVED`, `CLUSTERDOWN` and `TRYAGAIN` say that the command was not executed and will
//! not be; only [`Unexecuted::InDoubt`] leaves that open, and says so.

use slotcore_engine::cmd::op::{self, BATCH_HEADER_BYTES};
use slotcore_engine::cmd::{Args, Reply, by_id, keys};
use slotcore_engine::ord::slot_of;

use crate::batch::{Item, ItemKind, Sealed, Who};
use crate::core_state::CoreState;
use crate::elsewhere::Place;
use crate::reply::RespReply;

/// Nobody leads for too long.
const NO_LEADER: &str = "CLUSTERDOWN No leader is known for this slot. The command was not executed; try again";
/// It was refused by Raft while a later one was not.
const OVERTAKEN: &str = "TRYAGAIN The command was not executed: leadership was in question; try again";
/// It is in a log, and nobody says whether a quorum has it.
const IN_DOUBT: &str = "TIMEOUT The outcome is unknown: the command may have been executed, or may be yet";

/// Why a batch is not executed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unexecuted {
    /// Another node leads.
    Moved,
    /// Nobody does.
    NoLeader,
    /// It cannot be tried again without changing the order of commands.
    Overtaken,
    /// It may be executed nevertheless.
    InDoubt,
}

impl CoreState {
    /// The oldest batch, whose entry would have been `payload`, is not executed: its clients are told why.
    pub(crate) fn turn_away(&mut self, payload: &[u8], why: Unexecuted) {
        let Some(sealed) = self.proposed.pop_front() else {
            return;
        };
        let mut operations = Operations::of(&sealed, payload);
        for (at, item) in sealed.items.iter().enumerate() {
            let operation = operations.of_item(item);
            if why == Unexecuted::Moved && self.answers_as_replica(item, &sealed, operation) {
                self.answer_aside(at, &sealed);
                continue;
            }
            if self.relay_unexecuted(item, operation, why) {
                continue;
            }
            let text = match item.kind {
                ItemKind::Forget => {
                    self.forget_applied(item.who, Place::Alone);
                    continue;
                }
                ItemKind::Said(_) | ItemKind::Refusal(_) => text_of(operation),
                ItemKind::Write | ItemKind::Aside(_) => match why {
                    Unexecuted::Moved => self.moved(operation),
                    Unexecuted::NoLeader => NO_LEADER.to_string(),
                    Unexecuted::Overtaken => OVERTAKEN.to_string(),
                    Unexecuted::InDoubt => IN_DOUBT.to_string(),
                },
            };
            let place = match item.who {
                Who::Client(conn) => Some((conn, self.begin_ordered(conn))),
                Who::Core(..) | Who::Waiter(_) | Who::Nobody => None,
            };
            match item.kind {
                ItemKind::Said(_) => self.say_now(item.who, &text),
                _ => self.answer_refusal(item.who, &text),
            }
            if let Some((conn, place)) = place {
                self.end_ordered(conn, place);
            }
            self.waited(item.who);
        }
        self.spare.push(sealed);
    }

    /// Nothing of what was gathered and sealed is executed, and this core leads anew: all of it is gathered again, in order,
    /// to be stamped with the time and the origin of this leadership. `payloads`: those of all sealed batches.
    pub(crate) fn gather_again(&mut self, payloads: &[bytes::Bytes]) {
        let batches = std::mem::take(&mut self.proposed);
        debug_assert_eq!(batches.len(), payloads.len(), "a payload for each batch");
        for (sealed, payload) in batches.into_iter().zip(payloads) {
            let mut operations = Operations::of(&sealed, payload);
            let mut copying = sealed.copying.iter().peekable();
            for (at, item) in sealed.items.iter().enumerate() {
                let operation = operations.of_item(item);
                let before = self.batch.len();
                self.put_again(item, operation);
                if copying.next_if(|copy| **copy as usize == at).is_some() && self.batch.len() > before {
                    self.batch.mark_copies();
                }
                if self.batch.is_full() {
                    self.seal();
                }
            }
            self.spare.push(sealed);
        }
    }

    fn put_again(&mut self, item: &Item, operation: &[u8]) {
        let who = item.who;
        match (item.kind, who) {
            // The waits of an earlier leadership are over.
            (_, Who::Waiter(id)) => self.blocked.refused(id, self.now.tick),
            // What was decided at another time may not be wanted any more.
            (_, Who::Nobody) => {}
            // Somebody else may have changed what it watched.
            (ItemKind::Write | ItemKind::Aside(_), Who::Core(core, asker, how)) if how.watches => {
                self.mesh
                    .to(core)
                    .push_reply(asker, |out| RespReply::new(out, how.proto).null_array());
                self.waited(who);
            }
            (ItemKind::Write, _) => {
                self.batch.push_encoded_write(who, operation);
                let (id, _) = op::decode_op(operation, &mut self.spans).expect("encoded by this process");
                if let Some(spec) = by_id(id) {
                    self.note_blocking(who, spec);
                }
            }
            (ItemKind::Aside(_), _) => {
                // It may be there for the time that an entry brings.
                self.batch.touch();
                self.batch.push_encoded_aside(who, operation);
            }
            (ItemKind::Said(_), _) => self.batch.push_said(who, &text_of(operation)),
            (ItemKind::Refusal(_), _) => self.batch.push_refusal(who, &text_of(operation)),
            (ItemKind::Forget, Who::Client(conn)) => self.batch.push_forget(conn),
            (ItemKind::Forget, Who::Core(..)) => self.forget_applied(who, Place::Alone),
        }
    }

    /// Where the keys of an operation are to be asked for.
    fn moved(&mut self, operation: &[u8]) -> String {
        let mut spans = std::mem::take(&mut self.spans);
        let (id, _) = op::decode_op(operation, &mut spans).expect("encoded by this process");
        let spec = by_id(id).expect("encoded by this process");
        let args = Args::new(operation, &spans);
        self.key_numbers.clear();
        keys(spec, &args, &mut self.key_numbers);
        let core = self.server.core;
        let slot = match self.key_numbers.first() {
            Some(&number) => slot_of(args.get(number as usize)),
            // About all keys of the core.
            None => *self.server.cluster.range_of(core).start(),
        };
        self.spans = spans;
        match &self.server.view {
            Some(view) => view.moved(slot, core),
            None => unreachable!("a node on its own leads"),
        }
    }
}

/// A line of text in the side buffer.
fn text_of(operation: &[u8]) -> String {
    let mut spans = Vec::new();
    op::decode_op(operation, &mut spans).expect("encoded by this process");
    String::from_utf8_lossy(Args::new(operation, &spans).get(1)).into_owned()
}

/// The operations of a batch, item by item.
struct Operations<'a> {
    payload: &'a [u8],
    asides: &'a [u8],
    /// The next write.
    at: usize,
    spans: Vec<(u32, u32)>,
}

impl<'a> Operations<'a> {
    fn of(sealed: &'a Sealed, payload: &'a [u8]) -> Self {
        Self {
            payload,
            asides: &sealed.asides,
            at: BATCH_HEADER_BYTES,
            spans: Vec::new(),
        }
    }

    /// Its bytes: of a write in the payload, of everything else in the side buffer.
    fn of_item(&mut self, item: &Item) -> &'a [u8] {
        let rest = match item.kind {
            ItemKind::Write => &self.payload[self.at..],
            ItemKind::Aside(at) | ItemKind::Said(at) | ItemKind::Refusal(at) => &self.asides[at as usize..],
            ItemKind::Forget => return &[],
        };
        let (_, bytes) = op::decode_op(rest, &mut self.spans).expect("encoded by this process");
        if item.kind == ItemKind::Write {
            self.at += bytes;
        }
        &rest[..bytes]
    }
}
