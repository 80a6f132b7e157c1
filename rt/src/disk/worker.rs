//! [`SegmentWorker`]: the thread that creates, recycles and deletes segments for all cores.
//!
//! A core never waits for it: requests go into a bounded queue, reports come back through a channel of the core's own,
//! and an eventfd wakes the core's ring. Requests are served in the order given, so a delete cannot overtake the
//! recycling it follows.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::thread::JoinHandle;

use crate::disk::{DiskError, SegmentDir, SegmentFile};
use crate::ids::{CoreId, SegmentId};
use crate::thread;

/// Requests that may wait. A core has at most a few outstanding (its spare segments); a full queue means the device has
/// hung, and then the core is told rather than blocked.
const QUEUE_REQUESTS_MAX: usize = 1_024;

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

/// The queue is full; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

struct Job {
    request: SegmentRequest,
    desk: Arc<Desk>,
}

/// A core's side of the worker.
struct Desk {
    dir: SegmentDir,
    reports: Sender<SegmentReport>,
    wake: OwnedFd,
}

/// One core's way to the worker.
pub struct SegmentClient {
    core: CoreId,
    jobs: SyncSender<Job>,
    desk: Arc<Desk>,
    reports: Receiver<SegmentReport>,
}

/// The worker; dropping it (after all its clients) waits until the queue is empty and the thread has ended.
pub struct SegmentWorker {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl SegmentWorker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's refusal to start one.
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE_REQUESTS_MAX);
        let thread = thread::spawn("slot-segments", None, move || {
            for job in queue {
                serve(&job);
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// As [`SegmentWorker::client`], to be called later and on another thread: the core that makes the eventfd.
    pub fn client_maker(&self, core: CoreId, dir: SegmentDir) -> impl FnOnce(OwnedFd) -> SegmentClient + Send + use<> {
        let jobs = self.jobs.clone().expect("the queue is closed only by drop");
        move |wake| client_of(jobs, core, dir, wake)
    }

    /// A way in for `core`, whose segments are in `dir`. `wake` is an eventfd, written after each report.
    pub fn client(&self, core: CoreId, dir: SegmentDir, wake: OwnedFd) -> SegmentClient {
        let jobs = self.jobs.clone().expect("the queue is closed only by drop");
        client_of(jobs, core, dir, wake)
    }
}

fn client_of(jobs: SyncSender<Job>, core: CoreId, dir: SegmentDir, wake: OwnedFd) -> SegmentClient {
    let (sender, reports) = mpsc::channel();
    SegmentClient {
        core,
        jobs,
        desk: Arc::new(Desk {
            dir,
            reports: sender,
            wake,
        }),
        reports,
    }
}

impl Drop for SegmentWorker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was already printed, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl SegmentClient {
    /// Queues `request`; its report comes later, exactly one for each.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn submit(&self, request: SegmentRequest) -> Result<(), QueueFull> {
        self.jobs
            .try_send(Job {
                request,
                desk: Arc::clone(&self.desk),
            })
            .map_err(|error| match error {
                TrySendError::Full(_) => QueueFull,
                TrySendError::Disconnected(_) => unreachable!("the worker serves until its last client is gone"),
            })
    }

    /// The next report, when one is there.
    pub fn try_report(&self) -> Option<SegmentReport> {
        self.reports.try_recv().ok()
    }

    /// Waits for a report: for start-up, before serving.
    pub fn wait_report(&self) -> SegmentReport {
        self.reports.recv().expect("this client itself holds a sender")
    }

    /// Whose segments these are.
    pub fn core(&self) -> CoreId {
        self.core
    }
}

fn serve(job: &Job) {
    let dir = &job.desk.dir;
    let result = match job.request {
        SegmentRequest::Create { id, bytes } => dir.create(id, bytes).map(Some),
        SegmentRequest::Recycle { from, to } => dir.recycle(from, to).map(Some),
        SegmentRequest::Delete { id } => dir.delete(id).map(|()| None),
    };
    // A core that is gone needs neither report nor wake-up.
    if job
        .desk
        .reports
        .send(SegmentReport {
            request: job.request,
            result,
        })
        .is_ok()
    {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open and the pointer is to eight readable bytes. A counter that is full (it would
        // need 2^64 unread reports) still leaves the core awake, so the result does not matter.
        unsafe { libc::write(job.desk.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::FromRawFd;

    use super::*;
    use crate::disk::DirectIo;
    use crate::disk::segment_dir::test_dir::TestDir;

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
