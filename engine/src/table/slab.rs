//! [`Slab`]: memory for many small things, addressed by 4-byte references.
//!
//! ```text
//! chunk (2 MiB, huge page) = 64 pages of 32 KiB; a page holds slots of one size class; a slot is a multiple of 8 bytes
//! SlabRef = number of the slot's first 8-byte granule, counted over all chunks: 2^32 granules = 32 GiB
//! ```
//! A page whose slots are all free serves any class again; beyond a reserve its memory goes back to the kernel.
//! Rounding up to a class wastes at most one step (8 bytes up to 256, then at most 1/16). What random deletes leave behind
//! in half-empty pages is bounded by evacuation: [`Slab::pick_sparse`] names a page to empty when more than a quarter of a
//! class is free, and the owner of the references moves its records elsewhere.
//!
//! The first byte of a slot in use is never 0 and that of a free slot always is: a page can be walked.

use slotcore_rt::chunk::{CHUNK_BYTES, Chunk, discard};

/// Bytes of a page: big enough that the unusable tail is small, small enough that a class in little use costs little.
const PAGE_BYTES: usize = 32 << 10;
const PAGES_PER_CHUNK: usize = CHUNK_BYTES / PAGE_BYTES;
/// The unit of addresses, in bytes.
const GRANULE: usize = 8;
const PAGE_GRANULES: u32 = (PAGE_BYTES / GRANULE) as u32;
const CHUNK_GRANULES_SHIFT: u32 = (CHUNK_BYTES / GRANULE).trailing_zeros();
/// More chunks than this cannot be addressed with 4 bytes.
const CHUNKS_MAX: usize = 1 << (32 - CHUNK_GRANULES_SHIFT);
/// Free pages that keep their memory for quick reuse, against flapping: this many and an eighth of those in use.
const SPARE_PAGES: usize = PAGES_PER_CHUNK / 2;
const SPARE_SHARE: usize = 8;
/// How many half-empty pages are looked at to find a sparse one.
const SPARSE_SAMPLE: usize = 64;
const NONE: u32 = u32::MAX;

/// Where a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SlabRef(pub u32);

/// A size class, index into the sizes the slab was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageState {
    /// In the list of free pages; belongs to no class.
    Free,
    /// As `Free`, in the list of those that hold no memory: never touched, or given back.
    Cold,
    /// In its class's list of pages with room.
    Partial,
    /// All slots in use; in no list.
    Full,
    /// Being emptied: takes nothing new; in no list.
    Evacuating,
}

#[derive(Clone, Copy)]
struct Page {
    state: PageState,
    class: Class,
    live: u16,
    /// Granules from the start of the page that were ever handed out.
    bump: u16,
    /// First free slot (granules from the start of the page) + 1; 0 is none.
    free: u16,
    next: u32,
    prev: u32,
}

#[derive(Clone, Copy)]
struct ClassState {
    granules: u16,
    slots_per_page: u16,
    partial: u32,
    pages: u32,
    live: u32,
}

/// See the module's text.
pub struct Slab {
    chunks: Vec<Option<Chunk>>,
    free_in_chunk: Vec<u8>,
    pages: Vec<Page>,
    classes: Vec<ClassState>,
    /// Class by size in granules, rounded up.
    class_of: Vec<Class>,
    free_pages: u32,
    cold_pages: u32,
    /// Pages that hold memory, and those of them that are free.
    resident_len: usize,
    free_len: usize,
}

impl Slab {
    /// An empty slab for slots of `sizes` bytes: ascending multiples of 8, the last at most a page.
    pub fn new(sizes: &[usize]) -> Self {
        let mut class_of = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            class_of.resize(size / GRANULE + 1, Class(i as u8));
        }
        let class = |&size: &usize| ClassState {
            granules: (size / GRANULE) as u16,
            slots_per_page: (PAGE_BYTES / size) as u16,
            partial: NONE,
            pages: 0,
            live: 0,
        };
        Self {
            chunks: Vec::new(),
            free_in_chunk: Vec::new(),
            pages: Vec::new(),
            classes: sizes.iter().map(class).collect(),
            class_of,
            free_pages: NONE,
            cold_pages: NONE,
            resident_len: 0,
            free_len: 0,
        }
    }

    /// The class whose slots hold `bytes`. Panics above the largest size.
    #[inline]
    pub fn class(&self, bytes: usize) -> Class {
        self.class_of[bytes.div_ceil(GRANULE)]
    }

    /// Bytes of a slot of `class`.
    #[inline]
    pub fn size(&self, class: Class) -> usize {
        usize::from(self.classes[usize::from(class.0)].granules) * GRANULE
    }

    /// The first byte of the slot `at`, 8-byte aligned (64 when all sizes are multiples of 64).
    #[inline]
    pub fn ptr(&self, at: SlabRef) -> *mut u8 {
        let (chunk, granule) = (at.0 >> CHUNK_GRANULES_SHIFT, at.0 & ((1 << CHUNK_GRANULES_SHIFT) - 1));
        debug_assert!(self.chunks[chunk as usize].is_some());
        // SAFETY: references come from `alloc`; its chunk is mapped as long as a slot in it is in use, and the granule
        // lies inside by construction of the mask.
        unsafe {
            let base = self
                .chunks
                .get_unchecked(chunk as usize)
                .as_ref()
                .map_or(std::ptr::null_mut(), Chunk::as_ptr);
            base.add(granule as usize * GRANULE)
        }
    }

    /// Takes a slot of `class`. The caller makes its first byte non-zero at once.
    ///
    /// Panics when 32 GiB are in use: the limit of 4-byte references for one group.
    #[inline]
    pub fn alloc(&mut self, class: Class) -> SlabRef {
        let c = &mut self.classes[usize::from(class.0)];
        c.live += 1;
        let (slots, granules) = (c.slots_per_page, c.granules);
        let no = match c.partial {
            NONE => self.take_page(class),
            no => no,
        };
        let page = &mut self.pages[no as usize];
        let offset = if page.free != 0 { page.free - 1 } else { page.bump };
        let at = SlabRef(no * PAGE_GRANULES + u32::from(offset));
        page.live += 1;
        let full = page.live == slots;
        if page.free == 0 {
            page.bump += granules;
        } else {
            // SAFETY: a free slot holds the link written by `free` at its byte 2.
            let next = unsafe { self.ptr(at).add(2).cast::<u16>().read() };
            self.pages[no as usize].free = next;
        }
        if full {
            self.unlink(no);
            self.pages[no as usize].state = PageState::Full;
        }
        at
    }

    /// Gives a slot back. `at` came from [`Slab::alloc`] and is not used any more.
    #[inline]
    pub fn free(&mut self, at: SlabRef) {
        let no = at.0 / PAGE_GRANULES;
        let ptr = self.ptr(at);
        let page = &mut self.pages[no as usize];
        // SAFETY: the slot is ours again and at least 8 bytes long.
        unsafe {
            ptr.cast::<u16>().write(0);
            ptr.add(2).cast::<u16>().write(page.free);
        }
        page.free = (at.0 % PAGE_GRANULES) as u16 + 1;
        page.live -= 1;
        let (state, live, class) = (page.state, page.live, page.class);
        self.classes[usize::from(class.0)].live -= 1;
        if live == 0 {
            self.release_page(no);
        } else if state == PageState::Full {
            self.link_partial(no);
        }
    }

    /// Bytes of memory held, bookkeeping included.
    pub fn memory(&self) -> usize {
        self.resident_len * PAGE_BYTES + self.pages.capacity() * size_of::<Page>()
    }

    /// Bytes in slots that are in use.
    pub fn live_bytes(&self) -> usize {
        self.classes
            .iter()
            .map(|c| c.live as usize * usize::from(c.granules) * GRANULE)
            .sum()
    }

    /// Frees one chunk whole, whatever is in it; `false` when none is left. Only for a slab that is thrown away.
    pub fn drop_chunk(&mut self) -> bool {
        while let Some(chunk) = self.chunks.pop() {
            if chunk.is_some() {
                self.resident_len = self.resident_len.min(self.chunks.len() * PAGES_PER_CHUNK);
                return true;
            }
        }
        false
    }

    /// A page to evacuate: of a class with more than a quarter of its slots free (and more than two pages' worth), the
    /// emptiest of a sample. From now on the page takes nothing new.
    pub fn pick_sparse(&mut self) -> Option<PageNo> {
        for i in 0..self.classes.len() {
            let c = self.classes[i];
            let slots = c.pages * u32::from(c.slots_per_page);
            let free = slots - c.live;
            if free <= slots / 4 || free <= 2 * u32::from(c.slots_per_page) {
                continue;
            }
            let (mut at, mut best) = (c.partial, None::<(u16, u32)>);
            for _ in 0..SPARSE_SAMPLE {
                if at == NONE {
                    break;
                }
                let page = &self.pages[at as usize];
                best = best.min(Some((page.live, at))).or(Some((page.live, at)));
                at = page.next;
            }
            if let Some((_, no)) = best {
                self.unlink(no);
                self.pages[no as usize].state = PageState::Evacuating;
                return Some(PageNo(no));
            }
        }
        None
    }

    /// The first slot in use at or after granule `from` of a page being evacuated, and where to go on. `None`: the page
    /// is empty from there on, or has been released meanwhile.
    pub fn next_live(&self, page: PageNo, from: u16) -> Option<(SlabRef, u16)> {
        let p = self.pages[page.0 as usize];
        if p.state != PageState::Evacuating {
            return None;
        }
        let step = self.classes[usize::from(p.class.0)].granules;
        let mut offset = from;
        while offset < p.bump {
            let at = SlabRef(page.0 * PAGE_GRANULES + u32::from(offset));
            // SAFETY: the slot was handed out before (`bump`), so its first byte is initialised.
            if unsafe { self.ptr(at).read() } != 0 {
                return Some((at, offset + step));
            }
            offset += step;
        }
        None
    }

    /// Moves a slot of a page being evacuated: copies its bytes to a new slot of the same class and frees the old one.
    pub fn relocate(&mut self, at: SlabRef) -> SlabRef {
        let class = self.pages[(at.0 / PAGE_GRANULES) as usize].class;
        let to = self.alloc(class);
        let size = self.size(class);
        // SAFETY: both slots are `size` bytes of distinct allocations.
        unsafe { std::ptr::copy_nonoverlapping(self.ptr(at), self.ptr(to), size) };
        self.free(at);
        to
    }

    #[cold]
    fn take_page(&mut self, class: Class) -> u32 {
        if self.free_pages == NONE && self.cold_pages == NONE {
            self.add_chunk();
        }
        let no = if self.free_pages != NONE {
            self.free_pages
        } else {
            self.cold_pages
        };
        self.unlink_free(no);
        if self.pages[no as usize].state == PageState::Cold {
            self.resident_len += 1;
        }
        self.free_in_chunk[no as usize / PAGES_PER_CHUNK] -= 1;
        let page = &mut self.pages[no as usize];
        (page.class, page.live, page.bump, page.free) = (class, 0, 0, 0);
        self.classes[usize::from(class.0)].pages += 1;
        self.link_partial(no);
        no
    }

    #[cold]
    fn add_chunk(&mut self) {
        let no = self
            .chunks
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.chunks.len());
        assert!(
            no < CHUNKS_MAX,
            "a group's slab is limited to 32 GiB by its 4-byte references"
        );
        // A keyspace that stays small should not cost a huge page.
        let huge = no > 0;
        if no == self.chunks.len() {
            let blank = Page {
                state: PageState::Cold,
                class: Class(0),
                live: 0,
                bump: 0,
                free: 0,
                next: NONE,
                prev: NONE,
            };
            self.chunks.push(None);
            self.free_in_chunk.push(0);
            self.pages.resize(self.chunks.len() * PAGES_PER_CHUNK, blank);
        }
        self.chunks[no] = Some(Chunk::new(huge));
        self.free_in_chunk[no] = PAGES_PER_CHUNK as u8;
        for page in (no * PAGES_PER_CHUNK..(no + 1) * PAGES_PER_CHUNK).rev() {
            self.link_free(page as u32, if huge { PageState::Free } else { PageState::Cold });
        }
        // The first touch of a huge page brings all of it.
        self.resident_len += if huge { PAGES_PER_CHUNK } else { 0 };
    }

    #[cold]
    fn release_page(&mut self, no: u32) {
        if self.pages[no as usize].state == PageState::Partial {
            self.unlink(no);
        }
        let class = self.pages[no as usize].class;
        self.classes[usize::from(class.0)].pages -= 1;
        let in_use = self.resident_len - self.free_len;
        if self.free_len < SPARE_PAGES + in_use / SPARE_SHARE {
            self.link_free(no, PageState::Free);
        } else {
            let start = self.ptr(SlabRef(no * PAGE_GRANULES));
            // SAFETY: the page lies in a mapped chunk and holds nothing any more.
            discard(unsafe { std::slice::from_raw_parts_mut(start, PAGE_BYTES) });
            self.resident_len -= 1;
            self.link_free(no, PageState::Cold);
        }
        let chunk = no as usize / PAGES_PER_CHUNK;
        self.free_in_chunk[chunk] += 1;
        if usize::from(self.free_in_chunk[chunk]) == PAGES_PER_CHUNK && self.pages[no as usize].state == PageState::Cold
        {
            self.release_chunk(chunk);
        }
    }

    /// Unmaps a chunk whose pages are all free.
    fn release_chunk(&mut self, chunk: usize) {
        for page in chunk * PAGES_PER_CHUNK..(chunk + 1) * PAGES_PER_CHUNK {
            self.unlink_free(page as u32);
            if self.pages[page].state == PageState::Free {
                self.resident_len -= 1;
            }
        }
        self.chunks[chunk] = None;
        self.free_in_chunk[chunk] = 0;
    }

    fn link_free(&mut self, no: u32, state: PageState) {
        self.pages[no as usize].state = state;
        let list = if state == PageState::Free {
            &mut self.free_pages
        } else {
            &mut self.cold_pages
        };
        let head = std::mem::replace(list, no);
        self.free_len += usize::from(state == PageState::Free);
        self.link_before(no, head);
    }

    fn unlink_free(&mut self, no: u32) {
        self.free_len -= usize::from(self.pages[no as usize].state == PageState::Free);
        self.unlink(no);
    }

    fn link_partial(&mut self, no: u32) {
        let page = &mut self.pages[no as usize];
        page.state = PageState::Partial;
        let head = std::mem::replace(&mut self.classes[usize::from(page.class.0)].partial, no);
        self.link_before(no, head);
    }

    fn link_before(&mut self, no: u32, head: u32) {
        (self.pages[no as usize].next, self.pages[no as usize].prev) = (head, NONE);
        if head != NONE {
            self.pages[head as usize].prev = no;
        }
    }

    /// Takes a page out of the list its state says it is in.
    fn unlink(&mut self, no: u32) {
        let Page {
            next,
            prev,
            state,
            class,
            ..
        } = self.pages[no as usize];
        if next != NONE {
            self.pages[next as usize].prev = prev;
        }
        if prev != NONE {
            self.pages[prev as usize].next = next;
        } else if state == PageState::Free {
            self.free_pages = next;
        } else if state == PageState::Cold {
            self.cold_pages = next;
        } else {
            self.classes[usize::from(class.0)].partial = next;
        }
    }
}

/// A page chosen by [`Slab::pick_sparse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageNo(u32);

const _: () = assert!(size_of::<Page>() <= 20 && size_of::<Option<Chunk>>() == 8);
