//! The real disk: the data directory, a core's log segments and store files, and the threads that make new ones.
//!
//! Reads and writes themselves go through [`crate::ring`]; what is here either happens before serving starts (locking,
//! listing, reading for recovery) or on a thread of its own ([`worker`]: zero-writing a segment takes tens of
//! milliseconds). Everything that changes a directory is followed by a sync of that directory.

pub mod aside;
pub mod copying;
pub mod data_dir;
pub mod dio;
pub mod error;
pub mod joined_files;
pub mod layout;
pub mod mapped_file;
pub mod opening;
pub mod segment_dir;
pub mod segment_worker;
pub mod served;
pub mod snapshot_dir;
pub mod store_dir;
pub mod store_io;
pub mod store_worker;
pub mod worker;

pub use data_dir::DataDir;
pub use dio::{Alignment, DirectIo};
pub use error::DiskError;
pub use joined_files::JoinedFiles;
pub use layout::{Layout, LayoutError, LayoutFound};
pub use mapped_file::MappedFile;
pub use opening::Opening;
pub use segment_dir::{SegmentDir, SegmentFile, SegmentInfo};
pub use segment_worker::{SegmentClient, SegmentReport, SegmentRequest, SegmentWorker};
pub use snapshot_dir::{SnapshotDir, SnapshotWriter};
pub use store_dir::{StoreDir, StoreFile, StoreFileInfo, StoreFileKind, StoreFileName};
pub use store_io::{ReadUrgency, StoreFailure, StoreIo, StoreOp, StoreOutcome, StoreTicket};
pub use store_worker::{StoreClient, StoreReport, StoreRequest, StoreWorker};
pub use worker::{Errand, QueueFull, Worker, WorkerClient};
