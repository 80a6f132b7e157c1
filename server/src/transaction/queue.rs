//! [`Queue`]: what one connection has sent since MULTI; and [`Session`], all that it has of transactions.

use std::collections::BTreeSet;

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::transaction::carrier;
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Run};
use slotcore_engine::database::Database;
use slotcore_rt::ids::CoreId;

use super::spanning::Coordinated;

use crate::pause::waits_with_writes;

/// Bytes of the commands that a transaction may keep: it becomes one log record, whose own limit is 1 MiB more.
pub const QUEUED_BYTES_MAX: usize = 512 << 20;
/// Commands that a transaction may keep: as many as an operation of the log may have arguments.
pub const QUEUED_COMMANDS_MAX: usize = 1024 * 1024;

/// Where the keys of a transaction live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// It has none: anywhere.
    #[default]
    Anywhere,
    /// All on this core.
    Core(CoreId),
    /// On more than one.
    Several,
}

impl Owner {
    /// The owner of what either owns.
    pub fn and(self, other: Owner) -> Owner {
        match (self, other) {
            (Owner::Anywhere, only) | (only, Owner::Anywhere) => only,
            (one, two) if one == two => one,
            _ => Owner::Several,
        }
    }
}

/// One command of a queue.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Where it starts in the queue's bytes, and how many it has.
    at: u32,
    len: u32,
    for_server: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Queue {
    /// The commands, encoded as operations.
    bytes: Vec<u8>,
    /// Where each of them lies in `bytes`.
    commands: Vec<Kept>,
    /// Commands that the server carries out.
    server_commands: u32,
    /// Where the keys of all of them live.
    pub owner: Owner,
    /// The slot of the keys so far, where all must have the same.
    pub slot: Option<u16>,
    /// Keys of several slots were named where that is not allowed.
    pub crosses_slots: bool,
    /// Some command of it writes.
    pub writes: bool,
    /// Some command of it has to wait while those that write do.
    pub waits_with_writes: bool,
    /// Some command of it is refused when memory is exhausted.
    pub grows: bool,
    /// Some command was refused: EXEC will be, too.
    pub broken: bool,
    /// The database that the next commands of it work in, once one of them was a SELECT.
    pub selected: Option<Database>,
}

impl Queue {
    /// Keeps one more command. False when there is no room for it.
    pub fn push(&mut self, spec: &'static CommandSpec, args: &Args<'_>) -> bool {
        let more: usize = args.iter_from(1).map(|arg| arg.len() + 5).sum();
        self.push_with(spec, more, |bytes| encode_op(bytes, spec.id, args))
    }

    /// The same with one that is encoded as an operation.
    pub fn push_encoded(&mut self, spec: &'static CommandSpec, operation: &[u8]) -> bool {
        self.push_with(spec, operation.len(), |bytes| bytes.extend_from_slice(operation))
    }

    fn push_with(&mut self, spec: &'static CommandSpec, more: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let start = self.bytes.len();
        if start + more > QUEUED_BYTES_MAX || self.commands.len() == QUEUED_COMMANDS_MAX {
            return false;
        }
        write(&mut self.bytes);
        let for_server = matches!(spec.run, Run::Server(_));
        self.commands.push(Kept {
            at: start as u32,
            len: (self.bytes.len() - start) as u32,
            for_server,
        });
        self.writes |= spec.is_write();
        self.waits_with_writes |= waits_with_writes(spec);
        self.grows |= spec.flags.has(Flags::DENYOOM);
        self.server_commands += u32::from(for_server);
        true
    }

    /// Commands kept.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Bytes of memory they take.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.commands.capacity() * size_of::<Kept>()
    }

    /// True when some of the commands are not about keys: they are carried out where the connection is, when the others
    /// have been.
    pub fn is_mixed(&self) -> bool {
        self.server_commands > 0
    }

    /// The operation that it becomes.
    pub fn carrier(&self) -> &'static CommandSpec {
        carrier(self.writes, self.grows)
    }

    /// The commands about keys as arguments of their carrier. `spans` is a buffer.
    pub fn arguments<'a>(&'a self, spans: &'a mut Vec<(u32, u32)>) -> Args<'a> {
        spans.clear();
        spans.push((0, 0));
        let about_keys = self.commands.iter().filter(|kept| !kept.for_server);
        spans.extend(about_keys.map(|kept| (kept.at, kept.len)));
        Args::new(&self.bytes, spans)
    }

    /// The commands about keys in order, encoded as operations.
    pub fn about_keys(&self) -> impl Iterator<Item = &[u8]> {
        let about_keys = self.commands.iter().filter(|kept| !kept.for_server);
        about_keys.map(|kept| &self.bytes[kept.at as usize..(kept.at + kept.len) as usize])
    }

    /// All commands in order: encoded as operations those that the server carries out, `None` for the others.
    pub fn server_commands(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.commands.iter().map(|kept| {
            let operation = kept.at as usize..(kept.at + kept.len) as usize;
            kept.for_server.then(|| &self.bytes[operation])
        })
    }

    /// All commands in order, encoded as operations.
    pub fn operations(&self) -> impl Iterator<Item = &[u8]> {
        let operation = |kept: &Kept| kept.at as usize..(kept.at + kept.len) as usize;
        self.commands.iter().map(move |kept| &self.bytes[operation(kept)])
    }

    /// Empty again, with little memory kept.
    pub fn clear(&mut self) {
        let (mut bytes, mut commands) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.commands));
        bytes.clear();
        commands.clear();
        *self = Self::default();
        if bytes.capacity() <= KEPT_BYTES_MAX && commands.capacity() <= KEPT_BYTES_MAX / size_of::<Kept>() {
            (self.bytes, self.commands) = (bytes, commands);
        }
    }
}

/// Memory that an empty queue keeps for the next transaction, in bytes: enough for ordinary ones.
const KEPT_BYTES_MAX: usize = 4096;

/// An EXEC that was sent off, and until whose answer nothing more of its connection is carried out.
#[derive(Debug)]
pub struct Pending {
    /// The client wants no reply.
    pub silent: bool,
    /// Set when commands are left for when it has succeeded.
    pub mixed: Option<Box<Queue>>,
    /// Input was left unparsed because of it.
    pub left_input: bool,
    /// Not sent off yet: it concerns several cores, and begins when everything before it is answered.
    pub spanning: Option<Coordinated>,
}

/// All that a connection has of transactions; most have nothing.
#[derive(Debug, Default)]
pub struct Session {
    /// Since MULTI.
    pub queue: Option<Box<Queue>>,
    /// Empty when it watches none.
    pub watched: Watched,
    /// See [`Pending`].
    pub pending: Option<Box<Pending>>,
}

/// Keys that one connection may watch: more are a mistake, or an attack on memory.
pub const WATCHED_KEYS_MAX: usize = 65_536;

/// The keys that a connection watches.
#[derive(Debug, Default)]
pub struct Watched {
    /// All of them, at most [`WATCHED_KEYS_MAX`].
    pub keys: BTreeSet<Box<[u8]>>,
    /// Where they live.
    pub cores: Vec<u16>,
}

impl Session {
    /// True when the connection must stay where it is.
    pub fn is_bound(&self) -> bool {
        self.queue.is_some() || self.pending.is_some() || !self.watched.cores.is_empty()
    }
}

/// Empty queues to be used again.
#[derive(Debug, Default)]
pub struct TransactionsKept {
    #[allow(
        clippy::vec_box,
        reason = "they move between here and the sessions, where they must be small"
    )]
    queues: Vec<Box<Queue>>,
}

/// Empty queues that are kept.
const QUEUES_KEPT_MAX: usize = 64;

impl TransactionsKept {
    /// An empty queue.
    pub fn take(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_default()
    }

    /// Takes a queue back.
    pub fn give(&mut self, mut queue: Box<Queue>) {
        if self.queues.len() < QUEUES_KEPT_MAX {
            queue.clear();
            self.queues.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::resolve;
    use slotcore_engine::cmd::transaction::for_each_operation;

    use super::*;

    fn push(queue: &mut Queue, words: &[&str]) -> bool {
        let mut spans = Vec::new();
        let text = words.concat();
        let mut at = 0;
        for word in words {
            spans.push((at, word.len() as u32));
            at += word.len() as u32;
        }
        let args = Args::new(text.as_bytes(), &spans);
        queue.push(resolve(&args).unwrap(), &args)
    }

    fn names(queue: &Queue) -> Vec<&'static str> {
        let (mut names, mut spans) = (Vec::new(), Vec::new());
        for_each_operation(&queue.arguments(&mut spans), 1, |spec, _, _| names.push(spec.name));
        names
    }

    #[test]
    fn what_is_not_about_keys_stays_behind() {
        let mut queue = Queue::default();
        assert!(push(&mut queue, &["get", "a"]));
        assert!(!queue.writes && !queue.grows && !queue.is_mixed());
        assert!(push(&mut queue, &["del", "a"]));
        assert!(queue.writes && !queue.grows && !queue.is_mixed());
        assert!(push(&mut queue, &["ping"]) && push(&mut queue, &["set", "a", "1"]));
        assert!(queue.writes && queue.grows && queue.is_mixed());
        assert_eq!((queue.len(), names(&queue)), (4, vec!["get", "del", "set"]));
        queue.clear();
        assert_eq!((queue.len(), names(&queue)), (0, vec![]));
        assert!(!queue.writes && !queue.is_mixed());
    }

    #[test]
    fn owners_are_put_together() {
        let core = |n| Owner::Core(CoreId(n));
        assert_eq!(Owner::Anywhere.and(Owner::Anywhere), Owner::Anywhere);
        assert_eq!(Owner::Anywhere.and(core(1)), core(1));
        assert_eq!(core(1).and(Owner::Anywhere).and(core(1)), core(1));
        assert_eq!(core(1).and(core(2)), Owner::Several);
        assert_eq!(Owner::Several.and(core(1)), Owner::Several);
    }

    #[test]
    fn a_queue_has_an_end() {
        let mut queue = Queue::default();
        let text = vec![b'v'; 1 << 20];
        let too_much = vec![(0, 1 << 20); 513];
        let spec = slotcore_engine::cmd::lookup(b"mget").unwrap();
        assert!(!queue.push(spec, &Args::new(&text, &too_much)));
        assert_eq!((queue.len(), queue.memory()), (0, 0));
        assert!(queue.push(spec, &Args::new(&text, &too_much[..2])));
    }
}
