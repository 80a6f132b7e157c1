//! [`Constants`]: what the model is made of. Measured where it can be; assumed where the code is still to come, and then
//! said so in the table.

use std::io;
use std::path::Path;

use crate::compare::result::Figure;
use crate::report::read;

/// Slots of a Redis Cluster: there cannot be more groups.
pub const SLOTS: u64 = 16_384;
/// Replicas of a group, where there are as many nodes.
pub const REPLICAS: u64 = 3;
/// Groups a core leads, as far as there are slots: two, so that one may move without leaving the core idle.
pub const LEADERS_PER_CORE: u64 = 2;
/// Time between heartbeats, in milliseconds: the default of `raft-shard`.
pub const HEARTBEAT_MS: u64 = 50;
/// Shortest and longest election timeout in milliseconds: the defaults of `raft-shard`.
pub const ELECTION_MS: (u64, u64) = (150, 300);
/// Nodes that share groups with a node: wide enough to heal quickly, narrow enough that three deaths seldom meet in a
/// group (Cidon et al., "Copysets", USENIX ATC 2013).
pub const SCATTER_WIDTH: u64 = 16;

/// See the module's text.
#[derive(Clone, Debug, PartialEq)]
pub struct Constants {
    /// Where processor time and memory come from.
    pub source: String,
    /// Processor time of a GET at pipeline 16, in microseconds.
    pub get_us: f64,
    /// Processor time of a SET at pipeline 16 on the leader, in microseconds.
    pub set_us: f64,
    /// What a follower spends on a SET, as a part of what the leader does: it parses and answers no client.
    pub follower_part: f64,
    /// Processor time to send or take one frame between cores of two nodes, in microseconds: that of a GET at pipeline 1,
    /// which is one receive and one send of a ring.
    pub frame_us: f64,
    /// Processor time for one heartbeat or its answer inside a frame, in microseconds.
    pub heartbeat_us: f64,
    /// Bytes of a heartbeat inside a frame: group, term, commit position, time.
    pub heartbeat_bytes: f64,
    /// Bytes of a frame's header with those of TCP and IP.
    pub frame_bytes: f64,
    /// Memory for a key of 16 bytes with a value of 50.
    pub key_bytes: f64,
    /// Bytes of such an entry in the log and on the wire.
    pub entry_bytes: f64,
    /// Bytes of the cluster map for each group: range, replicas, leader, epoch.
    pub map_group_bytes: f64,
    /// Bytes of the cluster map for each node: address, zone, cores, state.
    pub map_node_bytes: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Self {
            source: "figures written in the program".into(),
            get_us: 0.54,
            set_us: 0.78,
            follower_part: 0.6,
            frame_us: 6.1,
            heartbeat_us: 0.5,
            heartbeat_bytes: 40.0,
            frame_bytes: 120.0,
            key_bytes: 104.0,
            entry_bytes: 110.0,
            map_group_bytes: 64.0,
            map_node_bytes: 96.0,
        }
    }
}

impl Constants {
    /// With processor time and memory from the results in `dir`.
    ///
    /// # Errors
    /// Results that cannot be read, are those of a quick run, or are not there.
    pub fn measured(dir: &Path) -> io::Result<Self> {
        let results = read::all(dir)?;
        let suite = |name: &str| {
            let found = results.comparisons.iter().find(|comparison| comparison.suite == name);
            let what = format!(
                "{} has no results of {name} that are more than a quick run",
                dir.display()
            );
            found
                .filter(|comparison| !comparison.quick)
                .ok_or_else(|| io::Error::other(what))
        };
        let (rates, footprint) = (suite("redis-default")?, suite("footprint")?);
        let cpu = |workload: &str| {
            let lines = rates.tables.iter().flat_map(|table| &table.lines);
            let mut of_ours = lines.filter(|line| line.server == "Slotcore everysec" && line.workload == workload);
            median(of_ours.find_map(|line| line.cpu_us), workload)
        };
        let mut footprints = footprint.tables.iter().flat_map(|table| &table.footprints);
        let of_keys = footprints.find(|one| one.server == "Slotcore everysec");
        Ok(Self {
            source: format!("measured at commit {}", rates.machine.commit),
            get_us: cpu("GET P=16")?,
            set_us: cpu("SET P=16")?,
            frame_us: cpu("GET P=1")?,
            key_bytes: median(of_keys.and_then(|one| one.memory_per_key), "memory per key")?,
            ..Self::default()
        })
    }
}

fn median(figure: Option<Figure>, what: &str) -> io::Result<f64> {
    figure
        .map(|figure| figure.median)
        .ok_or_else(|| io::Error::other(format!("the results do not tell {what} of Slotcore everysec")))
}
