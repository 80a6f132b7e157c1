//! Where the blocks of a file are: first place, extent and checksum of each.
//!
//! Format: `docs/formats/sst.md`, "Index".

use super::bytes::{Short, Take, len32, put32, put64};
use super::record::SstKey;
use super::{PAGE_BYTES, PageRange};

/// First page of data: the header stands before it.
const DATA_PAGE: u32 = 1;

/// The blocks of a file, in order. 20 bytes of memory for each, and what tells the first elements apart.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockIndex {
    ords: Vec<u64>,
    /// Page behind the block.
    ends: Vec<u32>,
    crcs: Vec<u32>,
    /// Where the block's separator ends in `separators`.
    separator_ends: Vec<u32>,
    separators: Vec<u8>,
}

impl BlockIndex {
    pub(super) fn len(&self) -> usize {
        self.ords.len()
    }

    /// Appends a block of `pages` pages.
    pub(super) fn push(&mut self, ord: u64, separator: &[u8], pages: u32, crc: u32) {
        self.ords.push(ord);
        self.ends.push(self.end_page() + pages);
        self.crcs.push(crc);
        self.separators.extend_from_slice(separator);
        self.separator_ends.push(len32(self.separators.len()));
    }

    /// Page behind the last block.
    pub(super) fn end_page(&self) -> u32 {
        self.ends.last().copied().unwrap_or(DATA_PAGE)
    }

    /// Order of the block's first entry.
    pub(super) fn ord(&self, block: usize) -> u64 {
        self.ords[block]
    }

    pub(super) fn crc(&self, block: usize) -> u32 {
        self.crcs[block]
    }

    fn start_page(&self, block: usize) -> u32 {
        block.checked_sub(1).map_or(DATA_PAGE, |before| self.ends[before])
    }

    /// Where the block is.
    pub(super) fn range(&self, block: usize) -> PageRange {
        self.range_of(block, block)
    }

    /// Where the blocks from `first` to `last` are.
    pub(super) fn range_of(&self, first: usize, last: usize) -> PageRange {
        let (start, end) = (self.start_page(first), self.ends[last]);
        PageRange {
            offset: u64::from(start) * PAGE_BYTES as u64,
            bytes: (end - start) as usize * PAGE_BYTES,
        }
    }

    fn separator(&self, block: usize) -> &[u8] {
        let start = block.checked_sub(1).map_or(0, |before| self.separator_ends[before]);
        &self.separators[start as usize..self.separator_ends[block] as usize]
    }

    /// The block that holds `key` if any does: the last one that does not begin behind it.
    pub(super) fn find(&self, key: SstKey<'_>) -> Option<usize> {
        let smaller = self.ords.partition_point(|&ord| ord < key.ord);
        let equal = self.ords[smaller..].partition_point(|&ord| ord == key.ord);
        let (mut low, mut high) = (smaller, smaller + equal);
        while low < high {
            let mid = low.midpoint(high);
            if self.separator(mid) <= key.tail {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        low.checked_sub(1)
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.ords.capacity() * 8
            + (self.ends.capacity() + self.crcs.capacity() + self.separator_ends.capacity()) * 4
            + self.separators.capacity()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put32(out, len32(self.len()));
        for block in 0..self.len() {
            put64(out, self.ords[block]);
            put32(out, self.ends[block]);
            put32(out, self.crcs[block]);
            let separator = self.separator(block);
            put32(out, len32(separator.len()));
            out.extend_from_slice(separator);
        }
    }

    /// Reads the index of a file whose data ends before page `end_page`.
    pub(super) fn take(mut from: Take<'_>, end_page: u64) -> Result<Self, Short> {
        let mut index = Self::default();
        for _ in 0..from.u32()? {
            let (ord, end, crc, separator_len) = (from.u64()?, from.u32()?, from.u32()?, from.u32()? as usize);
            let separator = from.bytes(separator_len)?;
            let block = index.len();
            let rises = match block.checked_sub(1) {
                Some(before) => (index.ords[before], index.separator(before)) < (ord, separator),
                None => true,
            };
            if !rises || end <= index.end_page() {
                return Err(Short);
            }
            index.push(ord, separator, end - index.end_page(), crc);
        }
        if u64::from(index.end_page()) == end_page {
            Ok(index)
        } else {
            Err(Short)
        }
    }
}
