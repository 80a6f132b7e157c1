//! `WAIT` and `WAITAOF`: their arguments and replies, and what they answer where nobody may wait.

use std::time::Duration;

use slotcore_engine::cmd::{Args, Reply, ServerCmd};

use super::arguments::{NOT_AN_INTEGER, integer};
use super::{Flow, ServerCtx};
use crate::config::Durability;
use crate::copies::Copies;

/// A time-out beyond this is none: nobody lives to see it, and sums of times do not overflow.
const TIMEOUT_MS_MAX: u64 = 100 * 365 * 24 * 3600 * 1000;

/// What such a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyWish {
    /// It is told of both kinds of copies (`WAITAOF`).
    pub both: bool,
    /// How many are enough.
    pub wanted: Copies,
    /// How long it waits; `None`: for ever.
    pub timeout: Option<Duration>,
}

impl CopyWish {
    /// Reads `WAIT numreplicas timeout` or `WAITAOF numlocal numreplicas timeout`.
    ///
    /// # Errors
    /// What Redis 7.2 answers.
    pub fn of(cmd: ServerCmd, args: &Args<'_>) -> Result<Self, &'static str> {
        let both = cmd == ServerCmd::WaitAof;
        let number = |at: usize| integer(args.get(at)).ok_or(NOT_AN_INTEGER);
        let (local, replicas) = if both {
            let local = number(1)?;
            if !(0..=1).contains(&local) {
                return Err("ERR value is out of range, value must between 0 and 1");
            }
            let replicas = number(2)?;
            if replicas < 0 {
                return Err("ERR value is out of range, must be positive");
            }
            (local == 1, replicas)
        } else {
            (false, number(1)?)
        };
        let timeout = integer(args.get(args.len() - 1)).ok_or("ERR timeout is not an integer or out of range")?;
        let timeout_ms = u64::try_from(timeout).map_err(|_| "ERR timeout is negative")?;
        Ok(Self {
            both,
            wanted: Copies {
                local,
                // There are never so many: it waits for as long as it may.
                replicas: replicas.clamp(0, i64::from(u16::MAX)) as u16,
            },
            timeout: (1..TIMEOUT_MS_MAX)
                .contains(&timeout_ms)
                .then(|| Duration::from_millis(timeout_ms)),
        })
    }
}

/// Copies that there are of every command that was answered: it is in the logs of a majority of those that vote in its group, so of
/// `others` besides one. `durably`: only durable ones count.
pub(crate) fn certain_copies(others: usize, durability: Durability, durably: bool) -> Copies {
    let always = durability == Durability::Always;
    Copies {
        local: always,
        // A group has a handful of voters.
        replicas: if durably && !always { 0 } else { others as u16 },
    }
}

/// The reply.
pub(crate) fn write_copies(copies: Copies, both: bool, out: &mut dyn Reply) {
    if both {
        out.array(2);
        out.int(i64::from(copies.local));
    }
    out.int(i64::from(copies.replicas));
}

/// Inside a transaction: what is certain of everything that was answered before.
pub(super) fn at_once(ctx: &ServerCtx<'_>, cmd: ServerCmd, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    match CopyWish::of(cmd, &args) {
        Ok(wish) => {
            let others = ctx.view.map_or(0, |view| view.leaders.certain_copies());
            let certain = certain_copies(others, ctx.config.settings().durability, wish.both);
            write_copies(certain, wish.both, out);
        }
        Err(text) => out.error(text),
    }
    Flow::Done
}
