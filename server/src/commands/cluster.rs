//! CLUSTER, READONLY, READWRITE, ASKING: the cores of this process, and of the other nodes, as the nodes of a cluster.
//!
//! Every port describes the same cluster in the same words; only `myself` differs: it is the node of the core that answers.
//! That holds on the any-slot port, too, so that a client which expects a cluster finds one there and goes on to the cores'
//! own ports. A host is always named: clients do not agree on what an empty one means.
//!
//! The cores of one number on all nodes have the same slots: the one that leads them is a master, the others are its
//! replicas. Without other nodes each core is a master without replicas. No core can fail alone or move its slots, and the
//! answers say so.
//!
//! Shapes: those of redis-server 7.0.15.

use std::fmt::Write as _;

use slotcore_engine::cmd::{Args, Reply, ServerCmd};
use slotcore_engine::ord::{SLOTS, slot_of_bytes};
use slotcore_rt::ids::CoreId;

use super::arguments::{NOT_AN_INTEGER, integer, quoted, refuse};
use super::{Flow, ServerCtx};
use crate::clients::ClientState;
use crate::cluster_map::ClusterMap;
use crate::leadership::ClusterView;
use crate::nodes::{Node, Zone};
use crate::replica_reads::ReadWish;

/// How far a node's bus port is above its port. Nobody listens there; clients want to read a number.
const BUS_PORT_OFFSET: u32 = 10_000;
const BAD_SLOT: &str = "ERR Invalid slot";

/// The slot that a command of this family asks about: on the any-slot port its owner has to answer. `None` when every core
/// gives the same answer, an error included.
pub(super) fn slot_asked(cmd: ServerCmd, args: &Args<'_>) -> Option<u16> {
    match cmd {
        ServerCmd::ClusterCountKeysInSlot | ServerCmd::ClusterGetKeysInSlot => slot(args.get(2)).ok(),
        _ => None,
    }
}

/// `CLUSTER INFO`
pub(super) fn info(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    let masters = ctx.cluster.cores();
    let nodes = cores(ctx.cluster).map(|core| endpoints(ctx, core).len()).sum::<usize>();
    let text = format!(
        "cluster_state:ok\r\n\
         cluster_slots_assigned:{SLOTS}\r\n\
         cluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\n\
         cluster_slots_fail:0\r\n\
         cluster_known_nodes:{nodes}\r\n\
         cluster_size:{masters}\r\n\
         cluster_current_epoch:{masters}\r\n\
         cluster_my_epoch:{}\r\n\
         cluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n",
        epoch(ctx.core)
    );
    out.verbatim(text.as_bytes());
    Flow::Done
}

/// `CLUSTER MYID`, and `CLUSTER MYSHARDID`: a shard is known by any of its nodes' names.
pub(super) fn my_id(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    out.bulk(my_name(ctx).as_bytes());
    Flow::Done
}

/// `CLUSTER KEYSLOT key`
pub(super) fn key_slot(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    out.int(i64::from(slot_of_bytes(args.get(2))));
    Flow::Done
}

/// `CLUSTER SLOTS`: a range is `[first, last, [host, port, id, metadata], ...]`, the master first.
pub(super) fn slots(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    out.array(ctx.cluster.cores());
    for core in cores(ctx.cluster) {
        let (range, endpoints) = (ctx.cluster.range_of(core), endpoints(ctx, core));
        out.array(2 + endpoints.len());
        out.int(i64::from(*range.start()));
        out.int(i64::from(*range.end()));
        for endpoint in endpoints {
            out.array(4);
            out.bulk(endpoint.host.as_bytes());
            out.int(i64::from(endpoint.port));
            out.bulk(endpoint.id.as_bytes());
            out.map(0);
        }
    }
    Flow::Done
}

/// `CLUSTER SHARDS`, with `availability-zone` of nodes that have one, as Valkey has it.
pub(super) fn shards(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    out.array(ctx.cluster.cores());
    for core in cores(ctx.cluster) {
        let (range, endpoints) = (ctx.cluster.range_of(core), endpoints(ctx, core));
        out.map(2);
        out.bulk(b"slots");
        out.array(2);
        out.int(i64::from(*range.start()));
        out.int(i64::from(*range.end()));
        out.bulk(b"nodes");
        out.array(endpoints.len());
        for (number, endpoint) in endpoints.iter().enumerate() {
            out.map(7 + usize::from(endpoint.zone.is_some()));
            out.bulk(b"id");
            out.bulk(endpoint.id.as_bytes());
            out.bulk(b"port");
            out.int(i64::from(endpoint.port));
            for name in ["ip", "endpoint"] {
                out.bulk(name.as_bytes());
                out.bulk(endpoint.host.as_bytes());
            }
            if let Some(zone) = &endpoint.zone {
                out.bulk(b"availability-zone");
                out.bulk(zone.name().as_bytes());
            }
            out.bulk(b"role");
            out.bulk(if number == 0 { "master" } else { "replica" }.as_bytes());
            // Offsets tell how far a replica is behind: only the leader knows, and it tells only how many are in step.
            out.bulk(b"replication-offset");
            out.int(0);
            out.bulk(b"health");
            out.bulk(b"online");
        }
    }
    Flow::Done
}

/// `CLUSTER NODES`: a line a node.
pub(super) fn nodes(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    let mut text = String::with_capacity(ctx.cluster.cores() * 112);
    for core in cores(ctx.cluster) {
        let endpoints = endpoints(ctx, core);
        for number in 0..endpoints.len() {
            describe(ctx, core, &endpoints, number, &mut text);
            text.push('\n');
        }
    }
    out.verbatim(text.as_bytes());
    Flow::Done
}

/// `CLUSTER REPLICAS node-id`: the lines of those that follow that master.
pub(super) fn replicas(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let id = args.get(2);
    for core in cores(ctx.cluster) {
        let endpoints = endpoints(ctx, core);
        match endpoints.iter().position(|endpoint| endpoint.id.as_bytes() == id) {
            None => {}
            Some(0) => {
                out.array(endpoints.len() - 1);
                for number in 1..endpoints.len() {
                    let mut line = String::new();
                    describe(ctx, core, &endpoints, number, &mut line);
                    out.bulk(line.as_bytes());
                }
                return Flow::Done;
            }
            Some(_) => return refuse(out, "ERR The specified node is not a master"),
        }
    }
    out.error(&format!("ERR Unknown node {}", quoted(id)));
    Flow::Done
}

/// Writes `id host:port@bus-port flags master ping pong epoch link-state range` of one of those that have the slots of
/// `core`. Replicas name their master and no range.
fn describe(ctx: &ServerCtx<'_>, core: CoreId, endpoints: &[Endpoint], number: usize, text: &mut String) {
    const WRITES: &str = "a String takes whatever is written to it";
    let endpoint = &endpoints[number];
    let (flag, master) = match number {
        0 => ("master", "-"),
        _ => ("slave", endpoints[0].id.as_str()),
    };
    let whose = if endpoint.id == my_name(ctx) { "myself," } else { "" };
    write!(
        text,
        "{} {}:{}@{} {whose}{flag} {master} 0 0 {} connected",
        endpoint.id,
        endpoint.host,
        endpoint.port,
        u32::from(endpoint.port) + BUS_PORT_OFFSET,
        epoch(core),
    )
    .expect(WRITES);
    if number == 0 {
        let range = ctx.cluster.range_of(core);
        write!(text, " {}", range.start()).expect(WRITES);
        if range.start() != range.end() {
            write!(text, "-{}", range.end()).expect(WRITES);
        }
    }
}

/// `CLUSTER LINKS`: cores talk by memory.
pub(super) fn links(out: &mut dyn Reply) -> Flow {
    out.array(0);
    Flow::Done
}

/// `CLUSTER BUMPEPOCH`: the epochs of masters always differ, so none has to be advanced.
pub(super) fn bump_epoch(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    out.simple(&format!("STILL {}", epoch(ctx.core)));
    Flow::Done
}

/// `CLUSTER COUNT-FAILURE-REPORTS node-id`
pub(super) fn count_failure_reports(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let id = args.get(2);
    let is_it = |endpoint: &Endpoint| endpoint.id.as_bytes() == id;
    if cores(ctx.cluster).any(|core| endpoints(ctx, core).iter().any(is_it)) {
        out.int(0);
    } else {
        out.error(&format!("ERR Unknown node {}", quoted(id)));
    }
    Flow::Done
}

/// `CLUSTER COUNTKEYSINSLOT slot`: of the keys that this core holds.
pub(super) fn count_keys_in_slot(ctx: &mut ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    match slot(args.get(2)) {
        Ok(slot) => out.int(i64::try_from(ctx.keyspace.slot_len(slot)).unwrap_or(i64::MAX)),
        Err(error) => out.error(error),
    }
    Flow::Done
}

/// `CLUSTER GETKEYSINSLOT slot count`: of the keys that this core holds.
pub(super) fn get_keys_in_slot(ctx: &mut ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let (Some(slot), Some(count)) = (integer(args.get(2)), integer(args.get(3))) else {
        return refuse(out, NOT_AN_INTEGER);
    };
    let slot = u16::try_from(slot).ok().filter(|&slot| slot < SLOTS);
    let (Some(slot), Ok(count)) = (slot, usize::try_from(count)) else {
        return refuse(out, "ERR Invalid slot or number of keys");
    };
    let mut keys: Vec<Vec<u8>> = Vec::new();
    ctx.keyspace.slot_keys(slot, count, &mut |key| keys.push(key.to_vec()));
    out.array(keys.len());
    for key in &keys {
        out.bulk(key);
    }
    Flow::Done
}

/// `READONLY`, `READWRITE`: whether a core that follows a leader may answer this connection's reads itself. How fresh that is
/// says `CLIENT READMODE`; without it, it is what the leader had some time ago.
pub(super) fn reads_replica(conn: &mut ClientState, may: bool, out: &mut dyn Reply) -> Flow {
    conn.reads_replica = may;
    if !may && matches!(conn.read_wish, ReadWish::Bounded(_) | ReadWish::Any) {
        conn.read_wish = ReadWish::Lease;
    }
    out.ok();
    Flow::Done
}

/// `ASKING`: what it allows, commands on slots that are moving, has no case here; clients send it all the same.
pub(super) fn accepted(out: &mut dyn Reply) -> Flow {
    out.ok();
    Flow::Done
}

fn cores(map: &ClusterMap) -> impl Iterator<Item = CoreId> {
    (0..map.cores()).map(|core| CoreId(core as u16))
}

/// A core of some node as a node of a Redis Cluster.
struct Endpoint {
    id: String,
    host: String,
    port: u16,
    zone: Option<Zone>,
}

/// All that have the slots of `core`, the one to be asked first.
fn endpoints(ctx: &ServerCtx<'_>, core: CoreId) -> Vec<Endpoint> {
    let Some(view) = ctx.view else {
        let node = ctx.cluster.node(core);
        return vec![Endpoint {
            id: node.id.clone(),
            host: ctx.cluster.host.clone(),
            port: node.port,
            zone: None,
        }];
    };
    holders(view, core)
        .into_iter()
        .map(|node| Endpoint {
            id: view.nodes.endpoint_id(node.number, core),
            host: node.host.clone(),
            port: node.core_port(core),
            zone: node.zone.clone(),
        })
        .collect()
}

/// The nodes that have replicas of the group of `core`, as far as known: its leader first, the others as they are numbered.
fn holders(view: &ClusterView, core: CoreId) -> Vec<&Node> {
    let (leader, known) = (view.leader_or_me(core), view.steering.order(core).holders);
    let holds = |node: &&Node| node.number == leader || known.is_empty() || known.contains(&node.number);
    let mut nodes: Vec<&Node> = view.nodes.nodes.iter().filter(holds).collect();
    nodes.sort_by_key(|node| node.number != leader);
    nodes
}

/// The name of the core that answers.
fn my_name(ctx: &ServerCtx<'_>) -> String {
    match ctx.view {
        Some(view) => view.nodes.endpoint_id(view.nodes.me, ctx.core),
        None => ctx.cluster.node(ctx.core).id.clone(),
    }
}

/// Configuration epochs differ between masters, as tools that look for conflicts expect.
fn epoch(core: CoreId) -> u32 {
    u32::from(core.0) + 1
}

fn slot(text: &[u8]) -> Result<u16, &'static str> {
    let number = integer(text).ok_or(NOT_AN_INTEGER)?;
    u16::try_from(number).ok().filter(|&slot| slot < SLOTS).ok_or(BAD_SLOT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::ClusterState;
    use crate::nodes::{NodeNumber, list_for_tests};

    #[test]
    fn only_who_has_a_replica_is_named() {
        let view = ClusterView::new(list_for_tests(2, 4));
        let named = |core| {
            holders(&view, CoreId(core))
                .iter()
                .map(|node| node.number.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(named(0), [2, 1, 3, 4], "nothing is known yet");
        let mut state = ClusterState::default();
        let group = state.groups.entry(CoreId(0)).or_default();
        group.holders = [1, 3].map(NodeNumber).into();
        view.steering.decide(&state);
        view.leaders.set(CoreId(0), Some(NodeNumber(3)));
        assert_eq!(named(0), [3, 1]);
        view.leaders.set(CoreId(0), Some(NodeNumber(4)));
        assert_eq!(named(0), [4, 1, 3], "whoever leads has one");
        assert_eq!(named(1), [2, 1, 3, 4]);
    }
}
