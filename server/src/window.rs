//! [`Window`]: commands parsed ahead, so that memory is on its way before they are executed.
//!
//! A random access to a large table costs more than parsing and executing a command together. A window gathers up to
//! [`WINDOW_COMMANDS`] commands of all connections that have input, asks for the index buckets of their keys while
//! parsing, then for the records, and only then executes them in the order they were gathered (which keeps the order of
//! each connection).

use slotcore_engine::cmd::CommandSpec;
use slotcore_engine::ord::KeyHash;
use slotcore_netio::ConnId;

use crate::route::Route;

/// Commands of a window: enough to hide a miss behind the work on the others, few enough that what was fetched first is
/// still in the nearest cache.
pub const WINDOW_COMMANDS: usize = 64;

/// One command, parsed and looked up. Its bytes stay in the connection's input until the window has run.
#[derive(Clone, Copy)]
pub struct Parsed {
    /// Who sent it.
    pub conn: ConnId,
    /// Where the command starts in the connection's unconsumed input, in bytes.
    pub base: usize,
    /// Its arguments: a range of the window's spans, each relative to `base`.
    pub spans: (u32, u32),
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
        self.urgent = false;
    }
}
