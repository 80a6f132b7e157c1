//! Waiting for virtual time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Core, current, now};
use crate::clock::Tick;

/// Ends after `duration` of virtual time.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// Ends at `at`, at once when that has passed.
pub fn sleep_until(at: Tick) -> Sleep {
    Sleep {
        at,
        timer: None,
        core: Rc::downgrade(&current()),
    }
}

/// The future of [`sleep_until`].
#[must_use]
pub struct Sleep {
    at: Tick,
    timer: Option<(Tick, u64)>,
    core: Weak<Core>,
}

impl Sleep {
    fn cancel(&mut self) {
        if let Some(key) = self.timer.take()
            && let Some(core) = self.core.upgrade()
        {
            // The waker may own the last reference to something: it is dropped outside the borrow.
            let waker = core.state.borrow_mut().timers.remove(&key);
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(core) = self.core.upgrade() else {
            return Poll::Pending;
        };
        self.cancel();
        if core.time.get() >= self.at {
            return Poll::Ready(());
        }
        let mut state = core.state.borrow_mut();
        let key = (self.at, state.next_id);
        state.next_id += 1;
        state.timers.insert(key, cx.waker().clone());
        self.timer = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("time ran out")
    }
}

impl std::error::Error for Elapsed {}

/// `future`'s value, unless `duration` passes first; `future` is then dropped with the [`Timeout`].
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    timeout_at(now() + duration, future)
}

/// As [`timeout`], until a moment.
pub fn timeout_at<F: Future>(at: Tick, future: F) -> Timeout<F> {
    Timeout {
        future: Box::pin(future),
        sleep: sleep_until(at),
    }
}

/// The future of [`timeout`].
#[must_use]
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}
