//! The tables of `docs/scaling.md`: constants, model, simulation.

use std::fmt::Write as _;

use slotcore_rt::rng::SeededRng;

use super::constants::{Constants, HEARTBEAT_MS, LEADERS_PER_CORE, SCATTER_WIDTH, SLOTS};
use super::failover::{Failover, after_death};
use super::heartbeats::{Traffic, count};
use super::model::Cluster;
use super::placement::Placement;
use super::recovery::{Healing, heal};
use crate::report::plot::short;

/// Sizes that are worked out: nodes, and cores of each.
const SIZES: &[(u64, u64)] = &[
    (1, 64),
    (1, 128),
    (3, 64),
    (3, 128),
    (100, 64),
    (100, 128),
    (5000, 64),
    (5000, 128),
];
/// Bytes that a group holds in the simulation: 1 GiB.
const GROUP_BYTES: f64 = 1024.0 * 1024.0 * 1024.0;
/// The node that dies.
const DEAD: u32 = 5;
/// How far the counted messages may be from the model's, as a part of them.
const TOLERANCE: f64 = 0.02;

/// What the simulation gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    cluster: Cluster,
    leaders_before: (u32, u32),
    replicas_before: (u32, u32),
    traffic: Traffic,
    failover: Failover,
    healing: Healing,
    leaders_after: (u32, u32),
    map_delta_bytes: f64,
}

/// Places groups on `nodes` of `cores`, counts their heartbeats, kills a node, elects, heals.
///
/// # Errors
/// A text: a rule was broken, or the messages counted are not those of the model.
pub fn simulate(constants: &Constants, nodes: u32, cores: u32, seed: u64) -> Result<Simulated, String> {
    let cluster = Cluster::new(constants, u64::from(nodes), u64::from(cores));
    let rng = SeededRng::new(seed);
    let mut placement = Placement::new(nodes, cores, cluster.groups, &mut rng.derive("placement"));
    placement.check(|_| true)?;
    let (leaders_before, replicas_before) = (ends(&placement.leaders()), ends(&placement.replicas()));
    let traffic = count(&placement);
    // The model counts a message at both of its ends.
    let expected = cluster.heartbeats_per_node * f64::from(nodes) / 2.0;
    if (traffic.messages - expected).abs() > TOLERANCE * expected {
        return Err(format!(
            "{} heartbeats a second were counted, the model says {expected}",
            traffic.messages
        ));
    }
    let failover = after_death(&mut placement, DEAD % nodes, &mut rng.derive("failover"))?;
    // Each change of a leader is a line of the map, sent to every node.
    let map_delta_bytes = failover.without_leader_ms.len() as f64 * constants.map_group_bytes;
    let healing = heal(&mut placement, DEAD % nodes, GROUP_BYTES)?;
    let mut leaders = placement.leaders();
    leaders.remove((DEAD % nodes) as usize);
    Ok(Simulated {
        cluster,
        leaders_before,
        replicas_before,
        traffic,
        failover,
        healing,
        leaders_after: ends(&leaders),
        map_delta_bytes,
    })
}

fn ends(counts: &[u32]) -> (u32, u32) {
    let (low, high) = (counts.iter().min(), counts.iter().max());
    (low.copied().unwrap_or(0), high.copied().unwrap_or(0))
}

fn table(head: &str, rows: &[(String, String)]) -> String {
    let mut text = format!("| {head} | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text
}

/// The constants and where they come from.
pub fn constants(constants: &Constants) -> String {
    let measured = &constants.source;
    let row = |name: &str, value: String| (name.to_owned(), value);
    let rows = [
        row(
            "GET, pipeline 16",
            format!("{:.2} us of a core ({measured})", constants.get_us),
        ),
        row(
            "SET, pipeline 16, leader",
            format!("{:.2} us ({measured})", constants.set_us),
        ),
        row(
            "SET, each follower",
            format!("{:.1} of the leader's (assumed)", constants.follower_part),
        ),
        row(
            "a frame between two cores",
            format!("{:.1} us: a GET at pipeline 1 ({measured})", constants.frame_us),
        ),
        row(
            "a heartbeat or answer inside a frame",
            format!(
                "{:.1} us, {:.0} bytes (assumed)",
                constants.heartbeat_us, constants.heartbeat_bytes
            ),
        ),
        row(
            "a frame's headers, TCP and IP",
            format!("{:.0} bytes (assumed)", constants.frame_bytes),
        ),
        row(
            "a key of 16 bytes with 50",
            format!("{:.0} bytes of memory ({measured})", constants.key_bytes),
        ),
        row(
            "its entry in log and on the wire",
            format!("{:.0} bytes (assumed)", constants.entry_bytes),
        ),
        row(
            "the cluster map",
            format!(
                "{:.0} bytes a group, {:.0} a node (design)",
                constants.map_group_bytes, constants.map_node_bytes
            ),
        ),
        row(
            "groups",
            format!("{LEADERS_PER_CORE} led by each core, at most {SLOTS}, one a slot; three replicas (design)"),
        ),
        row("heartbeats", format!("every {HEARTBEAT_MS} ms (as configured)")),
        row(
            "nodes that share groups with a node",
            format!("at most {SCATTER_WIDTH} (design)"),
        ),
    ];
    table("constant", &rows)
}

/// The model at every size.
pub fn model(constants: &Constants) -> String {
    let clusters: Vec<Cluster> = SIZES
        .iter()
        .map(|&(nodes, cores)| Cluster::new(constants, nodes, cores))
        .collect();
    let mut text = String::from("| nodes x cores |");
    for cluster in &clusters {
        let _ = write!(text, " {} x {} |", cluster.nodes, cluster.cores);
    }
    let _ = write!(text, "\n|---|{}\n", "---|".repeat(clusters.len()));
    type Row = (&'static str, fn(&Cluster) -> String);
    let rows: [Row; 12] = [
        ("groups", |c| c.groups.to_string()),
        ("replicas of a group", |c| c.replicas.to_string()),
        ("replicas on a node", |c| format!("{:.0}", c.replicas_per_node)),
        ("cores with work", |c| format!("{:.0}", c.busy_cores)),
        ("connections of a node", |c| format!("{:.0}", c.links_per_node)),
        ("heartbeats of a node per s", |c| short(c.heartbeats_per_node)),
        ("frames of a node per s", |c| short(c.frames_per_node)),
        ("% of its busy cores for them", |c| {
            format!("{:.2}", c.heartbeat_percent)
        }),
        ("Mbit/s for them", |c| format!("{:.1}", c.heartbeat_bits / 1e6)),
        ("cluster map, KiB", |c| format!("{:.0}", c.map_bytes / 1024.0)),
        ("commands per s, 90 % GET", |c| short(c.commands)),
        ("keys in memory", |c| format!("{:.2e}", c.keys)),
    ];
    for (name, of) in rows {
        let _ = write!(text, "| {name} |");
        for cluster in &clusters {
            let _ = write!(text, " {} |", of(cluster));
        }
        text.push('\n');
    }
    let _ = write!(text, "| replication out of a node, Gbit/s |");
    for cluster in &clusters {
        let _ = write!(text, " {:.2} |", cluster.replication_bits / 1e9);
    }
    text.push('\n');
    text
}

/// What was simulated.
pub fn simulation(simulated: &Simulated) -> String {
    let cluster = &simulated.cluster;
    let row = |name: &str, value: String| (name.to_owned(), value);
    let waits = &simulated.failover.without_leader_ms;
    let at = |part: f64| {
        waits
            .get((waits.len() as f64 * part) as usize)
            .or(waits.last())
            .copied()
            .unwrap_or(0.0)
    };
    let span = |ends: (u32, u32)| format!("{} to {}", ends.0, ends.1);
    let rows = [
        row(
            "nodes, cores, groups",
            format!("{}, {}, {}", cluster.nodes, cluster.cores, cluster.groups),
        ),
        row("replicas on a node", span(simulated.replicas_before)),
        row("groups led by a node", span(simulated.leaders_before)),
        row(
            "heartbeats and answers per s, all nodes",
            short(simulated.traffic.messages),
        ),
        row("frames per s, all nodes", short(simulated.traffic.frames)),
        row("connections between cores", simulated.traffic.links.to_string()),
        row(
            "the busiest node",
            format!(
                "{} heartbeats and answers per s, {} connections",
                short(simulated.traffic.busiest_node),
                simulated.traffic.busiest_links
            ),
        ),
        row(
            "one node dies: groups without a leader",
            format!(
                "{}, and {} lose a follower",
                waits.len(),
                simulated.failover.followers_lost
            ),
        ),
        row(
            "for how long",
            format!(
                "half of them up to {:.0} ms, the last {:.0} ms",
                at(0.5),
                waits.last().copied().unwrap_or(0.0)
            ),
        ),
        row("campaigns until all have one", simulated.failover.campaigns.to_string()),
        row(
            "new leaders told to every node",
            format!(
                "{:.1} KiB each, {:.1} MiB in all",
                simulated.map_delta_bytes / 1024.0,
                simulated.map_delta_bytes * cluster.nodes as f64 / 1_048_576.0
            ),
        ),
        row(
            "replicas made anew, 1 GiB each",
            format!(
                "{} in {:.0} s, by {} nodes",
                simulated.healing.replicas, simulated.healing.seconds, simulated.healing.nodes
            ),
        ),
        row(
            "groups led by a node afterwards",
            format!(
                "{}, after {} moves",
                span(simulated.leaders_after),
                simulated.healing.leader_moves
            ),
        ),
    ];
    table("simulation", &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_nodes_are_placed_killed_and_healed_alike_each_time() {
        let constants = Constants::default();
        let first = simulate(&constants, 1000, 64, 1).unwrap();
        assert_eq!(first, simulate(&constants, 1000, 64, 1).unwrap());
        assert!(first.leaders_before.1 - first.leaders_before.0 <= 2, "{first:?}");
        assert!(first.leaders_after.1 - first.leaders_after.0 <= 3, "{first:?}");
        assert_eq!(first.cluster.groups, SLOTS);
    }

    #[test]
    fn small_clusters_and_other_seeds_keep_the_rules() {
        for (nodes, cores, seed) in [(6, 1, 1), (7, 3, 2), (50, 128, 3), (300, 16, 4)] {
            simulate(&Constants::default(), nodes, cores, seed).unwrap_or_else(|what| panic!("{nodes} nodes: {what}"));
        }
    }

    #[test]
    fn tables_have_a_column_for_each_size() {
        let text = model(&Constants::default());
        let columns = |line: &str| line.matches('|').count();
        assert!(text.lines().all(|line| columns(line) == SIZES.len() + 2), "{text}");
    }
}
