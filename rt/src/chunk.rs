//! Memory straight from the kernel: [`Chunk`]s for slabs, and giving pages back early.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

/// Size and alignment of a [`Chunk`], in bytes: one huge page of x86-64.
pub const CHUNK_BYTES: usize = 2 << 20;

/// Size of the kernel's small page, in bytes.
const PAGE_BYTES: usize = 4096;

/// [`CHUNK_BYTES`] of memory, aligned to their size, zero until written. Pages cost memory once touched.
#[derive(Debug)]
#[repr(transparent)]
pub struct Chunk(NonNull<u8>);

// SAFETY: a chunk is plain memory owned by this value alone.
unsafe impl Send for Chunk {}

impl Chunk {
    /// Maps a chunk. `huge` asks for one huge page: fewer TLB misses, but the first touch costs the whole chunk, so it
    /// pays only where the chunk will be filled. Whether the kernel complies does not matter for correctness.
    ///
    /// Ends the process when the kernel has no memory, as any allocation does.
    pub fn new(huge: bool) -> Self {
        let oversize = 2 * CHUNK_BYTES;
        // SAFETY: a fresh private anonymous mapping touches no memory that exists.
        let raw = unsafe {
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                std::ptr::null_mut(),
                oversize,
                prot,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if raw == libc::MAP_FAILED {
            let layout = Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES).expect("both are the same power of two");
            handle_alloc_error(layout);
        }
        let raw = raw.cast::<u8>();
        let head = raw.align_offset(CHUNK_BYTES);
        let tail = oversize - head - CHUNK_BYTES;
        // SAFETY: `head + CHUNK_BYTES + tail` is the mapping made above; the parts unmapped lie outside the aligned
        // middle, which is the only part kept, and are multiples of the page size because the mapping is page aligned.
        unsafe {
            let start = raw.add(head);
            if head > 0 {
                libc::munmap(raw.cast(), head);
            }
            if tail > 0 {
                libc::munmap(start.add(CHUNK_BYTES).cast(), tail);
            }
            if huge {
                // Advice: an error (no huge pages configured) leaves small pages, which is fine.
                libc::madvise(start.cast(), CHUNK_BYTES, libc::MADV_HUGEPAGE);
            }
            Self(NonNull::new_unchecked(start))
        }
    }

    /// The first byte; valid for [`CHUNK_BYTES`] as long as the chunk lives.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new`, is owned, and unmapped once.
        unsafe { libc::munmap(self.0.as_ptr().cast(), CHUNK_BYTES) };
    }
}

/// Gives the whole pages inside `bytes` back to the kernel. Their contents are lost (they read as zeros where a private
/// mapping lies behind); bytes outside whole pages stay. For huge buffers that are about to be freed: freeing memory whose
/// pages are gone already is quick, so that the cost can be spread over many turns.
pub fn discard(bytes: &mut [u8]) {
    let head = bytes.as_ptr().align_offset(PAGE_BYTES).min(bytes.len());
    let len = (bytes.len() - head) / PAGE_BYTES * PAGE_BYTES;
    if len > 0 {
        // SAFETY: the range lies inside `bytes`, which is exclusively borrowed plain memory: any contents are valid.
        unsafe { libc::madvise(bytes.as_mut_ptr().add(head).cast(), len, libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_aligned_zeroed_and_writable_to_the_last_byte() {
        for huge in [false, true] {
            let chunk = Chunk::new(huge);
            assert_eq!(chunk.as_ptr() as usize % CHUNK_BYTES, 0);
            // SAFETY: within the chunk.
            unsafe {
                assert_eq!(*chunk.as_ptr(), 0);
                *chunk.as_ptr().add(CHUNK_BYTES - 1) = 7;
                assert_eq!(*chunk.as_ptr().add(CHUNK_BYTES - 1), 7);
            }
        }
    }

    #[test]
    fn discard_touches_whole_pages_only() {
        let mut bytes = vec![9u8; 5 * PAGE_BYTES];
        discard(&mut bytes[1..10]);
        assert!(bytes.iter().all(|&b| b == 9));
        discard(&mut bytes);
        assert_eq!(bytes.len(), 5 * PAGE_BYTES);
    }
}
