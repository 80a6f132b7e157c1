//! openraft in the simulated world: virtual time, seeded order, tasks that die with their node.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use slotcore_rt::clock::Tick;
use slotcore_rt::sim::exec::{self, Aborted, RunEnd};
use slotcore_rt::sim::{NodeId, Sim};

use super::Runtime;
use super::instant::{Moment, TimeSource};
use super::mpsc::LocalMpsc;
use super::mutex::LocalMutex;
use super::oneshot::LocalOneshot;
use super::timeout::{Elapsed, Timeout};
use super::watch::LocalWatch;

/// Seed of the world that [`AsyncRuntime::block_on`] creates for itself; simulations bring their own.
const OWN_WORLD_SEED: u64 = 1;

/// Marker of the simulated back end. All but `block_on` act on the [`Sim`] that runs the calling task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimRuntime;

/// The simulated world's time: that of a machine with a perfect clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualTime;

impl TimeSource for VirtualTime {
    fn tick() -> Tick {
        exec::now()
    }
}

impl Runtime for SimRuntime {
    fn tick(instant: Moment<VirtualTime>) -> Tick {
        instant.tick()
    }
}

impl AsyncRuntime for SimRuntime {
    type JoinError = Aborted;
    type JoinHandle<T: 'static> = exec::JoinHandle<T>;
    type Sleep = exec::Sleep;
    type Instant = Moment<VirtualTime>;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R>> = Timeout<T, exec::Sleep>;
    type ThreadLocalRng = ChaCha8Rng;

    fn spawn<T>(future: T) -> exec::JoinHandle<T::Output>
    where
        T: Future + 'static,
        T::Output: 'static,
    {
        exec::spawn(future)
    }

    fn sleep(duration: Duration) -> exec::Sleep {
        exec::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> exec::Sleep {
        exec::sleep_until(deadline.tick())
    }

    fn timeout<R, F: Future<Output = R>>(duration: Duration, future: F) -> Timeout<F, exec::Sleep> {
        Timeout::new(future, exec::sleep(duration))
    }

    fn timeout_at<R, F: Future<Output = R>>(deadline: Self::Instant, future: F) -> Timeout<F, exec::Sleep> {
        Timeout::new(future, exec::sleep_until(deadline.tick()))
    }

    /// A panic inside a task ends the simulation: it never becomes a join error.
    fn is_panic(_: &Aborted) -> bool {
        false
    }

    /// Follows from the world's seed, the calling node and the virtual time: openraft draws a number or two when a
    /// replica starts or campaigns, and two polls never happen at the same time.
    fn thread_rng() -> ChaCha8Rng {
        let mut stream = exec::rng(&format!("openraft {} {}", exec::node(), exec::now().0));
        ChaCha8Rng::seed_from_u64(stream.next_u64())
    }

    type Mpsc = LocalMpsc;
    type Watch = LocalWatch;
    type Oneshot = LocalOneshot;
    type Mutex<T: 'static> = LocalMutex<T>;

    fn new(_threads: usize) -> Self {
        SimRuntime
    }

    /// Runs `future` in a world of its own.
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        // `future` may borrow, so it cannot be a task. A task that never ends stands in for it: whenever that one is
        // polled, `future` is polled next, with its waker.
        let due = Rc::new(RefCell::new(None::<Waker>));
        let stand_in = due.clone();
        let world = Sim::new(OWN_WORLD_SEED);
        drop(world.spawn_on(
            NodeId::WORLD,
            poll_fn(move |cx| -> Poll<()> {
                *stand_in.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }),
        ));

        let (mut future, mut output) = (pin!(future), None);
        let end = world.run_until(Tick(u64::MAX), || {
            if let Some(waker) = due.take()
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                output = Some(value);
            }
            output.is_some()
        });
        assert_eq!(
            end,
            RunEnd::Met,
            "the future waits for something that will never happen"
        );
        output.expect("the condition was that it is there")
    }
}
