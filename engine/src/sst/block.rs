//! A data block: entries in order, every sixteenth written in full so that a search can start there.
//!
//! Format: `docs/formats/sst.md`, "Block".

use super::PAGE_BYTES;
use super::bytes::{get32, len32, pad_to_page, put32};
use super::record::{EntryAt, Record, SstKey, entry_bytes_max, put_entry, take_entry};
use crate::varint::LengthError;
use std::ops::Range;

/// Entries from one full entry to the next: a search decodes at most as many behind its binary steps, and a full entry
/// costs 6 to 8 bytes more.
pub(super) const RESTART_ENTRIES: usize = 16;
/// Bytes before the body: stored length, raw length.
pub(super) const BLOCK_HEAD: usize = 8;
/// Compressed blocks must be smaller by this part, or they are stored as they are: decompression costs time on each read.
const COMPRESSION_GAIN_MIN: usize = 8;

/// No LZ4 block grows by more than this factor: what a stored block may make us allocate.
const LZ4_RATIO_MAX: usize = 256;

/// Checksum holds, contents do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<LengthError> for Malformed {
    fn from(_: LengthError) -> Self {
        Self
    }
}

/// Memory that reads use again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A decompressed block.
    raw: Vec<u8>,
    /// The tail of the entry under the cursor.
    tail: Vec<u8>,
}

/// A block under construction.
#[derive(Default)]
pub(super) struct BlockBuilder {
    body: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    base: u64,
    last_ord: u64,
    last_tail: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Order of the first entry.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    pub(super) fn last(&self) -> SstKey<'_> {
        SstKey {
            ord: self.last_ord,
            tail: &self.last_tail,
        }
    }

    /// Bytes of entries so far.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Bytes of body after one more record, at most.
    pub(super) fn bytes_with(&self, record: &Record<'_>) -> usize {
        BLOCK_HEAD + self.body.len() + entry_bytes_max(record) + 4 * (self.restarts.len() + 2)
    }

    /// Appends a record; the caller keeps the order.
    pub(super) fn push(&mut self, record: &Record<'_>) {
        if self.entries == 0 {
            self.base = record.key.ord;
        }
        let (ord_base, shared) = if self.entries.is_multiple_of(RESTART_ENTRIES) {
            self.restarts.push(len32(self.body.len()));
            (self.base, 0)
        } else {
            (self.last_ord, shared_len(&self.last_tail, record.key.tail))
        };
        put_entry(&mut self.body, record, ord_base, shared);
        self.entries += 1;
        self.last_ord = record.key.ord;
        self.last_tail.truncate(shared);
        self.last_tail.extend_from_slice(&record.key.tail[shared..]);
    }

    /// Appends the block, whole pages, to `out` and starts over. The last key stays known.
    pub(super) fn finish(&mut self, compress: bool, out: &mut Vec<u8>) {
        for &at in &self.restarts {
            put32(&mut self.body, at);
        }
        put32(&mut self.body, len32(self.restarts.len()));
        let packed = compress
            .then(|| lz4_flex::block::compress(&self.body))
            .filter(|packed| {
                let pages = |len: usize| (BLOCK_HEAD + len).div_ceil(PAGE_BYTES);
                // Only whole pages saved are bytes saved.
                pages(packed.len()) * COMPRESSION_GAIN_MIN <= pages(self.body.len()) * (COMPRESSION_GAIN_MIN - 1)
            });
        let stored = packed.as_deref().unwrap_or(&self.body);
        put32(out, len32(stored.len()));
        put32(out, len32(self.body.len()));
        out.extend_from_slice(stored);
        pad_to_page(out);
        self.body.clear();
        self.restarts.clear();
        self.entries = 0;
    }
}

pub(super) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Finds the body of a stored block: the range of `pages` where it lies, or `None` when it was decompressed into `raw`.
/// `pages` has its checksum.
pub(super) fn unpack(pages: &[u8], raw: &mut Vec<u8>) -> Result<Option<Range<usize>>, Malformed> {
    if pages.len() < BLOCK_HEAD {
        return Err(Malformed);
    }
    let (stored_len, raw_len) = (get32(pages, 0) as usize, get32(pages, 4) as usize);
    let stored = pages[BLOCK_HEAD..].get(..stored_len).ok_or(Malformed)?;
    if stored_len == raw_len {
        return Ok(Some(BLOCK_HEAD..BLOCK_HEAD + stored_len));
    }
    if raw_len > stored_len.saturating_mul(LZ4_RATIO_MAX) {
        return Err(Malformed);
    }
    raw.resize(raw_len, 0);
    let n = lz4_flex::block::decompress_into(stored, raw).map_err(|_| Malformed)?;
    if n == raw_len { Ok(None) } else { Err(Malformed) }
}

/// Where the parts of a body are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Where the entries end and the restarts begin.
    entries_end: usize,
    restarts: usize,
}

impl Layout {
    pub(super) fn of(body: &[u8]) -> Result<Self, Malformed> {
        let count_at = body.len().checked_sub(4).ok_or(Malformed)?;
        let restarts = get32(body, count_at) as usize;
        let table = restarts.checked_mul(4).ok_or(Malformed)?;
        let entries_end = count_at.checked_sub(table).ok_or(Malformed)?;
        if restarts == 0 {
            return Err(Malformed);
        }
        Ok(Self { entries_end, restarts })
    }

    fn restart(&self, body: &[u8], n: usize) -> usize {
        get32(body, self.entries_end + 4 * n) as usize
    }
}

/// Walks over the entries of a body that the caller keeps: places only, so that the caller can own both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    layout: Layout,
    /// Order of the block's first entry, from the index.
    base: u64,
    at: usize,
    /// Entries until the next one in full.
    until_restart: usize,
    /// Order of the entry before, if there was one: it may be of an earlier block.
    last_ord: Option<u64>,
}

impl Cursor {
    /// At the first entry. `last_ord`: of the entry before the block, whose tail then is what [`Cursor::next`] is given.
    pub(super) fn start(body: &[u8], base: u64, last_ord: Option<u64>) -> Result<Self, Malformed> {
        let layout = Layout::of(body)?;
        Ok(Self {
            layout,
            base,
            at: 0,
            until_restart: 0,
            last_ord,
        })
    }

    /// At the last full entry that is not behind `key`, or at the first entry.
    pub(super) fn seek(body: &[u8], base: u64, key: SstKey<'_>) -> Result<Self, Malformed> {
        let mut cursor = Self::start(body, base, None)?;
        let (mut low, mut high) = (0, cursor.layout.restarts);
        // Invariant: the full entry `low` is not behind the key (or is the first), `high` is behind it.
        while high - low > 1 {
            let mid = low.midpoint(high);
            let entry = cursor.full_entry(body, mid)?;
            let tail = &body[entry.tail.clone()];
            if (SstKey { ord: entry.ord, tail }) <= key {
                low = mid;
            } else {
                high = mid;
            }
        }
        cursor.at = cursor.layout.restart(body, low);
        Ok(cursor)
    }

    fn full_entry(&self, body: &[u8], n: usize) -> Result<EntryAt, Malformed> {
        let entries = &body[..self.layout.entries_end];
        let entry = take_entry(entries, self.layout.restart(body, n), self.base)?;
        if entry.shared == 0 { Ok(entry) } else { Err(Malformed) }
    }

    /// Order of the last entry.
    pub(super) fn last_ord(&self) -> Option<u64> {
        self.last_ord
    }

    /// The next entry, its tail in `tail`, which holds that of the entry before; `None` at the end. Entries that do not
    /// rise are refused: a merge of them would lose or revive records.
    pub(super) fn next(&mut self, body: &[u8], tail: &mut Vec<u8>) -> Result<Option<EntryAt>, Malformed> {
        let entries = &body[..self.layout.entries_end];
        if self.at >= entries.len() {
            return if self.at == entries.len() {
                Ok(None)
            } else {
                Err(Malformed)
            };
        }
        let full = self.until_restart == 0;
        let ord_base = if full {
            self.base
        } else {
            self.last_ord.ok_or(Malformed)?
        };
        let entry = take_entry(entries, self.at, ord_base)?;
        if entry.shared > tail.len() || (full && entry.shared != 0) {
            return Err(Malformed);
        }
        let rest = &entries[entry.tail.clone()];
        if self
            .last_ord
            .is_some_and(|last| (last, &tail[entry.shared..]) >= (entry.ord, rest))
        {
            return Err(Malformed);
        }
        tail.truncate(entry.shared);
        tail.extend_from_slice(rest);
        self.until_restart = if full { RESTART_ENTRIES } else { self.until_restart } - 1;
        self.at = entry.next;
        self.last_ord = Some(entry.ord);
        Ok(Some(entry))
    }
}

/// The record with this key, if the block has it. `pages` has its checksum.
pub(super) fn search<'a>(
    pages: &'a [u8],
    base: u64,
    key: SstKey<'_>,
    scratch: &'a mut Scratch,
) -> Result<Option<Record<'a>>, Malformed> {
    let body = match unpack(pages, &mut scratch.raw)? {
        Some(range) => &pages[range],
        None => &scratch.raw,
    };
    let mut cursor = Cursor::seek(body, base, key)?;
    scratch.tail.clear();
    while let Some(entry) = cursor.next(body, &mut scratch.tail)? {
        let found = SstKey {
            ord: entry.ord,
            tail: &scratch.tail,
        };
        if found >= key {
            return Ok((found == key).then(|| entry.record(body, &scratch.tail)));
        }
    }
    Ok(None)
}
