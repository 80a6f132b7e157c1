//! [`ProvidedBuffers`]: memory from which the kernel picks a place for each receive.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ring::Ring;

/// Number by which receives name this set of buffers; a ring has one.
pub const BUFFER_GROUP: u16 = 0;

/// Fixed-size receive buffers shared by all connections of a core. A buffer belongs to the kernel, or to the one
/// connection that holds input in it.
pub struct ProvidedBuffers {
    /// The ring through which buffers are handed over: an array of `BufRingEntry`, whose first entry's reserved field
    /// is the tail.
    entries: AlignedBuf,
    memory: AlignedBuf,
    buffer_bytes: usize,
    mask: u16,
    tail: u16,
}

impl ProvidedBuffers {
    /// Registers `count` (a power of two, at most 32,768) buffers of `buffer_bytes` each.
    pub fn new(ring: &Ring, count: u16, buffer_bytes: usize) -> io::Result<Self> {
        assert!(
            count.is_power_of_two(),
            "a ring of provided buffers has a power of two of entries"
        );
        let mut entries = AlignedBuf::with_capacity(usize::from(count) * size_of::<BufRingEntry>());
        entries.set_len(usize::from(count) * size_of::<BufRingEntry>());
        let mut memory = AlignedBuf::with_capacity(usize::from(count) * buffer_bytes);
        memory.set_len(usize::from(count) * buffer_bytes);
        let mut this = Self {
            entries,
            memory,
            buffer_bytes,
            mask: count - 1,
            tail: 0,
        };
        // SAFETY: the entries are page aligned, `count` long, and live as long as `self`, which the owner of the ring
        // keeps until the ring is gone.
        unsafe { ring.register_buf_ring(this.entries.as_ptr() as u64, count, BUFFER_GROUP)? };
        for buffer in 0..count {
            this.recycle(buffer);
        }
        Ok(this)
    }

    /// Bytes of one buffer.
    pub fn bytes(&self, buffer: u16, from: u32, to: u32) -> &[u8] {
        let start = usize::from(buffer) * self.buffer_bytes;
        &self.memory[start + from as usize..start + to as usize]
    }

    /// Gives a buffer back to the kernel.
    pub fn recycle(&mut self, buffer: u16) {
        let at = usize::from(self.tail & self.mask);
        let address = self.memory.as_ptr() as u64 + (usize::from(buffer) * self.buffer_bytes) as u64;
        let base: *mut BufRingEntry = self.entries.as_mut_ptr().cast();
        // SAFETY: `at` is within the entries; the kernel does not read this entry before the tail is moved past it. The
        // tail is the 16-bit field the kernel reads with acquire order, hence the release store.
        unsafe {
            let entry = &mut *base.add(at);
            entry.set_addr(address);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(base).cast_mut().cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
