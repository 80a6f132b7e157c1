//! Which keys a file may hold: binary fuse filters over consecutive blocks.
//!
//! One filter for about [`FILTER_PARTITION_KEYS`] keys rather than one for the file. So building takes short steps (a
//! filter of a million keys would hold up a core for tens of milliseconds), the builder keeps few hashes, and a lookup
//! touches three cache lines within a few kilobytes. The price: 11 bits a key instead of 9 at 8 bits of fingerprint.
//!
//! Format: `docs/formats/sst.md`, "Filter".

use super::bytes::{Short, Take, len32, put32, put64};
use super::record::{ELEMENT_HEAD, ELEMENT_MEMBER};
use super::{Family, SstKey};
use xorf::{BinaryFuse8, BinaryFuse16, Descriptor, Filter as _};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys after which a filter is built at the next end of a block: about 100 us of work.
pub const FILTER_PARTITION_KEYS: usize = 2048;

/// Bits of a fingerprint, which decide how often a filter is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterBits {
    /// One wrong answer in 256; about 11 bits a key.
    Eight,
    /// One wrong answer in 65,536; about 22 bits a key.
    Sixteen,
}

/// Hash under which a key is found. `ord` is a hash of the whole key already.
pub(super) fn lookup_hash(family: Family, key: SstKey<'_>) -> u64 {
    match family {
        Family::Keys => key.ord,
        Family::Elements if key.tail.get(8) == Some(&ELEMENT_MEMBER) => xxh3_64_with_seed(key.tail, key.ord),
        Family::Elements => collection_hash(key),
    }
}

/// Hash under which anything of a collection is found.
pub(super) fn collection_hash(key: SstKey<'_>) -> u64 {
    xxh3_64_with_seed(&key.tail[..key.tail.len().min(ELEMENT_HEAD - 1)], key.ord)
}

#[derive(Clone, Debug)]
enum Fuse {
    Eight(BinaryFuse8),
    Sixteen(BinaryFuse16),
    /// Could not be built: everything may be there.
    Unknown,
}

impl Fuse {
    fn build(bits: FilterBits, hashes: &[u64]) -> Self {
        let built = match bits {
            FilterBits::Eight => BinaryFuse8::try_from(hashes).map(Fuse::Eight),
            FilterBits::Sixteen => BinaryFuse16::try_from(hashes).map(Fuse::Sixteen),
        };
        built.unwrap_or(Fuse::Unknown)
    }

    fn contains(&self, hash: u64) -> bool {
        match self {
            Fuse::Eight(f) => f.contains(&hash),
            Fuse::Sixteen(f) => f.contains(&hash),
            Fuse::Unknown => true,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Fuse::Eight(f) => f.fingerprints.len(),
            Fuse::Sixteen(f) => 2 * f.fingerprints.len(),
            Fuse::Unknown => 0,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (bits, descriptor) = match self {
            Fuse::Eight(f) => (8, Some(&f.descriptor)),
            Fuse::Sixteen(f) => (16, Some(&f.descriptor)),
            Fuse::Unknown => (0, None),
        };
        put32(out, bits);
        put32(out, len32(self.bytes()));
        let Some(d) = descriptor else { return };
        put64(out, d.seed);
        put32(out, d.segment_length);
        put32(out, d.segment_count_length);
        match self {
            Fuse::Eight(f) => out.extend_from_slice(&f.fingerprints),
            Fuse::Sixteen(f) => f
                .fingerprints
                .iter()
                .for_each(|print| out.extend_from_slice(&print.to_le_bytes())),
            Fuse::Unknown => {}
        }
    }

    fn take(from: &mut Take<'_>) -> Result<Self, Short> {
        let (bits, bytes) = (from.u32()?, from.u32()? as usize);
        if bits == 0 {
            return if bytes == 0 { Ok(Fuse::Unknown) } else { Err(Short) };
        }
        let seed = from.u64()?;
        let (segment_length, segment_count_length) = (from.u32()?, from.u32()?);
        let descriptor = Descriptor {
            seed,
            segment_length,
            segment_length_mask: segment_length.wrapping_sub(1),
            segment_count_length,
        };
        let prints = from.bytes(bytes)?;
        // A lookup goes to a place below `segment_count_length`, and to one in each of the two segments behind it: with
        // these checks it stays inside whatever the bytes are.
        let places = u64::from(segment_count_length) + 2 * u64::from(segment_length);
        let sound = segment_length.is_power_of_two()
            && segment_count_length.is_multiple_of(segment_length)
            && segment_count_length > 0
            && places * u64::from(bits / 8) == bytes as u64;
        match bits {
            8 if sound => Ok(Fuse::Eight(BinaryFuse8 {
                descriptor,
                fingerprints: prints.into(),
            })),
            16 if sound => Ok(Fuse::Sixteen(BinaryFuse16 {
                descriptor,
                fingerprints: prints.as_chunks().0.iter().map(|p| u16::from_le_bytes(*p)).collect(),
            })),
            _ => Err(Short),
        }
    }
}

/// The filters of a file, of which each covers the blocks up to the next one's first.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    first_blocks: Vec<u32>,
    fuses: Vec<Fuse>,
}

impl Filter {
    /// Whether something with this hash may be in the block.
    pub(super) fn may_hold(&self, block: usize, hash: u64) -> bool {
        let at = self.first_blocks.partition_point(|&first| first as usize <= block);
        // Filters cover all blocks: `take` refuses others.
        self.fuses[at - 1].contains(hash)
    }

    /// Bytes of fingerprints.
    pub(super) fn bytes(&self) -> usize {
        self.fuses.iter().map(Fuse::bytes).sum()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put32(out, len32(self.fuses.len()));
        for (&first, fuse) in self.first_blocks.iter().zip(&self.fuses) {
            put32(out, first);
            fuse.put(out);
        }
    }

    /// Reads the filters of a file with `blocks` blocks.
    pub(super) fn take(mut from: Take<'_>, blocks: usize) -> Result<Self, Short> {
        let mut filter = Self::default();
        for n in 0..from.u32()? {
            let first = from.u32()?;
            let follows = match filter.first_blocks.last() {
                Some(&last) => first > last,
                None => first == 0,
            };
            if !follows || first as usize >= blocks || n as usize >= blocks {
                return Err(Short);
            }
            filter.first_blocks.push(first);
            filter.fuses.push(Fuse::take(&mut from)?);
        }
        if filter.fuses.is_empty() == (blocks == 0) {
            Ok(filter)
        } else {
            Err(Short)
        }
    }
}

/// Collects hashes and builds the filters.
#[derive(Debug)]
pub(super) struct FilterBuilder {
    family: Family,
    bits: FilterBits,
    hashes: Vec<u64>,
    /// First block that the hashes belong to.
    first_block: u32,
    last_collection: Option<u64>,
    filter: Filter,
}

impl FilterBuilder {
    pub(super) fn new(family: Family, bits: FilterBits) -> Self {
        Self {
            family,
            bits,
            hashes: Vec::new(),
            first_block: 0,
            last_collection: None,
            filter: Filter::default(),
        }
    }

    pub(super) fn add(&mut self, key: SstKey<'_>) {
        if self.family == Family::Elements {
            let collection = collection_hash(key);
            if self.last_collection != Some(collection) {
                self.hashes.push(collection);
                self.last_collection = Some(collection);
            }
            if key.tail.get(8) != Some(&ELEMENT_MEMBER) {
                return;
            }
        }
        self.hashes.push(lookup_hash(self.family, key));
    }

    /// A block ended; `blocks` of them stand in the file.
    pub(super) fn block_done(&mut self, blocks: u32) {
        if self.hashes.len() >= FILTER_PARTITION_KEYS {
            self.build(blocks);
        }
    }

    fn build(&mut self, blocks: u32) {
        if self.first_block == blocks {
            return;
        }
        // The construction wants distinct hashes.
        self.hashes.sort_unstable();
        self.hashes.dedup();
        self.filter.first_blocks.push(self.first_block);
        self.filter.fuses.push(Fuse::build(self.bits, &self.hashes));
        self.hashes.clear();
        self.last_collection = None;
        self.first_block = blocks;
    }

    pub(super) fn finish(mut self, blocks: u32) -> Filter {
        self.build(blocks);
        self.filter
    }

    /// Bytes the section will take, at most and about.
    pub(super) fn bytes_estimate(&self) -> usize {
        let per_key = match self.bits {
            FilterBits::Eight => 2,
            FilterBits::Sixteen => 4,
        };
        self.filter.bytes() + self.hashes.len() * per_key
    }
}
