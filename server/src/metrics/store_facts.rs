//! [`StoreFacts`]: what is in memory, what is in files, and what it costs to move it between the two.

use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::store::{FileName, ScrubStats, Store, StoreStats};

use crate::cold::ColdStats;

/// Of one core, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFacts {
    /// Bytes of keys in memory that no file has.
    pub dirty_bytes: u64,
    /// Bytes of keys in memory that files have, too.
    pub clean_bytes: u64,
    /// Bytes of former states that a flush under way still needs.
    pub frozen_bytes: u64,
    /// Bytes of filters, indexes and buffers of files.
    pub memory_bytes: u64,
    /// Bytes of all keys and values, in memory or not: what `--dataset-limit` bounds.
    pub dataset_bytes: u64,
    /// Clean keys that left the memory.
    pub evicted_keys: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Commands that waited for files, ran again, or were held back.
    pub cold: ColdStats,
    /// What the scrubber has done.
    pub scrub: ScrubStats,
    /// The file and place of the damage that it found last.
    pub scrub_last_damage: Option<(FileName, u64)>,
    /// What the store counts.
    pub stats: StoreStats,
}

impl StoreFacts {
    /// Brings up to date what can be looked up.
    pub fn look_up(&mut self, keyspace: &Keyspace, store: &Store) {
        let used = keyspace.tier_use();
        self.dirty_bytes = used.dirty_bytes as u64;
        self.clean_bytes = used.clean_bytes as u64;
        self.frozen_bytes = used.frozen_bytes as u64;
        self.memory_bytes = store.memory() as u64;
        self.stats = store.stats();
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        self.dirty_bytes += other.dirty_bytes;
        self.clean_bytes += other.clean_bytes;
        self.frozen_bytes += other.frozen_bytes;
        self.memory_bytes += other.memory_bytes;
        self.dataset_bytes += other.dataset_bytes;
        self.evicted_keys += other.evicted_keys;
        self.evicted_bytes += other.evicted_bytes;
        self.cold.waits += other.cold.waits;
        self.cold.reruns += other.cold.reruns;
        self.cold.writes_held += other.cold.writes_held;
        self.scrub.rounds += other.scrub.rounds;
        self.scrub.bytes += other.scrub.bytes;
        self.scrub.damages += other.scrub.damages;
        self.scrub.round_bytes += other.scrub.round_bytes;
        self.scrub_last_damage = self.scrub_last_damage.or(other.scrub_last_damage);
        let (stats, others) = (&mut self.stats, &other.stats);
        stats.lookups += others.lookups;
        stats.filtered += others.filtered;
        stats.found += others.found;
        stats.block_reads += others.block_reads;
        stats.blob_reads += others.blob_reads;
        stats.joined += others.joined;
        stats.ranges += others.ranges;
        stats.flushes += others.flushes;
        stats.flushed_bytes += others.flushed_bytes;
        stats.merges += others.merges;
        stats.merge_read_bytes += others.merge_read_bytes;
        stats.merge_written_bytes += others.merge_written_bytes;
        stats.files += others.files;
        stats.file_bytes += others.file_bytes;
        stats.upper_runs += others.upper_runs;
        stats.reader_bytes += others.reader_bytes;
    }

    /// Bytes written to the device for each byte of commands, in hundredths: the log's, the flushes' and the merges'.
    pub fn write_amplification_percent(&self, log_bytes: u64, payload_bytes: u64) -> u64 {
        let written = log_bytes + self.stats.flushed_bytes + self.stats.merge_written_bytes;
        written.saturating_mul(100) / payload_bytes.max(1)
    }
}
