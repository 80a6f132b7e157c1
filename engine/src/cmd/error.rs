//! The error lines that commands answer, word for word as Redis 7.0.

use super::Reply;
use crate::keyspace::WrongType;

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CmdError {
    /// The key holds a value of another type.
    WrongType,
    /// An option that does not exist, stands twice or lacks its value.
    Syntax,
    /// An argument or a stored value should be a 64-bit integer.
    NotAnInteger,
    /// An argument or a stored value should be a number.
    NotAFloat,
    /// A count is negative or no number.
    NotPositive,
    /// An expiry is not after 1970 or beyond what 64 bits hold; names the command.
    InvalidExpire(&'static str),
    /// Number of arguments; names the command.
    Arity(&'static str),
    /// A string would become longer than [`STRING_BYTES_MAX`].
    StringTooLong,
    /// Anything said by one command only.
    Other(&'static str),
}

/// Longest string, in bytes: what Redis's default `proto-max-bulk-len` allows.
pub(super) const STRING_BYTES_MAX: usize = 512 * 1024 * 1024;

impl From<WrongType> for CmdError {
    fn from(_: WrongType) -> Self {
        CmdError::WrongType
    }
}

impl CmdError {
    /// Answers with the error.
    #[cold]
    pub(super) fn reply(self, reply: &mut dyn Reply) {
        let text = match self {
            CmdError::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            CmdError::Syntax => "ERR syntax error",
            CmdError::NotAnInteger => "ERR value is not an integer or out of range",
            CmdError::NotAFloat => "ERR value is not a valid float",
            CmdError::NotPositive => "ERR value is out of range, must be positive",
            CmdError::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            CmdError::InvalidExpire(command) => {
                return reply.error(&format!("ERR invalid expire time in '{command}' command"));
            }
            CmdError::Arity(command) => {
                return reply.error(&format!("ERR wrong number of arguments for '{command}' command"));
            }
            CmdError::Other(text) => text,
        };
        reply.error(text);
    }
}

/// Runs the body of a command and answers with its error, if it has one. A body that fails has not answered yet.
#[inline]
pub(super) fn answer(reply: &mut dyn Reply, body: impl FnOnce(&mut dyn Reply) -> Result<(), CmdError>) {
    if let Err(error) = body(reply) {
        error.reply(reply);
    }
}
