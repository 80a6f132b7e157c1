//! CLUSTER DRAIN, REMOVE-NODE, SET-REPLICAS: what an operator changes in the cluster itself.
//!
//! `OK` says that it makes sense, as far as this node knows, and is on its way to the leader of the metadata group; it is done when
//! `slotcore ctl` shows it, and may be asked for again until then. Redis has none of them.

use slotcore_engine::cmd::{Args, Reply};

use super::arguments::{NOT_AN_INTEGER, integer, refuse};
use super::{Flow, ServerCtx};
use crate::metadata::{Change, Refused};
use crate::nodes::NodeNumber;
use crate::steering::Asked;

const NO_CLUSTER: &str = "ERR this node belongs to no cluster";
const NOT_KNOWN_YET: &str = "ERR the nodes of the cluster have not agreed on a list yet: try again";
const WRONG_ARGUMENTS: &str = "ERR wrong number of arguments for 'cluster|drain' command";

/// `CLUSTER DRAIN node [replicas]`
pub(super) fn drain(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let replicas = match args.len() {
        3 => Some(0),
        4 => number(args.get(3)),
        _ => return refuse(out, WRONG_ARGUMENTS),
    };
    let change = node(args).zip(replicas);
    ask(
        ctx,
        change.map(|(node, replicas)| Change::Drain { node, replicas }),
        out,
    )
}

/// `CLUSTER REMOVE-NODE node`
pub(super) fn remove_node(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    ask(ctx, node(args).map(|node| Change::Remove { node }), out)
}

/// `CLUSTER SET-REPLICAS replicas`
pub(super) fn set_replicas(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let replicas = number(args.get(2));
    ask(ctx, replicas.map(|replicas| Change::SetReplicas { replicas }), out)
}

/// Passes a change on to the leader of the metadata group, if it makes sense; `None`: a number was none.
pub(super) fn ask(ctx: &ServerCtx<'_>, change: Option<Change>, out: &mut dyn Reply) -> Flow {
    let Some(change) = change else {
        return refuse(out, NOT_AN_INTEGER);
    };
    let Some(view) = ctx.view else {
        return refuse(out, NO_CLUSTER);
    };
    let state = view.steering.state();
    if state.cluster == 0 {
        return refuse(out, NOT_KNOWN_YET);
    }
    match state.check(&change) {
        Ok(()) => {
            let from_afar = false;
            view.steering.ask(Asked { change, from_afar });
            out.ok();
        }
        Err(Refused::Nothing) => out.ok(),
        Err(why) => out.error(&format!("ERR {why}")),
    }
    Flow::Done
}

fn node(args: Args<'_>) -> Option<NodeNumber> {
    number(args.get(2)).map(NodeNumber)
}

fn number<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
    integer(text).and_then(|number| T::try_from(number).ok())
}
