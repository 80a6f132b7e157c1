//! [`List`]: a list: a deque of chunks, each a run of elements in one piece of memory.
//!
//! Elements can be read from both ends, pushed at both ends while there is room, and dropped at both ends by moving
//! `head` or `tail`. A short list is one small chunk that grows by doubling; a long one has chunks of [`CHUNK_BYTES`].
//! An element that is larger than that has a chunk for itself. No chunk is empty. Changes in the middle ([`edit`]) move bytes
//! of one chunk only.

mod chunk;
mod edit;
mod iter;
mod pages;

pub use iter::{Backwards, Iter};

use super::Elements;
use super::codec::{DecodeError, Source};
use super::kept::Kept;
use crate::digest::Digest;
use crate::varint::put_bytes;
use chunk::{CHUNK_BYTES, CHUNK_BYTES_MIN, Chunk, element_bytes};
use std::collections::VecDeque;

/// A list.
#[derive(Clone, Debug, Default)]
pub struct List {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Sum of the chunks' capacities, in bytes.
    chunk_bytes: usize,
    kept: Kept,
    /// Number that the first chunk has, or would have had, among those that are kept.
    kept_front: isize,
}

/// Which end of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first element.
    Front,
    /// The last element.
    Back,
}

impl List {
    /// Adds an element at one end.
    pub fn push(&mut self, element: &[u8], end: End) {
        let need = element_bytes(element.len());
        self.changing_end(end);
        let chunk = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        self.len += 1;
        if let Some(chunk) = chunk {
            let before = chunk.buf.len();
            if chunk.room(end) >= need || chunk.make_room(need, end) {
                self.chunk_bytes += chunk.buf.len() - before;
                return chunk.push(element, end);
            }
        }
        let capacity = match self.chunks.is_empty() {
            _ if need > CHUNK_BYTES => need,
            true => need.next_power_of_two().max(CHUNK_BYTES_MIN),
            false => CHUNK_BYTES,
        };
        let mut chunk = Chunk::new(capacity, end);
        chunk.push(element, end);
        self.chunk_bytes += capacity;
        match end {
            End::Front => {
                self.kept_front -= 1;
                self.chunks.push_front(chunk);
            }
            End::Back => self.chunks.push_back(chunk),
        }
    }

    /// Appends the elements, first to last.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.range(0, self.len).for_each(|element| put_bytes(out, element));
    }

    pub(super) fn decode(len: usize, source: &mut Source<'_>) -> Result<Self, DecodeError> {
        let mut list = List::default();
        list.decode_some(len, source)?;
        Ok(list)
    }

    /// Reads `count` more elements.
    pub(super) fn decode_some(&mut self, count: usize, source: &mut Source<'_>) -> Result<(), DecodeError> {
        for _ in 0..count {
            self.push(source.bytes()?, End::Back);
        }
        Ok(())
    }

    /// The element at one end.
    pub fn peek(&self, end: End) -> Option<&[u8]> {
        match end {
            End::Front => self.chunks.front().map(|c| c.after(c.head as usize).0),
            End::Back => self.chunks.back().map(|c| c.before(c.tail as usize).0),
        }
    }

    /// Removes the element at one end; says whether there was one.
    pub fn drop_end(&mut self, end: End) -> bool {
        self.changing_end(end);
        let chunk = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        let Some(chunk) = chunk else { return false };
        match end {
            End::Front => chunk.head = chunk.after(chunk.head as usize).1 as u32,
            End::Back => chunk.tail = chunk.before(chunk.tail as usize).1 as u32,
        }
        chunk.count -= 1;
        self.len -= 1;
        if chunk.count == 0 {
            self.chunk_bytes -= chunk.buf.len();
            self.pop_chunk(end);
        }
        true
    }

    /// The elements from number `start` (from 0) on, at most `count`.
    pub fn range(&self, start: usize, count: usize) -> Iter<'_> {
        let left = count.min(self.len.saturating_sub(start));
        if left == 0 {
            return Iter {
                list: self,
                chunk: 0,
                at: 0,
                left,
            };
        }
        let (chunk, at) = self.locate(start);
        Iter {
            list: self,
            chunk,
            at,
            left,
        }
    }

    /// All elements, last to first.
    pub fn backwards(&self) -> Backwards<'_> {
        Backwards::new(self)
    }

    /// The chunk that holds element number `index`, which must exist, and where it starts in there.
    fn locate(&self, index: usize) -> (usize, usize) {
        let (mut chunk, mut first) = (0, 0);
        if index <= self.len / 2 {
            while first + self.chunks[chunk].count as usize <= index {
                first += self.chunks[chunk].count as usize;
                chunk += 1;
            }
        } else {
            chunk = self.chunks.len() - 1;
            first = self.len - self.chunks[chunk].count as usize;
            while first > index {
                chunk -= 1;
                first -= self.chunks[chunk].count as usize;
            }
        }
        (chunk, self.chunks[chunk].offset(index - first))
    }

    /// Element number `index`, from 0.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.range(index, 1).next()
    }
}

impl Elements for List {
    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.chunks.capacity() * size_of::<Chunk>() + self.chunk_bytes + self.kept.memory()
    }

    fn digest_into(&self, digest: &mut Digest) {
        digest.u64(self.len as u64);
        self.range(0, self.len).for_each(|element| digest.bytes(element));
    }

    fn free_some(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget.max(1) {
            self.changing_end(End::Back);
            let Some(chunk) = self.pop_chunk(End::Back) else { break };
            freed += chunk.count as usize;
            self.len -= chunk.count as usize;
            self.chunk_bytes -= chunk.buf.len();
        }
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::testing::Random;

    #[test]
    fn behaves_like_a_deque_whatever_the_sizes_and_ends() {
        for seed in 0..40 {
            let mut r = Random(seed);
            let (mut list, mut model) = (List::default(), VecDeque::<Vec<u8>>::new());
            let sizes = [8, 40, 300, 9000][seed as usize % 4];
            for step in 0..1500 {
                let end = if r.below(2) == 0 { End::Front } else { End::Back };
                // Grows, then shrinks, in turns.
                if r.below(10) < if step / 300 % 2 == 0 { 7 } else { 3 } {
                    let element = vec![r.below(256) as u8; r.below(sizes) as usize];
                    list.push(&element, end);
                    match end {
                        End::Front => model.push_front(element),
                        End::Back => model.push_back(element),
                    }
                } else {
                    let expected = if end == End::Front {
                        model.pop_front()
                    } else {
                        model.pop_back()
                    };
                    assert_eq!(list.peek(end).map(<[u8]>::to_vec), expected);
                    assert_eq!(list.drop_end(end), expected.is_some());
                }
                assert_eq!(list.len(), model.len());
                let (start, count) = (r.below(40) as usize * model.len() / 40, r.below(50) as usize);
                assert!(
                    list.range(start, count).eq(model.iter().skip(start).take(count)),
                    "seed {seed} step {step}"
                );
            }
            assert_eq!(list.chunk_bytes, list.chunks.iter().map(|c| c.buf.len()).sum::<usize>());
            while list.free_some(10) > 0 {}
            assert_eq!((list.len(), list.chunk_bytes), (0, 0));
        }
    }

    #[test]
    fn a_queue_of_few_elements_stays_small() {
        let mut list = List::default();
        for n in 0..10_000u32 {
            list.push(&n.to_le_bytes(), End::Back);
            if n >= 5 {
                assert_eq!(list.peek(End::Front), Some(&(n - 5).to_le_bytes()[..]));
                list.drop_end(End::Front);
            }
        }
        assert!(list.chunk_bytes <= 128, "{}", list.chunk_bytes);
    }
}
