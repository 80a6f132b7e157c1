//! [`Worker`]: a thread that does for all cores what would block them: making, opening and deleting files.
//!
//! A core never waits for it: errands go into a bounded queue, reports come back through a channel of the core's own,
//! and an eventfd wakes the core's ring. Errands are served in the order given, so a delete cannot overtake the
//! recycling it follows.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::thread::JoinHandle;

use crate::ids::CoreId;
use crate::thread;

/// Errands that may wait. A core has at most a few outstanding (its spare segments, the files of one merge); a full queue
/// means the device has hung, and then the core is told rather than blocked.
const QUEUE_ERRANDS_MAX: usize = 1_024;

/// Something that may block, to be done in a directory of a core.
pub trait Errand: Send + 'static {
    /// What the errands of one core share.
    type Place: Send + Sync + 'static;
    /// What is told about it: exactly one for each errand.
    type Report: Send + 'static;
    /// Name of the thread, at most 15 characters.
    const THREAD: &'static str;

    /// Does it. On the worker's thread.
    fn run(self, place: &Self::Place) -> Self::Report;
}

/// The queue is full; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

struct Job<E: Errand> {
    errand: E,
    desk: Arc<Desk<E>>,
}

/// A core's side of the worker.
struct Desk<E: Errand> {
    place: E::Place,
    reports: Sender<E::Report>,
    wake: OwnedFd,
}

/// One core's way to the worker.
pub struct WorkerClient<E: Errand> {
    core: CoreId,
    jobs: SyncSender<Job<E>>,
    desk: Arc<Desk<E>>,
    reports: Receiver<E::Report>,
}

/// The worker; dropping it (after all its clients) waits until the queue is empty and the thread has ended.
pub struct Worker<E: Errand> {
    jobs: Option<SyncSender<Job<E>>>,
    thread: Option<JoinHandle<()>>,
}

impl<E: Errand> Worker<E> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's refusal to start one.
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<Job<E>>(QUEUE_ERRANDS_MAX);
        let thread = thread::spawn(E::THREAD, None, move || {
            for job in queue {
                serve(job);
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// As [`Worker::client`], to be called later and on another thread: the core that makes the eventfd.
    pub fn client_maker(
        &self,
        core: CoreId,
        place: E::Place,
    ) -> impl FnOnce(OwnedFd) -> WorkerClient<E> + Send + use<E> {
        let jobs = self.jobs.clone().expect("the queue is closed only by drop");
        move |wake| client_of(jobs, core, place, wake)
    }

    /// A way in for `core`, whose errands are done in `place`. `wake` is an eventfd, written after each report.
    pub fn client(&self, core: CoreId, place: E::Place, wake: OwnedFd) -> WorkerClient<E> {
        let jobs = self.jobs.clone().expect("the queue is closed only by drop");
        client_of(jobs, core, place, wake)
    }
}

fn client_of<E: Errand>(jobs: SyncSender<Job<E>>, core: CoreId, place: E::Place, wake: OwnedFd) -> WorkerClient<E> {
    let (sender, reports) = mpsc::channel();
    WorkerClient {
        core,
        jobs,
        desk: Arc::new(Desk {
            place,
            reports: sender,
            wake,
        }),
        reports,
    }
}

impl<E: Errand> Drop for Worker<E> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was already printed, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl<E: Errand> WorkerClient<E> {
    /// Queues `errand`; its report comes later, exactly one for each.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn submit(&self, errand: E) -> Result<(), QueueFull> {
        self.jobs
            .try_send(Job {
                errand,
                desk: Arc::clone(&self.desk),
            })
            .map_err(|error| match error {
                TrySendError::Full(_) => QueueFull,
                TrySendError::Disconnected(_) => unreachable!("the worker serves until its last client is gone"),
            })
    }

    /// The next report, when one is there.
    pub fn try_report(&self) -> Option<E::Report> {
        self.reports.try_recv().ok()
    }

    /// Waits for a report: for start-up, before serving.
    pub fn wait_report(&self) -> E::Report {
        self.reports.recv().expect("this client itself holds a sender")
    }

    /// Whose errands these are.
    pub fn core(&self) -> CoreId {
        self.core
    }
}

fn serve<E: Errand>(job: Job<E>) {
    let report = job.errand.run(&job.desk.place);
    // A core that is gone needs neither report nor wake-up.
    if job.desk.reports.send(report).is_ok() {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open and the pointer is to eight readable bytes. A counter that is full (it would
        // need 2^64 unread reports) still leaves the core awake, so the result does not matter.
        unsafe { libc::write(job.desk.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}
