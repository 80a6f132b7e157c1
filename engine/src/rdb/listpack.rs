//! Listpacks: short lists of strings and integers in one piece of memory.
//!
//! ```text
//! | bytes in all: u32 | elements: u16 | element ... | 0xff |
//! element: | encoding and length | data | length of both, backwards |
//! ```
//!
//! Encodings: `0nnnnnnn` a number to 127, `110nnnnn` one of 13 bits, `0xf1` to `0xf4` one of 16, 24, 32 or 64 bits;
//! `10llllll`, `1110llll` and `0xf0` strings whose length takes 6, 12 or 32 bits.

use crate::number::parse_i64;

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
/// The number of elements when it does not fit 16 bits.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// A listpack being written.
#[derive(Default)]
pub(super) struct Writer {
    elements: Vec<u8>,
    count: usize,
}

impl Writer {
    /// Bytes of the whole.
    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.elements.len() + 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn push(&mut self, element: &[u8]) {
        let start = self.elements.len();
        let out = &mut self.elements;
        match parse_i64(element) {
            Some(n) => put_number(out, n),
            None => {
                match element.len() {
                    len @ 0..64 => out.push(0x80 | len as u8),
                    len @ 64..4096 => out.extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]),
                    len => {
                        out.push(0xf0);
                        out.extend_from_slice(&(len as u32).to_le_bytes());
                    }
                }
                out.extend_from_slice(element);
            }
        }
        put_back_length(out, out.len() - start);
        self.count += 1;
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.extend_from_slice(&(self.bytes() as u32).to_le_bytes());
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.elements);
        out.push(END);
        out
    }
}

fn put_number(out: &mut Vec<u8>, n: i64) {
    let bytes = n.to_le_bytes();
    match n {
        0..=127 => out.push(n as u8),
        -4096..=4095 => out.extend_from_slice(&[0xc0 | (n >> 8) as u8 & 0x1f, n as u8]),
        _ => {
            let (encoding, len) = match n {
                -0x8000..=0x7fff => (0xf1, 2),
                -0x80_0000..=0x7f_ffff => (0xf2, 3),
                -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
                _ => (0xf4, 8),
            };
            out.push(encoding);
            out.extend_from_slice(&bytes[..len]);
        }
    }
}

/// How many bytes tell that an element has `len`.
fn back_length_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=0x3ffe => 2,
        0x3fff..=0x1f_fffe => 3,
        0x1f_ffff..=0xfff_fffe => 4,
        _ => 5,
    }
}

fn put_back_length(out: &mut Vec<u8>, len: usize) {
    let bytes = back_length_bytes(len);
    for i in (0..bytes).rev() {
        let seven = (len >> (7 * i)) as u8 & 127;
        out.push(if i + 1 == bytes { seven } else { seven | 128 });
    }
}

/// The elements; `None` when the bytes are no listpack.
pub(super) fn elements(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let head = bytes.get(..HEADER_BYTES)?;
    let total = u32::from_le_bytes(head[..4].try_into().ok()?);
    let count = u16::from_le_bytes([head[4], head[5]]);
    let (last, body) = bytes[HEADER_BYTES..].split_last()?;
    if total as usize != bytes.len() || *last != END {
        return None;
    }
    let (mut elements, mut at) = (Vec::new(), 0);
    while at < body.len() {
        let (element, len) = element_at(&body[at..])?;
        elements.push(element);
        at += len;
        let mut back = Vec::new();
        put_back_length(&mut back, len);
        if !body[at..].starts_with(&back) {
            return None;
        }
        at += back.len();
    }
    (count == COUNT_UNKNOWN || usize::from(count) == elements.len()).then_some(elements)
}

/// The element at the start of `body`, and its bytes without the length behind it.
fn element_at(body: &[u8]) -> Option<(Vec<u8>, usize)> {
    let text = |n: i64| itoa::Buffer::new().format(n).as_bytes().to_vec();
    let string = |from: usize, len: usize| Some((body.get(from..from.checked_add(len)?)?.to_vec(), from + len));
    let number = |len: usize| {
        let data = body.get(1..1 + len)?;
        let mut wide = [if data[len - 1] & 0x80 == 0 { 0 } else { 0xff }; 8];
        wide[..len].copy_from_slice(data);
        Some((text(i64::from_le_bytes(wide)), 1 + len))
    };
    let second = || body.get(1).copied();
    match *body.first()? {
        n @ ..0x80 => Some((text(i64::from(n)), 1)),
        n @ 0x80..0xc0 => string(1, usize::from(n & 63)),
        n @ 0xc0..0xe0 => {
            let n = i64::from(n & 31) << 8 | i64::from(second()?);
            Some((text(if n >= 4096 { n - 8192 } else { n }), 2))
        }
        n @ 0xe0..0xf0 => string(2, usize::from(n & 15) << 8 | usize::from(second()?)),
        0xf0 => {
            let len = u32::from_le_bytes(body.get(1..5)?.try_into().ok()?);
            string(5, len as usize)
        }
        0xf1 => number(2),
        0xf2 => number(3),
        0xf3 => number(4),
        0xf4 => number(8),
        _ => None,
    }
}
