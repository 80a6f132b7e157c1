//! [`Kept`]: a large collection as it was at one moment, taken page by page while it goes on changing.
//!
//! A flush writes what a collection was at its cut. To copy a million elements there would hold the core for a second, and so
//! would encoding them at once. So the collection is taken in *pages* of neighbouring elements, in order: a page that
//! is about to change, and was not taken yet, is encoded before and kept until its turn.
//!
//! Pages are those at the cut: of a table, so many pairs by number; of a list, its chunks. Every change of one of them goes
//! through [`Kept::wants`].

use std::collections::BTreeMap;

/// See the module's text. A copy of a collection is kept for nobody.
#[derive(Debug, Default)]
pub(super) struct Kept(Option<Box<Pages>>);

#[derive(Debug)]
struct Pages {
    /// Pages at the cut.
    count: usize,
    /// Pages before this were taken.
    next: usize,
    /// Pages that have changed since, encoded as they were.
    changed: BTreeMap<usize, Box<[u8]>>,
    /// Bytes of those.
    bytes: usize,
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl Kept {
    /// From now on, of so many pages.
    pub(super) fn begin(&mut self, count: usize) {
        debug_assert!(self.0.is_none(), "one flush after the other");
        self.0 = Some(Box::new(Pages {
            count,
            next: 0,
            changed: BTreeMap::new(),
            bytes: 0,
        }));
    }

    /// Nobody wants any more of it.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// Whether `page` has to be put away ([`Kept::put`]) before it changes.
    pub(super) fn wants(&self, page: usize) -> bool {
        self.0
            .as_ref()
            .is_some_and(|kept| (kept.next..kept.count).contains(&page) && !kept.changed.contains_key(&page))
    }

    /// The pages that are still to be taken.
    pub(super) fn left(&self) -> std::ops::Range<usize> {
        self.0.as_ref().map_or(0..0, |kept| kept.next..kept.count)
    }

    /// Puts a page away, encoded.
    pub(super) fn put(&mut self, page: usize, encoded: Vec<u8>) {
        let kept = self.0.as_mut().expect("only wanted pages are put away");
        kept.bytes += encoded.len();
        kept.changed.insert(page, encoded.into_boxed_slice());
    }

    /// Takes the next page, in order: its number, and what was put away of it; when nothing was, it has not changed. `None`: all
    /// were taken.
    pub(super) fn take(&mut self) -> Option<(usize, Option<Box<[u8]>>)> {
        let kept = self.0.as_mut()?;
        let page = kept.next;
        if page == kept.count {
            return None;
        }
        kept.next += 1;
        let changed = kept.changed.remove(&page);
        kept.bytes -= changed.as_ref().map_or(0, |page| page.len());
        Some((page, changed))
    }

    /// Bytes put away.
    pub(super) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| {
            kept.bytes + kept.changed.len() * size_of::<(usize, Box<[u8]>)>() + size_of::<Pages>()
        })
    }
}
