//! Who waits for which frame of the core's log.
//!
//! One hub per core, because there is one log per core. The core loop calls [`LogHub::advance`] whenever frames were
//! submitted or became durable; the hub then tells the groups. Two kinds wait:
//! - *entries*: they count towards a commit at the frame the durability mode names (durable in `always`, appended in
//!   `everysec` and `off`);
//! - *promises* (votes, truncations, purges): durable in every mode. A replica that forgets a vote may give it twice. The
//!   log flushes for them by itself, whatever its policy: nobody has to ask for it.
//!
//! Frames are reported as a prefix, so completions leave in the order of the appends whatever order the disk had.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use openraft::storage::IOFlushed;
use openraft_rt::{Oneshot, OneshotSender};
use slotcore_rt::ids::FrameNo;

use crate::runtime::Runtime;
use crate::runtime::oneshot::{Closed, LocalOneshot, Receiver, Sender};
use crate::types::RaftTypes;

/// See the module.
pub struct LogHub<RT: Runtime> {
    waiting: RefCell<Waiting<RT>>,
}

struct Waiting<RT: Runtime> {
    entries: VecDeque<(FrameNo, IOFlushed<RaftTypes<RT>>)>,
    promises: VecDeque<(FrameNo, Sender<Result<(), String>>)>,
    /// Those whose write found no room.
    room: Vec<Sender<Result<(), String>>>,
    failed: Option<String>,
}

impl<RT: Runtime> LogHub<RT> {
    /// A hub nobody waits at.
    pub fn new() -> Rc<Self> {
        let waiting = Waiting {
            entries: VecDeque::new(),
            promises: VecDeque::new(),
            room: Vec::new(),
            failed: None,
        };
        Rc::new(LogHub {
            waiting: RefCell::new(waiting),
        })
    }

    /// Tells the groups how far the log has come.
    ///
    /// `counted`: entries up to this frame count towards a commit. `durable`: frames up to this one survive power
    /// loss. Both are prefixes: every frame below has come as far. Every call lets writes that found no room try
    /// again: make one also when a segment has become ready or space has returned.
    pub fn advance(&self, counted: FrameNo, durable: FrameNo) {
        // Each callback runs outside the borrow: it wakes tasks, and may come back here.
        while let Some(flushed) = pop_up_to(&mut self.waiting.borrow_mut().entries, counted) {
            flushed.io_completed(Ok(()));
        }
        while let Some(promise) = pop_up_to(&mut self.waiting.borrow_mut().promises, durable) {
            // The receiver is gone only when its group was dropped.
            let _ = promise.send(Ok(()));
        }
        let room = std::mem::take(&mut self.waiting.borrow_mut().room);
        for retry in room {
            let _ = retry.send(Ok(()));
        }
    }

    /// Whether a write waits for room: the log is full or behind, and new proposals will not reach it yet.
    pub fn waits_for_room(&self) -> bool {
        !self.waiting.borrow().room.is_empty()
    }

    /// The log has failed: nothing that waits, now or later, will ever count. Their groups stop.
    pub fn fail(&self, what: &str) {
        let (entries, promises, room) = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.failed = Some(what.to_owned());
            let Waiting {
                entries,
                promises,
                room,
                ..
            } = &mut *waiting;
            (std::mem::take(entries), std::mem::take(promises), std::mem::take(room))
        };
        entries
            .into_iter()
            .for_each(|(_, flushed)| flushed.io_completed(Err(io::Error::other(what.to_owned()))));
        for waiter in promises.into_iter().map(|(_, promise)| promise).chain(room) {
            let _ = waiter.send(Err(what.to_owned()));
        }
    }

    /// `flushed` fires once entries in `frame` count.
    pub(crate) fn entry_in(&self, frame: FrameNo, flushed: IOFlushed<RaftTypes<RT>>) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(what) = &waiting.failed {
            let error = io::Error::other(what.clone());
            drop(waiting);
            flushed.io_completed(Err(error));
            return;
        }
        debug_assert!(
            waiting.entries.back().is_none_or(|(last, _)| *last <= frame),
            "frames are numbered in order"
        );
        waiting.entries.push_back((frame, flushed));
    }

    /// Resolves once `frame` is durable.
    pub(crate) async fn durable(&self, frame: FrameNo) -> io::Result<()> {
        let receiver = self.promise_in(frame)?;
        outcome(receiver.await)
    }

    /// Resolves when a write that found no room should be tried again.
    pub(crate) async fn room(&self) -> io::Result<()> {
        let receiver = {
            let mut waiting = self.waiting.borrow_mut();
            if let Some(what) = &waiting.failed {
                return Err(io::Error::other(what.clone()));
            }
            let (sender, receiver) = LocalOneshot::channel();
            waiting.room.push(sender);
            receiver
        };
        outcome(receiver.await)
    }

    fn promise_in(&self, frame: FrameNo) -> io::Result<Receiver<Result<(), String>>> {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(what) = &waiting.failed {
            return Err(io::Error::other(what.clone()));
        }
        debug_assert!(
            waiting.promises.back().is_none_or(|(last, _)| *last <= frame),
            "frames are numbered in order"
        );
        let (sender, receiver) = LocalOneshot::channel();
        waiting.promises.push_back((frame, sender));
        Ok(receiver)
    }
}

fn outcome(received: Result<Result<(), String>, Closed>) -> io::Result<()> {
    match received {
        Ok(result) => result.map_err(io::Error::other),
        Err(closed) => Err(io::Error::other(closed)),
    }
}

fn pop_up_to<T>(queue: &mut VecDeque<(FrameNo, T)>, upto: FrameNo) -> Option<T> {
    let (frame, _) = queue.front()?;
    if *frame > upto {
        return None;
    }
    queue.pop_front().map(|(_, item)| item)
}
