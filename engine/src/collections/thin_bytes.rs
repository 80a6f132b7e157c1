//! [`ThinBytes`]: bytes on the heap behind one word, which a `Box<[u8]>` takes two of.
//!
//! ```text
//! length u32 | bytes
//! ```

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of memory besides those that are held.
pub(super) const HEAD: usize = size_of::<u32>();

/// See the module's text. Fewer than 4 GiB.
#[repr(transparent)]
pub(super) struct ThinBytes(NonNull<u32>);

// SAFETY: it owns its memory and hands it out by the rules of references, as a `Box<[u8]>` does.
unsafe impl Send for ThinBytes {}
// SAFETY: as above.
unsafe impl Sync for ThinBytes {}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(HEAD + len, align_of::<u32>()).expect("below 4 GiB, as is checked when it is made")
}

impl ThinBytes {
    /// Writes the length into fresh memory.
    ///
    /// # Safety
    /// `ptr` is what an allocation of `layout(len)` returned, and all of its bytes behind the length are initialised before
    /// anybody reads them.
    unsafe fn made(ptr: *mut u8, len: usize) -> Self {
        let Some(ptr) = NonNull::new(ptr.cast::<u32>()) else {
            handle_alloc_error(layout(len))
        };
        // SAFETY: aligned and large enough by its layout.
        unsafe { ptr.write(Self::stored(len)) };
        Self(ptr)
    }

    fn stored(len: usize) -> u32 {
        u32::try_from(len).expect("an element has fewer than 4 GiB")
    }

    /// Two strings in one piece.
    pub(super) fn concat(first: &[u8], second: &[u8]) -> Self {
        let len = first.len() + second.len();
        Self::stored(len);
        // SAFETY: the layout has a size; the bytes are written below, each of them, before the value is returned.
        let made = unsafe { Self::made(alloc(layout(len)), len) };
        // SAFETY: the memory is fresh, so that it overlaps neither; both lengths together are its length.
        unsafe {
            let to = made.bytes();
            to.copy_from_nonoverlapping(first.as_ptr(), first.len());
            to.add(first.len())
                .copy_from_nonoverlapping(second.as_ptr(), second.len());
        }
        made
    }

    /// So many zeros.
    pub(super) fn zeros(len: usize) -> Self {
        Self::stored(len);
        // SAFETY: the layout has a size; all bytes are initialised, being zero.
        unsafe { Self::made(alloc_zeroed(layout(len)), len) }
    }

    /// Cuts bytes off, or adds zeros.
    pub(super) fn resize(&mut self, len: usize) {
        Self::stored(len);
        let old = self.len();
        // SAFETY: the memory was allocated with that layout; the new size is not 0, and fits as `stored` has checked.
        let moved = unsafe { realloc(self.0.as_ptr().cast(), layout(old), HEAD + len) };
        if moved.is_null() {
            handle_alloc_error(layout(len));
        }
        // SAFETY: what `realloc` returned has that layout now; the bytes that are new are written below.
        let resized = unsafe { Self::made(moved, len) };
        if len > old {
            // SAFETY: inside the allocation.
            unsafe { resized.bytes().add(old).write_bytes(0, len - old) };
        }
        // The old value's memory is the new one's, or gone.
        std::mem::forget(std::mem::replace(self, resized));
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        HEAD + self.len()
    }

    fn bytes(&self) -> *mut u8 {
        // SAFETY: one past the length is inside the allocation, or its end.
        unsafe { self.0.as_ptr().add(1).cast() }
    }
}

impl Deref for ThinBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the length was written when it was made, and as many initialised bytes are behind it.
        unsafe { std::slice::from_raw_parts(self.bytes(), self.0.read() as usize) }
    }
}

impl DerefMut for ThinBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `deref`; exclusive, as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.bytes(), self.0.read() as usize) }
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody uses it any more.
        unsafe { dealloc(self.0.as_ptr().cast(), layout(self.len())) };
    }
}

impl Clone for ThinBytes {
    fn clone(&self) -> Self {
        Self::concat(self, b"")
    }
}

impl std::fmt::Debug for ThinBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_holds_what_two_strings_held() {
        assert_eq!(size_of::<Option<ThinBytes>>(), 8);
        let mut bytes = ThinBytes::concat(b"key", b"value");
        let twin = bytes.clone();
        bytes[3..].copy_from_slice(b"VALUE");
        assert_eq!((&bytes[..], &twin[..]), (&b"keyVALUE"[..], &b"keyvalue"[..]));
        assert_eq!(bytes.memory(), 12);
        assert!(ThinBytes::concat(b"", b"").is_empty());
    }

    #[test]
    fn what_is_added_is_zero_and_the_rest_stays() {
        let mut bytes = ThinBytes::zeros(3);
        for (len, sum) in [(700, 6), (700, 6), (2, 3), (5000, 3), (0, 0), (1, 0)] {
            for (at, byte) in bytes.iter_mut().enumerate().take(3) {
                *byte = at as u8 + 1;
            }
            bytes.resize(len);
            assert_eq!(bytes.len(), len);
            assert_eq!(bytes.iter().map(|b| usize::from(*b)).sum::<usize>(), sum);
        }
    }
}
