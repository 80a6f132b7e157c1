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

    /// Whether some block does not begin behind `key`.
    pub(super) fn begins_before(&self, key: SstKey<'_>) -> bool {
        self.ords
            .first()
            .is_some_and(|&first| first < key.ord || first == key.ord && self.separator(0) <= key.tail)
    }

    /// How many blocks begin before `ord`. Orders are hashes, spread evenly: where it is in the range of all tells about
    /// where it is among the blocks, and from there steps grow until they pass it.
    fn smaller_than(&self, ord: u64) -> usize {
        let ords = &self.ords[..];
        let (Some(&first), Some(&last)) = (ords.first(), ords.last()) else {
            return 0;
        };
        if ord <= first {
            return 0;
        }
        if ord > last {
            return ords.len();
        }
        let guess = u128::from(ord - first) * (ords.len() - 1) as u128 / u128::from(last - first);
        let guess = guess as usize;
        let (mut low, mut high, mut step) = (guess, guess, 1);
        // All before `low` are smaller, none from `high` on.
        while low > 0 && ords[low - 1] >= ord {
            high = low - 1;
            low = low.saturating_sub(step);
            step *= 2;
        }
        step = 1;
        while high < ords.len() && ords[high] < ord {
            low = high + 1;
            high = (high + step).min(ords.len());
            step *= 2;
        }
        low + ords[low..high].partition_point(|&other| other < ord)
    }

    /// The block that holds `key` if any does: the last one that does not begin behind it.
    pub(super) fn find(&self, key: SstKey<'_>) -> Option<usize> {
        let smaller = self.smaller_than(key.ord);
        // Of a collection that fills blocks there are many; of keys hardly ever one.
        let equal = match self.ords.get(smaller) {
            Some(&ord) if ord == key.ord => self.ords[smaller..].partition_point(|&ord| ord == key.ord),
            _ => 0,
        };
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

#[cfg(test)]
mod tests {
    use slotcore_rt::rng::SeededRng;

    use super::*;

    #[test]
    fn what_is_smaller_is_counted_however_orders_are_spread() {
        let mut rng = SeededRng::new(5);
        for round in 0..400u64 {
            let len = rng.below(200);
            // Evenly, in a corner, with the same ones often, at both ends.
            let mut ords: Vec<u64> = (0..len)
                .map(|_| match round % 4 {
                    0 => rng.next_u64(),
                    1 => rng.next_u64() >> rng.below(64),
                    2 => rng.below(10) << 40,
                    _ => [0, 1, u64::MAX - 1, u64::MAX][rng.below(4) as usize],
                })
                .collect();
            ords.sort_unstable();
            let mut index = BlockIndex::default();
            ords.iter()
                .enumerate()
                .for_each(|(n, &ord)| index.push(ord, &n.to_be_bytes(), 1, 0));
            let near = |ord: &u64| [ord.wrapping_sub(1), *ord, ord.wrapping_add(1)];
            for ord in ords.iter().flat_map(near).chain([0, u64::MAX, rng.next_u64()]) {
                let smaller = ords.partition_point(|&other| other < ord);
                assert_eq!(index.smaller_than(ord), smaller, "{ord} in {ords:?}");
                let key = SstKey { ord, tail: &[0xff; 9] };
                let upto = ords.partition_point(|&other| other <= ord);
                assert_eq!(index.find(key), upto.checked_sub(1), "{ord} in {ords:?}");
                assert_eq!(index.begins_before(key), upto > 0);
            }
        }
    }
}
