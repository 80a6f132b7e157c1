//! [`Cluster`]: what a cluster of a given size costs and carries, by arithmetic.

use super::constants::{Constants, HEARTBEAT_MS, LEADERS_PER_CORE, REPLICAS, SCATTER_WIDTH, SLOTS};

/// The part of a core's time that is planned for commands: the rest is for peaks, merges and failover.
const PLANNED: f64 = 0.6;
/// The part of commands that write.
const WRITES: f64 = 0.1;
/// Memory of a core, in bytes: 4 GiB, as on common machines of 64 to 128 cores.
const CORE_BYTES: f64 = 4.0 * 1024.0 * 1024.0 * 1024.0;
/// The part of memory that holds keys.
const FOR_KEYS: f64 = 0.7;

/// A cluster's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// Nodes.
    pub nodes: u64,
    /// Cores of each.
    pub cores: u64,
    /// Replicas of a group.
    pub replicas: u64,
    /// Groups: two for each core, but not more than slots.
    pub groups: u64,
    /// Replicas that live on a node.
    pub replicas_per_node: f64,
    /// Cores that have any replica: with fewer groups than cores the others have nothing to do.
    pub busy_cores: f64,
    /// Connections of a node to cores of other nodes.
    pub links_per_node: f64,
    /// Heartbeats and answers a node sends and takes in a second.
    pub heartbeats_per_node: f64,
    /// Frames they ride in.
    pub frames_per_node: f64,
    /// Percent of the busy cores' time that they take.
    pub heartbeat_percent: f64,
    /// Bits per second that they take of a node's network.
    pub heartbeat_bits: f64,
    /// Bytes of the cluster map.
    pub map_bytes: f64,
    /// Commands per second of the cluster: 90 % GET, 10 % SET.
    pub commands: f64,
    /// Bits per second of replication that leave a node then.
    pub replication_bits: f64,
    /// Keys of 16 bytes with 50-byte values that the cluster holds in memory.
    pub keys: f64,
}

impl Cluster {
    /// Of `nodes` (> 0) with `cores` (> 0) each.
    pub fn new(constants: &Constants, nodes: u64, cores: u64) -> Self {
        let replicas = REPLICAS.min(nodes);
        let groups = (nodes * cores * LEADERS_PER_CORE).min(SLOTS);
        let replicas_per_node = (groups * replicas) as f64 / nodes as f64;
        let busy_cores = replicas_per_node.min(cores as f64);
        let others = (replicas - 1) as f64;
        // Each replica talks with each other one of its group; groups of a core that share a peer share the link.
        let links_per_node = (replicas_per_node * others)
            .min(busy_cores * (SCATTER_WIDTH.min(nodes - 1) as f64))
            .max(if others > 0.0 { busy_cores } else { 0.0 });
        // A heartbeat and its answer, seen by the leader's node and by the follower's: each counts once at either end.
        let beats_per_s = 1000.0 / HEARTBEAT_MS as f64;
        let heartbeats_per_node = 4.0 * (groups as f64 * others / nodes as f64) * beats_per_s;
        // A link carries a frame each way in a tick, however many groups ride in it.
        let frames_per_node = heartbeats_per_node.min(2.0 * links_per_node * beats_per_s);
        let spent_us = heartbeats_per_node * constants.heartbeat_us + frames_per_node * constants.frame_us / 2.0;
        let (reads, writes) = (1.0 - WRITES, WRITES);
        let follower_us = constants.set_us * constants.follower_part;
        let command_us = reads * constants.get_us + writes * (constants.set_us + others * follower_us);
        let busy_us = nodes as f64 * busy_cores * 1e6 * PLANNED;
        let commands = (busy_us - nodes as f64 * spent_us).max(0.0) / command_us;
        let memory = nodes as f64 * cores as f64 * CORE_BYTES * FOR_KEYS;
        Self {
            nodes,
            cores,
            replicas,
            groups,
            replicas_per_node,
            busy_cores,
            links_per_node,
            heartbeats_per_node,
            frames_per_node,
            heartbeat_percent: 100.0 * spent_us / (busy_cores * 1e6),
            heartbeat_bits: 8.0
                * (heartbeats_per_node * constants.heartbeat_bytes + frames_per_node * constants.frame_bytes)
                / 2.0,
            map_bytes: groups as f64 * constants.map_group_bytes + nodes as f64 * constants.map_node_bytes,
            commands,
            replication_bits: 8.0 * commands * writes * others * constants.entry_bytes / nodes as f64,
            keys: memory / (constants.key_bytes * replicas as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(nodes: u64, cores: u64) -> Cluster {
        Cluster::new(&Constants::default(), nodes, cores)
    }

    #[test]
    fn one_node_talks_to_nobody() {
        let one = cluster(1, 64);
        assert_eq!((one.groups, one.replicas, one.busy_cores), (128, 1, 64.0));
        assert_eq!(
            (one.links_per_node, one.heartbeats_per_node, one.replication_bits),
            (0.0, 0.0, 0.0)
        );
        // 60 % of 64 cores at about 0.56 us.
        assert!((60e6..75e6).contains(&one.commands), "{}", one.commands);
    }

    #[test]
    fn slots_bound_the_groups_and_with_them_the_busy_cores() {
        assert_eq!(cluster(64, 128).groups, SLOTS);
        let vast = cluster(5000, 128);
        assert_eq!(vast.groups, SLOTS);
        assert!(vast.busy_cores < 10.0 && vast.replicas_per_node < 10.0, "{vast:?}");
        // What is beyond holds more keys but answers no more commands.
        assert!(vast.commands < 2.5 * cluster(128, 128).commands * 3.0);
        assert!(vast.map_bytes < 2.0 * 1024.0 * 1024.0);
    }

    #[test]
    fn heartbeats_stay_below_a_hundredth() {
        for (nodes, cores) in [(3, 64), (100, 64), (100, 128), (5000, 64), (5000, 128)] {
            let cluster = cluster(nodes, cores);
            assert!(cluster.heartbeat_percent < 1.0, "{cluster:?}");
        }
    }
}
