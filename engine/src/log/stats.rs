//! Counters of a log since it was opened.

use std::time::Duration;

/// Count, sum and maximum of a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Samples.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub sum_ns: u64,
    /// The largest, in nanoseconds.
    pub max_ns: u64,
}

impl Span {
    pub(crate) fn add(&mut self, d: Duration) {
        let ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }
}

/// See the file's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Frames submitted.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes submitted, headers and padding included.
    pub bytes: u64,
    /// Of those, padding up to the block size.
    pub padding_bytes: u64,
    /// Flush rounds completed.
    pub syncs: u64,
    /// Frames handed to the device and not completed, now.
    pub in_flight: u64,
    /// Bytes appended and not yet submitted, now.
    pub queued_bytes: u64,
    /// Payload bytes of entries in memory, now.
    pub cached_bytes: u64,
    /// Segments of the chain, now.
    pub segments_live: u64,
    /// Segments ready for use, now.
    pub segments_ready: u64,
    /// Why the last attempt to prepare a segment failed; `None` once one succeeded.
    pub segment_errno: Option<i32>,
    /// From submission to completion of a write.
    pub submit_to_written: Span,
    /// From submission until the frame lay in the durable prefix.
    pub submit_to_durable: Span,
}
