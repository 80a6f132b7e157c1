//! SLOWLOG GET, LEN, RESET.

use slotcore_engine::cmd::{Args, Reply};

use super::arguments::{bad_subcommand, integer, refuse};
use super::shown::Shown;
use super::{Flow, ServerCtx};

/// Entries shown when no number is given.
const SHOWN: usize = 10;

/// `SLOWLOG GET [count]`: -1 = all.
pub(super) fn get(shown: &Shown<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let log = &shown.metrics.slow_log;
    let count = match args.try_get(2).map(integer) {
        _ if args.len() > 3 => return refuse(out, &bad_subcommand("SLOWLOG", args.get(1))),
        None => SHOWN,
        Some(Some(-1)) => log.len(),
        Some(Some(count @ 0..)) => usize::try_from(count).unwrap_or(usize::MAX),
        Some(_) => return refuse(out, "ERR count should be greater than or equal to -1"),
    };
    let count = count.min(log.len());
    out.array(count);
    for entry in log.iter().take(count) {
        out.array(6);
        for number in [entry.id, entry.at_s, entry.took_us] {
            out.int(i64::try_from(number).unwrap_or(i64::MAX));
        }
        out.array(entry.args.len());
        for arg in &entry.args {
            out.bulk(arg);
        }
        out.bulk(entry.peer.as_bytes());
        out.bulk(&entry.client_name);
    }
    Flow::Done
}

/// `SLOWLOG LEN`
pub(super) fn len(shown: &Shown<'_>, out: &mut dyn Reply) -> Flow {
    out.int(shown.metrics.slow_log.len() as i64);
    Flow::Done
}

/// `SLOWLOG RESET`
pub(super) fn reset(ctx: &mut ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    ctx.metrics.slow_log.clear();
    out.ok();
    Flow::Done
}
