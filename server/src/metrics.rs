//! [`CoreMetrics`]: what one core counts. Plain numbers that the core alone changes: no lock and no atomic on the way of a
//! command. Others see a [`CoreSnapshot`], made at most once a second or when somebody asks.

pub mod command_stats;
pub mod errors;
pub mod exposition;
pub mod latency_events;
pub mod latency_histogram;
pub mod prometheus;
pub mod rates;
pub mod slow_log;
pub mod snapshot;
pub mod stall;

pub use command_stats::{CommandCount, CommandStats};
pub use errors::ErrorStats;
pub use latency_events::{LatencyEvents, LatencyKind};
pub use latency_histogram::LatencyHistogram;
pub use rates::Rate;
pub use slow_log::SlowLog;
pub use snapshot::{CoreSnapshot, SnapshotSlot};
pub use stall::{Queue, StallDetector};

use slotcore_engine::cmd::Group;
use slotcore_rt::clock::Tick;

/// Counters of the network side of one core, from the start or the last `CONFIG RESETSTAT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// Commands that were sent to the core that owns their keys.
    pub commands_forwarded: u64,
    /// Commands of other cores' connections that were carried out here.
    pub commands_for_others: u64,
    /// Connections handed over to the core that owns nearly all they ask for.
    pub connections_given: u64,
    /// Connections taken over from other cores.
    pub connections_taken: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections turned away because there were too many.
    pub rejected_connections: u64,
    /// Bytes received.
    pub input_bytes: u64,
    /// Bytes sent.
    pub output_bytes: u64,
    /// Connections closed because their replies piled up.
    pub output_limit_disconnections: u64,
    /// Connections closed because their unfinished command was too long.
    pub query_limit_disconnections: u64,
    /// Wrong passwords.
    pub auth_failures: u64,
    /// Commands that would have needed more memory than is allowed.
    pub oom_refusals: u64,
    /// Malformed requests.
    pub protocol_errors: u64,
}

/// What one core counts and measures.
#[derive(Clone, Debug, Default)]
pub struct CoreMetrics {
    /// Every command.
    pub commands: CommandStats,
    /// Error replies.
    pub errors: ErrorStats,
    /// The network side.
    pub net: NetCounters,
    /// From the arrival of a command to its reply, durability included, per family of commands.
    operations: [LatencyHistogram; Group::ALL.len()],
    /// From submitting a frame of the log to its being durable.
    pub log_write: LatencyHistogram,
    /// Which task queue held the core.
    pub stalls: StallDetector,
    /// The last slow commands.
    pub slow_log: SlowLog,
    /// Moments above the latency threshold.
    pub latency: LatencyEvents,
    /// Commands per second right now.
    pub command_rate: Rate,
    /// Bytes received per second right now.
    pub input_rate: Rate,
    /// Bytes sent per second right now.
    pub output_rate: Rate,
    /// Most memory the data ever used, in bytes.
    pub memory_bytes_peak: u64,
}

impl CoreMetrics {
    /// Counts `times` commands of a family whose replies were ready `ns` nanoseconds after they arrived.
    #[inline]
    pub fn operation(&mut self, family: Group, ns: u64, times: u32) {
        self.operations[family as usize].record(ns, times);
    }

    /// From arrival to reply, for one family.
    pub fn operations(&self, family: Group) -> &LatencyHistogram {
        &self.operations[family as usize]
    }

    /// Keeps rates and peaks current; to be called a few times a second.
    pub fn tick(&mut self, now: Tick, data_memory_bytes: u64) {
        self.command_rate.sample(now, self.commands.calls_total());
        self.input_rate.sample(now, self.net.input_bytes);
        self.output_rate.sample(now, self.net.output_bytes);
        self.memory_bytes_peak = self.memory_bytes_peak.max(data_memory_bytes);
    }

    /// `CONFIG RESETSTAT`: forgets what Redis forgets. The slow log and the latency events have commands of their own.
    pub fn reset(&mut self) {
        self.commands.reset();
        self.errors.reset();
        self.net = NetCounters::default();
        self.operations.iter_mut().for_each(LatencyHistogram::reset);
        self.log_write.reset();
        self.stalls.reset();
        self.command_rate.reset();
        self.input_rate.reset();
        self.output_rate.reset();
    }
}

/// Facts of one core that others count (log, Raft, connections); the core loop gathers them when somebody looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreFacts {
    /// Connections open now.
    pub clients: u64,
    /// Commands waiting for their log entry now.
    pub commands_in_flight: u64,
    /// Raft's election counter; the highest of the core's groups.
    pub raft_term: u64,
    /// Log position known to be on a quorum; the highest of the core's groups.
    pub raft_commit_index: u64,
    /// Log position applied to the keyspace.
    pub raft_applied_index: u64,
    /// Frames written to the log.
    pub log_frames: u64,
    /// Bytes written to the log, padding included.
    pub log_bytes: u64,
    /// Bytes of commands in them: what they would be without headers and padding.
    pub log_payload_bytes: u64,
    /// Frames submitted and not yet durable.
    pub log_frames_in_flight: u64,
    /// Files of the log.
    pub log_segments: u64,
    /// Bytes the data directory takes on disk.
    pub disk_bytes: u64,
    /// True when writes are refused because the disk is full.
    pub disk_full: bool,
    /// True while the log is being read at start.
    pub loading: bool,
    /// Seconds since 1970 when everything written so far was last known to be durable.
    pub last_durable_at_s: u64,
    /// Writes acknowledged but not yet durable (only without `--durability always`).
    pub writes_not_durable: u64,
}
