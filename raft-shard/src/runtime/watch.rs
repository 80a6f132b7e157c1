//! One value that many may watch, on one thread.
//!
//! A receiver sees the newest value, never a history. Each receiver waits in its own place, so a receiver polled many
//! times or dropped while waiting leaves nothing behind.

use std::cell::{Cell, Ref, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use openraft_rt::watch::SendError;
use openraft_rt::{RecvError, Watch, WatchReceiver, WatchSender};

struct State<T> {
    value: RefCell<T>,
    /// Counts the changes; a receiver compares it with what it saw.
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    next_receiver: Cell<u64>,
    waiting: RefCell<Vec<(u64, Waker)>>,
}

impl<T> State<T> {
    fn changed(&self) {
        self.version.set(self.version.get() + 1);
        self.wake_all();
    }

    fn wake_all(&self) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// The family of local watched values.
#[derive(Debug)]
pub struct LocalWatch;

/// Changes the value.
pub struct Sender<T>(Rc<State<T>>);

/// Watches the value.
pub struct Receiver<T> {
    state: Rc<State<T>>,
    id: u64,
    seen: u64,
}

impl Watch for LocalWatch {
    type Sender<T> = Sender<T>;
    type Receiver<T> = Receiver<T>;
    type Ref<'a, T: 'a> = Ref<'a, T>;

    fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
        let state = Rc::new(State {
            value: RefCell::new(init),
            version: Cell::new(0),
            senders: Cell::new(1),
            receivers: Cell::new(0),
            next_receiver: Cell::new(0),
            waiting: RefCell::new(Vec::new()),
        });
        (Sender(state.clone()), Receiver::new(state, 0))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.wake_all();
        }
    }
}

impl<T> WatchSender<LocalWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.get() == 0 {
            return Err(SendError(value));
        }
        let old = self.0.value.replace(value);
        self.0.changed();
        drop(old);
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = modify(&mut self.0.value.borrow_mut());
        if modified {
            self.0.changed();
        }
        modified
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.0.value.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver::new(self.0.clone(), self.0.version.get())
    }
}

impl<T> Receiver<T> {
    fn new(state: Rc<State<T>>, seen: u64) -> Self {
        state.receivers.set(state.receivers.get() + 1);
        let id = state.next_receiver.get();
        state.next_receiver.set(id + 1);
        Receiver { state, id, seen }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver::new(self.state.clone(), self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.state.receivers.set(self.state.receivers.get() - 1);
        self.state.waiting.borrow_mut().retain(|(id, _)| *id != self.id);
    }
}

impl<T> WatchReceiver<LocalWatch, T> for Receiver<T> {
    fn changed(&mut self) -> impl Future<Output = Result<(), RecvError>> {
        poll_fn(|cx| {
            let version = self.state.version.get();
            if version != self.seen {
                self.seen = version;
                return Poll::Ready(Ok(()));
            }
            if self.state.senders.get() == 0 {
                return Poll::Ready(Err(RecvError(())));
            }
            let mut waiting = self.state.waiting.borrow_mut();
            match waiting.iter_mut().find(|(id, _)| *id == self.id) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => waiting.push((self.id, cx.waker().clone())),
            }
            Poll::Pending
        })
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.state.value.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.seen = self.state.version.get();
        self.state.value.borrow()
    }
}
