//! What a [`Worker`] does for the log: [`SegmentRequest`]s of a core, carried out in its [`SegmentDir`].

use crate::disk::worker::{Errand, Worker, WorkerClient};
use crate::disk::{DiskError, SegmentDir, SegmentFile};
use crate::ids::SegmentId;

/// The thread that makes, recycles and deletes segments.
pub type SegmentWorker = Worker<SegmentRequest>;
/// One core's way to it.
pub type SegmentClient = WorkerClient<SegmentRequest>;

/// Something to do with one segment of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentRequest {
    /// [`SegmentDir::create`].
    Create {
        /// The new segment.
        id: SegmentId,
        /// Its length.
        bytes: u64,
    },
    /// [`SegmentDir::recycle`].
    Recycle {
        /// The segment that ends.
        from: SegmentId,
        /// The segment that begins.
        to: SegmentId,
    },
    /// [`SegmentDir::delete`].
    Delete {
        /// The segment that ends.
        id: SegmentId,
    },
}

/// A request carried out, or not.
#[derive(Debug)]
pub struct SegmentReport {
    /// What was asked.
    pub request: SegmentRequest,
    /// The open segment after a create or recycle, `None` after a delete.
    pub result: Result<Option<SegmentFile>, DiskError>,
}

impl Errand for SegmentRequest {
    type Place = SegmentDir;
    type Report = SegmentReport;
    const THREAD: &'static str = "slot-segments";

    fn run(self, dir: &SegmentDir) -> SegmentReport {
        let result = match self {
            Self::Create { id, bytes } => dir.create(id, bytes).map(Some),
            Self::Recycle { from, to } => dir.recycle(from, to).map(Some),
            Self::Delete { id } => dir.delete(id).map(|()| None),
        };
        SegmentReport { request: self, result }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::{FromRawFd, OwnedFd};

    use super::*;
    use crate::disk::DirectIo;
    use crate::disk::segment_dir::test_dir::TestDir;
    use crate::ids::CoreId;

    fn eventfd() -> OwnedFd {
        // SAFETY: the call takes no pointer; the descriptor it returns is owned by nobody else.
        unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
            assert!(fd >= 0);
            OwnedFd::from_raw_fd(fd)
        }
    }

    #[test]
    fn requests_are_served_in_order_and_wake_the_core() {
        let tmp = TestDir::new("worker");
        let dir = SegmentDir::open(tmp.path(), DirectIo::Preferred).unwrap();
        let worker = SegmentWorker::start().unwrap();
        let wake = eventfd();
        let client = worker.client(CoreId(0), dir.clone(), wake.try_clone().unwrap());
        let (one, two) = (SegmentId(1), SegmentId(2));
        let requests = [
            SegmentRequest::Create { id: one, bytes: 8192 },
            SegmentRequest::Recycle { from: one, to: two },
            SegmentRequest::Delete { id: two },
            SegmentRequest::Delete { id: two },
        ];
        for request in requests {
            client.submit(request).unwrap();
        }
        let reports: Vec<SegmentReport> = requests.iter().map(|_| client.wait_report()).collect();
        for (report, request) in reports.iter().zip(requests) {
            assert_eq!(report.request, request);
        }
        assert_eq!(reports[1].result.as_ref().unwrap().as_ref().unwrap().id, two);
        assert!(reports[2].result.as_ref().unwrap().is_none());
        assert_eq!(reports[3].result.as_ref().unwrap_err().errno(), libc::ENOENT);
        assert!(client.try_report().is_none());
        drop(client);
        drop(worker);
        let mut count = [0; 8];
        std::fs::File::from(wake).read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 4);
    }
}
