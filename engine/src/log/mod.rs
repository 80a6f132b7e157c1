//! The log of one core: Raft log, vote, commit, manifest and group lifecycle of all its groups in one append-only stream.
//!
//! It is the only write-ahead log. Everything here is bytes and decisions: [`CoreLog`] is told the time and what the
//! device has done, and answers with [`LogEffect`]s; whoever drives it does the I/O. Format: `docs/formats/log.md`.
//!
//! Invariants:
//! - A block is written once per use of its segment: a tail is never rewritten, so a torn write harms nothing older.
//! - Only the contiguous prefix of frames counts as durable.
//! - A failed write or flush poisons the log for good.
//! - What recovery finds is what was appended, up to some frame at or beyond the durable one, or an error that names the
//!   damaged place.

mod anchor;
mod append;
mod builder;
mod checkpoint;
mod entry_read;
mod error;
mod flights;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod gc;
mod group;
mod options;
mod pump;
mod rebuild;
pub mod record;
mod recover;
mod scan;
mod segments;
mod stats;
mod survey;
mod writer;

pub(crate) use checkpoint::CKPT_GROUP_BYTES;
pub use entry_read::{ColdEntry, DecodeError, EntryRead, decode_entry};
pub use error::{AppendError, Damage, LogFailure, LogOperation, RecoverError, segment_file_name};
pub use gc::GcAdvice;
pub use group::{FrameRange, GroupLog};
pub use options::{LogOptions, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SyncPolicy};
pub use record::{LogPos, PAYLOAD_BYTES_MAX, Record, RecordHeader, RecordKind, Vote};
pub use recover::{RecoveredRecord, RecoveryReport, Tail};
pub use scan::SegmentSource;
pub use stats::{LogStats, Span};
pub use survey::{ChainedSegment, Gap, SegmentSurvey, Surveyed, SurveyedRecord, survey_segment};
pub use writer::CoreLog;

use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::SegmentId;

/// Names an operation handed out in a [`LogEffect`], until [`CoreLog::on_done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What whoever drives a [`CoreLog`] must now do. Writes may complete in any order.
#[derive(Debug)]
pub enum LogEffect {
    /// Write `buf` (whole blocks) at `offset` of the segment, then call [`CoreLog::on_done`] with the buffer.
    Write {
        /// To be handed back.
        ticket: Ticket,
        /// The file.
        segment: SegmentId,
        /// Where in it, in bytes; a multiple of the block size.
        offset: u64,
        /// The frame.
        buf: AlignedBuf,
        /// The write must be durable when it completes (O_DSYNC, RWF_DSYNC).
        sync: bool,
    },
    /// Make durable what has been written to the segment, then call [`CoreLog::on_done`].
    Sync {
        /// To be handed back.
        ticket: Ticket,
        /// The file.
        segment: SegmentId,
    },
    /// Make a file of zero bytes, written and durable, its name too, then call [`CoreLog::on_segment_ready`] or
    /// [`CoreLog::on_segment_failed`].
    CreateSegment {
        /// The new segment.
        id: SegmentId,
        /// Its size.
        bytes: u64,
    },
    /// Durably rename a file whose contents nobody needs; answered as for `CreateSegment`.
    RecycleSegment {
        /// The segment that ends.
        from: SegmentId,
        /// The segment that begins.
        to: SegmentId,
    },
    /// Delete a file (it may be gone already). Not answered.
    DeleteSegment {
        /// The segment that ends.
        id: SegmentId,
    },
}
