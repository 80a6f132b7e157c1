//! [`MeshPort`]: how the cores of a process hand work to each other.
//!
//! Between any two cores lie two rings, each with one writer and one reader (crate rtrb), so that nothing is locked and
//! two cores that talk disturb no third one. A ring is bounded: who cannot write keeps its message and tries again. A
//! core that sleeps in the kernel is woken through an eventfd, others find their messages at their next turn.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use slotcore_rt::wake::{eventfd, wake};

mod doorbell;

use doorbell::Doorbell;

/// The atomics of this module, so that its tests can put a model checker's in their place.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

/// Messages that may lie between two cores. A core sends at most one a turn to each other core and reads all it has at
/// each turn, so more than a few wait only when a core is overloaded; then waiting is what its senders should do.
const RING_MESSAGES: usize = 64;

/// A core's bell and the descriptor that wakes it; on a cache line of its own.
#[repr(align(128))]
struct Bell {
    door: Doorbell,
    fd: OwnedFd,
}

/// One core's end of all rings.
pub struct MeshPort<M> {
    core: usize,
    to: Vec<Option<Producer<M>>>,
    from: Vec<Option<Consumer<M>>>,
    bells: Arc<[Bell]>,
}

/// Rings between `cores` cores; the ports are in the order of their numbers.
///
/// # Errors
/// When the process may open no more descriptors.
pub fn mesh<M: Send>(cores: usize) -> io::Result<Vec<MeshPort<M>>> {
    let bells = (0..cores)
        .map(|_| {
            Ok(Bell {
                door: Doorbell::new(),
                fd: eventfd()?,
            })
        })
        .collect::<io::Result<Arc<[Bell]>>>()?;
    let mut ports: Vec<MeshPort<M>> = (0..cores)
        .map(|core| MeshPort {
            core,
            to: (0..cores).map(|_| None).collect(),
            from: (0..cores).map(|_| None).collect(),
            bells: bells.clone(),
        })
        .collect();
    for sender in 0..cores {
        for receiver in (0..cores).filter(|&receiver| receiver != sender) {
            let (producer, consumer) = RingBuffer::new(RING_MESSAGES);
            ports[sender].to[receiver] = Some(producer);
            ports[receiver].from[sender] = Some(consumer);
        }
    }
    Ok(ports)
}

impl<M> MeshPort<M> {
    /// Whose port it is.
    pub fn core(&self) -> usize {
        self.core
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.to.len()
    }

    /// A descriptor of the eventfd that is written to when this core must wake.
    ///
    /// # Errors
    /// When the process may open no more descriptors.
    pub fn wake_fd(&self) -> io::Result<OwnedFd> {
        self.bells[self.core].fd.try_clone()
    }

    /// Leaves a message for another core and wakes it if it sleeps. A full ring gives the message back.
    ///
    /// # Errors
    /// The message, when there is no room for it now.
    #[inline]
    pub fn send(&mut self, core: usize, message: M) -> Result<(), M> {
        let Some(ring) = &mut self.to[core] else {
            return Err(message);
        };
        ring.push(message).map_err(|rtrb::PushError::Full(message)| message)?;
        let bell = &self.bells[core];
        if bell.door.must_wake() {
            wake(&bell.fd);
        }
        Ok(())
    }

    /// The next message of one core.
    #[inline]
    pub fn receive(&mut self, core: usize) -> Option<M> {
        self.from[core].as_mut()?.pop().ok()
    }

    /// True when a message of any core waits.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.from.iter().flatten().any(|ring| !ring.is_empty())
    }

    /// To be called before this core sleeps in the kernel. False when a message waits: then it must not sleep. Either way
    /// [`MeshPort::get_up`] comes next.
    #[inline]
    pub fn may_sleep(&self) -> bool {
        self.bells[self.core].door.lie_down();
        !self.has_mail()
    }

    /// This core is awake.
    #[inline]
    pub fn get_up(&self) {
        self.bells[self.core].door.get_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_and_a_full_ring_gives_them_back() {
        let mut ports = mesh::<usize>(3).unwrap();
        let mut second = ports.remove(1);
        let mut first = ports.remove(0);
        for n in 0..RING_MESSAGES {
            first.send(1, n).unwrap();
        }
        assert_eq!(first.send(1, 99), Err(99));
        assert!(second.has_mail() && !second.may_sleep());
        second.get_up();
        for n in 0..RING_MESSAGES {
            assert_eq!(second.receive(0), Some(n));
        }
        assert_eq!(second.receive(0), None);
        assert_eq!(second.receive(2), None);
        assert!(second.may_sleep());
    }

    #[test]
    fn a_core_that_sleeps_is_woken_for_every_message() {
        const MESSAGES: usize = 20_000;
        let mut ports = mesh::<usize>(2).unwrap();
        let mut receiver = ports.remove(1);
        let mut sender = ports.remove(0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for mut n in 0..MESSAGES {
                    while let Err(back) = sender.send(1, n) {
                        n = back;
                        std::thread::yield_now();
                    }
                }
            });
            let fd = receiver.wake_fd().unwrap();
            let mut next = 0;
            while next < MESSAGES {
                while let Some(n) = receiver.receive(0) {
                    assert_eq!(n, next);
                    next += 1;
                }
                if next < MESSAGES && receiver.may_sleep() {
                    slotcore_rt::wake::wait(&fd);
                }
                receiver.get_up();
            }
        });
    }
}
