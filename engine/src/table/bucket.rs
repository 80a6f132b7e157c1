//! [`Bucket`]: one cache line of the index: up to 12 record references, each with a one-byte tag.
//!
//! ```text
//! bytes 0..12  tags, 0 is empty | byte 12 passed | 3 bytes free | bytes 16..64  references
//! ```
//! A record lies in its home bucket or, when that was full, in one of the next; every full bucket passed on the way counts
//! it in `passed`. A search ends at a bucket that nothing has passed, and removing a record takes its counts back, so that
//! there are no tombstones.

use super::slab::SlabRef;

/// References in a bucket: what fills a cache line.
pub const BUCKET_SLOTS: usize = 12;

/// See the module's text.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Bucket {
    tags: [u8; BUCKET_SLOTS],
    passed: u8,
    _free: [u8; 3],
    refs: [SlabRef; BUCKET_SLOTS],
}

/// Where a bucket's references begin, in bytes.
pub const BUCKET_REFS: usize = std::mem::offset_of!(Bucket, refs);

const _: () = assert!(size_of::<Bucket>() == 64);

/// The tag of a hash: its low byte, which takes no part in the order, made non-zero.
#[inline]
pub fn tag(h: u64) -> u8 {
    (h as u8).max(1)
}

impl Bucket {
    /// A bucket without records.
    pub const EMPTY: Bucket = Bucket {
        tags: [0; BUCKET_SLOTS],
        passed: 0,
        _free: [0; 3],
        refs: [SlabRef(0); BUCKET_SLOTS],
    };

    /// The slots that hold `tag`, as bits.
    #[inline]
    pub fn matches(&self, tag: u8) -> u32 {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8};
            // SAFETY: SSE2 is part of x86-64; the bucket is 64-byte aligned and longer than 16 bytes.
            let bits = unsafe {
                let line = _mm_load_si128(std::ptr::from_ref(self).cast::<__m128i>());
                _mm_movemask_epi8(_mm_cmpeq_epi8(line, _mm_set1_epi8(tag as i8)))
            };
            bits as u32 & ((1 << BUCKET_SLOTS) - 1)
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.matches_portable(tag)
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn matches_portable(&self, tag: u8) -> u32 {
        self.tags
            .iter()
            .enumerate()
            .fold(0, |bits, (i, &t)| bits | u32::from(t == tag) << i)
    }

    /// The slots in use, as bits.
    #[inline]
    pub fn used(&self) -> u32 {
        !self.matches(0) & ((1 << BUCKET_SLOTS) - 1)
    }

    /// The reference in `slot`.
    #[inline]
    pub fn get(&self, slot: usize) -> SlabRef {
        self.refs[slot]
    }

    /// Puts a reference into a free slot; `false` when there is none.
    #[inline]
    pub fn push(&mut self, tag: u8, at: SlabRef) -> bool {
        let free = self.matches(0);
        if free == 0 {
            return false;
        }
        let slot = free.trailing_zeros() as usize;
        (self.tags[slot], self.refs[slot]) = (tag, at);
        true
    }

    /// Empties a slot.
    #[inline]
    pub fn clear(&mut self, slot: usize) {
        self.tags[slot] = 0;
    }

    /// Whether a record whose home is here or before lies behind this bucket.
    #[inline]
    pub fn is_passed(&self) -> bool {
        self.passed != 0
    }

    /// Counts one more record that passed. The number is at most that of slots within reach, far below 255.
    #[inline]
    pub fn count_passed(&mut self) {
        self.passed += 1;
    }

    /// Takes one count back.
    #[inline]
    pub fn uncount_passed(&mut self) {
        self.passed -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_wherever_they_are() {
        let mut b = Bucket::EMPTY;
        assert_eq!((b.used(), b.matches(9)), (0, 0));
        for i in 0..BUCKET_SLOTS {
            assert!(b.push(if i % 2 == 0 { 9 } else { 200 }, SlabRef(i as u32)));
        }
        assert!(!b.push(1, SlabRef(99)), "a full bucket takes no more");
        for tag in [0, 9, 200, 3] {
            assert_eq!(b.matches(tag), b.matches_portable(tag), "both searches agree on {tag}");
        }
        b.count_passed();
        b.clear(4);
        assert_eq!(b.matches(9), 0b0101_0100_0101 & !(1 << 4));
        assert_eq!(b.used(), 0xfff & !(1 << 4));
        assert!(b.is_passed(), "the count is no tag");
        assert!(b.push(7, SlabRef(44)));
        assert_eq!(b.get(4), SlabRef(44));
    }
}
