//! Waiting for a task's value.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::{Core, TaskId};

/// The task was aborted, or its node killed, before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was aborted")
    }
}

impl std::error::Error for Aborted {}

pub(super) struct Join<T> {
    result: Option<Result<T, Aborted>>,
    waiter: Option<Waker>,
}

/// Lives inside the task: reports [`Aborted`] when dropped before the end.
pub(super) struct Ending<T>(Rc<RefCell<Join<T>>>);

impl<T> Ending<T> {
    pub(super) fn end(&self, result: Result<T, Aborted>) {
        let waiter = {
            let mut join = self.0.borrow_mut();
            join.result = Some(result);
            join.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        // The task's value, if there is one, was put there in the same poll: nobody can have taken it yet.
        if self.0.borrow().result.is_none() {
            self.end(Err(Aborted));
        }
    }
}

/// Both ends of a task's result.
pub(super) fn pair<T>() -> (Ending<T>, Rc<RefCell<Join<T>>>) {
    let join = Rc::new(RefCell::new(Join {
        result: None,
        waiter: None,
    }));
    (Ending(Rc::clone(&join)), join)
}

/// A started task: await it for its value. Dropping it lets the task go on.
pub struct JoinHandle<T> {
    id: TaskId,
    core: Weak<Core>,
    join: Rc<RefCell<Join<T>>>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(id: TaskId, core: Weak<Core>, join: Rc<RefCell<Join<T>>>) -> Self {
        Self { id, core, join }
    }

    /// Drops the task's future where it stands, if it has not ended.
    pub fn abort(&self) {
        if let Some(core) = self.core.upgrade() {
            let task = core.state.borrow_mut().tasks.remove(&self.id);
            drop(task);
        }
    }

    /// True when the task ended or was aborted.
    pub fn is_finished(&self) -> bool {
        self.join.borrow().result.is_some()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut join = self.join.borrow_mut();
        match join.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                join.waiter = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
