//! DEBUG SLEEP, OBJECT, DIGEST, DIGEST-VALUE, DIVERGE, PROTOCOL, SET-ACTIVE-EXPIRE, STRINGMATCH-LEN; and those that test Redis's
//! insides, which have nothing to do here.

use std::time::Duration;

use slotcore_engine::cmd::{self, Args, Reply};
use slotcore_engine::keyspace::Expire;

use super::arguments::{bad_subcommand, is, refuse};
use super::{Flow, ServerCtx, help};
use crate::clients::ClientState;
use crate::config::DebugCommand;

/// Longest sleep that is carried out, in seconds: a core that sleeps serves nobody.
const SLEEP_S_MAX: f64 = 3600.0;
/// Longest text that DEBUG STRINGMATCH-LEN makes, in bytes.
const MATCHED_BYTES_MAX: usize = 1 << 20;

/// What DEBUG DIVERGE sets on the replicas of this node, and nowhere else.
const DIVERGED_KEY: &[u8] = b"debug:diverged";

/// `DEBUG subcommand [argument]`
pub(super) fn debug(ctx: &mut ServerCtx<'_>, conn: &ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let allowed = match ctx.config.config().debug_command {
        DebugCommand::Yes => true,
        DebugCommand::Local => conn.peer.ip().is_loopback(),
        DebugCommand::No => false,
    };
    if !allowed {
        return refuse(
            out,
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from \
             a local connection, otherwise you need to set this option in the configuration file, and then restart the \
             server.",
        );
    }
    let word = args.get(1);
    match args.try_get(2) {
        Some(seconds) if is(word, "sleep") && args.len() == 3 => sleep(seconds, out),
        Some(key) if is(word, "object") => {
            cmd::debug_object(ctx.keyspace, key, out);
            // Whether the key has expired meanwhile is not this command's concern, nor that of the next one.
            ctx.keyspace.take_needs_tick();
            Flow::Done
        }
        Some(value) if is(word, "set-active-expire") && args.len() == 3 => {
            // Anything but 0 is yes, as for C's atoi.
            *ctx.active_expire = value != b"0";
            out.ok();
            Flow::Done
        }
        // What comparing replicas is tested with.
        None if is(word, "diverge") => {
            ctx.keyspace.set_str(DIVERGED_KEY, b"", Expire::Clear);
            accepted(out)
        }
        // It takes every value there is: a matter for tests, whose data fits the memory.
        None if is(word, "digest") && !ctx.keyspace.is_complete() => refuse(
            out,
            "ERR DEBUG DIGEST needs every key in memory, and some are only in files",
        ),
        None if is(word, "digest") => {
            cmd::debug_digest(ctx.keyspace, out);
            Flow::Done
        }
        Some(_) if is(word, "digest-value") => {
            cmd::debug_digest_value(ctx.keyspace, args.iter_from(2), out);
            Flow::Done
        }
        Some(kind) if is(word, "protocol") && args.len() == 3 => {
            cmd::debug_protocol(kind, out);
            Flow::Done
        }
        Some(len) if is(word, "stringmatch-len") && args.len() == 4 => string_match(len, args.get(3), out),
        // Everything is in the log, and comes from there at every start: there is nothing to save, or to load meanwhile.
        _ if is(word, "reload") || (is(word, "loadaof") && args.len() == 2) => accepted(out),
        // The one subcommand that scripts may call they may always call.
        Some(_) if is(word, "set-disable-deny-scripts") && args.len() == 3 => accepted(out),
        // These tune structures that Redis has and we have not.
        Some(_) if is(word, "quicklist-packed-threshold") || is(word, "pause-cron") => accepted(out),
        None if is(word, "change-repl-id") => accepted(out),
        None if is(word, "help") => help::write("DEBUG", help::DEBUG, out),
        _ => refuse(out, &bad_subcommand("DEBUG", word)),
    }
}

fn accepted(out: &mut dyn Reply) -> Flow {
    out.ok();
    Flow::Done
}

/// Whether as many `x` match a pattern: it must be found out in reasonable time.
fn string_match(len: &[u8], pattern: &[u8], out: &mut dyn Reply) -> Flow {
    let len = std::str::from_utf8(len)
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    let Some(len) = len.filter(|len| *len <= MATCHED_BYTES_MAX) else {
        return refuse(out, "ERR value is not an integer or out of range");
    };
    out.int(i64::from(cmd::matches(pattern, &vec![b'x'; len])));
    Flow::Done
}

fn sleep(seconds: &[u8], out: &mut dyn Reply) -> Flow {
    // What is no number is no sleep, as for C's strtod.
    let seconds: f64 = std::str::from_utf8(seconds)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    out.ok();
    if seconds > 0.0 {
        Flow::Sleep(Duration::from_secs_f64(seconds.min(SLEEP_S_MAX)))
    } else {
        Flow::Done
    }
}
