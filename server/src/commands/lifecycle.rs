//! TIME, LASTSAVE, LOLWUT, SHUTDOWN.

use slotcore_engine::cmd::{Args, Reply};

use super::arguments::{SYNTAX, is, refuse};
use super::shown::Shown;
use super::{Flow, ServerCtx};

/// `TIME`: seconds and microseconds.
pub(super) fn time(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    out.array(2);
    out.bulk(ctx.wall_s().to_string().as_bytes());
    out.bulk((ctx.wall_us % 1_000_000).to_string().as_bytes());
    Flow::Done
}

/// `LASTSAVE`: when everything written was last known to be on disk.
pub(super) fn last_save(shown: &Shown<'_>, out: &mut dyn Reply) -> Flow {
    out.int(i64::try_from(shown.facts.last_durable_at_s).unwrap_or(i64::MAX));
    Flow::Done
}

/// `LOLWUT [VERSION version] [...]`: any arguments, no picture.
pub(super) fn lolwut(out: &mut dyn Reply) -> Flow {
    out.verbatim(concat!("Slotcore ver. ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    Flow::Done
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`
///
/// Everything acknowledged is in the log, so SAVE and NOSAVE mean the same, and nothing can fail that FORCE would skip.
pub(super) fn shutdown(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let (mut save, mut no_save, mut now, mut force, mut abort) = (false, false, false, false, false);
    for word in args.iter_from(1) {
        let known = [
            ("save", &mut save),
            ("nosave", &mut no_save),
            ("now", &mut now),
            ("force", &mut force),
            ("abort", &mut abort),
        ];
        match known.into_iter().find(|(name, _)| is(word, name)) {
            Some((_, place)) => *place = true,
            None => return refuse(out, SYNTAX),
        }
    }
    if (save && no_save) || (abort && args.len() > 2) {
        return refuse(out, SYNTAX);
    }
    if abort {
        // A shutdown under way has closed its clients: whoever asks comes too early or too late.
        return refuse(out, "ERR No shutdown in progress.");
    }
    Flow::Shutdown { now }
}
