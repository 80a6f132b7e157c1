//! Scripts and functions: the commands around [`crate::script`].

mod called_as;
mod function;
mod run;
mod script;

pub(in crate::cmd) use called_as::called_as;
pub use called_as::{CALLED_AS, CALLED_AS_RO, CallerText, encode_called_as, open_called_as};
pub(in crate::cmd) use function::{
    delete, dump, flush as flush_functions, help as function_help, kill as kill_function, list, load as load_function,
    restore, stats,
};
pub(in crate::cmd) use run::{eval, eval_ro, eval_scarce, evalsha, evalsha_ro, fcall, fcall_ro, fcall_scarce};
pub(in crate::cmd) use script::{debug, exists, flush, help, kill, load};

use crate::cmd::{Exec, Reply};
use crate::script::Scripts;

/// Works with the scripts of the keyspace, which are taken out of it meanwhile.
fn with_scripts<T>(x: &mut Exec<'_>, work: impl FnOnce(&mut Scripts, &mut Exec<'_>) -> T) -> T {
    let mut scripts = x.ks.take_scripts();
    let result = work(&mut scripts, x);
    x.ks.put_scripts(scripts);
    result
}

/// Help, as Redis frames it.
fn write_help(command: &str, lines: &[&str], reply: &mut dyn Reply) {
    reply.array(lines.len() + 3);
    reply.simple(&format!(
        "{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Prints this help.");
}

/// No script is ever found running: while one runs nobody is served, and it is stopped by itself.
const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";
