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
    /// Where the last one does, if there is any.
    last_at: u32,
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
            last_at: bytes.len() as u32,
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
        self.last_at = out.len() as u32;
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

    /// Id and end of the entry that starts at `start`, and where its number of fields stands.
    #[inline]
    fn head(&self, base: StreamId, start: usize) -> (StreamId, usize, usize) {
        let mut at = start;
        let body = number(&self.bytes, &mut at) as usize;
        let end = at + body;
        let (ms, seq) = (number(&self.bytes, &mut at), number(&self.bytes, &mut at));
        let id = StreamId {
            ms: base.ms + ms,
            seq: if ms == 0 { base.seq + seq } else { seq },
        };
        (id, end, at)
    }

    fn entry(&self, base: StreamId, start: usize) -> Entry<'_> {
        let (id, end, mut at) = self.head(base, start);
        let tag = number(&self.bytes, &mut at);
        let (shared, len) = match tag {
            0 => (self.shared_names(), self.shared as usize),
            len => (&[][..], len as usize),
        };
        let bytes = &self.bytes[at..end];
        Entry {
            id,
            fields: Fields { shared, bytes, len },
            start,
            end,
        }
    }

    /// Where the first entry starts that is not below `from`; the end of the chunk if there is none.
    fn seek(&self, base: StreamId, from: StreamId) -> usize {
        let mut at = self.entries_at as usize;
        while at < self.bytes.len() {
            let (id, end, _) = self.head(base, at);
            if id >= from {
                break;
            }
            at = end;
        }
        at
    }

    fn entries_at(&self, base: StreamId, mut at: usize) -> impl Iterator<Item = Entry<'_>> {
        std::iter::from_fn(move || {
            (at < self.bytes.len()).then(|| {
                let entry = self.entry(base, at);
                at = entry.end;
                entry
            })
        })
    }

    /// The entries, first to last.
    pub(super) fn entries(&self, base: StreamId) -> impl Iterator<Item = Entry<'_>> {
        self.entries_at(base, self.entries_at as usize)
    }

    /// The entries from the first that is not below `from`.
    pub(super) fn entries_from(&self, base: StreamId, from: StreamId) -> impl Iterator<Item = Entry<'_>> {
        self.entries_at(base, self.seek(base, from))
    }

    /// The lowest and the highest id; there must be an entry.
    pub(super) fn ends(&self, base: StreamId) -> (StreamId, StreamId) {
        let id_at = |at: u32| self.head(base, at as usize).0;
        (id_at(self.entries_at), id_at(self.last_at))
    }

    /// How many entries lie in `from..=to`.
    pub(super) fn count_in(&self, base: StreamId, from: StreamId, to: StreamId) -> usize {
        let (mut at, mut count) = (self.seek(base, from), 0);
        while at < self.bytes.len() {
            let (id, end, _) = self.head(base, at);
            if id > to {
                break;
            }
            (at, count) = (end, count + 1);
        }
        count
    }

    /// Takes out the entry `id`; says whether it was there.
    pub(super) fn remove(&mut self, base: StreamId, id: StreamId) -> bool {
        let found = self.entries_from(base, id).next().filter(|e| e.id == id);
        let Some((start, end)) = found.map(|e| (e.start, e.end)) else {
            return false;
        };
        self.cut(base, start, end, 1);
        true
    }

    /// Takes out the first entries, as long as `doomed` holds for them and at most `limit`. Returns how many there were.
    pub(super) fn remove_first(&mut self, base: StreamId, limit: usize, doomed: impl Fn(StreamId) -> bool) -> usize {
        let (mut end, mut count) = (self.entries_at as usize, 0);
        for entry in self.entries(base).take(limit).take_while(|e| doomed(e.id)) {
            (end, count) = (entry.end, count + 1);
        }
        self.cut(base, self.entries_at as usize, end, count as u32);
        count
    }

    fn cut(&mut self, base: StreamId, start: usize, end: usize, count: u32) {
        let cut_last = end == self.bytes.len();
        self.bytes.drain(start..end);
        self.count -= count;
        self.deleted += count;
        if !cut_last {
            self.last_at -= (end - start) as u32;
        } else {
            let last = self.entries(base).last();
            self.last_at = last.map_or(self.entries_at as usize, |e| e.start) as u32;
        }
    }
}
