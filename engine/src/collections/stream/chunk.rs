//! [`Chunk`]: some neighbouring entries of a stream in one piece of memory.
//!
//! ```text
//! chunk:  | number of fields | field ... | entry | entry | ...
//! entry:  | bytes that follow | ms | seq | 0 | value ...
//!         | bytes that follow | ms | seq | number of fields | field, value ... |
//! ```
//!
//! The chunk begins with the fields of the entry it was made for; an entry with the same fields in the same order holds its
//! values only. `ms` is how much later than the chunk's base it is; `seq` is how much larger than the base's where `ms` is 0,
//! and the whole number else. Numbers are LEB128; fields and values are strings behind their lengths. No entry refers to
//! another one, so entries can be cut out.

use super::id::StreamId;

/// An entry's fields and values, borrowed from the stream.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// The field names where they are those of the chunk; empty where they stand beside the values.
    shared: &'a [u8],
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Fields<'a> {
    /// Number of fields.
    #[allow(clippy::len_without_is_empty, reason = "an entry has at least one field")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Fields and values, as they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (shared, bytes, mut name_at, mut at) = (self.shared, self.bytes, 0, 0);
        (0..self.len).map(move |_| {
            let name = if shared.is_empty() {
                string(bytes, &mut at)
            } else {
                string(shared, &mut name_at)
            };
            (name, string(bytes, &mut at))
        })
    }
}

/// An entry where it lies in its chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) id: StreamId,
    pub(super) fields: Fields<'a>,
    /// First and last-but-one offset of its bytes.
    start: usize,
    end: usize,
}

/// See the module's text. The base is kept by whoever holds the chunk.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// Where the first entry starts.
    entries_at: u32,
    /// Fields that the chunk begins with.
    shared: u32,
    /// Entries.
    pub(super) count: u32,
    /// Entries that were taken out again: they count where a chunk's entries are limited.
    pub(super) deleted: u32,
}

#[inline]
fn number(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut n, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return n;
        }
        shift += 7;
    }
}

#[inline]
fn string<'a>(bytes: &'a [u8], at: &mut usize) -> &'a [u8] {
    let len = number(bytes, at) as usize;
    *at += len;
    &bytes[*at - len..*at]
}

fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn number_bytes(n: u64) -> usize {
    (u64::BITS - (n | 1).leading_zeros()).div_ceil(7) as usize
}

fn string_bytes(text: &[u8]) -> usize {
    number_bytes(text.len() as u64) + text.len()
}

impl Chunk {
    /// A chunk without entries for entries with these fields.
    pub(super) fn new<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let (mut bytes, mut names, mut shared) = (Vec::new(), Vec::new(), 0);
        for (name, _) in pairs {
            put_string(&mut names, name);
            shared += 1;
        }
        put_number(&mut bytes, u64::from(shared));
        bytes.extend_from_slice(&names);
        Chunk {
            entries_at: bytes.len() as u32,
            bytes,
            shared,
            count: 0,
            deleted: 0,
        }
    }

    /// Bytes in use.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back what is allocated and not in use: nothing will be added.
    pub(super) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    fn shared_names(&self) -> &[u8] {
        let mut at = 0;
        number(&self.bytes, &mut at);
        &self.bytes[at..self.entries_at as usize]
    }

    /// Adds an entry behind the last one.
    pub(super) fn push<'a>(
        &mut self,
        base: StreamId,
        id: StreamId,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) {
        let (names, mut name_at, mut count, mut same) = (self.shared_names(), 0, 0, true);
        let (mut values_bytes, mut names_bytes) = (0, 0);
        for (name, value) in pairs.clone() {
            same = same && name_at < names.len() && string(names, &mut name_at) == name;
            count += 1;
            values_bytes += string_bytes(value);
            names_bytes += string_bytes(name);
        }
        same = same && count == u64::from(self.shared);
        let ms = id.ms - base.ms;
        let seq = if ms == 0 { id.seq - base.seq } else { id.seq };
        let tag = if same { 0 } else { count };
        let body = number_bytes(ms)
            + number_bytes(seq)
            + number_bytes(tag)
            + values_bytes
            + if same { 0 } else { names_bytes };
        let out = &mut self.bytes;
        out.reserve(body + number_bytes(body as u64));
        put_number(out, body as u64);
        put_number(out, ms);
        put_number(out, seq);
        put_number(out, tag);
        for (name, value) in pairs {
            if !same {
                put_string(out, name);
            }
            put_string(out, value);
        }
        self.count += 1;
    }

    /// The entry at `at`, which is where one starts.
    fn entry(&self, base: StreamId, start: usize) -> Entry<'_> {
        let mut at = start;
        let body = number(&self.bytes, &mut at) as usize;
        let end = at + body;
        let (ms, seq, tag) = (
            number(&self.bytes, &mut at),
            number(&self.bytes, &mut at),
            number(&self.bytes, &mut at),
        );
        let bytes = &self.bytes[at..end];
        Entry {
            id: StreamId {
                ms: base.ms + ms,
                seq: if ms == 0 { base.seq + seq } else { seq },
            },
            fields: match tag {
                0 => Fields {
                    shared: self.shared_names(),
                    bytes,
                    len: self.shared as usize,
                },
                len => Fields {
                    shared: &[],
                    bytes,
                    len: len as usize,
                },
            },
            start,
            end,
        }
    }

    /// The entries, first to last.
    pub(super) fn entries(&self, base: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let mut at = self.entries_at as usize;
        std::iter::from_fn(move || {
            (at < self.bytes.len()).then(|| {
                let entry = self.entry(base, at);
                at = entry.end;
                entry
            })
        })
    }

    /// Takes out the entry `id`; says whether it was there.
    pub(super) fn remove(&mut self, base: StreamId, id: StreamId) -> bool {
        let found = self.entries(base).find(|e| e.id >= id).filter(|e| e.id == id);
        let Some((start, end)) = found.map(|e| (e.start, e.end)) else {
            return false;
        };
        self.cut(start, end, 1);
        true
    }

    /// Takes out the first entries, as long as `doomed` holds for them and at most `limit`. Returns how many there were.
    pub(super) fn remove_first(&mut self, base: StreamId, limit: usize, doomed: impl Fn(StreamId) -> bool) -> usize {
        let (mut end, mut count) = (self.entries_at as usize, 0);
        for entry in self.entries(base).take(limit).take_while(|e| doomed(e.id)) {
            (end, count) = (entry.end, count + 1);
        }
        self.cut(self.entries_at as usize, end, count as u32);
        count
    }

    fn cut(&mut self, start: usize, end: usize, count: u32) {
        self.bytes.drain(start..end);
        self.count -= count;
        self.deleted += count;
    }
}
