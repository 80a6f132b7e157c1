//! CLUSTER MEET and FORGET: nodes of a Redis Cluster are introduced and forgotten one by one, by hearsay. Here a node comes with the
//! cluster's secret when it is started with `--join`, and leaves when its replicas are elsewhere. So these two answer OK where
//! it is so already, begin what is safe, and otherwise say what does it; and the commands that have no meaning here say why.
//!
//! Errors that Redis has too are those of redis-server 7.0.15.

use std::net::IpAddr;

use slotcore_engine::cmd::{Args, Reply};

use super::arguments::{integer, quoted, refuse};
use super::growing::ask;
use super::{Flow, ServerCtx};
use crate::leadership::ClusterView;
use crate::metadata::{Change, ClusterState, Refused};
use crate::nodes::{Node, NodeList, NodeNumber};

/// Why ADDSLOTS and the like have no meaning here.
pub(super) const NO_SLOTS: &str =
    "ERR slots are not assigned by hand: all of them are served from the beginning, an equal part by each core";
/// Why SETSLOT has none, and what does it.
pub(super) const NO_MOVES: &str = "ERR slots do not move by hand: CLUSTER DRAIN empties a node, CLUSTER SET-REPLICAS says how many \
     nodes have each slot, and a node that joins gets its share";
/// Why SET-CONFIG-EPOCH has none.
pub(super) const NO_EPOCHS: &str = "ERR epochs are not set by hand: elections give them";
/// Why REPLICATE has none, and what does it.
pub(super) const NO_PLACES: &str = "ERR replicas are not placed by hand: CLUSTER SET-REPLICAS says how many there are, and CLUSTER \
     DRAIN which node gets none";
/// Why RESET has none, and what does it.
pub(super) const NO_RESET: &str = "ERR a node does not leave by forgetting the others, which count on what it has promised: CLUSTER DRAIN \
     it, then CLUSTER FORGET it on another node, and empty its directory";
const MYSELF: &str = "ERR I tried hard but I can't forget myself...";

/// `CLUSTER MEET ip port [bus-port]`: OK if the node of that address, or of that core, is one of the cluster.
pub(super) fn meet(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if args.len() > 5 {
        return refuse(out, "ERR wrong number of arguments for 'cluster|meet' command");
    }
    let host = String::from_utf8_lossy(args.get(2)).into_owned();
    let Some(port) = integer(args.get(3)) else {
        out.error(&format!("ERR Invalid base port specified: {}", quoted(args.get(3))));
        return Flow::Done;
    };
    if args.len() == 5 && integer(args.get(4)).is_none() {
        out.error(&format!("ERR Invalid bus port specified: {}", quoted(args.get(4))));
        return Flow::Done;
    }
    let Some(port) = u16::try_from(port).ok().filter(|port| *port > 0) else {
        out.error(&format!(
            "ERR Invalid node address specified: {}:{}",
            quoted(args.get(2)),
            quoted(args.get(3))
        ));
        return Flow::Done;
    };
    match ctx.view {
        Some(view) if is_there(&view.nodes, &host, port) => out.ok(),
        Some(view) => out.error(&how_to_join(view)),
        None if host == ctx.cluster.host && is_mine(ctx, port) => out.ok(),
        None => out.error(
            "ERR this node belongs to no cluster: one begins with nodes that are started with the same --initial-cluster, and grows by \
             nodes that are started with --join",
        ),
    }
    Flow::Done
}

/// What to do to have a node join, as the node that was asked can be reached by it.
fn how_to_join(view: &ClusterView) -> String {
    let me = view.nodes.node(view.nodes.me);
    let seed = me.map_or_else(
        || "HOST:PEER-PORT".to_owned(),
        |me| format!("{}:{}", bracketed(&me.host), me.peer_port_base),
    );
    format!(
        "ERR a node joins by itself, as it has to know the cluster's secret: start it with --join {seed} and an empty directory"
    )
}

/// A host as it stands before a port.
fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

/// Whether a node of the list, or one of its cores, is reached by clients there.
fn is_there(list: &NodeList, host: &str, port: u16) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    let cores = |node: &Node| {
        let from = u32::from(node.core_port_base);
        from..from + u32::from(list.cores)
    };
    list.nodes.iter().any(|node| {
        let named = node.host.eq_ignore_ascii_case(host) || Some(node.address) == address;
        named && (node.port == port || cores(node).contains(&u32::from(port)))
    })
}

/// Whether a port is one of this process.
fn is_mine(ctx: &ServerCtx<'_>, port: u16) -> bool {
    port == ctx.cluster.any_slot_port || ctx.cluster.nodes.iter().any(|core| core.port == port)
}

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// A core of this node.
    Myself(NodeNumber),
    /// A core of another one.
    Other(NodeNumber),
    /// A core of a node that was removed.
    Gone,
    /// Nothing.
    Nobody,
}

/// What `id` names. A node has as many of them as cores, and any stands for all. Numbers are never used twice, so whoever had one is known
/// for ever.
fn named(list: &NodeList, state: &ClusterState, id: &str) -> Named {
    let Some(node) = list.node_of_id(id) else {
        return Named::Nobody;
    };
    match list.node(node) {
        Some(_) if node == list.me => Named::Myself(node),
        Some(_) => Named::Other(node),
        None if (1..state.next_number).contains(&node.0) => Named::Gone,
        None => Named::Nobody,
    }
}

/// `CLUSTER FORGET node-id`: removes the node, which must have been drained. Any of its ids will do, and it may be asked for again.
pub(super) fn forget(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let id = String::from_utf8_lossy(args.get(2)).into_owned();
    let Some(view) = ctx.view else {
        match ctx.cluster.nodes.iter().any(|core| core.id == id) {
            true => out.error(MYSELF),
            false => out.error(&format!("ERR Unknown node {}", quoted(args.get(2)))),
        }
        return Flow::Done;
    };
    let state = view.steering.state();
    match named(&view.nodes, &state, &id) {
        Named::Myself(_) => out.error(MYSELF),
        Named::Gone => out.ok(),
        Named::Nobody => out.error(&format!("ERR Unknown node {}", quoted(args.get(2)))),
        Named::Other(node) => {
            let change = Change::Remove { node };
            let NodeNumber(number) = node;
            match state.check(&change) {
                Err(Refused::NotDrained | Refused::HoldsReplicas) => out.error(&format!(
                    "ERR node {number} still holds replicas, or may get some: CLUSTER DRAIN {number} first, and wait until `slotcore ctl \
                     drain {number}` says that it holds none"
                )),
                _ => return ask(ctx, Some(change), out),
            }
        }
    }
    Flow::Done
}

#[cfg(test)]
mod tests {
    use slotcore_rt::ids::CoreId;

    use super::*;
    use crate::metadata::state::tests::{drain, founded, join};

    fn list(nodes: u32) -> (NodeList, ClusterState) {
        let mut state = founded(3, 2);
        (4..=nodes).for_each(|node| state.apply(&join(node, 2)).unwrap());
        (state.list_of(NodeNumber(2), Vec::new()).unwrap(), state)
    }

    #[test]
    fn a_node_is_met_where_clients_reach_it_or_one_of_its_cores() {
        let (list, _) = list(3);
        let third = &list.nodes[2];
        for port in [third.port, third.core_port_base, third.core_port_base + 1] {
            assert!(is_there(&list, &third.host, port), "{port}");
            assert!(is_there(&list, &third.host.to_uppercase(), port), "{port}");
            assert!(is_there(&list, &third.address.to_string(), port), "{port}");
            assert!(!is_there(&list, "elsewhere", port), "{port}");
        }
        for port in [1, third.core_port_base + 2, u16::MAX] {
            assert!(!is_there(&list, &third.host, port), "{port}");
        }
    }

    #[test]
    fn an_id_names_a_node_for_as_long_as_the_cluster_lives() {
        let (before, mut state) = list(4);
        let ids = |node: u32| (0..2).map(move |core| (node, CoreId(core)));
        let of = |list: &NodeList, state: &ClusterState, node: u32| -> Vec<Named> {
            let ids = ids(node).map(|(node, core)| list.endpoint_id(NodeNumber(node), core));
            ids.map(|id| named(list, state, &id)).collect()
        };
        assert_eq!(of(&before, &state, 2), [Named::Myself(NodeNumber(2)); 2]);
        assert_eq!(of(&before, &state, 4), [Named::Other(NodeNumber(4)); 2]);
        assert_eq!(of(&before, &state, 5), [Named::Nobody; 2]);
        assert_eq!(named(&before, &state, ""), Named::Nobody);
        state.apply(&drain(4)).unwrap();
        state.apply(&Change::Remove { node: NodeNumber(4) }).unwrap();
        let after = state.list_of(NodeNumber(2), Vec::new()).unwrap();
        assert_eq!(of(&after, &state, 4), [Named::Gone; 2]);
        assert_eq!(of(&after, &state, 5), [Named::Nobody; 2]);
    }
}
