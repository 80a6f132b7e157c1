//! [`Window`]: commands parsed ahead, so that memory is on its way before they are executed.
//!
//! A random access to a large table costs more than parsing and executing a command together. A window gathers up to
//! [`WINDOW_COMMANDS`] commands of all connections that have input, asks for the index buckets of their keys while
//! parsing, then for the records, and only then executes them in the order they were gathered (which keeps the order of
//! each connection).

use slotcore_engine::cmd::stored::{is_stored_form, store};
use slotcore_engine::cmd::{Args, CommandSpec};
use slotcore_engine::database::Database;
use slotcore_engine::ord::KeyHash;
use slotcore_netio::ConnId;

use crate::route::Route;

/// Commands of a window: enough to hide a miss behind the work on the others, few enough that what was fetched first is
/// still in the nearest cache.
pub const WINDOW_COMMANDS: usize = 64;

/// One command, parsed and looked up. Its bytes stay in the connection's input until the window has run; where it had to be
/// rewritten ([`slotcore_engine::cmd::stored`]), it is read from the window.
#[derive(Clone, Copy)]
pub struct Parsed {
    /// Who sent it.
    pub conn: ConnId,
    /// Where the command starts in the connection's unconsumed input, in bytes.
    pub base: usize,
    /// Its arguments: a range of the window's spans, each relative to `base`, or to `stored`.
    pub spans: (u32, u32),
    /// Where its stored form starts in the window, in bytes, if that is not what came.
    pub stored: Option<u32>,
    /// What the table says of it, or which of the window's refusals it gets.
    pub spec: Result<&'static CommandSpec, u32>,
    /// Where it is carried out.
    pub route: Route,
    /// Hash of the first key of a command that reads at once.
    pub key: Option<KeyHash>,
}

/// See the module's text. Its buffers are kept from turn to turn.
#[derive(Default)]
pub struct Window {
    /// In the order they are to be executed.
    pub commands: Vec<Parsed>,
    /// Argument positions of all of them.
    pub spans: Vec<(u32, u32)>,
    /// Error lines of commands that cannot be run.
    pub refusals: Vec<String>,
    /// The last command changes how later ones of its connection are to be understood: run before more is parsed.
    pub urgent: bool,
    /// How many bytes of each connection's input the parsed commands take.
    pub taken: Vec<(ConnId, usize)>,
    /// The database that the connection works in whose commands are gathered.
    pub database: Database,
    /// Commands in their stored form, where that is not what came.
    stored: Vec<u8>,
}

impl Window {
    /// True when it should run before more is parsed.
    pub fn is_full(&self) -> bool {
        self.commands.len() >= WINDOW_COMMANDS || self.urgent
    }

    /// Forgets the commands, keeps the memory.
    pub fn clear(&mut self) {
        self.commands.clear();
        self.spans.clear();
        self.refusals.clear();
        self.taken.clear();
        self.stored.clear();
        self.urgent = false;
    }

    /// The bytes that a command's spans are about. `input`: that of its connection.
    #[inline]
    pub fn bytes<'a>(&'a self, c: &Parsed, input: &'a [u8]) -> &'a [u8] {
        self.bytes_at(input, c.base, c.stored)
    }

    /// The same for a command that is not in the window yet.
    #[inline]
    pub fn bytes_at<'a>(&'a self, input: &'a [u8], base: usize, stored: Option<u32>) -> &'a [u8] {
        match stored {
            None => &input[base..],
            Some(at) => &self.stored[at as usize..],
        }
    }

    /// A command's arguments. `input`: that of its connection.
    #[inline]
    pub fn args<'a>(&'a self, c: &Parsed, input: &'a [u8]) -> Args<'a> {
        Args::new(
            self.bytes(c, input),
            &self.spans[c.spans.0 as usize..c.spans.1 as usize],
        )
    }

    /// The bytes of a command up to the end of its last argument, copied into `copy`.
    pub fn copy_to(&self, c: &Parsed, input: &[u8], copy: &mut Vec<u8>) {
        let spans = &self.spans[c.spans.0 as usize..c.spans.1 as usize];
        let end = spans.last().map_or(0, |(at, len)| at + len);
        copy.clear();
        copy.extend_from_slice(&self.bytes(c, input)[..end as usize]);
    }

    /// Rewrites the command whose spans start at `first` and whose bytes start at `base` of `input`, unless it is in its
    /// stored form as it came. Returns what it is now, and where that starts.
    #[inline]
    pub fn store(
        &mut self,
        spec: &'static CommandSpec,
        input: &[u8],
        base: usize,
        first: usize,
    ) -> (&'static CommandSpec, Option<u32>) {
        if self.database == Database::ZERO && is_stored_form(spec, &Args::new(&input[base..], &self.spans[first..])) {
            return (spec, None);
        }
        self.store_rewritten(spec, input, base, first)
    }

    #[cold]
    fn store_rewritten(
        &mut self,
        spec: &'static CommandSpec,
        input: &[u8],
        base: usize,
        first: usize,
    ) -> (&'static CommandSpec, Option<u32>) {
        let asked = self.spans.split_off(first);
        let at = u32::try_from(self.stored.len()).expect("a window's requests are below 4 GiB together");
        let args = Args::new(&input[base..], &asked);
        let spec = store(spec, &args, self.database, &mut self.stored, &mut self.spans);
        (spec, Some(at))
    }
}
