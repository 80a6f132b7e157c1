//! [`AlignedBuf`]: memory for O_DIRECT.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of every [`AlignedBuf`], in bytes: the largest logical block size of common devices.
pub const BUF_ALIGN: usize = 4096;

/// A fixed-capacity byte buffer whose start is aligned for O_DIRECT. Derefs to its first `len` bytes.
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    cap: usize,
    len: usize,
}

// SAFETY: the buffer is plain memory owned by this value alone.
unsafe impl Send for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer of `cap` bytes (rounded up to [`BUF_ALIGN`]), zeroed.
    pub fn with_capacity(cap: usize) -> Self {
        let cap = cap.max(1).next_multiple_of(BUF_ALIGN);
        let layout = Self::layout(cap);
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(raw) else {
            handle_alloc_error(layout)
        };
        Self { ptr, cap, len: 0 }
    }

    fn layout(cap: usize) -> Layout {
        Layout::from_size_align(cap, BUF_ALIGN).expect("capacity is far below isize::MAX")
    }

    /// Bytes this buffer can hold.
    pub fn capacity(&self) -> usize {
        self.cap
    }

    /// Sets the length; bytes between the old and the new length keep what the memory holds (initially zero).
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.cap, "length {len} exceeds capacity {}", self.cap);
        self.len = len;
    }

    /// Appends `bytes`. Panics when they do not fit: callers check the room first.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let at = self.len;
        self.set_len(at + bytes.len());
        self[at..].copy_from_slice(bytes);
    }

    /// Appends `n` zero bytes.
    pub fn extend_zeroed(&mut self, n: usize) {
        let at = self.len;
        self.set_len(at + n);
        self[at..].fill(0);
    }

    /// Forgets the contents, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The start of the memory, for I/O submission.
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    /// The start of the memory, for I/O submission.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: `ptr` came from `alloc_zeroed` with this very layout and is freed once.
        unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.cap)) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: all `cap` bytes were initialised (zeroed) at allocation, and `len <= cap`.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("len", &self.len)
            .field("cap", &self.cap)
            .finish()
    }
}
