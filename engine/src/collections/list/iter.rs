//! Walks through a list, from either end.

use super::List;

/// Elements of a [`List`], first to last.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    pub(super) list: &'a List,
    pub(super) chunk: usize,
    /// Where the next element starts in its chunk; may be the chunk's tail.
    pub(super) at: usize,
    pub(super) left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let mut chunk = &self.list.chunks[self.chunk];
        if self.at == chunk.tail as usize {
            self.chunk += 1;
            chunk = &self.list.chunks[self.chunk];
            self.at = chunk.head as usize;
        }
        let (element, next) = chunk.after(self.at);
        self.at = next;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Elements of a [`List`], last to first.
#[derive(Clone, Debug)]
pub struct Backwards<'a> {
    list: &'a List,
    /// Chunks not yet finished.
    chunks: usize,
    /// Where the next element ends in the last of those; may be the chunk's head.
    end: usize,
}

impl<'a> Backwards<'a> {
    pub(super) fn new(list: &'a List) -> Self {
        Backwards {
            list,
            chunks: list.chunks.len(),
            end: list.chunks.back().map_or(0, |chunk| chunk.tail as usize),
        }
    }
}

impl<'a> Iterator for Backwards<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut chunk = self.list.chunks.get(self.chunks.checked_sub(1)?)?;
        if self.end == chunk.head as usize {
            self.chunks -= 1;
            chunk = self.list.chunks.get(self.chunks.checked_sub(1)?)?;
            self.end = chunk.tail as usize;
        }
        let (element, start) = chunk.before(self.end);
        self.end = start;
        Some(element)
    }
}
