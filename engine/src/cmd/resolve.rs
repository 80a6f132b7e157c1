//! From the words a client sent to the command they mean, or to Redis's words about why there is none.

use super::table::lookup;
use super::{Args, CommandSpec};

/// Bytes of a name, and of all arguments together, that an error quotes: Redis's own limit.
const QUOTED_BYTES_MAX: usize = 128;

/// The command or subcommand that `args` call, with the number of arguments checked.
///
/// # Errors
/// The error line to answer. Nothing but this runs a text formatter, so the way to a known command allocates nothing.
#[inline]
pub fn resolve(args: &Args<'_>) -> Result<&'static CommandSpec, String> {
    let spec = lookup(args.get(0)).ok_or_else(|| unknown_command(args))?;
    let spec = match args.try_get(1) {
        Some(name) if !spec.subcommands.is_empty() => {
            spec.subcommand(name).ok_or_else(|| unknown_subcommand(spec, name))?
        }
        _ => spec,
    };
    if spec.accepts(args.len()) {
        Ok(spec)
    } else {
        Err(arity_error(spec))
    }
}

/// The error for too few or too many arguments.
pub fn arity_error(spec: &CommandSpec) -> String {
    format!("ERR wrong number of arguments for '{}' command", spec.full_name)
}

/// The error for a command that does not exist.
pub fn unknown_command(args: &Args<'_>) -> String {
    let mut quoted = String::new();
    for arg in args.iter_from(1) {
        if quoted.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let room = QUOTED_BYTES_MAX - quoted.len();
        quoted.push('\'');
        quoted.push_str(&one_line(&arg[..arg.len().min(room)]));
        quoted.push_str("' ");
    }
    let name = args.get(0);
    let name = one_line(&name[..name.len().min(QUOTED_BYTES_MAX)]);
    format!("ERR unknown command '{name}', with args beginning with: {quoted}")
}

/// The error for a subcommand that does not exist.
pub fn unknown_subcommand(container: &CommandSpec, name: &[u8]) -> String {
    let name = one_line(&name[..name.len().min(QUOTED_BYTES_MAX)]);
    format!(
        "ERR unknown subcommand '{name}'. Try {} HELP.",
        container.name.to_ascii_uppercase()
    )
}

/// An error is one line: line ends become spaces, as in Redis.
pub(super) fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(['\r', '\n'], " ")
}
