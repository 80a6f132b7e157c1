//! A lock held across awaits by tasks of one thread.

use std::cell::{RefCell, RefMut};
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::task::{Poll, Waker};

/// Guards a value; waiters are all woken when it is released and take it in the order the executor runs them.
#[derive(Debug)]
pub struct LocalMutex<T> {
    value: RefCell<T>,
    waiting: RefCell<Vec<Waker>>,
}

/// The right to the value until dropped.
#[derive(Debug)]
pub struct Guard<'a, T> {
    /// `None` only inside `drop`: the borrow ends before the waiters are woken.
    value: Option<RefMut<'a, T>>,
    waiting: &'a RefCell<Vec<Waker>>,
}

impl<T: 'static> openraft_rt::Mutex<T> for LocalMutex<T> {
    type Guard<'a> = Guard<'a, T>;

    fn new(value: T) -> Self {
        LocalMutex {
            value: RefCell::new(value),
            waiting: RefCell::new(Vec::new()),
        }
    }

    fn lock(&self) -> impl Future<Output = Guard<'_, T>> {
        poll_fn(|cx| match self.value.try_borrow_mut() {
            Ok(value) => Poll::Ready(Guard {
                value: Some(value),
                waiting: &self.waiting,
            }),
            Err(_) => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_deref().expect("held until dropped")
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_deref_mut().expect("held until dropped")
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}
