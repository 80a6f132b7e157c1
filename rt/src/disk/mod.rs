//! The real disk: the data directory, a core's log segments, and the thread that makes new ones.
//!
//! Log writes themselves go through [`crate::ring`]; what is here either happens before serving starts (locking,
//! listing, reading for recovery) or on a thread of its own ([`worker`]: zero-writing a segment takes tens of
//! milliseconds). Everything that changes a directory is followed by a sync of that directory.

pub mod data_dir;
pub mod dio;
pub mod error;
pub mod layout;
pub mod segment_dir;
pub mod worker;

pub use data_dir::DataDir;
pub use dio::{Alignment, DirectIo};
pub use error::DiskError;
pub use layout::{Layout, LayoutError};
pub use segment_dir::{SegmentDir, SegmentFile, SegmentInfo};
pub use worker::{QueueFull, SegmentClient, SegmentReport, SegmentRequest, SegmentWorker};
