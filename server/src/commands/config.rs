//! CONFIG GET, SET, REWRITE, RESETSTAT.

use slotcore_engine::cmd::{self, Args, Reply};
use slotcore_rt::config_file;

use super::arguments::refuse;
use super::{Flow, ServerCtx};
use crate::clients::Endpoint;
use crate::config::{Setting, parameters};
use crate::logging::Event;

/// `CONFIG GET pattern [pattern...]`
pub(super) fn get(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let patterns: Vec<Vec<u8>> = args.iter_from(2).map(<[u8]>::to_ascii_lowercase).collect();
    let mut found = Vec::new();
    ctx.config.get(
        &mut |name| {
            let matches = |pattern: &Vec<u8>| {
                *pattern == name.as_bytes() || (!parameters::is_hidden(name) && cmd::matches(pattern, name.as_bytes()))
            };
            patterns.iter().any(matches)
        },
        &mut |name, value| found.push((name, value)),
    );
    out.map(found.len());
    for (name, value) in found {
        // A core's own port is a node of a cluster, the common port is not.
        let is_cluster = name == "cluster-enabled" && ctx.endpoint == Endpoint::Core;
        out.bulk(name.as_bytes());
        out.bulk(if is_cluster { b"yes" } else { value.as_bytes() });
    }
    Flow::Done
}

/// `CONFIG SET name value [name value...]`: all or none.
pub(super) fn set(ctx: &mut ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if !args.len().is_multiple_of(2) {
        return refuse(out, "ERR wrong number of arguments for 'config|set' command");
    }
    let words: Vec<_> = args.iter_from(2).map(String::from_utf8_lossy).collect();
    let pairs: Vec<(&str, &str)> = words.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    let changed = match ctx.config.set(&pairs) {
        Ok(changed) => changed,
        Err(error) => return refuse(out, &format!("ERR {}", error.to_string().replace(['\r', '\n'], " "))),
    };
    for (name, _) in pairs {
        Event::Reconfigured { name }.log();
    }
    if changed.contains(&Setting::SlowLogLenMax) {
        ctx.metrics.slow_log.limit(ctx.config.settings().slow_log_len_max);
    }
    if changed.contains(&Setting::Password) {
        ctx.acl.set_default_password(&ctx.config.settings().password);
    }
    out.ok();
    Flow::Reconfigure(changed)
}

/// `CONFIG REWRITE`: writes what is in force into the file of `--config`. Holds the core until the file is on disk, some
/// milliseconds: it is for people, and the answer must mean that it is done.
pub(super) fn rewrite(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    let Some(path) = &ctx.config.config().file else {
        return refuse(out, "ERR The server is running without a config file");
    };
    let written = config_file::read(path)
        .map_err(|error| error.to_string())
        .and_then(|text| ctx.config.rewritten(&text))
        .and_then(|text| config_file::replace(path, &text).map_err(|error| error.to_string()));
    match written {
        Ok(()) => out.ok(),
        Err(error) => out.error(&format!(
            "ERR Rewriting config file: {}",
            error.replace(['\r', '\n'], " ")
        )),
    }
    Flow::Done
}

/// `CONFIG RESETSTAT`
pub(super) fn reset_stat(ctx: &mut ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    ctx.metrics.reset();
    ctx.keyspace.reset_stats();
    out.ok();
    Flow::Done
}
