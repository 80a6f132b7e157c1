//! FUNCTION: the libraries of functions.

use super::{NOT_BUSY, with_scripts, write_help};
use crate::cmd::parse::is;
use crate::cmd::resolve::one_line;
use crate::cmd::{Exec, Reply, matches};
use crate::script::{Function, Library, RestorePolicy};

fn refuse(reply: &mut dyn Reply, text: &str) {
    reply.error(&format!("ERR {}", one_line(text.as_bytes())));
}

fn syntax(x: &Exec<'_>) -> String {
    let name = one_line(x.args.get(1));
    format!("unknown subcommand or wrong number of arguments for '{name}'. Try FUNCTION HELP.")
}

pub(in crate::cmd) fn load(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let code_at = x.args.len() - 1;
    for option in x.args.iter_from(2).take(code_at - 2) {
        if !is(option, "REPLACE") {
            return refuse(reply, &format!("Unknown option given: {}", one_line(option)));
        }
    }
    let code = x.args.get(code_at);
    match with_scripts(x, |scripts, _| scripts.load_library(code, code_at > 2)) {
        Ok(name) => reply.bulk(name.as_bytes()),
        Err(error) => refuse(reply, &error),
    }
}

pub(in crate::cmd) fn delete(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    if with_scripts(x, |scripts, x| scripts.delete_library(x.args.get(2))) {
        reply.ok();
    } else {
        refuse(reply, "Library not found");
    }
}

pub(in crate::cmd) fn flush(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let mode = x.args.try_get(2);
    if x.args.len() > 3 {
        return refuse(reply, &syntax(x));
    }
    if mode.is_some_and(|mode| !is(mode, "ASYNC") && !is(mode, "SYNC")) {
        return refuse(reply, "FUNCTION FLUSH only supports SYNC|ASYNC option");
    }
    with_scripts(x, |scripts, _| scripts.flush_libraries());
    reply.ok();
}

pub(in crate::cmd) fn dump(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.bulk(&with_scripts(x, |scripts, _| scripts.dump_libraries()));
}

pub(in crate::cmd) fn restore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    if x.args.len() > 4 {
        return refuse(reply, &syntax(x));
    }
    let policy = match x.args.try_get(3) {
        None => RestorePolicy::Append,
        Some(word) if is(word, "APPEND") => RestorePolicy::Append,
        Some(word) if is(word, "REPLACE") => RestorePolicy::Replace,
        Some(word) if is(word, "FLUSH") => RestorePolicy::Flush,
        Some(_) => {
            return refuse(
                reply,
                "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            );
        }
    };
    match with_scripts(x, |scripts, x| scripts.restore_libraries(x.args.get(2), policy)) {
        Ok(()) => reply.ok(),
        Err(error) => refuse(reply, &error),
    }
}

pub(in crate::cmd) fn list(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (mut with_code, mut pattern, mut at) = (false, None, 2);
    while let Some(word) = x.args.try_get(at) {
        at += 1;
        if !with_code && is(word, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && is(word, "LIBRARYNAME") {
            let Some(name) = x.args.try_get(at) else {
                return refuse(reply, "library name argument was not given");
            };
            pattern = Some(name.to_ascii_lowercase());
            at += 1;
        } else {
            return refuse(reply, &format!("Unknown argument {}", one_line(word)));
        }
    }
    with_scripts(x, |scripts, _| {
        let chosen = |name: &str| {
            let name = name.to_ascii_lowercase();
            pattern.as_ref().is_none_or(|pattern| matches(pattern, name.as_bytes()))
        };
        let libraries: Vec<_> = scripts.libraries().iter().filter(|(name, _)| chosen(name)).collect();
        reply.array(libraries.len());
        for (name, library) in libraries {
            write_library(name, library, with_code, reply);
        }
    });
}

fn write_library(name: &str, library: &Library, with_code: bool, reply: &mut dyn Reply) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        write_function(function, reply);
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn write_function(function: &Function, reply: &mut dyn Reply) {
    reply.map(3);
    reply.bulk(b"name");
    reply.bulk(function.name.as_bytes());
    reply.bulk(b"description");
    match &function.description {
        Some(text) => reply.bulk(text),
        None => reply.null(),
    }
    reply.bulk(b"flags");
    reply.set(function.flags.names().count());
    function.flags.names().for_each(|name| reply.simple(name));
}

pub(in crate::cmd) fn stats(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let (libraries, functions) = with_scripts(x, |scripts, _| {
        (scripts.libraries().iter().len(), scripts.libraries().functions_len())
    });
    reply.map(2);
    reply.bulk(b"running_script");
    reply.null();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(libraries as i64);
    reply.bulk(b"functions_count");
    reply.int(functions as i64);
}

pub(in crate::cmd) fn kill(_: &mut Exec<'_>, reply: &mut dyn Reply) {
    reply.error(NOT_BUSY);
}

pub(in crate::cmd) fn help(_: &mut Exec<'_>, reply: &mut dyn Reply) {
    write_help(
        "FUNCTION",
        &[
            "LOAD [REPLACE] <FUNCTION CODE>",
            "    Create a new library with the given library name and code.",
            "DELETE <LIBRARY NAME>",
            "    Delete the given library.",
            "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
            "    Return general information on all the libraries:",
            "    * Library name",
            "    * The engine used to run the Library",
            "    * Library description",
            "    * Functions list",
            "    * Library code (if WITHCODE is given)",
            "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
            "STATS",
            "    Return information about the current function running:",
            "    * Function name",
            "    * Command used to run the function",
            "    * Duration in MS that the function is running",
            "    If no function is running, return nil",
            "    In addition, returns a list of available engines.",
            "KILL",
            "    Kill the current running function.",
            "FLUSH [ASYNC|SYNC]",
            "    Delete all the libraries.",
            "    When called without the optional mode argument, the behavior is determined by the",
            "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
            "    * ASYNC: Asynchronously flush the libraries.",
            "    * SYNC: Synchronously flush the libraries.",
            "DUMP",
            "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
            "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
            "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
            "    control how to handle existing libraries (default APPEND):",
            "    * FLUSH: delete all existing libraries.",
            "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
            "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
            "      libraries with the new libraries (notice that even on this option there is a chance of failure",
            "      in case of functions name collision with another library).",
        ],
        reply,
    );
}
