//! [`ObjTable`]: find, make, reshape and remove records. Growing is in [`super::growth`], walking in [`super::walk`].

use super::bucket::{BUCKET_REFS, BUCKET_SLOTS, Bucket, tag};
use super::directory::{Directory, Segment};
use super::growth::{Item, SEGMENT_BUCKETS, new_segment};
use super::rec::{KEY_INLINE_MAX, Marks, REC_MAX, Rec, RecKey, Shape, key_field};
use super::slab::{PageNo, Slab, SlabRef};
use super::store::Store;
use crate::ord::KeyHash;
use std::ptr::NonNull;

/// How many buckets a record may lie from its home, home included. A segment without room within reach grows.
pub(super) const REACH: usize = 5;
/// A record's share of the index, in bytes.
const INDEX_BYTES: usize = size_of::<Bucket>().div_ceil(BUCKET_SLOTS);

/// Where a record is referenced from. Valid until the table changes.
#[derive(Clone, Copy)]
pub struct Spot {
    /// The reference itself, inside its bucket: the address tells the slot, and the whole fits two registers.
    entry: NonNull<SlabRef>,
    /// The record.
    pub at: SlabRef,
}

impl Spot {
    fn bucket(self) -> NonNull<Bucket> {
        let inside = self.entry.as_ptr().addr() % size_of::<Bucket>();
        // SAFETY: the reference lies in a bucket, and buckets are aligned to their size.
        unsafe { self.entry.byte_sub(inside).cast() }
    }

    fn slot(self) -> usize {
        (self.entry.as_ptr().addr() % size_of::<Bucket>() - BUCKET_REFS) / size_of::<SlabRef>()
    }
}

/// A page of the slab being emptied, and how far.
#[derive(Clone, Copy)]
struct Evacuation {
    page: PageNo,
    from: u16,
}

/// See the module's text.
pub struct ObjTable {
    seed: u64,
    pub(super) dir: Directory,
    pub(super) index: Slab,
    pub(super) recs: Slab,
    long_keys: Store<Box<[u8]>>,
    long_key_bytes: usize,
    pub(super) len: u64,
    evacuation: Option<Evacuation>,
    /// Scratch of `grow`, kept to spare an allocation.
    pub(super) items: Vec<Item>,
}

/// Starts to load the cache line of `ptr`; any address is fine.
#[inline]
fn prefetch(ptr: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch of any address has no effect but on the cache.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(ptr.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = ptr;
}

/// Whether two strings of one length are equal. Keys are short: no call, two overlapping words.
#[inline]
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    debug_assert_eq!(a.len(), b.len());
    let n = b.len();
    if !(8..=64).contains(&n) {
        return a == b;
    }
    // SAFETY: every read lies inside the slices: `i + 8 <= n`.
    let word = |s: &[u8], i: usize| unsafe { s.as_ptr().add(i).cast::<u64>().read_unaligned() };
    let mut i = 0;
    while i + 8 < n {
        if word(a, i) != word(b, i) {
            return false;
        }
        i += 8;
    }
    word(a, n - 8) == word(b, n - 8)
}

/// Record sizes, ascending: steps of 8 up to 256, then of at most an eighth.
fn rec_sizes() -> Vec<usize> {
    let steps = [
        (8, 256, 8),
        (272, 512, 16),
        (544, 1024, 32),
        (1088, 2048, 64),
        (2176, REC_MAX.next_multiple_of(128), 128),
    ];
    steps
        .into_iter()
        .flat_map(|(from, to, step)| (from..=to).step_by(step))
        .collect()
}

impl ObjTable {
    /// An empty table. `seed` is that of the key hash.
    pub fn new(seed: u64) -> Self {
        let bucket_bytes = SEGMENT_BUCKETS.map(|n| usize::from(n) * size_of::<Bucket>());
        let mut index = Slab::new(&bucket_bytes);
        let first = new_segment(&mut index, 0, SEGMENT_BUCKETS[0]);
        let (dir, recs) = (Directory::new(first), Slab::new(&rec_sizes()));
        let (long_keys, items) = (Store::default(), Vec::new());
        Self {
            seed,
            dir,
            index,
            recs,
            long_keys,
            long_key_bytes: 0,
            len: 0,
            evacuation: None,
            items,
        }
    }

    /// Number of records.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::of(key, self.seed)
    }

    /// The record at `at`, which is in use.
    #[inline]
    pub fn rec(&self, at: SlabRef) -> Rec {
        // SAFETY: references in use name records made by `init`; the slab does not move them, and changing one takes
        // `&mut self` through the keyspace that owns this table.
        unsafe { Rec::at(self.recs.ptr(at)) }
    }

    /// The key of a record.
    #[inline]
    pub fn key(&self, rec: Rec) -> &[u8] {
        match rec.key() {
            RecKey::Inline(bytes) => bytes,
            RecKey::Long(id) => self.long_keys.get(id),
        }
    }

    #[inline]
    pub(super) fn bucket(&self, segment: Segment, no: usize) -> NonNull<Bucket> {
        debug_assert!(no < usize::from(segment.buckets));
        // SAFETY: the segment's slot holds `buckets` of them, initialised by `new_segment`.
        unsafe { NonNull::new_unchecked(self.index.ptr(segment.at).cast::<Bucket>().add(no)) }
    }

    /// The record of `key`.
    #[inline]
    pub fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Spot> {
        if key.len() > KEY_INLINE_MAX {
            return self.find_long(hash, key);
        }
        self.find_where(hash, |at| match self.rec(at).key() {
            RecKey::Inline(bytes) => bytes.len() == key.len() && same_bytes(bytes, key),
            RecKey::Long(_) => false,
        })
    }

    #[cold]
    fn find_long(&self, hash: KeyHash, key: &[u8]) -> Option<Spot> {
        self.find_where(hash, |at| self.key(self.rec(at)) == key)
    }

    #[inline]
    fn find_where(&self, hash: KeyHash, is_it: impl Fn(SlabRef) -> bool) -> Option<Spot> {
        let (ord, tag) = (hash.ord(), tag(hash.h));
        let segment = self.dir.find(ord);
        let home = segment.home(ord);
        let at = self.bucket(segment, home);
        if let Some(spot) = probe(at, tag, &is_it) {
            return Some(spot);
        }
        // SAFETY: see `bucket`; nothing changes it while `&self` is held.
        if unsafe { at.as_ref() }.is_passed() {
            self.find_beyond(segment, home, tag, &is_it)
        } else {
            None
        }
    }

    /// The search behind the home bucket: a tenth of the records lie there in a full table.
    #[inline(never)]
    fn find_beyond(&self, segment: Segment, home: usize, tag: u8, is_it: &impl Fn(SlabRef) -> bool) -> Option<Spot> {
        let mut no = home;
        for _ in 1..REACH {
            no = next_bucket(segment, no);
            let at = self.bucket(segment, no);
            if let Some(spot) = probe(at, tag, is_it) {
                return Some(spot);
            }
            // SAFETY: see `bucket`; nothing changes it while `&self` is held.
            if !unsafe { at.as_ref() }.is_passed() {
                return None;
            }
        }
        None
    }

    /// Starts to load the bucket of a key.
    #[inline]
    pub fn prefetch_bucket(&self, hash: KeyHash) {
        let ord = hash.ord();
        let segment = self.dir.find(ord);
        prefetch(self.bucket(segment, segment.home(ord)).as_ptr().cast());
    }

    /// Starts to load the records that may be that of a key; reads the bucket.
    #[inline]
    pub fn prefetch_record(&self, hash: KeyHash) {
        let ord = hash.ord();
        let segment = self.dir.find(ord);
        // SAFETY: as in `find_where`.
        let bucket = unsafe { self.bucket(segment, segment.home(ord)).as_ref() };
        let mut found = bucket.matches(tag(hash.h));
        while found != 0 {
            self.prefetch_at(bucket.get(found.trailing_zeros() as usize));
            found &= found - 1;
        }
    }

    /// Both lines of a typical record.
    #[inline]
    pub(super) fn prefetch_at(&self, at: SlabRef) {
        let ptr = self.recs.ptr(at);
        prefetch(ptr);
        prefetch(ptr.wrapping_add(64));
    }

    /// Makes a record for `key`, which has none. Its value (and expiry, when volatile) is for the caller to write.
    pub fn create(&mut self, hash: KeyHash, key: &[u8], shape: Shape, marks: Marks) -> SlabRef {
        let class = self.recs.class(shape.rec_bytes(key_field(key.len())));
        let at = self.recs.alloc(class);
        let key_in_rec = if key.len() <= KEY_INLINE_MAX {
            RecKey::Inline(key)
        } else {
            self.long_key_bytes += key.len();
            RecKey::Long(self.long_keys.insert(key.into()))
        };
        // SAFETY: the slot is as large as its class, which was chosen for this shape and key; slab memory is initialised.
        unsafe { Rec::init(self.recs.ptr(at), shape, key_in_rec, marks) };
        self.insert(hash, at);
        at
    }

    /// Gives the record at `spot` another shape, in place when its class allows. The key stays, an inline value keeps its
    /// beginning as far as it fits, and so do marks, expiry and timer when the record was and remains volatile. Returns where
    /// the record is now.
    pub fn reshape(&mut self, spot: Spot, shape: Shape) -> SlabRef {
        let old = self.rec(spot.at);
        let (old_shape, field) = (old.shape(), old.key_field());
        let class = self.recs.class(shape.rec_bytes(field));
        if shape.volatile == old_shape.volatile && class == self.recs.class(old_shape.rec_bytes(field)) {
            old.set_shape(shape);
            return spot.at;
        }
        let at = self.recs.alloc(class);
        // SAFETY: as in `create`; the old record lies in another slot and stays until it is freed below.
        let new = unsafe { Rec::init(self.recs.ptr(at), shape, old.key(), old.marks()) };
        if let (true, Some(expire)) = (shape.volatile, old.expire()) {
            new.set_expire(expire, old.timer());
        }
        if old.is_inline_str() && new.is_inline_str() {
            let kept = old.value().len().min(new.value().len());
            new.value_mut()[..kept].copy_from_slice(&old.value()[..kept]);
        }
        self.recs.free(spot.at);
        self.repoint(spot, at);
        at
    }

    fn repoint(&mut self, spot: Spot, at: SlabRef) {
        // SAFETY: a spot is valid until the table changes, and `&mut self` makes the access exclusive.
        unsafe { spot.entry.write(at) };
    }

    /// Removes the record at `spot`, found for `hash`. What its value or timer name is the caller's to free.
    pub fn remove(&mut self, hash: KeyHash, spot: Spot) {
        if let RecKey::Long(id) = self.rec(spot.at).key() {
            self.long_key_bytes -= self.long_keys.remove(id).len();
        }
        self.recs.free(spot.at);
        let segment = self.dir.find(hash.ord());
        let mut no = segment.home(hash.ord());
        while self.bucket(segment, no) != spot.bucket() {
            // SAFETY: see `bucket`; exclusive by `&mut self`. The buckets between home and spot counted this record.
            unsafe { (*self.bucket(segment, no).as_ptr()).uncount_passed() };
            no = next_bucket(segment, no);
        }
        // SAFETY: as above.
        unsafe { (*spot.bucket().as_ptr()).clear(spot.slot()) };
        self.len -= 1;
    }

    /// The spot that references the record at `at`, which exists, with the hash of its key.
    pub fn locate(&self, at: SlabRef) -> (KeyHash, Spot) {
        let hash = self.hash(self.key(self.rec(at)));
        (
            hash,
            self.find_where(hash, |other| other == at)
                .expect("every record is referenced from its bucket"),
        )
    }

    /// Moves records out of sparse pages, about `budget` of them, and calls `moved` with each at its new place: only
    /// needed so that memory freed by one size of records can serve another. Returns the steps done; fewer than `budget`
    /// means that no page is sparse.
    pub fn compact(&mut self, budget: usize, moved: &mut dyn FnMut(Rec, SlabRef)) -> usize {
        for done in 0..budget {
            if self.evacuation.is_none() {
                self.evacuation = self.recs.pick_sparse().map(|page| Evacuation { page, from: 0 });
            }
            let Some(Evacuation { page, from }) = self.evacuation else {
                return done;
            };
            let Some((at, next)) = self.recs.next_live(page, from) else {
                self.evacuation = None;
                continue;
            };
            let (_, spot) = self.locate(at);
            let to = self.recs.relocate(at);
            self.repoint(spot, to);
            moved(self.rec(to), to);
            self.evacuation = Some(Evacuation { page, from: next });
        }
        budget
    }

    /// Bytes of the index.
    pub fn index_memory(&self) -> usize {
        self.index.memory() + self.dir.memory()
    }

    /// Bytes of records, free room in their pages and long keys included.
    pub fn record_memory(&self) -> usize {
        self.recs.memory() + self.long_keys.memory() + self.long_key_bytes
    }

    /// Bytes in records in use.
    pub fn live_bytes(&self) -> usize {
        self.recs.live_bytes()
    }

    /// The sum of [`ObjTable::record_bytes`] over all records.
    pub fn used_bytes(&self) -> usize {
        self.recs.live_bytes() + self.long_key_bytes + self.len as usize * INDEX_BYTES
    }

    /// Bytes of the record at `at`, its share of the index included.
    pub fn record_bytes(&self, at: SlabRef) -> usize {
        let rec = self.rec(at);
        let long = match rec.key() {
            RecKey::Inline(_) => 0,
            RecKey::Long(id) => self.long_keys.get(id).len(),
        };
        self.recs.size(self.recs.class(rec.bytes())) + long + INDEX_BYTES
    }

    /// Frees a part of a table that is thrown away: a chunk of memory, or a long key. `false` when nothing is left.
    pub fn free_some(&mut self) -> bool {
        self.recs.drop_chunk() || self.index.drop_chunk() || self.long_keys.pop().is_some()
    }
}

/// The slot of a bucket with this tag whose record `is_it` accepts.
#[inline]
fn probe(at: NonNull<Bucket>, tag: u8, is_it: &impl Fn(SlabRef) -> bool) -> Option<Spot> {
    // SAFETY: callers pass a bucket of their table, which they hold at least shared.
    let bucket = unsafe { at.as_ref() };
    let mut found = bucket.matches(tag);
    while found != 0 {
        let slot = found.trailing_zeros() as usize;
        if is_it(bucket.get(slot)) {
            // SAFETY: `slot` is below BUCKET_SLOTS, so this is one of the bucket's references.
            let entry = unsafe { at.byte_add(BUCKET_REFS).cast::<SlabRef>().add(slot) };
            return Some(Spot {
                entry,
                at: bucket.get(slot),
            });
        }
        found &= found - 1;
    }
    None
}

#[inline]
pub(super) fn next_bucket(segment: Segment, no: usize) -> usize {
    if no + 1 == usize::from(segment.buckets) {
        0
    } else {
        no + 1
    }
}
