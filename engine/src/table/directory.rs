//! [`Directory`]: from a place in the order of keys to the segment that covers it.
//!
//! ```text
//! root, by the top bits of the ord (at most 14: one entry a slot)
//!   +- segment: covers one entry, or an aligned power of two of them
//!   +- branch: a slot with so many keys that it needs more bits; entries by the bits that follow the slot
//! ```
//! Entries are in ord order, and a segment covers an aligned range `[prefix, prefix + 2^(64 - depth))`. An entry says all
//! that a probe needs (where the buckets are, how many, how deep), so that nothing but the bucket itself can miss the cache.

use super::slab::SlabRef;
use crate::ord::SLOT_SHIFT;

/// Root entries are told apart by at most the bits of a slot.
const ROOT_BITS: u32 = 64 - SLOT_SHIFT;
/// Deepest segment. Keys of one slot are told apart by 26 bits of a seeded hash before this is reached.
pub const DEPTH_MAX: u32 = 40;

/// A segment: an array of buckets that covers a range of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where the buckets are in the index slab.
    pub at: SlabRef,
    /// Number of buckets.
    pub buckets: u16,
    /// Bits of the ord that all its keys share.
    pub depth: u8,
}

impl Segment {
    /// The home bucket of `ord`, which the segment covers: the range is cut into equal parts, so that bucket order is
    /// ord order.
    #[inline]
    pub fn home(&self, ord: u64) -> usize {
        let part = (ord << self.depth) >> 32;
        ((part * u64::from(self.buckets)) >> 32) as usize
    }

    /// The smallest ord whose home is at or behind `bucket`; `None` when that lies behind the last segment. `ord` is any
    /// place that the segment covers.
    pub fn first_ord(&self, ord: u64, bucket: usize) -> Option<u64> {
        let depth = u32::from(self.depth);
        let prefix = if depth == 0 {
            0
        } else {
            ord >> (64 - depth) << (64 - depth)
        };
        let part = ((bucket as u64) << 32).div_ceil(u64::from(self.buckets));
        // `part` has 33 bits when `bucket` is one past the end; 128 bits spare the special cases.
        let offset = (u128::from(part) << 32).div_ceil(1 << depth);
        u64::try_from(u128::from(prefix) + offset).ok()
    }
}

/// A root entry in 8 bytes: a segment, or (with no buckets) the number of a branch.
#[derive(Clone, Copy)]
struct Entry(Segment);

impl Entry {
    fn branch(no: u32) -> Self {
        Self(Segment {
            at: SlabRef(no),
            buckets: 0,
            depth: 0,
        })
    }

    #[inline]
    fn as_branch(self) -> Option<usize> {
        (self.0.buckets == 0).then_some(self.0.at.0 as usize)
    }
}

const _: () = assert!(size_of::<Entry>() == 8);

/// An array of entries, indexed by `bits` bits.
struct Node<E> {
    bits: u32,
    entries: Vec<E>,
}

impl<E: Copy> Node<E> {
    #[inline]
    fn index(&self, left_aligned: u64) -> usize {
        // Two shifts, because shifting by 64 is undefined when `bits` is 0.
        (left_aligned >> 1 >> (63 - self.bits)) as usize
    }

    /// Doubles the entries until `bits` tell them apart.
    fn deepen(&mut self, bits: u32) {
        while self.bits < bits {
            self.entries = self.entries.iter().flat_map(|&e| [e, e]).collect();
            self.bits += 1;
        }
    }

    /// Sets all entries of the range of `depth` bits that starts at `left_aligned`.
    fn fill(&mut self, left_aligned: u64, depth: u32, entry: E) {
        let from = self.index(left_aligned);
        self.entries[from..from + (1 << (self.bits - depth))].fill(entry);
    }

    fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<E>()
    }
}

/// See the module's text.
pub struct Directory {
    root: Node<Entry>,
    branches: Vec<Node<Segment>>,
}

impl Directory {
    /// One segment for everything.
    pub fn new(first: Segment) -> Self {
        debug_assert_eq!(first.depth, 0);
        Self {
            root: Node {
                bits: 0,
                entries: vec![Entry(first)],
            },
            branches: Vec::new(),
        }
    }

    /// The segment that covers `ord`.
    #[inline]
    pub fn find(&self, ord: u64) -> Segment {
        let entry = self.root.entries[self.root.index(ord)];
        match entry.as_branch() {
            None => entry.0,
            Some(no) => self.branches[no].entries[self.branches[no].index(ord << ROOT_BITS)],
        }
    }

    /// Makes `segment` cover its range, which starts at `prefix`. A split sets both halves, one after the other; in
    /// between the other half keeps the old segment.
    pub fn set(&mut self, prefix: u64, segment: Segment) {
        let depth = u32::from(segment.depth);
        if depth <= ROOT_BITS {
            self.root.deepen(depth);
            if self.root.entries[self.root.index(prefix)].as_branch().is_none() {
                return self.root.fill(prefix, depth, Entry(segment));
            }
        }
        self.root.deepen(ROOT_BITS);
        let at = self.root.index(prefix);
        let no = self.root.entries[at].as_branch().unwrap_or_else(|| {
            let no = self.branches.len();
            self.branches.push(Node {
                bits: 0,
                entries: vec![self.root.entries[at].0],
            });
            self.root.entries[at] = Entry::branch(u32::try_from(no).expect("at most one branch a slot"));
            no
        });
        let branch = &mut self.branches[no];
        branch.deepen(depth - ROOT_BITS);
        branch.fill(prefix << ROOT_BITS, depth - ROOT_BITS, segment);
    }

    /// Bytes of all entries.
    pub fn memory(&self) -> usize {
        self.root.memory()
            + self
                .branches
                .iter()
                .map(|b| b.memory() + size_of::<Node<Segment>>())
                .sum::<usize>()
    }

    /// All segments in order, starting with the one that covers `from`, each with an ord it covers.
    pub fn segments(&self, from: u64) -> impl Iterator<Item = (u64, Segment)> {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let at = next?;
            let segment = self.find(at);
            next = segment.first_ord(at, usize::from(segment.buckets));
            Some((at, segment))
        })
    }

    /// A segment picked by `seed`: each root entry is as likely as any other, and so is each entry of a branch.
    pub fn pick(&self, seed: u64) -> Segment {
        let entry = self.root.entries[self.root.index(seed)];
        match entry.as_branch() {
            None => entry.0,
            Some(no) => self.branches[no].entries[self.branches[no].index(seed.rotate_left(32))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(at: u32, depth: u8) -> Segment {
        Segment {
            at: SlabRef(at),
            buckets: 10,
            depth,
        }
    }

    #[test]
    fn splits_keep_ranges_apart_on_both_levels() {
        let mut dir = Directory::new(segment(0, 0));
        assert_eq!(dir.find(u64::MAX).at.0, 0);
        dir.set(0, segment(1, 1));
        dir.set(1 << 63, segment(2, 1));
        assert_eq!((dir.find(5).at.0, dir.find(u64::MAX).at.0), (1, 2));
        // Deeper than a slot's bits: a branch.
        let prefix = 3u64 << SLOT_SHIFT;
        for depth in 2..=16 {
            let low = prefix >> (64 - depth) << (64 - depth);
            dir.set(low, segment(100 + depth, depth as u8));
            dir.set(low ^ 1 << (64 - depth), segment(200 + depth, depth as u8));
        }
        assert_eq!(dir.find(prefix).at.0, 116);
        assert_eq!(dir.find(prefix | 1 << (SLOT_SHIFT - 2)).at.0, 216);
        assert_eq!(dir.find(prefix | 1 << (SLOT_SHIFT - 1)).at.0, 215);
        assert_eq!(dir.find(2 << SLOT_SHIFT).at.0, 214);
        let all: Vec<u32> = dir.segments(0).map(|(_, s)| s.at.0).collect();
        assert_eq!(all.len(), 17, "every segment once: {all:?}");
        assert_eq!(all.last(), Some(&2));
    }

    #[test]
    fn first_ord_is_the_inverse_of_home() {
        for (depth, buckets) in [(0, 8), (3, 12), (14, 96), (33, 128), (40, 8)] {
            let s = Segment {
                at: SlabRef(0),
                buckets,
                depth,
            };
            let inside = 0x5555_5555_5555_5555u64;
            for bucket in 1..usize::from(buckets) {
                let first = s.first_ord(inside, bucket).expect("inside");
                assert_eq!(
                    (s.home(first), s.home(first - 1)),
                    (bucket, bucket - 1),
                    "depth {depth}, bucket {bucket}"
                );
            }
        }
        let all = Segment {
            at: SlabRef(0),
            buckets: 8,
            depth: 0,
        };
        assert_eq!(all.first_ord(7, 8), None, "nothing lies behind the last segment");
    }
}
