//! [`CoreMetrics`]: what one core counts. Plain numbers that the core alone changes: no lock and no atomic on the way of a
//! command. Others see a [`CoreSnapshot`], made at most once a second or when somebody asks.

pub mod command_stats;
pub mod errors;
pub mod exposition;
pub mod facts;
pub mod latency_events;
pub mod latency_histogram;
pub mod prometheus;
pub mod rates;
pub mod slow_log;
pub mod snapshot;
pub mod stall;
pub mod store_facts;

pub use command_stats::{CommandCount, CommandStats};
pub use errors::ErrorStats;
pub use facts::{ConnFacts, CoreFacts, DataFacts};
pub use latency_events::{LatencyEvents, LatencyKind};
pub use latency_histogram::LatencyHistogram;
pub use rates::Rate;
pub use slow_log::SlowLog;
pub use snapshot::{CoreSnapshot, SnapshotSlot};
pub use stall::{Queue, StallDetector};
pub use store_facts::StoreFacts;

use slotcore_engine::cmd::Group;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;

/// What users were denied, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denials {
    /// Commands.
    pub commands: u64,
    /// Keys.
    pub keys: u64,
    /// Channels.
    pub channels: u64,
}

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
    /// What users were denied.
    pub denials: Denials,
    /// Commands that would have needed more memory than is allowed.
    pub oom_refusals: u64,
    /// Malformed requests.
    pub protocol_errors: u64,
}

impl NetCounters {
    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        self.commands_forwarded += other.commands_forwarded;
        self.commands_for_others += other.commands_for_others;
        self.connections_given += other.connections_given;
        self.connections_taken += other.connections_taken;
        self.connections_total += other.connections_total;
        self.rejected_connections += other.rejected_connections;
        self.input_bytes += other.input_bytes;
        self.output_bytes += other.output_bytes;
        self.output_limit_disconnections += other.output_limit_disconnections;
        self.query_limit_disconnections += other.query_limit_disconnections;
        self.auth_failures += other.auth_failures;
        self.denials.commands += other.denials.commands;
        self.denials.keys += other.denials.keys;
        self.denials.channels += other.denials.channels;
        self.oom_refusals += other.oom_refusals;
        self.protocol_errors += other.protocol_errors;
    }
}

/// What became of transactions.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransactionCounters {
    /// Carried out.
    pub executed: u64,
    /// Refused at EXEC, because a command was refused before or cannot be carried out now.
    pub aborted: u64,
    /// Given up by DISCARD.
    pub discarded: u64,
    /// Not carried out because a watched key had been changed.
    pub failed_watches: u64,
}

impl TransactionCounters {
    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        self.executed += other.executed;
        self.aborted += other.aborted;
        self.discarded += other.discarded;
        self.failed_watches += other.failed_watches;
    }
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
    /// Transactions.
    pub transactions: TransactionCounters,
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
    /// Of core `core` of so many, nothing counted yet. Slow commands are numbered differently on each.
    pub fn of_core(core: CoreId, cores: usize) -> Self {
        Self {
            slow_log: SlowLog::numbered(u64::from(core.0), cores as u64),
            ..Self::default()
        }
    }

    /// Adds what another core counted, so that this becomes what both did: counts, times and rates add up, the longest of
    /// anything is the longest of both, and slow commands and latency events are put in the order of time. The peak of
    /// memory becomes the sum of the peaks, which may not have been at the same time.
    pub fn merge(&mut self, other: &Self) {
        self.commands.merge(&other.commands);
        self.errors.merge(&other.errors);
        self.net.merge(&other.net);
        self.transactions.merge(&other.transactions);
        for (times, others) in self.operations.iter_mut().zip(&other.operations) {
            times.merge(others);
        }
        self.log_write.merge(&other.log_write);
        self.stalls.merge(&other.stalls);
        self.slow_log.merge(&other.slow_log);
        self.latency.merge(&other.latency);
        self.command_rate.merge(&other.command_rate);
        self.input_rate.merge(&other.input_rate);
        self.output_rate.merge(&other.output_rate);
        self.memory_bytes_peak += other.memory_bytes_peak;
    }

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
        self.transactions = TransactionCounters::default();
        self.operations.iter_mut().for_each(LatencyHistogram::reset);
        self.log_write.reset();
        self.stalls.reset();
        self.command_rate.reset();
        self.input_rate.reset();
        self.output_rate.reset();
    }
}
