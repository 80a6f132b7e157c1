//! CLUSTER FAILOVER: a replica takes over from its master.
//!
//! As in Redis it is sent to the replica, its reply says only that it was begun, and nothing acknowledged is lost. The
//! leader of the group hands over, if it is heard from and this replica lacks little; without it an election is under way
//! anyway, whose winner nobody can choose: FORCE and TAKEOVER cannot do more than that, and none of the three makes a leader
//! without a majority.
//!
//! Replies: those of redis-server 7.0.15.

use slotcore_engine::cmd::{Args, Reply};

use super::arguments::{SYNTAX, refuse};
use super::{Flow, ServerCtx};

const WRONG_ARGUMENTS: &str = "ERR unknown subcommand or wrong number of arguments for 'FAILOVER'. Try CLUSTER HELP.";
const NOT_A_REPLICA: &str = "ERR You should send CLUSTER FAILOVER to a replica";
const NO_MASTER: &str = "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE";

/// `CLUSTER FAILOVER [FORCE | TAKEOVER]`, for the group of the core that answers.
pub(super) fn failover(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let forced = match args.len() {
        2 => false,
        3 if ["force", "takeover"]
            .iter()
            .any(|word| args.get(2).eq_ignore_ascii_case(word.as_bytes())) =>
        {
            true
        }
        3 => return refuse(out, SYNTAX),
        _ => return refuse(out, WRONG_ARGUMENTS),
    };
    let Some(view) = ctx.view else {
        return refuse(out, NOT_A_REPLICA);
    };
    match view.leaders.of(ctx.core) {
        Some(node) if node == view.nodes.me => refuse(out, NOT_A_REPLICA),
        Some(_) => {
            out.ok();
            Flow::Lead
        }
        None if forced => {
            out.ok();
            Flow::Done
        }
        None => refuse(out, NO_MASTER),
    }
}
