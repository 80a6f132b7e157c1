//! What a store did, counted.

/// Counters since the start, and sizes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Keys that were looked up in files.
    pub lookups: u64,
    /// Of these, keys that filters said are not there: nothing was read.
    pub filtered: u64,
    /// Of these, keys that were there.
    pub found: u64,
    /// Data blocks read for lookups.
    pub block_reads: u64,
    /// Large values read for lookups.
    pub blob_reads: u64,
    /// Lookups that joined one under way.
    pub joined: u64,
    /// Ranges of keys that were read.
    pub ranges: u64,
    /// Flushes that became durable.
    pub flushes: u64,
    /// Bytes written by flushes.
    pub flushed_bytes: u64,
    /// Merges whose result became durable.
    pub merges: u64,
    /// Bytes read by merges.
    pub merge_read_bytes: u64,
    /// Bytes written by merges.
    pub merge_written_bytes: u64,
    /// Files now.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Runs above the lowest level now.
    pub upper_runs: u64,
    /// Bytes of filters and indexes in memory now.
    pub reader_bytes: u64,
}
