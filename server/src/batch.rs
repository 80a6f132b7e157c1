//! [`Batch`]: what one turn gathered for one group, and becomes one Raft entry.
//!
//! A batch holds the writes of the turn in the order they arrived, encoded for the log, and the *asides* between them:
//! commands that are not replicated but must be answered in order behind a write of their connection. Applying the
//! entry walks both together. Nothing is allocated per command; the buffers of an applied batch serve a later one.

use bytes::Bytes;
use slotcore_engine::cmd::once::encode_once_op;
use slotcore_engine::cmd::op::{BATCH_HEADER_BYTES, BatchHeader, encode_header, encode_op};
use slotcore_engine::cmd::{Args, CommandId};
use slotcore_engine::ord::KeyHash;
use slotcore_engine::sessions::Once;
use slotcore_engine::waiters::WaiterId;
use slotcore_netio::ConnId;
use slotcore_rt::clock::Tick;

use crate::parcel::{Asker, How};

/// Entry payload at which a batch is proposed before its turn ends, in bytes: an entry should fit in one log frame.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Commands at which a batch is proposed before its turn ends: bounds the time one apply holds the core.
pub const BATCH_ITEMS_MAX: usize = 4096;

/// One command of a batch, with who waits for its reply.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Who is answered; may be gone when the batch is applied.
    pub who: Who,
    /// What is to be done.
    pub kind: ItemKind,
}

/// Who waits for a command of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A connection of this core.
    Client(ConnId),
    /// Another core, for one of its connections; or this core itself, for a part of a command.
    Core(u16, Asker, How),
    /// Whoever this waiter is, if it still waits: the command ends its wait.
    Waiter(WaiterId),
    /// Nobody: the server itself has decided on it.
    Nobody,
}

/// See [`Item`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// The next operation of the payload.
    Write,
    /// A command at this offset of the side buffer.
    Aside(u32),
    /// Nothing to answer: the connection watches no key of this core any more. Not counted among what it waits for.
    Forget,
    /// A status line to answer, argument 1 of the operation at this offset of the side buffer.
    Said(u32),
    /// An error line to answer, argument 1 of the operation at this offset of the side buffer.
    Refusal(u32),
}

/// Stands in the side buffer where a command's number would be, before the text of a refusal or a status.
const TEXT: CommandId = CommandId(u16::MAX);

/// The batch under construction.
#[derive(Debug, Default)]
pub struct Batch {
    payload: Vec<u8>,
    asides: Vec<u8>,
    items: Vec<Item>,
    /// Which of them read for clients that keep copies.
    copying: Vec<u32>,
    writes: u32,
    wants_time: bool,
    header: Vec<u8>,
    /// Keys that must stay in memory until the batch was applied.
    pub(crate) pins: Vec<KeyHash>,
}

/// A batch that was proposed and waits to be applied.
#[derive(Debug, Default)]
pub struct Sealed {
    /// Its number, also stamped into the entry.
    pub seq: u64,
    /// Bytes of its entry.
    pub bytes: usize,
    /// When it was closed.
    pub sealed_at: Tick,
    /// Nothing in it needs an entry.
    pub reads_only: bool,
    /// Something in it needs the time that its entry carries.
    pub wants_time: bool,
    /// Commands in order.
    pub items: Vec<Item>,
    /// Which of them read for clients that keep copies (`CLIENT TRACKING`), in order.
    pub copying: Vec<u32>,
    /// Asides, encoded as operations.
    pub asides: Vec<u8>,
    /// Keys pinned for it.
    pub pins: Vec<KeyHash>,
}

impl Batch {
    /// Appends a write.
    pub fn push_write(&mut self, conn: ConnId, id: CommandId, args: &Args<'_>) {
        self.open();
        encode_op(&mut self.payload, id, args);
        self.writes += 1;
        self.items.push(Item {
            who: Who::Client(conn),
            kind: ItemKind::Write,
        });
    }

    /// Appends a write that is encoded already.
    pub fn push_encoded_write(&mut self, who: Who, op: &[u8]) {
        self.open();
        self.payload.extend_from_slice(op);
        self.writes += 1;
        self.items.push(Item {
            who,
            kind: ItemKind::Write,
        });
    }

    /// Appends a write that is encoded already, and counts once.
    pub fn push_once(&mut self, who: Who, once: &Once, op: &[u8]) {
        self.open();
        encode_once_op(&mut self.payload, once, op);
        self.writes += 1;
        self.items.push(Item {
            who,
            kind: ItemKind::Write,
        });
    }

    /// Appends a command that is executed at its place between the writes, on this core only.
    pub fn push_aside(&mut self, conn: ConnId, id: CommandId, args: &Args<'_>) {
        let at = self.aside_offset();
        encode_op(&mut self.asides, id, args);
        self.items.push(Item {
            who: Who::Client(conn),
            kind: ItemKind::Aside(at),
        });
    }

    /// Appends such a command that is encoded already.
    pub fn push_encoded_aside(&mut self, who: Who, op: &[u8]) {
        let at = self.aside_offset();
        self.asides.extend_from_slice(op);
        self.items.push(Item {
            who,
            kind: ItemKind::Aside(at),
        });
    }

    /// Appends an error to be answered in order: the command was refused before it could be anything else.
    pub fn push_refusal(&mut self, who: Who, text: &str) {
        let at = self.push_text(text);
        self.items.push(Item {
            who,
            kind: ItemKind::Refusal(at),
        });
    }

    /// Appends that a connection of this core forgets the keys it watches here.
    pub fn push_forget(&mut self, conn: ConnId) {
        self.items.push(Item {
            who: Who::Client(conn),
            kind: ItemKind::Forget,
        });
    }

    /// Appends a status line to be answered in order.
    pub fn push_said(&mut self, who: Who, text: &str) {
        let at = self.push_text(text);
        self.items.push(Item {
            who,
            kind: ItemKind::Said(at),
        });
    }

    /// The last command reads for a client that keeps copies.
    #[cold]
    pub fn mark_copies(&mut self) {
        let at = self.items.len().saturating_sub(1);
        self.copying
            .push(u32::try_from(at).expect("a batch is bounded by BATCH_ITEMS_MAX"));
    }

    fn push_text(&mut self, text: &str) -> u32 {
        let at = self.aside_offset();
        let len = u32::try_from(text.len()).expect("a line is short");
        encode_op(&mut self.asides, TEXT, &Args::new(text.as_bytes(), &[(0, 0), (0, len)]));
        at
    }

    fn aside_offset(&self) -> u32 {
        u32::try_from(self.asides.len()).expect("the side buffer is bounded by BATCH_BYTES_MAX and one command")
    }

    /// Writes gathered so far: the number that the next one will have in the entry.
    pub fn writes(&self) -> u32 {
        self.writes
    }

    /// Commands gathered so far.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when there is nothing to propose.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.payload.is_empty()
    }

    /// Makes the batch worth proposing even without commands: its entry then carries the time alone.
    pub fn touch(&mut self) {
        self.wants_time = true;
        self.open();
    }

    /// Makes room for the header.
    fn open(&mut self) {
        if self.payload.is_empty() {
            self.payload.resize(BATCH_HEADER_BYTES, 0);
        }
    }

    /// True when the batch should be proposed without waiting for the turn's end.
    pub fn is_full(&self) -> bool {
        self.payload.len() + self.asides.len() >= BATCH_BYTES_MAX || self.items.len() >= BATCH_ITEMS_MAX
    }

    /// Closes the batch: stamps the header and returns the entry's payload and what applying it needs here. `spare`
    /// gives its buffers to the next batch.
    pub fn seal(&mut self, header: &BatchHeader, now: Tick, spare: Option<Sealed>) -> (Bytes, Sealed) {
        let mut spare = spare.unwrap_or_default();
        spare.items.clear();
        spare.copying.clear();
        spare.asides.clear();
        spare.pins.clear();
        // Asides alone make an entry, too, where no quorum's word is enough.
        let reads_only = self.payload.is_empty();
        self.open();
        self.header.clear();
        self.writes = 0;
        encode_header(&mut self.header, header);
        self.payload[..BATCH_HEADER_BYTES].copy_from_slice(&self.header);
        let sealed = Sealed {
            seq: header.batch_seq,
            bytes: self.payload.len(),
            sealed_at: now,
            reads_only,
            wants_time: std::mem::take(&mut self.wants_time),
            items: std::mem::replace(&mut self.items, spare.items),
            copying: std::mem::replace(&mut self.copying, spare.copying),
            asides: std::mem::replace(&mut self.asides, spare.asides),
            pins: std::mem::replace(&mut self.pins, spare.pins),
        };
        // The payload is shared by the log's cache and the apply path, so it is not recycled; its size is a good guess
        // for the next turn's.
        let next = Vec::with_capacity(self.payload.len().min(BATCH_BYTES_MAX));
        (Bytes::from(std::mem::replace(&mut self.payload, next)), sealed)
    }
}
