//! [`Ring`]: the io_uring a core owns beside its glommio executor, for sockets, files and wake-ups.
//!
//! glommio keeps tasks, timers and background files; what a command waits for goes through here, because one
//! submission per turn for everything is what makes a turn cheap (docs/decisions/0001-own-ring.md). Users of the ring
//! are told apart by [`Class`]; the core loop hands each [`Completion`] to the owner of its class.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, squeue, types};

/// Who an operation belongs to; kept in the top byte of the kernel's `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Operations nobody waits for (cancel, close).
    Ignore = 0,
    /// Sockets: `netio`.
    Net = 1,
    /// Log segments: the core's log writer.
    Log = 2,
    /// Wake-ups from other threads.
    Wake = 3,
    /// Store files: reads of cold keys, flushes and merges.
    Store = 4,
    /// Links to other nodes: `netio::peer`.
    Peer = 5,
}

/// One finished operation (or one shot of a multishot operation).
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// Who submitted it.
    pub class: Class,
    /// The submitter's 56-bit value.
    pub token: u64,
    /// As a system call: bytes or descriptor, or `-errno`.
    pub result: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}

/// The kernel's name of an operation, for those that act on another one.
pub fn user_data(class: Class, token: u64) -> u64 {
    (class as u64) << TOKEN_BITS | token
}

/// Bits of `user_data` that belong to the submitter.
pub const TOKEN_BITS: u32 = 56;
const TOKEN_MASK: u64 = (1 << TOKEN_BITS) - 1;

/// `IORING_ENTER_GETEVENTS`.
const ENTER_GETEVENTS: u32 = 1;

/// A submission and completion queue owned by one thread.
pub struct Ring {
    uring: IoUring,
    /// Operations pushed but not yet handed to the kernel.
    unsubmitted: u32,
    /// The kernel can wait for several completions a limited time.
    lingers: bool,
}

impl Ring {
    /// A ring with `entries` submission slots (a power of two) and four times as many completion slots.
    ///
    /// # Errors
    /// `ENOMEM` when the memlock limit is too small, `EPERM`/`ENOSYS` when io_uring is forbidden or missing.
    pub fn new(entries: u32) -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(entries * 4)
            .build(entries)?;
        let lingers = uring.params().is_feature_min_timeout();
        Ok(Self {
            uring,
            unsubmitted: 0,
            lingers,
        })
    }

    /// Queues one operation. It reaches the kernel at the next submit, or at once when the queue is full.
    ///
    /// # Safety
    /// Memory and descriptors named by `entry` must stay valid until its (last) completion was reaped.
    pub unsafe fn push(&mut self, class: Class, token: u64, entry: squeue::Entry) -> io::Result<()> {
        debug_assert!(
            token <= TOKEN_MASK,
            "token {token:#x} does not fit in {TOKEN_BITS} bits"
        );
        let entry = entry.user_data(user_data(class, token));
        loop {
            // SAFETY: the caller vouches for what the entry points to.
            match unsafe { self.uring.submission().push(&entry) } {
                Ok(()) => {
                    self.unsubmitted += 1;
                    return Ok(());
                }
                Err(_full) => self.submit()?,
            }
        }
    }

    /// Hands everything queued to the kernel and lets it post finished work, without waiting.
    pub fn submit(&mut self) -> io::Result<()> {
        let queued = self.uring.submission().len() as u32;
        // With deferred task work the kernel posts completions only when it is asked for events.
        // SAFETY: no signal mask is passed; the entries were vouched for when they were pushed.
        let done = unsafe {
            self.uring
                .submitter()
                .enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None)
        };
        self.entered(done)
    }

    /// As [`Ring::submit`], then waits until `want` completions are there or `timeout` has passed.
    pub fn submit_and_wait(&mut self, want: usize, timeout: Duration) -> io::Result<()> {
        let ts = types::Timespec::new()
            .sec(timeout.as_secs())
            .nsec(timeout.subsec_nanos());
        let args = types::SubmitArgs::new().timespec(&ts);
        let done = self.uring.submitter().submit_with_args(want, &args);
        self.entered(done)
    }

    /// As [`Ring::submit_and_wait`] for `want` completions, but content with any after `linger`. Kernels before 6.12
    /// cannot do that: there the first completion ends the wait.
    pub fn submit_and_gather(&mut self, want: usize, linger: Duration, timeout: Duration) -> io::Result<()> {
        if !self.lingers {
            return self.submit_and_wait(1, timeout);
        }
        let ts = types::Timespec::new()
            .sec(timeout.as_secs())
            .nsec(timeout.subsec_nanos());
        let args = types::SubmitArgs::new()
            .timespec(&ts)
            .min_wait_usec(linger.as_micros() as u32);
        let done = self.uring.submitter().submit_with_args(want, &args);
        self.entered(done)
    }

    fn entered(&mut self, done: io::Result<usize>) -> io::Result<()> {
        self.unsubmitted = self.uring.submission().len() as u32;
        match done {
            Ok(_) => Ok(()),
            // The wait ended (time, signal), or the completion queue is full and must be drained first.
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// True when operations wait for a submit.
    pub fn has_unsubmitted(&self) -> bool {
        self.unsubmitted > 0
    }

    /// True when the kernel asks to be entered so that it can post finished work (deferred task work) or overflowed
    /// completions.
    pub fn wants_enter(&mut self) -> bool {
        let sq = self.uring.submission();
        sq.taskrun() || sq.cq_overflow()
    }

    /// True when a completion can be reaped without entering the kernel.
    pub fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    /// Appends everything finished so far to `out`; enters no kernel.
    pub fn reap(&mut self, out: &mut Vec<Completion>) {
        for cqe in self.uring.completion() {
            let class = match cqe.user_data() >> TOKEN_BITS {
                1 => Class::Net,
                2 => Class::Log,
                3 => Class::Wake,
                4 => Class::Store,
                5 => Class::Peer,
                _ => Class::Ignore,
            };
            out.push(Completion {
                class,
                token: cqe.user_data() & TOKEN_MASK,
                result: cqe.result(),
                flags: cqe.flags(),
            });
        }
    }

    /// Registers an eventfd that the kernel signals at each completion, so that another poller can sleep on it.
    pub fn register_eventfd(&self, fd: RawFd) -> io::Result<()> {
        self.uring.submitter().register_eventfd(fd)
    }

    /// Registers a ring of provided buffers (see `io_uring_register_buf_ring`).
    ///
    /// # Safety
    /// `ring_addr` must point to `entries` ring entries, page aligned, valid until [`Ring::unregister_buf_ring`] or drop.
    pub unsafe fn register_buf_ring(&self, ring_addr: u64, entries: u16, group: u16) -> io::Result<()> {
        // SAFETY: passed on from the caller.
        unsafe {
            self.uring
                .submitter()
                .register_buf_ring_with_flags(ring_addr, entries, group, 0)
        }
    }

    /// Takes a ring of provided buffers back from the kernel.
    pub fn unregister_buf_ring(&self, group: u16) -> io::Result<()> {
        self.uring.submitter().unregister_buf_ring(group)
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}
