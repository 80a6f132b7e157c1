//! [`Parcel`]: what one core has for another one at the end of a turn: commands, and replies to commands of the other.
//!
//! One parcel a turn and destination, however many commands there are; its buffers are sent to and fro, so none is
//! allocated once traffic flows. Commands are encoded as in the log (`engine::cmd::op`), so the owner of the keys copies
//! the bytes of a write straight into its batch.
//!
//! ```text
//! request:  asker 12 | how 1 | once 41, if how says so | operation
//! reply:    asker 12 | length 4 | RESP bytes
//! cast:     kind 1 | length 4 | length 4 | first bytes | second bytes
//! asker:    connection number 4 | its generation 4 | part 4        (all little-endian)
//! ```
//! Between the cores of a process there is no version and no checksum. What goes to another node is the same bytes in a
//! message of `relay/wire.rs`, which also checks those that come.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use slotcore_engine::cmd::once::{ONCE_BYTES, decode_once, encode_once};
use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::{Args, CommandId};
use slotcore_engine::sessions::Once;
use slotcore_netio::ConnId;

use crate::clients::ClientState;
use crate::copies::{Copies, WaitNo};
use crate::metrics::CoreSnapshot;
use crate::transaction::{Verdict, WaitNote, Wanted};

/// Who waits for a reply, on the core where its connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The connection.
    pub conn: ConnId,
    /// 0: the reply is the connection's next one from that core. [`EXEC_PART`]: so it is, and that of its EXEC. Else: it is
    /// a part of this gathering.
    pub part: u32,
}

/// No gathering has this number.
const EXEC_PART: u32 = u32::MAX;

impl Asker {
    /// A connection that waits for a whole reply.
    #[inline]
    pub fn whole(conn: ConnId) -> Self {
        Self { conn, part: 0 }
    }

    /// A connection that goes on only when its EXEC is answered.
    #[inline]
    pub fn exec(conn: ConnId) -> Self {
        Self { conn, part: EXEC_PART }
    }

    /// True for an [`Asker::exec`].
    #[inline]
    pub fn is_exec(&self) -> bool {
        self.part == EXEC_PART
    }
}

/// How a forwarded command is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// 2 or 3: version of RESP.
    pub proto: u8,
    /// The client wants no reply; an empty one is sent, to keep count.
    pub silent: bool,
    /// The client is on this machine, where it may do more.
    pub local: bool,
    /// It watches keys of the core that is asked, and asks for a transaction.
    pub watches: bool,
    /// It keeps copies of what it reads by this command.
    pub tracks: bool,
    /// It may come more than once, and counts once: what that needs stands before the operation.
    pub once: bool,
    /// It reads by a majority's word.
    pub majority: bool,
}

const ASKER_BYTES: usize = 12;
/// Bytes of a request before what makes it count once, and its operation.
pub const REQUEST_HEAD_BYTES: usize = ASKER_BYTES + 1;
/// Bytes of a reply before its text: who asked, and its length.
pub const REPLY_HEAD_BYTES: usize = 16;
const SILENT: u8 = 0x80;
const LOCAL: u8 = 0x40;
const WATCHES: u8 = 0x20;
const TRACKS: u8 = 0x10;
const ONCE: u8 = 0x08;
const MAJORITY: u8 = 0x04;

impl How {
    /// For the command that `client` has just begun.
    pub fn of(client: &ClientState) -> Self {
        Self {
            proto: client.proto,
            silent: !client.wants_reply(),
            local: client.peer.ip().is_loopback(),
            watches: false,
            tracks: false,
            once: false,
            majority: client.asks_majority(),
        }
    }

    /// For what nobody hears the answer to.
    pub fn unheard() -> Self {
        Self {
            proto: 2,
            silent: true,
            local: false,
            watches: false,
            tracks: false,
            once: false,
            majority: false,
        }
    }

    fn to_byte(self) -> u8 {
        let flags = [
            (self.silent, SILENT),
            (self.local, LOCAL),
            (self.watches, WATCHES),
            (self.tracks, TRACKS),
            (self.once, ONCE),
            (self.majority, MAJORITY),
        ];
        let set = flags.iter().filter(|(set, _)| *set);
        set.fold(self.proto, |byte, (_, flag)| byte | flag)
    }

    fn from_byte(byte: u8) -> Self {
        Self {
            proto: byte & !(SILENT | LOCAL | WATCHES | TRACKS | ONCE | MAJORITY),
            silent: byte & SILENT != 0,
            local: byte & LOCAL != 0,
            watches: byte & WATCHES != 0,
            tracks: byte & TRACKS != 0,
            once: byte & ONCE != 0,
            majority: byte & MAJORITY != 0,
        }
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Parcel {
    /// Commands, back to back.
    pub requests: Vec<u8>,
    /// Replies, back to back.
    pub replies: Vec<u8>,
    /// What needs no answer, back to back.
    pub casts: Vec<u8>,
    /// What is rare.
    pub notes: Vec<Note>,
}

/// What a core tells another one that has nothing to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// A message of the server for those who listen: channel, message.
    Message = 0,
    /// A key has changed that a connection of the receiver holds: who, key.
    Invalidate = 1,
    /// The same, when it was this connection that changed it.
    InvalidateOwn = 2,
    /// All keys of the sender have gone, of which a connection of the receiver holds some: who.
    InvalidateAll = 3,
    /// A key has changed, for clients in broadcast mode: who changed it, key.
    Changed = 4,
    /// All keys of the sender have gone, for clients in broadcast mode.
    Cleared = 5,
    /// Keys have changed, for a connection of the receiver in place of one of the sender: both, keys.
    Redirected = 6,
    /// A connection of the receiver redirects to one that is gone: who.
    RedirectionBroken = 7,
    /// Commands of the sender's clients, as lines for those of the receiver who monitor.
    Commands = 8,
}

impl Cast {
    const ALL: [Cast; 9] = [
        Cast::Message,
        Cast::Invalidate,
        Cast::InvalidateOwn,
        Cast::InvalidateAll,
        Cast::Changed,
        Cast::Cleared,
        Cast::Redirected,
        Cast::RedirectionBroken,
        Cast::Commands,
    ];
}

/// Bytes of a cast before its text.
const CAST_HEAD_BYTES: usize = 9;

/// Things that cores tell each other now and then.
pub enum Note {
    /// A new connection, to be accepted there.
    Arrival(OwnedFd),
    /// A connection that belongs there from now on: its descriptor, what it sent, and what is known of it.
    HandOver(OwnedFd, Vec<u8>, Box<ClientState>),
    /// A script that a client of the sender sent, to be called by its SHA-1.
    Script(Arc<[u8]>),
    /// Send a [`Note::Snapshot`] back.
    WantSnapshot(Asker),
    /// What the sender has counted.
    Snapshot(Asker, Box<CoreSnapshot>),
    /// How many copies are there of what is in the receiver's log?
    WantCopies {
        /// The wait, on the sender.
        wait: WaitNo,
        /// Only durable copies count.
        durably: bool,
        /// The log is to be made durable.
        flush: bool,
    },
    /// So many, of what was in the sender's log when it was asked.
    Copies {
        /// The wait, on the receiver.
        wait: WaitNo,
        /// What there is.
        copies: Copies,
    },
    /// The sender wants to know no more.
    EnoughCopies(WaitNo),
    /// A transaction over cores wants the core to hold.
    Hold(Wanted),
    /// The sender holds for the transaction of this number, or not.
    Held {
        /// The transaction's number where it is coordinated.
        part: u32,
        /// Whether it holds.
        verdict: Verdict,
    },
    /// The core, which holds, shall carry out its part.
    Carry {
        /// The transaction's number where it is coordinated.
        part: u32,
        /// The connection.
        conn: ConnId,
        /// How it wants to be answered.
        how: How,
        /// The part, encoded as an operation.
        operation: Vec<u8>,
    },
    /// The sender's copy of a transaction is durable.
    Kept {
        /// The transaction's number where it is coordinated.
        part: u32,
    },
    /// The core may go on.
    Release {
        /// The transaction's number where it is coordinated.
        part: u32,
        /// The connection,
        conn: ConnId,
        /// which watches nothing any more, if so.
        ends_watches: bool,
    },
    /// Something about a wait for keys of several cores.
    Wait {
        /// Its number where the connection is.
        part: u32,
        /// What there is to say.
        what: WaitNote,
    },
}

impl Parcel {
    /// True when there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.replies.is_empty() && self.casts.is_empty() && self.notes.is_empty()
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.requests.len() + self.replies.len() + self.casts.len()
    }

    /// Appends a command.
    #[inline]
    pub fn push_request(&mut self, asker: Asker, how: How, id: CommandId, args: &Args<'_>) {
        put_asker(&mut self.requests, asker);
        self.requests.push(how.to_byte());
        encode_op(&mut self.requests, id, args);
    }

    /// Appends a command that is encoded already.
    pub fn push_encoded_request(&mut self, asker: Asker, how: How, once: Option<&Once>, op: &[u8]) {
        put_request(&mut self.requests, asker, how, once, op);
    }

    /// Appends what needs no answer.
    pub fn push_cast(&mut self, cast: Cast, first: &[u8], second: &[u8]) {
        self.casts.push(cast as u8);
        for text in [first, second] {
            let len = u32::try_from(text.len()).expect("an argument is below 4 GiB");
            self.casts.extend_from_slice(&len.to_le_bytes());
        }
        self.casts.extend_from_slice(first);
        self.casts.extend_from_slice(second);
    }

    /// Appends the reply that `write` writes.
    #[inline]
    pub fn push_reply<T>(&mut self, asker: Asker, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        put_asker(&mut self.replies, asker);
        let at = self.replies.len();
        self.replies.extend_from_slice(&[0; 4]);
        let result = write(&mut self.replies);
        let len = u32::try_from(self.replies.len() - at - 4).expect("a reply is below 4 GiB");
        self.replies[at..at + 4].copy_from_slice(&len.to_le_bytes());
        result
    }

    /// What the reply says that was appended when the replies were `at` bytes long.
    pub fn reply_since(&self, at: usize) -> Option<&[u8]> {
        self.replies.get(at + REPLY_HEAD_BYTES..)
    }

    /// Takes back what was appended to the replies since they were `len` bytes long.
    pub fn cut_replies(&mut self, len: usize) {
        self.replies.truncate(len);
    }
}

/// Appends a command that is encoded already, and what makes it count once.
pub fn put_request(out: &mut Vec<u8>, asker: Asker, how: How, once: Option<&Once>, op: &[u8]) {
    put_asker(out, asker);
    let how = How {
        once: once.is_some(),
        ..how
    };
    out.push(how.to_byte());
    if let Some(once) = once {
        encode_once(out, once);
    }
    out.extend_from_slice(op);
}

#[inline]
fn put_asker(out: &mut Vec<u8>, asker: Asker) {
    let (index, generation) = asker.conn.parts();
    for number in [index, generation, asker.part] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut"))
}

#[inline]
fn asker_at(bytes: &[u8], at: usize) -> Asker {
    Asker {
        conn: ConnId::from_parts((u32_at(bytes, at), u32_at(bytes, at + 4))),
        part: u32_at(bytes, at + 8),
    }
}

/// Reads the head of the request at `at`; at the returned offset follows what makes it count once if its [`How`] says so
/// ([`once_at`]), then the operation.
#[inline]
pub fn request_at(requests: &[u8], at: usize) -> (Asker, How, usize) {
    let how = requests[at + ASKER_BYTES];
    (asker_at(requests, at), How::from_byte(how), at + ASKER_BYTES + 1)
}

/// Reads what makes a request count once; the operation follows at the returned offset.
#[cold]
pub fn once_at(requests: &[u8], at: usize) -> (Once, usize) {
    let end = at + ONCE_BYTES;
    let once = decode_once(&requests[at..end]).expect("encoded by a core, or checked when it came");
    (once, end)
}

/// Reads the reply at `at`; also returns where the next one starts.
#[inline]
pub fn reply_at(replies: &[u8], at: usize) -> (Asker, &[u8], usize) {
    let len = u32_at(replies, at + ASKER_BYTES) as usize;
    let start = at + ASKER_BYTES + 4;
    (asker_at(replies, at), &replies[start..start + len], start + len)
}

/// Reads what [`Parcel::push_cast`] has written.
pub fn casts(bytes: &[u8]) -> impl Iterator<Item = (Cast, &[u8], &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let cast = Cast::ALL[usize::from(*bytes.get(at)?)];
        let lens = [u32_at(bytes, at + 1) as usize, u32_at(bytes, at + 5) as usize];
        let first = at + CAST_HEAD_BYTES;
        at = first + lens[0] + lens[1];
        Some((cast, &bytes[first..first + lens[0]], &bytes[first + lens[0]..at]))
    })
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::op::decode_op;

    use super::*;

    #[test]
    fn what_was_pushed_is_read_back() {
        let asker = |n: u32| Asker {
            conn: ConnId::from_parts((n, n + 1)),
            part: n + 2,
        };
        let mut parcel = Parcel::default();
        assert!(parcel.is_empty());
        let args = Args::new(b"getkey", &[(0, 3), (3, 3)]);
        let how = |silent: bool| How {
            proto: 3,
            silent,
            local: !silent,
            watches: silent,
            tracks: !silent,
            once: false,
            majority: silent,
        };
        for (n, silent) in [(1, false), (u32::MAX - 2, true)] {
            parcel.push_request(asker(n), how(silent), CommandId(7), &args);
        }
        let mut at = 0;
        for (n, silent) in [(1, false), (u32::MAX - 2, true)] {
            let (found, got, op) = request_at(&parcel.requests, at);
            assert_eq!((found, got), (asker(n), how(silent)));
            let (id, bytes) = decode_op(&parcel.requests[op..], &mut Vec::new()).unwrap();
            assert_eq!(id, CommandId(7));
            at = op + bytes;
        }
        assert_eq!(at, parcel.requests.len());
        let once = Once {
            serial: 9,
            proto: 2,
            ..Once::default()
        };
        parcel.push_encoded_request(asker(4), how(true), Some(&once), b"op");
        let (found, got, at) = request_at(&parcel.requests, at);
        assert_eq!((found, got.once, got.watches), (asker(4), true, true));
        let (read, at) = once_at(&parcel.requests, at);
        assert_eq!((read, &parcel.requests[at..]), (once, b"op".as_slice()));

        for (first, second) in [("a", "bc"), ("", "")] {
            parcel.push_cast(Cast::Message, first.as_bytes(), second.as_bytes());
        }
        let read: Vec<_> = casts(&parcel.casts).collect();
        assert_eq!(
            read,
            [(Cast::Message, &b"a"[..], &b"bc"[..]), (Cast::Message, b"", b"")]
        );

        parcel.push_reply(asker(5), |out| out.extend_from_slice(b"+OK\r\n"));
        parcel.push_reply(asker(6), |_| ());
        let (found, bytes, at) = reply_at(&parcel.replies, 0);
        assert_eq!((found, bytes), (asker(5), b"+OK\r\n".as_slice()));
        assert_eq!(
            reply_at(&parcel.replies, at),
            (asker(6), b"".as_slice(), parcel.replies.len())
        );
    }
}
