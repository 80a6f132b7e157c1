//! [`EntryOps`]: the operations of a committed entry, decoded some way ahead of their execution.
//!
//! A random access to a large table costs more than decoding and executing a command together. So operations are decoded
//! a window at a time, and while that goes on the index buckets of their keys are fetched, then the records; by the time
//! they are executed both are near. (`window.rs` does the same for commands as they arrive.)

use slotcore_engine::cmd::once::{ONCE, open_once};
use slotcore_engine::cmd::op::{self, BATCH_HEADER_BYTES, BatchHeader, op_seed};
use slotcore_engine::cmd::spanning::{self, Spanning};
use slotcore_engine::cmd::transaction::{self, Step};
use slotcore_engine::cmd::{Args, CommandId, CommandSpec, Exec, NoReply, Reply, Run, by_id, keys, prepare, waiting};
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::ord::KeyHash;
use slotcore_engine::sessions::{Once, Verdict};

use crate::reply::RespReply;

/// Operations of a window: enough to hide a miss behind the work on the others.
const WINDOW_OPS: usize = 32;
/// Keys of one operation that are fetched ahead, of those that it says the number of: those of a script, say.
const NUMBERED_KEYS: usize = 4;

/// See the module's text. Its buffers serve one entry after the other.
#[derive(Default)]
pub struct EntryOps {
    window: Vec<Ahead>,
    /// Positions of their arguments, each relative to its operation.
    spans: Vec<(u32, u32)>,
    onces: Vec<Once>,
    /// Keys in no fixed place, of the window, and the numbers of those of one operation.
    numbered: Vec<KeyHash>,
    numbers: Vec<u32>,
    /// The next of the window.
    next: usize,
    /// Where the next window starts in the payload.
    at: usize,
    /// Operations given out.
    number: u32,
    seed: u64,
    /// The last transaction over several cores that [`EntryOps::run_all`] has met.
    last_spanning: Option<Spanning>,
}

struct Ahead {
    spec: &'static CommandSpec,
    at: usize,
    spans: (u32, u32),
    key: Option<KeyHash>,
    /// Of those that count once; one more than its place among `onces`, 0: it does not.
    once: u32,
}

/// One operation, ready to be executed.
pub struct Found<'a> {
    /// What it is.
    pub spec: &'static CommandSpec,
    /// Its arguments.
    pub args: Args<'a>,
    /// Decides its random choices.
    pub seed: u64,
    /// Which one of its entry it is, from 0.
    pub number: u32,
    /// The hash of its first key, if it has one in a fixed place.
    pub key: Option<KeyHash>,
    /// It may come out of the log again, and counts once.
    pub once: Option<&'a Once>,
}

impl EntryOps {
    /// From the first operation of an entry on. The keyspace is at the entry's time, and its waiters are told.
    pub fn begin(&mut self, ks: &mut Keyspace, header: &BatchHeader) {
        ks.set_time(header.time_ms, header.time_ms);
        ks.waiters_mut().begin_entry(header.origin, header.batch_seq);
        self.window.clear();
        (self.next, self.at, self.number, self.seed) = (0, BATCH_HEADER_BYTES, 0, header.seed);
    }

    /// The next operation of the entry that [`EntryOps::begin`] began.
    #[inline]
    pub fn next<'a>(&'a mut self, ks: &Keyspace, payload: &'a [u8]) -> Option<Found<'a>> {
        if self.next == self.window.len() {
            self.look_ahead(ks, payload);
        }
        let ahead = self.window.get(self.next)?;
        self.next += 1;
        let number = self.number;
        let seed = op_seed(self.seed, u64::from(number));
        self.number += 1;
        Some(Found {
            spec: ahead.spec,
            args: Args::new(
                &payload[ahead.at..],
                &self.spans[ahead.spans.0 as usize..ahead.spans.1 as usize],
            ),
            seed,
            number,
            key: ahead.key,
            once: self.onces.get((ahead.once as usize).wrapping_sub(1)),
        })
    }

    fn look_ahead(&mut self, ks: &Keyspace, payload: &[u8]) {
        self.window.clear();
        self.spans.clear();
        self.onces.clear();
        self.numbered.clear();
        self.next = 0;
        while self.at < payload.len() && self.window.len() < WINDOW_OPS {
            let mut at = self.at;
            let mut rest = &payload[at..];
            let first = self.spans.len();
            let (mut id, bytes) = match op::decode_next_op(rest, &mut self.spans) {
                Ok(found) => found,
                Err(error) => panic!("a committed entry cannot be read: {error}"),
            };
            let mut once = 0;
            if id == ONCE {
                (once, id, at) = self.open_once(rest, first, at);
                rest = &payload[at..];
            }
            let spec =
                by_id(id).unwrap_or_else(|| panic!("a committed entry holds command {}, which is unknown here", id.0));
            let args = Args::new(rest, &self.spans[first..]);
            let fetch = |number: u32| {
                let hash = ks.key_hash(args.get(number as usize));
                ks.prefetch_bucket(hash);
                hash
            };
            let key = (spec.first_key > 0).then(|| fetch(spec.first_key as u32));
            if key.is_none() && !spec.key_specs.is_empty() {
                self.numbers.clear();
                keys(spec, &args, &mut self.numbers);
                let numbers = self.numbers.iter().take(NUMBERED_KEYS);
                self.numbered.extend(numbers.map(|&number| fetch(number)));
            }
            self.window.push(Ahead {
                spec,
                at,
                spans: (first as u32, self.spans.len() as u32),
                key,
                once,
            });
            self.at += bytes;
        }
        let of_window = self.window.iter().filter_map(|ahead| ahead.key);
        for key in of_window.chain(self.numbered.iter().copied()) {
            ks.prefetch_record(key);
        }
    }

    /// Gives out the last transaction over several cores that was met where nobody waited for it.
    pub fn take_last_spanning(&mut self) -> Option<Spanning> {
        self.last_spanning.take()
    }

    /// The operation in one that counts once, which is at `at` and whose arguments are the last ones: they give way to those
    /// of the operation in it. Returns [`Ahead::once`], the operation's number, and where it is.
    #[cold]
    fn open_once(&mut self, whole: &[u8], first: usize, at: usize) -> (u32, CommandId, usize) {
        let opened = open_once(&Args::new(whole, &self.spans[first..])).map(|(once, _)| once);
        let inner = opened.and_then(|once| {
            // The operation is its second argument.
            let (from, len) = self.spans[first + 2];
            let (from, end) = (from as usize, (from + len) as usize);
            self.spans.truncate(first);
            let (id, _) = op::decode_next_op(&whole[from..end], &mut self.spans)?;
            self.onces.push(once);
            Ok((self.onces.len() as u32, id, at + from))
        });
        match inner {
            Ok(inner) => inner,
            Err(error) => panic!("a committed entry cannot be read: {error}"),
        }
    }

    /// Executes all operations of an entry that nobody waits for.
    pub fn run_all(&mut self, ks: &mut Keyspace, payload: &[u8]) {
        while let Some(found) = self.next(ks, payload) {
            let mut spanning = None;
            match found.once {
                None if matches!(found.spec.run, Run::Transaction(Step::CarryPart)) => {
                    spanning::replay(ks, &found.args, found.seed);
                    spanning = Some(Spanning::decode(&found.args));
                }
                None => found.run(ks, &mut NoReply),
                Some(once) => found.run_once(ks, once),
            }
            if spanning.is_some() {
                self.last_spanning = spanning;
            }
            if ks.waiters().has_news() {
                waiting::settle(ks);
            }
        }
    }
}

impl Found<'_> {
    /// Executes it. Nobody here waits for the answer, but others may ask for it later.
    fn run(&self, ks: &mut Keyspace, reply: &mut dyn Reply) {
        if !ks.is_complete() {
            prepare(ks, self.spec, &self.args, self.seed);
        }
        match self.spec.run {
            Run::Data(f) => {
                self.announce(ks);
                f(&mut Exec::logged(ks, self.args, self.seed, self.number), reply);
                ks.forget_key();
            }
            Run::Transaction(_) => {
                reply.array(self.args.len() - 1);
                transaction::replay(ks, &self.args, self.seed, reply);
            }
            Run::Server(_) | Run::Container => {}
        }
    }

    /// The same, if it was not executed before. Whoever leads later may be asked for the answer.
    #[cold]
    fn run_once(&self, ks: &mut Keyspace, once: &Once) {
        let now_ms = ks.now_ms();
        if ks.sessions_mut().admit(once, now_ms) != Verdict::Execute {
            return;
        }
        let mut answer = Vec::new();
        match once.proto {
            0 => self.run(ks, &mut NoReply),
            proto => self.run(ks, &mut RespReply::new(&mut answer, proto)),
        }
        ks.sessions_mut().executed(once, &answer);
    }

    /// Spares the command hashing its key again; [`Keyspace::forget_key`] after it.
    #[inline]
    pub fn announce(&self, ks: &mut Keyspace) {
        if let Some(hash) = self.key {
            ks.expect_key(self.args.get(self.spec.first_key as usize), hash);
        }
    }
}
