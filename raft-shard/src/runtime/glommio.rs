//! openraft on the core's glommio executor.
//!
//! Tasks are spawned into the task queue that is current at the call: the core loop creates its groups from inside the
//! queue that is to carry them.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use glommio::timer::Timer;
use glommio::{LocalExecutorBuilder, Placement};
use openraft_rt::{AsyncRuntime, Instant};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::rng::os_seed;

use super::Runtime;
use super::instant::{Moment, TimeSource};
use super::mpsc::LocalMpsc;
use super::mutex::LocalMutex;
use super::oneshot::LocalOneshot;
use super::timeout::{Elapsed, Timeout};
use super::timers;
use super::watch::LocalWatch;

/// Sleeps up to this long end at the next turn of the executor instead of arming a kernel timer.
///
/// openraft waits 1 us after a log completion to collect further ones. A timer costs more than that in instructions
/// alone, and up to a whole idle turn in latency, on the path of every acknowledged write.
const SHORTEST_TIMER: Duration = Duration::from_micros(10);

/// Marker of the glommio back end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GlommioRuntime;

/// The machine's monotonic clock, counting suspend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SystemTime;

impl TimeSource for SystemTime {
    fn tick() -> Tick {
        SystemClock.tick()
    }
}

/// A task that was cancelled before it had a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task was cancelled")
    }
}

/// Waits for a spawned task; dropping it leaves the task running.
#[derive(Debug)]
pub struct JoinHandle<T>(glommio::task::JoinHandle<T>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|output| output.ok_or(Cancelled))
    }
}

/// See [`SHORTEST_TIMER`].
#[derive(Debug)]
pub enum Sleep {
    /// Ends when polled a second time.
    NextTurn {
        /// Whether the one yield has happened.
        yielded: bool,
    },
    /// Armed in the executor.
    Timer(Timer),
    /// Ended by the core's loop.
    Driven(timers::Timer),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Sleep::NextTurn { yielded: true } => Poll::Ready(()),
            Sleep::NextTurn { yielded } => {
                *yielded = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Sleep::Timer(timer) => Pin::new(timer).poll(cx).map(|_| ()),
            Sleep::Driven(timer) => match timer.poll(SystemClock.tick(), cx.waker()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            },
        }
    }
}

impl Runtime for GlommioRuntime {
    fn tick(instant: Moment<SystemTime>) -> Tick {
        instant.tick()
    }
}

impl AsyncRuntime for GlommioRuntime {
    type JoinError = Cancelled;
    type JoinHandle<T: 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Moment<SystemTime>;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R>> = Timeout<T, Sleep>;
    type ThreadLocalRng = ChaCha8Rng;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + 'static,
        T::Output: 'static,
    {
        let counted = async move {
            let mut future = pin!(future);
            poll_fn(|cx| {
                timers::note_poll();
                future.as_mut().poll(cx)
            })
            .await
        };
        JoinHandle(glommio::spawn_local(counted).detach())
    }

    fn sleep(duration: Duration) -> Sleep {
        if duration <= SHORTEST_TIMER {
            return Sleep::NextTurn { yielded: false };
        }
        if timers::are_driven() {
            return Sleep::Driven(timers::Timer::new(SystemClock.tick() + duration));
        }
        Sleep::Timer(Timer::new(duration))
    }

    fn sleep_until(deadline: Self::Instant) -> Sleep {
        Self::sleep(deadline - Self::Instant::now())
    }

    fn timeout<R, F: Future<Output = R>>(duration: Duration, future: F) -> Timeout<F, Sleep> {
        Timeout::new(future, Self::sleep(duration))
    }

    fn timeout_at<R, F: Future<Output = R>>(deadline: Self::Instant, future: F) -> Timeout<F, Sleep> {
        Timeout::new(future, Self::sleep_until(deadline))
    }

    /// A panic inside a task unwinds through the executor and ends the core: it never becomes a join error.
    fn is_panic(_: &Cancelled) -> bool {
        false
    }

    /// Seeded by the system for each call: openraft draws a number or two when a replica starts or campaigns.
    fn thread_rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(os_seed().expect("getrandom does not fail once a system has booted"))
    }

    type Mpsc = LocalMpsc;
    type Watch = LocalWatch;
    type Oneshot = LocalOneshot;
    type Mutex<T: 'static> = LocalMutex<T>;

    fn new(_threads: usize) -> Self {
        GlommioRuntime
    }

    /// Creates an executor for this call; a core keeps its own and never comes here.
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        LocalExecutorBuilder::new(Placement::Unbound)
            .make()
            .expect("an io_uring executor: the kernel must allow io_uring and enough locked memory")
            .run(future)
    }
}
