//! [`Waker`]: how another thread wakes a core that waits in its ring.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::{opcode, types};

use crate::ring::{Class, Ring};

/// Token of the one read that is always pending; the class tells it from everything else.
const WAKE_TOKEN: u64 = 0;

/// An eventfd with a read pending on a core's ring: whoever writes to it ends the core's wait.
pub struct Waker {
    fd: OwnedFd,
    /// Where the kernel puts the counter; boxed, so that it stays in place while the read is pending.
    counter: Box<u64>,
}

impl Waker {
    /// A waker by an eventfd, whose read is already queued on `ring`. Keep it until the ring is gone.
    pub fn new(ring: &mut Ring, fd: OwnedFd) -> io::Result<Self> {
        let mut waker = Self {
            fd,
            counter: Box::new(0),
        };
        waker.rearm(ring)?;
        Ok(waker)
    }

    /// Queues the read again; call after each completion of [`Class::Wake`].
    pub fn rearm(&mut self, ring: &mut Ring) -> io::Result<()> {
        let read = opcode::Read::new(types::Fd(self.fd.as_raw_fd()), (&raw mut *self.counter).cast(), 8).build();
        // SAFETY: the counter is boxed and, like the descriptor, outlives the ring's use by this type's contract.
        unsafe { ring.push(Class::Wake, WAKE_TOKEN, read) }
    }

    /// Another descriptor of the same eventfd, for a thread that wakes.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

/// A new eventfd.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: creates a descriptor, touches no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just created and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until somebody has called [`wake`]: for threads that have no ring.
pub fn wait(fd: &OwnedFd) {
    let mut counter = [0u8; 8];
    // SAFETY: eight writable bytes.
    unsafe {
        libc::read(fd.as_raw_fd(), counter.as_mut_ptr().cast(), 8);
    }
}

/// Wakes the core behind an eventfd descriptor.
pub fn wake(fd: &OwnedFd) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: eight readable bytes; a full counter (EAGAIN cannot happen on a blocking one in practice) wakes as well.
    unsafe {
        libc::write(fd.as_raw_fd(), one.as_ptr().cast(), 8);
    }
}
