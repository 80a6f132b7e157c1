//! [`Chunk`]: some neighbouring elements of a list in one piece of memory.
//!
//! ```text
//! chunk:   | free | element | element | ... | element | free |
//!          0      head                                tail   capacity
//! element: | length | bytes | length |     length: one byte below 254, else 254 and a u32 (mirrored at the back)
//! ```
//!
//! Elements are named by the offset at which they start (`at`).

use super::End;

/// Size of a full chunk. An LRANGE of 600 small elements touches few of them, and moving one when both ends are used costs
/// less than a microsecond.
pub(super) const CHUNK_BYTES: usize = 4096;
/// Size of the first chunk of a list at least.
pub(super) const CHUNK_BYTES_MIN: usize = 32;
/// Lengths from here on take five bytes.
const LONG: u8 = 254;

#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) buf: Box<[u8]>,
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) count: u32,
}

fn length_bytes(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 5 }
}

pub(super) fn element_bytes(len: usize) -> usize {
    len + 2 * length_bytes(len)
}

impl Chunk {
    pub(super) fn new(capacity: usize, end: End) -> Self {
        // What is pushed at the front grows downwards.
        let at = if end == End::Front { capacity as u32 } else { 0 };
        Chunk {
            buf: vec![0; capacity].into_boxed_slice(),
            head: at,
            tail: at,
            count: 0,
        }
    }

    pub(super) fn used(&self) -> usize {
        (self.tail - self.head) as usize
    }

    pub(super) fn room(&self, end: End) -> usize {
        match end {
            End::Front => self.head as usize,
            End::Back => self.buf.len() - self.tail as usize,
        }
    }

    /// Makes room for `need` bytes at `end` by moving the elements, to a larger buffer when this one is rather full.
    /// `false` when the chunk is as large as chunks become.
    pub(super) fn make_room(&mut self, need: usize, end: End) -> bool {
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

    pub(super) fn push(&mut self, element: &[u8], end: End) {
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
    pub(super) fn after(&self, at: usize) -> (&[u8], usize) {
        let (len, head) = match self.buf[at] {
            LONG => (self.u32_at(at + 1), 5),
            len => (usize::from(len), 1),
        };
        (&self.buf[at + head..at + head + len], at + 2 * head + len)
    }

    /// The element ending at `end`, and where it starts.
    #[inline]
    pub(super) fn before(&self, end: usize) -> (&[u8], usize) {
        let (len, head) = match self.buf[end - 1] {
            LONG => (self.u32_at(end - 5), 5),
            len => (usize::from(len), 1),
        };
        let start = end - 2 * head - len;
        (&self.buf[start + head..start + head + len], start)
    }

    /// Where element number `n` of the chunk starts.
    pub(super) fn offset(&self, n: usize) -> usize {
        if n <= self.count as usize / 2 {
            (0..n).fold(self.head as usize, |at, _| self.after(at).1)
        } else {
            (n..self.count as usize).fold(self.tail as usize, |end, _| self.before(end).1)
        }
    }

    /// A chunk that holds `count` elements: these bytes of another one.
    pub(super) fn of(bytes: &[u8], count: u32) -> Self {
        let capacity = match bytes.len() {
            len if len > CHUNK_BYTES => len,
            len => len.next_power_of_two().max(CHUNK_BYTES_MIN),
        };
        let mut buf = vec![0; capacity];
        buf[..bytes.len()].copy_from_slice(bytes);
        Chunk {
            buf: buf.into_boxed_slice(),
            head: 0,
            tail: bytes.len() as u32,
            count,
        }
    }

    /// The bytes of all elements.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf[self.head as usize..self.tail as usize]
    }

    /// Puts `element` in place of the bytes `from..to`, which are one element or, with `from == to`, none. The chunk may
    /// become larger than chunks are.
    pub(super) fn splice(&mut self, from: usize, to: usize, element: &[u8]) {
        let (old, new) = (to - from, element_bytes(element.len()));
        let (head, tail) = (self.head as usize, self.tail as usize);
        self.count += u32::from(old == 0);
        // A buffer made for one large element is not kept for small ones.
        let fits = tail + new - old <= self.buf.len() && self.buf.len() <= CHUNK_BYTES;
        if new == old || fits {
            self.buf.copy_within(to..tail, from + new);
            self.tail = (tail + new - old) as u32;
            return self.write(from, element);
        }
        let mut bytes = Vec::with_capacity(tail - head + new - old);
        bytes.extend_from_slice(&self.buf[head..from]);
        bytes.resize(from - head + new, 0);
        bytes.extend_from_slice(&self.buf[to..tail]);
        *self = Chunk::of(&bytes, self.count);
        self.write(from - head, element);
    }

    /// Removes the elements equal to `element`: of those, leaves the first `skip` and takes at most `take`. Returns how
    /// many are gone.
    pub(super) fn retain_others(&mut self, element: &[u8], skip: usize, take: usize) -> usize {
        let (mut at, mut to, mut seen, mut gone) = (self.head as usize, self.head as usize, 0, 0);
        while at < self.tail as usize {
            let (found, next) = self.after(at);
            let equal = found == element;
            seen += usize::from(equal);
            if equal && seen > skip && gone < take {
                gone += 1;
            } else {
                if to != at {
                    self.buf.copy_within(at..next, to);
                }
                to += next - at;
            }
            at = next;
        }
        self.tail = to as u32;
        self.count -= gone as u32;
        gone
    }

    /// How many elements equal `element`.
    pub(super) fn count_equal(&self, element: &[u8]) -> usize {
        let (mut at, mut n) = (self.head as usize, 0);
        while at < self.tail as usize {
            let (found, next) = self.after(at);
            n += usize::from(found == element);
            at = next;
        }
        n
    }

    /// Cuts a chunk of at least two elements in two, near the middle of its bytes. Returns the second part.
    pub(super) fn split(&mut self) -> Chunk {
        let (middle, last) = (self.head as usize + self.used() / 2, self.before(self.tail as usize).1);
        let (mut at, mut count) = (self.after(self.head as usize).1, 1);
        while at < middle && at < last {
            at = self.after(at).1;
            count += 1;
        }
        let second = Chunk::of(&self.buf[at..self.tail as usize], self.count - count);
        *self = Chunk::of(&self.buf[self.head as usize..at], count);
        second
    }
}
