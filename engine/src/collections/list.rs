//! [`List`]: a list: a deque of chunks, each a run of elements in one piece of memory.
//!
//! ```text
//! chunk:   | free | element | element | ... | element | free |
//!          0      head                                tail   capacity
//! element: | length | bytes | length |     length: one byte below 254, else 254 and a u32 (mirrored at the back)
//! ```
//!
//! Elements can be read from both ends, pushed at both ends while there is room, and dropped at both ends by moving
//! `head` or `tail`. A short list is one small chunk that grows by doubling; a long one has chunks of [`CHUNK_BYTES`].
//! An element that is larger than that has a chunk for itself. No chunk is empty.

use super::Elements;
use super::codec::{DecodeError, Source};
use crate::digest::Digest;
use crate::varint::put_bytes;
use std::collections::VecDeque;

/// Size of a full chunk. An LRANGE of 600 small elements touches few of them, and moving one when both ends are used costs
/// less than a microsecond.
const CHUNK_BYTES: usize = 4096;
/// Size of the first chunk of a list at least.
const CHUNK_BYTES_MIN: usize = 32;
/// Lengths from here on take five bytes.
const LONG: u8 = 254;

/// A list.
#[derive(Clone, Debug, Default)]
pub struct List {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Sum of the chunks' capacities, in bytes.
    chunk_bytes: usize,
}

#[derive(Clone, Debug)]
struct Chunk {
    buf: Box<[u8]>,
    head: u32,
    tail: u32,
    count: u32,
}

/// Which end of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first element.
    Front,
    /// The last element.
    Back,
}

fn length_bytes(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 5 }
}

fn element_bytes(len: usize) -> usize {
    len + 2 * length_bytes(len)
}

impl Chunk {
    fn new(capacity: usize, end: End) -> Self {
        // What is pushed at the front grows downwards.
        let at = if end == End::Front { capacity as u32 } else { 0 };
        Chunk {
            buf: vec![0; capacity].into_boxed_slice(),
            head: at,
            tail: at,
            count: 0,
        }
    }

    fn used(&self) -> usize {
        (self.tail - self.head) as usize
    }

    fn room(&self, end: End) -> usize {
        match end {
            End::Front => self.head as usize,
            End::Back => self.buf.len() - self.tail as usize,
        }
    }

    /// Makes room for `need` bytes at `end` by moving the elements, to a larger buffer when this one is rather full.
    /// `false` when the chunk is as large as chunks become.
    fn make_room(&mut self, need: usize, end: End) -> bool {
        let used = self.used();
        // Moving frees at least half of the buffer, so it happens at most once per that many bytes pushed.
        let fits_here = (used + need) * 2 <= self.buf.len();
        if !fits_here && (self.buf.len() >= CHUNK_BYTES || used + need > CHUNK_BYTES) {
            return false;
        }
        let (from, to) = (self.head as usize, self.tail as usize);
        if fits_here {
            let head = match end {
                End::Front => self.buf.len() - used,
                End::Back => 0,
            };
            self.buf.copy_within(from..to, head);
            (self.head, self.tail) = (head as u32, (head + used) as u32);
        } else {
            let mut grown = Chunk::new((used + need).next_power_of_two().max(self.buf.len() * 2), end);
            match end {
                End::Front => grown.head -= used as u32,
                End::Back => grown.tail += used as u32,
            }
            grown.buf[grown.head as usize..grown.tail as usize].copy_from_slice(&self.buf[from..to]);
            (self.buf, self.head, self.tail) = (grown.buf, grown.head, grown.tail);
        }
        true
    }

    fn write(&mut self, at: usize, element: &[u8]) {
        let n = element.len();
        let buf = &mut self.buf[at..at + element_bytes(n)];
        if n < usize::from(LONG) {
            buf[0] = n as u8;
            buf[1..=n].copy_from_slice(element);
            buf[n + 1] = n as u8;
        } else {
            let len = (n as u32).to_le_bytes();
            buf[0] = LONG;
            buf[1..5].copy_from_slice(&len);
            buf[5..5 + n].copy_from_slice(element);
            buf[5 + n..9 + n].copy_from_slice(&len);
            buf[9 + n] = LONG;
        }
    }

    fn push(&mut self, element: &[u8], end: End) {
        let size = element_bytes(element.len()) as u32;
        let at = match end {
            End::Front => {
                self.head -= size;
                self.head
            }
            End::Back => {
                self.tail += size;
                self.tail - size
            }
        };
        self.write(at as usize, element);
        self.count += 1;
    }

    fn u32_at(&self, at: usize) -> usize {
        u32::from_le_bytes(self.buf[at..at + 4].try_into().expect("four bytes were cut")) as usize
    }

    /// The element starting at `at`, and where the next one starts.
    #[inline]
    fn after(&self, at: usize) -> (&[u8], usize) {
        let (len, head) = match self.buf[at] {
            LONG => (self.u32_at(at + 1), 5),
            len => (usize::from(len), 1),
        };
        (&self.buf[at + head..at + head + len], at + 2 * head + len)
    }

    /// The element ending at `end`, and where it starts.
    #[inline]
    fn before(&self, end: usize) -> (&[u8], usize) {
        let (len, head) = match self.buf[end - 1] {
            LONG => (self.u32_at(end - 5), 5),
            len => (usize::from(len), 1),
        };
        let start = end - 2 * head - len;
        (&self.buf[start + head..start + head + len], start)
    }
}

impl List {
    /// Adds an element at one end.
    pub fn push(&mut self, element: &[u8], end: End) {
        let need = element_bytes(element.len());
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
            End::Front => self.chunks.push_front(chunk),
            End::Back => self.chunks.push_back(chunk),
        }
    }

    /// Appends the elements, first to last.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.range(0, self.len).for_each(|element| put_bytes(out, element));
    }

    pub(super) fn decode(len: usize, source: &mut Source<'_>) -> Result<Self, DecodeError> {
        let mut list = List::default();
        for _ in 0..len {
            list.push(source.bytes()?, End::Back);
        }
        Ok(list)
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
            match end {
                End::Front => self.chunks.pop_front(),
                End::Back => self.chunks.pop_back(),
            };
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
        let (mut chunk, mut first) = (0, 0);
        if start <= self.len / 2 {
            while first + self.chunks[chunk].count as usize <= start {
                first += self.chunks[chunk].count as usize;
                chunk += 1;
            }
        } else {
            (chunk, first) = (
                self.chunks.len() - 1,
                self.len - self.chunks[self.chunks.len() - 1].count as usize,
            );
            while first > start {
                chunk -= 1;
                first -= self.chunks[chunk].count as usize;
            }
        }
        let c = &self.chunks[chunk];
        let mut at = c.head as usize;
        for _ in first..start {
            at = c.after(at).1;
        }
        Iter {
            list: self,
            chunk,
            at,
            left,
        }
    }

    /// Element number `index`, from 0.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.range(index, 1).next()
    }
}

/// Elements of a [`List`], first to last.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    list: &'a List,
    chunk: usize,
    /// Where the next element starts in its chunk; may be the chunk's tail.
    at: usize,
    left: usize,
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

impl Elements for List {
    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.chunks.capacity() * size_of::<Chunk>() + self.chunk_bytes
    }

    fn digest_into(&self, digest: &mut Digest) {
        digest.u64(self.len as u64);
        self.range(0, self.len).for_each(|element| digest.bytes(element));
    }

    fn free_some(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget.max(1) {
            let Some(chunk) = self.chunks.pop_back() else { break };
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
