//! What a core knows of itself at one moment, besides what it counts: [`CoreFacts`], [`DataFacts`], [`ConnFacts`]. Those of
//! several cores merge into those of all.

use slotcore_engine::database::Counts;
use slotcore_engine::keyspace::{Keyspace, KeyspaceStats, MemoryUse};
use slotcore_rt::ids::LogIndex;

use super::StoreFacts;
use crate::clients::BufferUse;
use crate::nodes::NodeNumber;
use crate::state_comparison::CompareFacts;

/// Facts of one core that others count (log, Raft, connections); the core loop gathers them when somebody looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreFacts {
    /// Connections open now.
    pub clients: u64,
    /// Commands waiting for their log entry now.
    pub commands_in_flight: u64,
    /// Connections that watch keys.
    pub watching_clients: u64,
    /// Keys that somebody watches.
    pub watched_keys: u64,
    /// Connections that are told of changed keys (`CLIENT TRACKING`).
    pub tracking_clients: u64,
    /// Different prefixes of keys of which some are told whether they read them or not.
    pub tracking_prefixes: u64,
    /// Keys of which some connection holds a copy.
    pub tracked_keys: u64,
    /// Copies, all together.
    pub tracked_items: u64,
    /// Channels that somebody listens to; one that clients of several cores do is counted by each.
    pub channels: u64,
    /// Patterns, counted in the same way.
    pub patterns: u64,
    /// Raft's election counter; the highest of the core's groups.
    pub raft_term: u64,
    /// Log position known to be on a quorum; the highest of the core's groups.
    pub raft_commit_index: u64,
    /// Commands that wait for keys of this core now.
    pub blocked_clients: u64,
    /// Log position applied to the keyspace.
    pub raft_applied_index: u64,
    /// While this core leads: the nodes whose core of its number is heard from, and up to where each has the log.
    pub followers: Vec<(NodeNumber, LogIndex)>,
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
    /// Milliseconds for which the data was beyond its limit although keys went, all together.
    pub over_limit_ms: u64,
    /// For how many it has been now.
    pub over_limit_now_ms: u64,
    /// Memory and files.
    pub store: StoreFacts,
    /// What comparing replicas has brought.
    pub compared: CompareFacts,
}

impl CoreFacts {
    /// Adds another core's. Counts add up, log positions too, so that they still grow with every write; the term is the
    /// highest; what troubles one core troubles all; everything is durable since the core that is furthest behind. Who follows
    /// is left as it is: each core has followers of its own.
    pub fn merge(&mut self, other: &Self) {
        self.clients += other.clients;
        self.commands_in_flight += other.commands_in_flight;
        self.watching_clients += other.watching_clients;
        self.watched_keys += other.watched_keys;
        self.tracking_clients += other.tracking_clients;
        self.tracking_prefixes += other.tracking_prefixes;
        self.tracked_keys += other.tracked_keys;
        self.tracked_items += other.tracked_items;
        self.channels += other.channels;
        self.patterns += other.patterns;
        self.raft_term = self.raft_term.max(other.raft_term);
        self.raft_commit_index += other.raft_commit_index;
        self.blocked_clients += other.blocked_clients;
        self.raft_applied_index += other.raft_applied_index;
        self.log_frames += other.log_frames;
        self.log_bytes += other.log_bytes;
        self.log_payload_bytes += other.log_payload_bytes;
        self.log_frames_in_flight += other.log_frames_in_flight;
        self.log_segments += other.log_segments;
        self.disk_bytes += other.disk_bytes;
        self.disk_full |= other.disk_full;
        self.loading |= other.loading;
        self.last_durable_at_s = self.last_durable_at_s.min(other.last_durable_at_s);
        self.writes_not_durable += other.writes_not_durable;
        self.over_limit_ms = self.over_limit_ms.max(other.over_limit_ms);
        self.over_limit_now_ms = self.over_limit_now_ms.max(other.over_limit_now_ms);
        self.store.merge(&other.store);
        self.compared.merge(&other.compared);
    }
}

/// What the keyspace tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataFacts {
    /// Hits, misses, expired keys.
    pub stats: KeyspaceStats,
    /// Keys held, of each database.
    pub keys: Counts,
    /// Keys in memory with an expiry, of each database.
    pub volatile_keys: Counts,
    /// Memory of the data.
    pub memory: MemoryUse,
    /// Scripts and functions.
    pub scripts: ScriptFacts,
}

/// What a core holds for scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFacts {
    /// Scripts in the cache.
    pub cached: u64,
    /// Bytes of their texts.
    pub cached_bytes: u64,
    /// Heap of the interpreter.
    pub heap_bytes: u64,
    /// Libraries, the same on all cores.
    pub libraries: u64,
    /// Functions of all libraries.
    pub functions: u64,
}

impl ScriptFacts {
    fn of(keyspace: &Keyspace) -> Self {
        keyspace.scripts().map_or(Self::default(), |scripts| Self {
            cached: scripts.cached_len() as u64,
            cached_bytes: scripts.cached_bytes() as u64,
            heap_bytes: scripts.heap_bytes() as u64,
            libraries: scripts.libraries().iter().len() as u64,
            functions: scripts.libraries().functions_len() as u64,
        })
    }

    /// Adds another core's: heaps are many, scripts and functions the same ones.
    fn merge(&mut self, other: &Self) {
        self.heap_bytes += other.heap_bytes;
        self.cached = self.cached.max(other.cached);
        self.cached_bytes = self.cached_bytes.max(other.cached_bytes);
        self.libraries = self.libraries.max(other.libraries);
        self.functions = self.functions.max(other.functions);
    }
}

impl DataFacts {
    /// Of this keyspace, now.
    pub fn of(keyspace: &Keyspace) -> Self {
        Self {
            stats: keyspace.stats(),
            keys: keyspace.counts(),
            volatile_keys: keyspace.volatile_counts(),
            memory: keyspace.memory(),
            scripts: ScriptFacts::of(keyspace),
        }
    }

    /// Adds another core's: no key is on two cores, so everything adds up.
    pub fn merge(&mut self, other: &Self) {
        self.stats.hits += other.stats.hits;
        self.stats.misses += other.stats.misses;
        self.stats.expired += other.stats.expired;
        self.stats.evicted += other.stats.evicted;
        self.stats.freed_in_slices += other.stats.freed_in_slices;
        self.keys.join(&other.keys);
        self.volatile_keys.join(&other.volatile_keys);
        self.memory.index += other.memory.index;
        self.memory.records += other.memory.records;
        self.memory.objects += other.memory.objects;
        self.memory.timers += other.memory.timers;
        self.memory.garbage += other.memory.garbage;
        self.memory.garbage_objects += other.memory.garbage_objects;
        self.scripts.merge(&other.scripts);
    }
}

/// What connections hold, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnFacts {
    /// How many there are.
    pub clients: u64,
    /// Most bytes that one of them has received and not yet got carried out.
    pub input_buffer_bytes_max: u64,
    /// Most bytes of replies that one of them has not taken yet.
    pub output_buffer_bytes_max: u64,
    /// Memory of all of them, in bytes.
    pub total_bytes: u64,
}

impl ConnFacts {
    /// Of `clients` connections, whose buffers are these.
    pub fn of(clients: usize, buffers: impl Iterator<Item = BufferUse>) -> Self {
        let none = Self {
            clients: clients as u64,
            ..Self::default()
        };
        buffers.fold(none, |sum, one| Self {
            clients: sum.clients,
            input_buffer_bytes_max: sum.input_buffer_bytes_max.max(one.query_bytes),
            output_buffer_bytes_max: sum.output_buffer_bytes_max.max(one.output_bytes),
            total_bytes: sum.total_bytes + one.total_bytes,
        })
    }

    /// Adds another core's: the largest is the largest of all, the rest adds up.
    pub fn merge(&mut self, other: &Self) {
        self.clients += other.clients;
        self.input_buffer_bytes_max = self.input_buffer_bytes_max.max(other.input_buffer_bytes_max);
        self.output_buffer_bytes_max = self.output_buffer_bytes_max.max(other.output_buffer_bytes_max);
        self.total_bytes += other.total_bytes;
    }
}
