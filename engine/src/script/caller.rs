//! [`Caller`]: who runs a script, as far as his rights go.
//!
//! A script may do what its caller may. Users are none of the engine's business, and no replicated state: the rights of a
//! caller who may not do everything travel with the script, as text, in the operation that runs it. So every replica and
//! each replay denies the same, whatever became of the user since.

use crate::cmd::{Args, CommandSpec};

/// What a caller may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Run the command at all.
    Command,
    /// Touch the key that is this argument.
    Key(usize),
    /// Use the channel that is this argument.
    Channel(usize),
}

impl Denial {
    /// What the script hears.
    pub(super) fn text(self) -> &'static str {
        match self {
            Denial::Command => "ERR The user executing the script can't run this command or subcommand",
            Denial::Key(_) => {
                "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
            }
            Denial::Channel(_) => {
                "ERR The user executing the script can't publish to the channel mentioned in the command"
            }
        }
    }
}

/// Says what a caller may do.
pub trait Rights {
    /// Why he may not run this command, whose number of arguments was checked; `None`: he may.
    fn denial(&self, spec: &CommandSpec, args: &Args<'_>) -> Option<Denial>;
}

/// Makes [`Rights`] of the text that an operation holds. What makes no sense must give no rights.
pub type ReadRights = fn(&[u8]) -> Box<dyn Rights>;

/// Nobody's: everything is denied.
pub(crate) struct NoRights;

impl Rights for NoRights {
    fn denial(&self, _: &CommandSpec, _: &Args<'_>) -> Option<Denial> {
        Some(Denial::Command)
    }
}

/// See the module's text.
pub struct Caller {
    /// The user's name, for those who read of denials.
    pub user: Vec<u8>,
    /// His connection, as the server numbers them.
    pub client: u64,
    /// What he may do.
    pub rights: Box<dyn Rights>,
}

/// A command that a script was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// As [`Caller::user`].
    pub user: Vec<u8>,
    /// As [`Caller::client`].
    pub client: u64,
    /// What kind of thing he may not use.
    pub what: Denial,
    /// The command, key or channel.
    pub object: Vec<u8>,
}
