//! How an [`ObjTable`] takes records in and grows: one segment is rebuilt larger, or split, at a time.

use super::bucket::{BUCKET_SLOTS, Bucket, tag};
use super::directory::{DEPTH_MAX, Segment};
use super::objtable::{ObjTable, REACH, next_bucket};
use super::slab::{Slab, SlabRef};
use crate::ord::KeyHash;

/// Sizes a segment grows through, in buckets, before it splits. Steps of a third to a half keep the index between 60 and
/// 90 % full; the largest bounds the time of one growth (about 1,400 records).
pub(super) const SEGMENT_BUCKETS: [u16; 8] = [8, 16, 24, 32, 48, 64, 96, 128];
/// A rebuilt segment is at most this full, so that the next growth is not near.
const FILL_NUM: usize = 3;
const FILL_DEN: usize = 4;
/// How far ahead records are prefetched where many are visited.
const AHEAD: usize = 8;

/// A record on its way into a rebuilt segment.
#[derive(Clone, Copy)]
pub(super) struct Item {
    ord: u64,
    at: SlabRef,
    tag: u8,
}

impl ObjTable {
    /// References the record at `at` from its bucket, growing the table as needed.
    pub(super) fn insert(&mut self, hash: KeyHash, at: SlabRef) {
        let item = Item {
            ord: hash.ord(),
            at,
            tag: tag(hash.h),
        };
        loop {
            let segment = self.dir.find(item.ord);
            if put(&self.index, segment, item) {
                self.len += 1;
                return;
            }
            self.grow(segment, item.ord);
        }
    }

    /// Rebuilds the segment that covers `ord` larger, or splits it.
    #[cold]
    fn grow(&mut self, segment: Segment, ord: u64) {
        let mut items = std::mem::take(&mut self.items);
        items.clear();
        for no in 0..usize::from(segment.buckets) {
            // SAFETY: see `bucket`.
            let bucket = unsafe { self.bucket(segment, no).as_ref() };
            let mut used = bucket.used();
            while used != 0 {
                items.push(Item {
                    ord: 0,
                    at: bucket.get(used.trailing_zeros() as usize),
                    tag: 0,
                });
                used &= used - 1;
            }
        }
        for i in 0..items.len() {
            if let Some(later) = items.get(i + AHEAD) {
                self.prefetch_at(later.at);
            }
            let hash = self.hash(self.key(self.rec(items[i].at)));
            (items[i].ord, items[i].tag) = (hash.ord(), tag(hash.h));
        }
        let prefix = segment.first_ord(ord, 0).expect("the first bucket lies inside");
        self.build(prefix, u32::from(segment.depth), &mut items, segment.buckets + 1);
        let class = self.index.class(usize::from(segment.buckets) * size_of::<Bucket>());
        debug_assert_eq!(
            self.index.size(class),
            usize::from(segment.buckets) * size_of::<Bucket>()
        );
        self.index.free(segment.at);
        self.items = items;
    }

    /// Puts `items`, whose ords begin with the `depth` bits of `prefix`, into a new segment of at least `buckets_min`
    /// buckets, or into several when one cannot hold them.
    fn build(&mut self, prefix: u64, depth: u32, items: &mut [Item], buckets_min: u16) {
        for buckets in SEGMENT_BUCKETS.into_iter().filter(|&b| b >= buckets_min) {
            if items.len() * FILL_DEN > usize::from(buckets) * BUCKET_SLOTS * FILL_NUM {
                continue;
            }
            let segment = new_segment(&mut self.index, depth as u8, buckets);
            if items.iter().all(|&item| put(&self.index, segment, item)) {
                return self.dir.set(prefix, segment);
            }
            self.index.free(segment.at);
        }
        assert!(
            depth < DEPTH_MAX,
            "more than {} keys share the first {depth} bits of their ord",
            items.len()
        );
        let half = 1u64 << (63 - depth);
        items.sort_unstable_by_key(|item| item.ord & half != 0);
        let (low, high) = items.split_at_mut(items.partition_point(|item| item.ord & half == 0));
        self.build(prefix, depth + 1, low, 0);
        self.build(prefix | half, depth + 1, high, 0);
    }
}

/// A segment of empty buckets.
pub(super) fn new_segment(index: &mut Slab, depth: u8, buckets: u16) -> Segment {
    let at = index.alloc(index.class(usize::from(buckets) * size_of::<Bucket>()));
    for no in 0..usize::from(buckets) {
        // SAFETY: the slot holds `buckets` of them, aligned to 64 bytes because every size is a multiple of it.
        unsafe { index.ptr(at).cast::<Bucket>().add(no).write(Bucket::EMPTY) };
    }
    Segment { at, buckets, depth }
}

/// Puts a reference into its segment; `false` when there is no room within reach of its home.
#[inline]
fn put(index: &Slab, segment: Segment, item: Item) -> bool {
    let buckets = index.ptr(segment.at).cast::<Bucket>();
    let home = segment.home(item.ord);
    let mut no = home;
    for _ in 0..REACH {
        // SAFETY: `no` is below the segment's number of buckets; callers hold the table exclusively.
        if unsafe { (*buckets.add(no)).push(item.tag, item.at) } {
            let mut passed = home;
            while passed != no {
                // SAFETY: as above.
                unsafe { (*buckets.add(passed)).count_passed() };
                passed = next_bucket(segment, passed);
            }
            return true;
        }
        no = next_bucket(segment, no);
    }
    false
}
