//! ROLE, REPLICAOF, and what INFO and HELLO tell of masters and replicas.
//!
//! On its own port a core of a cluster is a master while it leads its group, and otherwise a replica of the core that does, as
//! CLUSTER NODES says. The any-slot port answers for every key, wherever its group is led, and so is that of a master.
//! Offsets are positions in the group's log.
//!
//! Replies: those of redis-server 7.0.15.

use slotcore_engine::cmd::{Args, Reply};
use slotcore_rt::ids::CoreId;

use super::arguments::{integer, is, refuse};
use super::shown::Shown;
use super::{Flow, ServerCtx};
use crate::clients::Endpoint;
use crate::leadership::ClusterView;
use crate::metrics::CoreFacts;

/// Where a core is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub host: String,
    pub port: u16,
}

/// A core that follows, and how far it has the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Follower {
    pub host: String,
    pub port: u16,
    pub offset: u64,
}

/// The core that this one is a replica of, as far as clients of such a port are concerned.
pub(super) fn master(view: Option<&ClusterView>, core: CoreId, endpoint: Endpoint) -> Option<Place> {
    let view = view.filter(|_| endpoint == Endpoint::Core)?;
    let leader = Some(view.leader_or_me(core)).filter(|&leader| leader != view.nodes.me)?;
    let node = view.nodes.node(leader)?;
    Some(Place {
        host: node.host.clone(),
        port: node.core_port(core),
    })
}

/// Those that follow this core and are heard from.
fn followers(view: Option<&ClusterView>, core: CoreId, facts: &CoreFacts) -> Vec<Follower> {
    let Some(view) = view else { return Vec::new() };
    let known = facts.followers.iter();
    let followers = known.filter_map(|&(number, held)| {
        let node = view.nodes.node(number)?;
        Some(Follower {
            host: node.host.clone(),
            port: node.core_port(core),
            offset: held.0,
        })
    });
    followers.collect()
}

/// What `HELLO` calls a server on such a port.
pub(super) fn hello_role(view: Option<&ClusterView>, core: CoreId, endpoint: Endpoint) -> &'static str {
    match master(view, core, endpoint) {
        None => "master",
        Some(_) => "replica",
    }
}

/// The master that `INFO replication` names.
pub(super) fn master_of(shown: &Shown<'_>) -> Option<Place> {
    master(shown.view, shown.core, shown.endpoint)
}

/// The replicas that it names.
pub(super) fn followers_of(shown: &Shown<'_>) -> Vec<Follower> {
    followers(shown.view, shown.core, shown.facts)
}

/// `ROLE`: `[master, offset, [[host, port, offset], ...]]`, or `[slave, host, port, connected, offset]`.
pub(super) fn role(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    let offset = i64::try_from(ctx.facts.raft_commit_index).unwrap_or(i64::MAX);
    match master(ctx.view, ctx.core, ctx.endpoint) {
        None => {
            let followers = followers(ctx.view, ctx.core, ctx.facts);
            out.array(3);
            out.bulk(b"master");
            out.int(offset);
            out.array(followers.len());
            for follower in followers {
                out.array(3);
                out.bulk(follower.host.as_bytes());
                out.bulk(follower.port.to_string().as_bytes());
                out.bulk(follower.offset.to_string().as_bytes());
            }
        }
        Some(master) => {
            out.array(5);
            out.bulk(b"slave");
            out.bulk(master.host.as_bytes());
            out.int(i64::from(master.port));
            out.bulk(b"connected");
            out.int(offset);
        }
    }
    Flow::Done
}

/// `REPLICAOF NO ONE | host port`: nobody is a replica of a Redis server here, and no core of a cluster by command.
pub(super) fn replica_of(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if ctx.view.is_some() {
        return refuse(out, "ERR REPLICAOF not allowed in cluster mode.");
    }
    if is(args.get(1), "no") && is(args.get(2), "one") {
        out.ok();
        return Flow::Done;
    }
    if !integer(args.get(2)).is_some_and(|port| (0..=i64::from(u16::MAX)).contains(&port)) {
        return refuse(out, "ERR Invalid master port");
    }
    refuse(
        out,
        "ERR Slotcore does not replicate from another server: nodes replicate as a cluster (--initial-cluster)",
    )
}
