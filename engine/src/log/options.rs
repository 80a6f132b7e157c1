//! What can be chosen about a log, checked once.

use std::time::Duration;

use slotcore_rt::ids::CoreId;

use super::frame::BLOCK_BYTES_MIN;

/// Smallest segment, in bytes: a checkpoint and a few frames must fit.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Largest segment, in bytes: offsets are kept in 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// When frames are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Every frame, by writing it with O_DSYNC semantics.
    Each,
    /// A flush of everything written so far, at most this often.
    Every(Duration),
    /// Only where correctness of the log itself asks for it (votes, recycling, shutdown).
    Never,
}

/// Options of one core's log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Whose log it is.
    pub core: CoreId,
    /// Bytes of a segment file, [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// Segments kept ready beyond the current one.
    pub spare_segments: usize,
    /// The device's write granularity, in bytes: 512 or 4096.
    pub block_bytes: usize,
    /// A frame is cut at this size even while others could still join it.
    pub frame_bytes_target: usize,
    /// A frame never grows beyond this; records above it are cut into fragments.
    pub frame_bytes_max: usize,
    /// Frames handed to the device and not yet completed, at most.
    pub inflight_max: usize,
    /// Bytes appended and not yet handed to the device, at most; beyond, entries are refused.
    pub backlog_bytes_max: u64,
    /// Payload bytes of recent entries kept in memory, at most.
    pub cache_bytes_max: u64,
    /// Live log bytes above which [`CoreLog::gc_advice`](super::CoreLog::gc_advice) speaks up.
    pub log_bytes_target: u64,
    /// When frames are made durable.
    pub sync: SyncPolicy,
    /// An idle log writes its seal this long after the last frame became durable.
    pub seal_after: Duration,
}

impl LogOptions {
    /// Defaults for `core`: 64 MiB segments, frames of 256 KiB to 1 MiB, four in flight, every frame durable.
    pub fn new(core: CoreId) -> Self {
        Self {
            core,
            segment_bytes: 64 << 20,
            spare_segments: 2,
            block_bytes: 4096,
            frame_bytes_target: 256 << 10,
            frame_bytes_max: 1 << 20,
            inflight_max: 4,
            backlog_bytes_max: 64 << 20,
            cache_bytes_max: 64 << 20,
            log_bytes_target: 4 << 30,
            sync: SyncPolicy::Each,
            seal_after: Duration::from_millis(5),
        }
    }

    /// The same options with segments of `segment_bytes` (brought into range), frames made to fit them.
    pub fn with_segment_bytes(mut self, segment_bytes: u64) -> Self {
        let block = self.block_bytes as u64;
        self.segment_bytes = segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) / block * block;
        // An eighth, so that what is left unused at a segment's end stays small.
        let frame = (self.segment_bytes / 8 / block * block) as usize;
        self.frame_bytes_max = self.frame_bytes_max.min(frame);
        self.frame_bytes_target = self.frame_bytes_target.min(self.frame_bytes_max);
        self
    }

    /// Panics on options no configuration check should let through.
    pub(crate) fn check(&self) {
        let block = self.block_bytes;
        assert!(
            block.is_power_of_two() && (BLOCK_BYTES_MIN..=4096).contains(&block),
            "block of {block} bytes"
        );
        let range = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        assert!(
            range.contains(&self.segment_bytes),
            "segment of {} bytes",
            self.segment_bytes
        );
        assert!(
            self.segment_bytes.is_multiple_of(block as u64),
            "a segment is whole blocks"
        );
        assert!(self.frame_bytes_max.is_multiple_of(block), "a frame is whole blocks");
        assert!(
            self.frame_bytes_max >= 2 * block && self.frame_bytes_max as u64 <= self.segment_bytes / 4,
            "frame of {} bytes in a segment of {}",
            self.frame_bytes_max,
            self.segment_bytes
        );
        assert!(self.inflight_max >= 1, "at least one frame in flight");
        assert!(self.spare_segments >= 1, "at least one spare segment");
    }
}
