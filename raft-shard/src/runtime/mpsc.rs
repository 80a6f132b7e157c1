//! A bounded queue from many senders to one receiver, on one thread.
//!
//! First in, first out. Memory follows what is queued, not the capacity. A sender that finds the queue full waits;
//! every removal wakes all who wait, and they take their turn in the order the executor runs them: full queues are
//! rare, and waking one only would lose the wake-up when that one's future has been dropped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use openraft_rt::{Mpsc, MpscReceiver, MpscSender, MpscWeakSender, SendError, TryRecvError};

struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    receiver_alive: bool,
    receiver_waiting: Option<Waker>,
    senders_waiting: Vec<Waker>,
}

/// Counts the senders: when the last is dropped the receiver learns of it.
struct SenderSide<T> {
    state: Rc<RefCell<State<T>>>,
}

impl<T> Drop for SenderSide<T> {
    fn drop(&mut self) {
        let waiting = self.state.borrow_mut().receiver_waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

/// The family of local queues.
#[derive(Debug)]
pub struct LocalMpsc;

/// Sends; cheap to clone.
pub struct Sender<T>(Rc<SenderSide<T>>);

/// A sender that does not keep the queue open.
pub struct WeakSender<T>(Weak<SenderSide<T>>);

/// Receives.
pub struct Receiver<T> {
    state: Rc<RefCell<State<T>>>,
    senders: Weak<SenderSide<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        WeakSender(self.0.clone())
    }
}

impl Mpsc for LocalMpsc {
    type Sender<T> = Sender<T>;
    type Receiver<T> = Receiver<T>;
    type WeakSender<T> = WeakSender<T>;

    fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let state = Rc::new(RefCell::new(State {
            queue: VecDeque::new(),
            capacity,
            receiver_alive: true,
            receiver_waiting: None,
            senders_waiting: Vec::new(),
        }));
        let side = Rc::new(SenderSide { state: state.clone() });
        let senders = Rc::downgrade(&side);
        (Sender(side), Receiver { state, senders })
    }
}

impl<T> Sender<T> {
    /// Sends at once, or gives the message back: the queue is full, or nobody receives.
    pub fn try_send(&self, msg: T) -> Result<(), T> {
        let mut state = self.0.state.borrow_mut();
        if !state.receiver_alive || state.queue.len() >= state.capacity {
            return Err(msg);
        }
        state.queue.push_back(msg);
        let waiting = state.receiver_waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> MpscSender<LocalMpsc, T> for Sender<T> {
    fn send(&self, msg: T) -> impl Future<Output = Result<(), SendError<T>>> {
        let mut msg = Some(msg);
        poll_fn(move |cx| {
            let mut state = self.0.state.borrow_mut();
            if !state.receiver_alive {
                let msg = msg.take().expect("polled again after it was ready");
                return Poll::Ready(Err(SendError(msg)));
            }
            if state.queue.len() >= state.capacity {
                state.senders_waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            state
                .queue
                .push_back(msg.take().expect("polled again after it was ready"));
            let waiting = state.receiver_waiting.take();
            drop(state);
            if let Some(waker) = waiting {
                waker.wake();
            }
            Poll::Ready(Ok(()))
        })
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(Rc::downgrade(&self.0))
    }
}

impl<T> MpscWeakSender<LocalMpsc, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

impl<T> MpscReceiver<T> for Receiver<T> {
    fn recv(&mut self) -> impl Future<Output = Option<T>> {
        poll_fn(move |cx| match self.try_recv() {
            Ok(msg) => Poll::Ready(Some(msg)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                let waiting = &mut self.state.borrow_mut().receiver_waiting;
                match waiting {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waiting = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        })
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = self.state.borrow_mut();
        let Some(msg) = state.queue.pop_front() else {
            let open = self.senders.strong_count() > 0;
            return Err(if open {
                TryRecvError::Empty
            } else {
                TryRecvError::Disconnected
            });
        };
        let waiting = std::mem::take(&mut state.senders_waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Ok(msg)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // The queued messages are dropped outside the borrow: they may hold senders of this very queue.
        let (queued, waiting) = {
            let mut state = self.state.borrow_mut();
            state.receiver_alive = false;
            (
                std::mem::take(&mut state.queue),
                std::mem::take(&mut state.senders_waiting),
            )
        };
        drop(queued);
        waiting.into_iter().for_each(Waker::wake);
    }
}
