//! SCRIPT: the cache of scripts.

use super::{NOT_BUSY, with_scripts, write_help};
use crate::cmd::parse::is;
use crate::cmd::{Exec, Reply};

pub(in crate::cmd) fn load(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    match with_scripts(x, |scripts, x| scripts.load(x.args.get(2))) {
        Ok(sha) => reply.bulk(sha.as_bytes()),
        Err(error) => reply.error(&error.replace(['\r', '\n'], " ")),
    }
}

pub(in crate::cmd) fn exists(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    with_scripts(x, |scripts, x| {
        reply.array(x.args.len() - 2);
        for sha in x.args.iter_from(2) {
            reply.int(scripts.by_sha(sha).is_some().into());
        }
    });
}

pub(in crate::cmd) fn flush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let mode = x.args.try_get(2);
    if x.args.len() > 3 || mode.is_some_and(|mode| !is(mode, "ASYNC") && !is(mode, "SYNC")) {
        return reply.error("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    }
    with_scripts(x, |scripts, _| scripts.flush());
    reply.ok();
}

pub(in crate::cmd) fn kill(_: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.error(NOT_BUSY);
}

/// There is no debugger: only switching it off succeeds.
pub(in crate::cmd) fn debug(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let mode = x.args.get(2);
    if is(mode, "NO") {
        reply.ok();
    } else if is(mode, "YES") || is(mode, "SYNC") {
        reply.error("ERR the Lua debugger is not supported");
    } else {
        reply.error("ERR Use SCRIPT DEBUG YES/SYNC/NO");
    }
}

pub(in crate::cmd) fn help(_: &mut Exec<'_>, reply: &mut dyn Reply) {
    write_help(
        "SCRIPT",
        &[
            "DEBUG (YES|SYNC|NO)",
            "    Set the debug mode for subsequent scripts executed.",
            "EXISTS <sha1> [<sha1> ...]",
            "    Return information about the existence of the scripts in the script cache.",
            "FLUSH [ASYNC|SYNC]",
            "    Flush the Lua scripts cache. Very dangerous on replicas.",
            "    When called without the optional mode argument, the behavior is determined by the",
            "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
            "    * ASYNC: Asynchronously flush the scripts cache.",
            "    * SYNC: Synchronously flush the scripts cache.",
            "KILL",
            "    Kill the currently executing Lua script.",
            "LOAD <script>",
            "    Load a script into the scripts cache without executing it.",
        ],
        reply,
    );
}
