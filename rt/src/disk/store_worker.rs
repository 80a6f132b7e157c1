//! What a [`Worker`] does for the store: [`StoreRequest`]s of a core, carried out in its [`StoreDir`].

use crate::disk::store_dir::StoreFileName;
use crate::disk::worker::{Errand, Worker, WorkerClient};
use crate::disk::{DiskError, StoreDir, StoreFile};

/// The thread that makes, finishes, opens and deletes store files. Not the one of the log's segments: those are waited
/// for by writers, and a sync of 64 MiB must not stand before them.
pub type StoreWorker = Worker<StoreRequest>;
/// One core's way to it.
pub type StoreClient = WorkerClient<StoreRequest>;

/// Something to do with one file of a core's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// [`StoreDir::create`].
    Create {
        /// The new file.
        name: StoreFileName,
        /// Room to reserve for it.
        reserve_bytes: u64,
    },
    /// [`StoreDir::finish`].
    Finish {
        /// The file, all of whose writes have completed.
        name: StoreFileName,
        /// Its length.
        bytes: u64,
    },
    /// [`StoreDir::open`].
    Open {
        /// The file.
        name: StoreFileName,
    },
    /// [`StoreDir::delete`].
    Delete {
        /// The file that ends.
        name: StoreFileName,
    },
}

impl StoreRequest {
    /// Which file it is about.
    pub fn file(&self) -> StoreFileName {
        match *self {
            Self::Create { name, .. } | Self::Finish { name, .. } | Self::Open { name } | Self::Delete { name } => name,
        }
    }
}

/// A request carried out, or not.
#[derive(Debug)]
pub struct StoreReport {
    /// What was asked.
    pub request: StoreRequest,
    /// The open file after a create or open, else `None`.
    pub result: Result<Option<StoreFile>, DiskError>,
}

impl Errand for StoreRequest {
    type Place = StoreDir;
    type Report = StoreReport;
    const THREAD: &'static str = "slot-files";

    fn run(self, dir: &StoreDir) -> StoreReport {
        let result = match self {
            Self::Create { name, reserve_bytes } => dir.create(name, reserve_bytes).map(Some),
            Self::Finish { name, bytes } => dir.finish(name, bytes).map(|()| None),
            Self::Open { name } => dir.open(name).map(Some),
            Self::Delete { name } => dir.delete(name).map(|()| None),
        };
        StoreReport { request: self, result }
    }
}
