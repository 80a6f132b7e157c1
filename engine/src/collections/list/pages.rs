//! A list as it was at one moment: see [`Kept`](super::super::kept::Kept). Its pages are the chunks there were.

use super::chunk::Chunk;
use super::{End, List};
use crate::varint::put_bytes;

impl List {
    /// Keeps the elements as they are now for [`List::take_page`].
    pub(in super::super) fn begin_keeping(&mut self) {
        self.kept_front = 0;
        self.kept.begin(self.chunks.len());
    }

    /// See [`Kept::end`](super::super::kept::Kept::end).
    pub(in super::super) fn end_keeping(&mut self) {
        self.kept.end();
    }

    /// Whether pages are kept.
    pub(in super::super) fn is_kept(&self) -> bool {
        self.kept.is_active()
    }

    /// Appends the next page of what was kept; `false` when there is none any more.
    pub(in super::super) fn take_page(&mut self, out: &mut Vec<u8>) -> bool {
        match self.kept.take() {
            None => return false,
            Some((_, Some(changed))) => out.extend_from_slice(&changed),
            Some((page, None)) => encode(&self.chunks[self.place_of(page)], out),
        }
        true
    }

    /// Where the chunk is that was number `page`, and has not changed since.
    fn place_of(&self, page: usize) -> usize {
        usize::try_from(page as isize - self.kept_front).expect("a chunk that went was put away before")
    }

    /// To be called before the chunk at `place` changes or goes.
    #[inline]
    pub(super) fn changing(&mut self, place: usize) {
        if self.kept.is_active() {
            self.keep_chunk(place);
        }
    }

    /// The same for the chunk at one end, if there is any.
    #[inline]
    pub(super) fn changing_end(&mut self, end: End) {
        if self.kept.is_active() && !self.chunks.is_empty() {
            self.keep_chunk(match end {
                End::Front => 0,
                End::Back => self.chunks.len() - 1,
            });
        }
    }

    #[cold]
    fn keep_chunk(&mut self, place: usize) {
        let Ok(page) = usize::try_from(place as isize + self.kept_front) else {
            return;
        };
        if self.kept.wants(page) {
            let mut encoded = Vec::new();
            encode(&self.chunks[place], &mut encoded);
            self.kept.put(page, encoded);
        }
    }

    /// To be called before chunks change their order: puts everything away that is left.
    pub(super) fn keep_rest(&mut self) {
        for page in self.kept.left() {
            if self.kept.wants(page) {
                self.keep_chunk(self.place_of(page));
            }
        }
    }

    /// Takes the chunk at one end out, which was put away if somebody wants it.
    pub(super) fn pop_chunk(&mut self, end: End) -> Option<Chunk> {
        match end {
            End::Front => {
                self.kept_front += 1;
                self.chunks.pop_front()
            }
            End::Back => self.chunks.pop_back(),
        }
    }
}

fn encode(chunk: &Chunk, out: &mut Vec<u8>) {
    let mut at = chunk.head as usize;
    for _ in 0..chunk.count {
        let (element, next) = chunk.after(at);
        put_bytes(out, element);
        at = next;
    }
}
