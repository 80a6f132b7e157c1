//! SAVE, BGSAVE, BGREWRITEAOF, BACKUP.

use slotcore_engine::cmd::{Args, Reply};

use super::arguments::{SYNTAX, is, refuse};
use super::{Flow, ServerCtx};

/// `SAVE`: everything acknowledged is durable when this is answered. Unlike in Redis it holds the core for one write of
/// the device, in `everysec` and `off` alone.
pub(super) fn save(ctx: &mut ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    ctx.saving.save();
    out.simple("OK");
    Flow::Done
}

/// `BGSAVE [SCHEDULE]`: the same, soon.
pub(super) fn save_in_background(ctx: &mut ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if args.len() > 2 || (args.len() == 2 && !is(args.get(1), "schedule")) {
        return refuse(out, SYNTAX);
    }
    ctx.saving.save_soon();
    out.simple("Background saving started");
    Flow::Done
}

/// `BGREWRITEAOF`: the log forgets by itself what files hold; as `BGSAVE`, what it has is brought to disk.
pub(super) fn rewrite_log(ctx: &mut ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    ctx.saving.save_soon();
    out.simple("Background append only file rewriting started");
    Flow::Done
}

/// `BACKUP BEGIN|STATE|END`, for `slotcore backup`: see [`crate::saving`].
pub(super) fn backup(ctx: &mut ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let word = args.get(1);
    if args.len() == 2 && is(word, "begin") {
        if !ctx.saving.begin_backup(ctx.now) {
            return refuse(out, "ERR a backup is under way");
        }
        out.simple("OK");
    } else if args.len() == 2 && is(word, "state") {
        let Some(view) = ctx.saving.renew(ctx.now) else {
            return refuse(out, "ERR no backup is under way");
        };
        // Absolute: whoever reads the files may stand elsewhere.
        let dir = ctx.config.config().dir.canonicalize();
        let dir = dir.map_or_else(|_| String::new(), |dir| dir.display().to_string());
        out.array(1);
        out.bulk(format!("{} {} {} {dir}", ctx.core, view.frame, view.index).as_bytes());
    } else if args.len() == 2 && is(word, "end") {
        ctx.saving.end_backup();
        out.simple("OK");
    } else {
        return refuse(out, SYNTAX);
    }
    Flow::Done
}
