//! Ways through an [`ObjTable`]: in the order of keys, all at once, and to a random record.

use super::bucket::BUCKET_SLOTS;
use super::directory::Segment;
use super::objtable::{ObjTable, REACH, next_bucket};
use super::rec::Rec;
use super::slab::SlabRef;

/// How many random places are tried for a random key before the table is searched from one.
const PICK_ATTEMPTS: u64 = 16;
/// Is shown the records of one home bucket, with their ords ascending; says whether to go on.
pub type HomeVisitor<'a> = dyn FnMut(&[(u64, SlabRef)]) -> bool + 'a;

impl ObjTable {
    /// Calls `f` for the records from `cursor` on, one home bucket of the order after the other, until `f` says `false`
    /// at the end of one or the order ends. Returns where to go on, 0 at the end.
    pub fn walk_ordered(&self, cursor: u64, f: &mut HomeVisitor<'_>) -> u64 {
        self.walk_ordered_of(cursor, |_| true, f)
    }

    /// The same for the records that `want` accepts: others cost next to nothing. Home buckets without any are shown, too.
    pub fn walk_ordered_of(&self, cursor: u64, want: impl Fn(Rec) -> bool, f: &mut HomeVisitor<'_>) -> u64 {
        let mut found: Vec<(u64, SlabRef)> = Vec::with_capacity(2 * BUCKET_SLOTS);
        for (at, segment) in self.dir.segments(cursor) {
            for home in segment.home(at)..usize::from(segment.buckets) {
                self.records_of_home(segment, home, cursor, &want, &mut found);
                if !f(&found) {
                    return segment.first_ord(at, home + 1).unwrap_or(0);
                }
            }
        }
        0
    }

    fn records_of_home(
        &self,
        segment: Segment,
        home: usize,
        from: u64,
        want: &impl Fn(Rec) -> bool,
        found: &mut Vec<(u64, SlabRef)>,
    ) {
        found.clear();
        let mut no = home;
        for _ in 0..REACH {
            // SAFETY: see `bucket`.
            let bucket = unsafe { self.bucket(segment, no).as_ref() };
            let refs = (0..BUCKET_SLOTS).filter(|slot| bucket.used() >> slot & 1 == 1);
            let refs = refs.map(|slot| bucket.get(slot));
            refs.clone().for_each(|at| self.prefetch_at(at));
            for at in refs.filter(|&at| want(self.rec(at))) {
                let ord = self.hash(self.key(self.rec(at))).ord();
                if segment.home(ord) == home && ord >= from {
                    found.push((ord, at));
                }
            }
            if !bucket.is_passed() {
                break;
            }
            no = next_bucket(segment, no);
        }
        found.sort_unstable_by_key(|&(ord, _)| ord);
    }

    /// Calls `f` for every record, in no useful order.
    pub fn for_each(&self, f: &mut dyn FnMut(Rec)) {
        for (_, segment) in self.dir.segments(0) {
            for no in 0..usize::from(segment.buckets) {
                // SAFETY: see `bucket`.
                let bucket = unsafe { self.bucket(segment, no).as_ref() };
                let refs = |bits: u32| (0..BUCKET_SLOTS).filter(move |slot| bits >> slot & 1 == 1);
                refs(bucket.used()).for_each(|slot| self.prefetch_at(bucket.get(slot)));
                refs(bucket.used()).for_each(|slot| f(self.rec(bucket.get(slot))));
            }
        }
    }

    /// A record chosen by `seed` among those `want` accepts; each about equally likely while keys are spread evenly.
    pub fn pick(&self, seed: u64, want: &mut dyn FnMut(Rec) -> bool) -> Option<SlabRef> {
        if self.len == 0 {
            return None;
        }
        for attempt in 0..PICK_ATTEMPTS {
            let seed = mix(seed, attempt);
            if let Some(at) = self.pick_in(self.dir.pick(seed), seed, want) {
                return Some(at);
            }
        }
        // Nearly all places are empty, as when all keys share a few slots: any segment is as good as any other, and from
        // there on the first that holds something.
        let segments = self.dir.segments(0).count();
        let start = (mix(seed, PICK_ATTEMPTS) % segments as u64) as usize;
        let around = self.dir.segments(0).skip(start).chain(self.dir.segments(0).take(start));
        around
            .into_iter()
            .find_map(|(_, segment)| self.pick_in(segment, seed, want))
    }

    /// A record of `segment`: one of those in the first bucket, from a random one on, that holds any.
    fn pick_in(&self, segment: Segment, seed: u64, want: &mut dyn FnMut(Rec) -> bool) -> Option<SlabRef> {
        let buckets = usize::from(segment.buckets);
        let first = (seed.rotate_left(17) % buckets as u64) as usize;
        (0..buckets).find_map(|i| {
            // SAFETY: see `bucket`.
            let bucket = unsafe { self.bucket(segment, (first + i) % buckets).as_ref() };
            let used = (0..BUCKET_SLOTS)
                .filter(|slot| bucket.used() >> slot & 1 == 1)
                .map(|slot| bucket.get(slot));
            let (mut wanted, mut len) = ([SlabRef(0); BUCKET_SLOTS], 0);
            for at in used.filter(|&at| want(self.rec(at))) {
                wanted[len] = at;
                len += 1;
            }
            (len > 0).then(|| wanted[(seed.rotate_left(43) % len.max(1) as u64) as usize])
        })
    }
}

/// The `n`th number that follows from `seed` (the finaliser of SplitMix64).
fn mix(seed: u64, n: u64) -> u64 {
    let z = seed.wrapping_add((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
