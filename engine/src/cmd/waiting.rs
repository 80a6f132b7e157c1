//! Commands that wait for a key: how they begin to ([`Exec::wait`]), and how they are tried again ([`next_turn`]).
//!
//! A blocking command tries what it is there for; when there is nothing, it calls [`Exec::wait`] and returns without an
//! answer. After every operation of the log that [`crate::waiters::Waiters::has_news`], whoever executes the log gives all waiters whose
//! keys may be ready their turn, before anything else is executed. A turn is the command once more.

use super::needs::prepare;
use super::op::{decode_op, encode_op};
use super::parse::is;
use super::{Args, CommandSpec, Exec, Flags, Group, NoReply, Reply, Run, by_id, lookup};
use crate::keyspace::{Keyspace, Kind};
use crate::waiters::{Waiter, WaiterId};

/// What becomes of a command that finds nothing and would wait; afterwards, what has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It answers at once, as if its time were up: inside a transaction or a script.
    Never,
    /// It only says that it would wait, and is to be executed again as an operation of the log.
    Unlogged,
    /// It is registered as a waiter: operation of this number of its entry.
    May(u32),
    /// It is registered, and this is one more try.
    Again,
    /// The outcome: it waits, and has answered nothing.
    Waits,
}

/// What a command waits for.
pub struct WaitFor<'a> {
    /// Its own name.
    pub command: &'static str,
    /// The type of value it can do something with.
    pub kind: Kind,
    /// Any of these keys will do.
    pub keys: &'a [&'a [u8]],
    /// How long, in milliseconds; 0: for ever.
    pub timeout_ms: u64,
    /// The arguments, without the name, it is tried with from now on; `None`: the same as now.
    pub resume: Option<&'a [&'a [u8]]>,
    /// It is to be tried, too, when a key is gone or has become something else.
    pub even_if_gone: bool,
}

impl<'a> WaitFor<'a> {
    /// For a value of `kind` at one of `keys`; the command is tried again as it is.
    pub fn value(command: &'static str, kind: Kind, keys: &'a [&'a [u8]], timeout_ms: u64) -> Self {
        Self {
            command,
            kind,
            keys,
            timeout_ms,
            resume: None,
            even_if_gone: false,
        }
    }
}

impl Exec<'_> {
    /// Nothing is there for the command: it waits. True: it must return without an answer. False: it may not wait, and
    /// must answer as if its time were up.
    #[cold]
    pub fn wait(&mut self, on: WaitFor<'_>) -> bool {
        match self.waiting {
            Waiting::Never => return false,
            Waiting::May(op) => {
                if !self.register(op, on) {
                    return false;
                }
            }
            Waiting::Unlogged | Waiting::Again | Waiting::Waits => {}
        }
        self.waiting = Waiting::Waits;
        true
    }

    /// Whether the command has waited already: keys that hold something else do not concern it any more.
    pub fn has_waited(&self) -> bool {
        self.waiting == Waiting::Again
    }

    /// False: too many wait.
    fn register(&mut self, number: u32, on: WaitFor<'_>) -> bool {
        let id = lookup(on.command.as_bytes()).expect("a command names itself").id;
        let mut op = Vec::new();
        match on.resume {
            None => encode_op(&mut op, id, &self.args),
            Some(words) => {
                let (mut bytes, mut spans) = (Vec::new(), vec![(0, 0)]);
                for word in words {
                    let at = u32::try_from(bytes.len()).expect("a request is below 4 GiB");
                    spans.push((at, word.len() as u32));
                    bytes.extend_from_slice(word);
                }
                encode_op(&mut op, id, &Args::new(&bytes, &spans));
            }
        }
        let mut keys: Vec<Box<[u8]>> = on.keys.iter().map(|key| (*key).into()).collect();
        keys.sort_unstable();
        keys.dedup();
        let waiter = Waiter {
            kind: on.kind,
            even_if_gone: on.even_if_gone,
            keys,
            op: op.into(),
        };
        let waiters = self.ks.waiters_mut();
        let has_room = waiters.has_room_for(&waiter);
        if has_room {
            waiters.register(number, on.timeout_ms, waiter);
        }
        has_room
    }
}

/// Whether a command may wait at all: one on streams says so itself.
#[inline]
pub fn may_wait(spec: &CommandSpec, args: &Args<'_>) -> bool {
    spec.flags.has(Flags::BLOCKING) && (spec.group != Group::Stream || args.iter_from(1).any(|arg| is(arg, "BLOCK")))
}

/// A waiter's turn: one of its keys may be ready. Must be [`Turn::run`].
#[must_use = "whoever has a turn must use it"]
pub struct Turn {
    id: WaiterId,
    spec: &'static CommandSpec,
    op: Box<[u8]>,
}

/// Who is to be tried next. `None`: everybody waits rightly.
pub fn next_turn(ks: &mut Keyspace) -> Option<Turn> {
    while let Some(key) = ks.waiters_mut().ready_key() {
        let kind = ks.kind_unread(&key);
        if let Some(id) = ks.waiters_mut().next_on(&key, kind) {
            let op = ks.waiters_mut().take_op(id);
            let spec = decode_op(&op, &mut Vec::new()).ok().and_then(|(id, _)| by_id(id));
            let spec = spec.expect("a command of this table was registered");
            return Some(Turn { id, spec, op });
        }
    }
    None
}

impl Turn {
    /// Whose turn it is.
    pub fn id(&self) -> WaiterId {
        self.id
    }

    /// The command.
    pub fn spec(&self) -> &'static CommandSpec {
        self.spec
    }

    /// Tries the command again. True: it has answered, and waits no more. False: it waits on, and `reply` got nothing.
    pub fn run(self, ks: &mut Keyspace, reply: &mut dyn Reply) -> bool {
        let mut spans = Vec::new();
        decode_op(&self.op, &mut spans).expect("decoded before");
        let Run::Data(run) = self.spec.run else {
            unreachable!("only commands on keys wait for keys")
        };
        let args = Args::new(&self.op, &spans);
        if !ks.is_complete() {
            prepare(ks, self.spec, &args, 0);
        }
        let mut exec = Exec {
            waiting: Waiting::Again,
            // Nobody who waits leaves anything to chance.
            ..Exec::new(ks, args, 0)
        };
        run(&mut exec, reply);
        let answered = exec.waiting != Waiting::Waits;
        if answered {
            ks.waiters_mut().cancel(self.id);
        } else {
            ks.waiters_mut().put_back_op(self.id, self.op);
        }
        answered
    }
}

/// What follows an operation that [`crate::waiters::Waiters::has_news`], where nobody waits for answers: everybody who may be served is.
#[cold]
pub fn settle(ks: &mut Keyspace) {
    ks.waiters_mut().take_registered();
    while let Some(turn) = next_turn(ks) {
        turn.run(ks, &mut NoReply);
    }
}

/// Bytes of a [`WaiterId`] as an argument.
const ID_BYTES: usize = 12;

/// The argument of the operation that ends a wait ([`END_WAIT`]).
pub fn id_to_bytes(id: WaiterId) -> [u8; ID_BYTES] {
    let mut bytes = [0; ID_BYTES];
    bytes[..8].copy_from_slice(&id.batch.to_le_bytes());
    bytes[8..].copy_from_slice(&id.op.to_le_bytes());
    bytes
}

/// The waiter that [`id_to_bytes`] wrote.
pub fn id_from_bytes(bytes: &[u8]) -> Option<WaiterId> {
    let (batch, op) = bytes.split_first_chunk::<8>()?;
    Some(WaiterId {
        batch: u64::from_le_bytes(*batch),
        op: u32::from_le_bytes(op.try_into().ok()?),
    })
}

/// Carries out [`END_WAIT`]: nothing is answered by itself, for it is not a client that asks.
pub(super) fn end_wait(x: &mut Exec<'_>, _: &mut dyn Reply) {
    if let Some(id) = id_from_bytes(x.args.get(1)) {
        x.ks.waiters_mut().cancel(id);
    }
}
