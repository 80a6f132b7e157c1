//! Cluster commands on a port that serves all keys as one Redis.

use slotcore_engine::cmd::Reply;

use super::Flow;

/// What Redis answers to every cluster command when it is no cluster node.
pub(super) fn disabled(out: &mut dyn Reply) -> Flow {
    out.error("ERR This instance has cluster support disabled");
    Flow::Done
}
