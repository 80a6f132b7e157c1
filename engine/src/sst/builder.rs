//! [`SstBuilder`]: records in order become the bytes of a sorted file, chunk by chunk.
//!
//! Memory stays bounded: one block, one filter's hashes, what was not yet taken, and index and filters of the file (about
//! 3 % of it). Nothing is written twice and nothing is patched later: the caller writes the chunks as they come.
//!
//! Format: `docs/formats/sst.md`.

use super::block::{BlockBuilder, shared_len};
use super::bytes::{get32, len32, pad_to_page};
use super::filter::FilterBuilder;
use super::frame::{Footer, SST_HEADER, Section, family_byte, put_page};
use super::index::BlockIndex;
use super::record::{Record, SstKey, fits_family};
use super::{Family, FileId, PAGE_BYTES, Props};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::LogIndex;

pub use super::filter::FilterBits;

/// Bytes of one chunk, but for the last: large enough for the device's full speed, small enough to be one slice of work.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a block of keys: one page, so that a cold key costs one read of the smallest size.
const KEYS_BLOCK_BYTES: usize = PAGE_BYTES;
/// Bytes of a block of elements, which are mostly read in ranges.
const ELEMENTS_BLOCK_BYTES: usize = 4 * PAGE_BYTES;
/// Bytes of a block before compression: several pages that may become one or two.
const COMPRESSED_BLOCK_BYTES: usize = 4 * PAGE_BYTES;
/// Largest tail and inline value together, in bytes: far below what the u32 lengths inside a block can say. Larger than
/// any key that `proto-max-bulk-len` lets in by default.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// How a file is built.
#[derive(Clone, Copy, Debug)]
pub struct SstOptions {
    /// The file's id.
    pub file: FileId,
    /// Which records it holds.
    pub family: Family,
    /// Sixteen for all but the lowest level: their keys are few, and a lookup asks many of them.
    pub filter_bits: FilterBits,
    /// LZ4 for blocks that get smaller by it.
    pub compress: bool,
    /// First log index whose effect may be inside.
    pub index_min: LogIndex,
    /// Last log index whose effect may be inside.
    pub index_max: LogIndex,
    /// Size from which [`SstBuilder::is_full`] says so, in bytes: 64 MiB keeps steps of compaction and snapshots small.
    pub file_bytes_target: u64,
}

/// Why a record was refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// Tail and inline value exceed what a block can hold.
    TooLarge {
        /// Bytes offered.
        bytes: usize,
        /// Bytes possible.
        bytes_max: usize,
    },
}

/// Consecutive bytes of the file, whole pages, to be written at `offset`.
#[derive(Debug)]
pub struct Chunk {
    /// Where, in bytes.
    pub offset: u64,
    /// What.
    pub buf: AlignedBuf,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The file's id.
    pub file: FileId,
    /// Its length, in bytes.
    pub file_bytes: u64,
    /// Checksum of its footer: it stands for the whole contents.
    pub footer_crc: u32,
    /// Of its bytes, filter, index and properties.
    pub meta_bytes: u64,
    /// Bytes of filter fingerprints.
    pub filter_bytes: u64,
    /// Data blocks.
    pub blocks: u32,
    /// What it holds.
    pub props: Props,
}

/// See the module's text.
pub struct SstBuilder {
    options: SstOptions,
    block: BlockBuilder,
    separator: Vec<u8>,
    index: BlockIndex,
    filter: FilterBuilder,
    props: Props,
    /// Bytes made, of which the first `taken` were taken.
    pending: Vec<u8>,
    taken: usize,
    /// Where in the file `pending` begins.
    pending_offset: u64,
    finished: bool,
}

impl SstBuilder {
    /// A file without records.
    pub fn new(options: SstOptions) -> Self {
        let mut pending = Vec::with_capacity(CHUNK_BYTES + ELEMENTS_BLOCK_BYTES);
        put_page(&mut pending, SST_HEADER, options.file, &[family_byte(options.family)]);
        Self {
            options,
            block: BlockBuilder::default(),
            separator: Vec::new(),
            index: BlockIndex::default(),
            filter: FilterBuilder::new(options.family, options.filter_bits),
            props: Props::new(options.index_min, options.index_max),
            pending,
            taken: 0,
            pending_offset: 0,
            finished: false,
        }
    }

    /// Appends a record behind all others. Copied; nothing is durable before the caller wrote and synced all chunks.
    ///
    /// # Errors
    /// [`PushError::TooLarge`]: put the value into a blob file.
    ///
    /// # Panics
    /// When the record is not behind the one before, or not of the file's family: no reader could make sense of the file.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), PushError> {
        let bytes = record.user_bytes();
        if bytes > RECORD_BYTES_MAX {
            return Err(PushError::TooLarge {
                bytes,
                bytes_max: RECORD_BYTES_MAX,
            });
        }
        assert!(!self.finished, "the file is finished");
        assert!(
            self.props.entries == 0 || record.key > self.block.last(),
            "records come in order, each key once"
        );
        assert!(
            fits_family(self.options.family, record),
            "the record belongs into a file of the other family"
        );
        if !self.block.is_empty()
            && self.block.bytes_with(record) > self.block_bytes()
            && self.may_end_before(record.key)
        {
            self.finish_block();
        }
        if self.block.is_empty() {
            self.set_separator(record.key);
        }
        self.block.push(record);
        self.filter.add(record.key);
        self.props.add(record);
        Ok(())
    }

    /// Whether a block, and a file of the same run, may begin with this key. Keys of one order stay together, so that the
    /// index needs no keys and a lookup never reads two blocks.
    pub fn may_end_before(&self, key: SstKey<'_>) -> bool {
        self.options.family == Family::Elements || key.ord != self.block.last().ord
    }

    fn block_bytes(&self) -> usize {
        match (self.options.compress, self.options.family) {
            (true, _) => COMPRESSED_BLOCK_BYTES,
            (false, Family::Keys) => KEYS_BLOCK_BYTES,
            (false, Family::Elements) => ELEMENTS_BLOCK_BYTES,
        }
    }

    /// The shortest tail that is behind the block before and not behind its own block. The first block of a file of elements
    /// has its whole first tail: a collection may have begun in the file before.
    fn set_separator(&mut self, key: SstKey<'_>) {
        self.separator.clear();
        let last = self.block.last();
        if self.props.entries == 0 {
            if self.options.family == Family::Elements {
                self.separator.extend_from_slice(key.tail);
            }
        } else if last.ord == key.ord {
            let len = shared_len(last.tail, key.tail) + 1;
            self.separator.extend_from_slice(&key.tail[..len]);
        }
    }

    fn finish_block(&mut self) {
        let (at, ord) = (self.pending.len(), self.block.base());
        self.block.finish(self.options.compress, &mut self.pending);
        let stored = &self.pending[at..];
        let pages = len32(stored.len() / PAGE_BYTES);
        self.index.push(ord, &self.separator, pages, crc32c::crc32c(stored));
        self.filter.block_done(len32(self.index.len()));
    }

    /// Bytes of the file if it ended now, about.
    pub fn file_bytes_estimate(&self) -> u64 {
        self.pending_offset
            + (self.pending.len() + self.block.bytes() + self.filter.bytes_estimate() + self.index.memory()) as u64
    }

    /// Whether another file should begin, as soon as [`SstBuilder::may_end_before`] allows it.
    pub fn is_full(&self) -> bool {
        self.file_bytes_estimate() >= self.options.file_bytes_target
    }

    /// Records so far.
    pub fn entries(&self) -> u64 {
        self.props.entries
    }

    /// The next bytes to be written: whole chunks, and after [`SstBuilder::finish`] the rest.
    pub fn take_chunk(&mut self) -> Option<Chunk> {
        let left = self.pending.len() - self.taken;
        if left == 0 || (left < CHUNK_BYTES && !self.finished) {
            return None;
        }
        let bytes = &self.pending[self.taken..][..left.min(CHUNK_BYTES)];
        let mut buf = AlignedBuf::with_capacity(bytes.len());
        buf.extend_from_slice(bytes);
        let offset = self.pending_offset + self.taken as u64;
        self.taken += buf.len();
        // Blocks are much smaller than a chunk most of the time, so that little is moved to the front.
        if self.pending.len() - self.taken < CHUNK_BYTES {
            self.pending.drain(..self.taken);
            self.pending_offset += self.taken as u64;
            self.taken = 0;
        }
        Some(Chunk { offset, buf })
    }

    /// Completes the file; [`SstBuilder::take_chunk`] then gives what remains.
    ///
    /// # Panics
    /// Without any record: an empty file would have no place in the order.
    pub fn finish(&mut self) -> Finished {
        assert!(
            self.props.entries > 0 && !self.finished,
            "a file holds records and ends once"
        );
        self.finish_block();
        let blocks = len32(self.index.len());
        let empty = FilterBuilder::new(self.options.family, self.options.filter_bits);
        let filter = std::mem::replace(&mut self.filter, empty).finish(blocks);
        let meta_at = self.pending.len();
        let index = &self.index;
        let props = &self.props;
        let filter_section = section(&mut self.pending, |out| filter.put(out));
        let index_section = section(&mut self.pending, |out| index.put(out));
        let props_section = section(&mut self.pending, |out| props.put(out));
        let meta_bytes = (self.pending.len() - meta_at) as u64;
        let file_bytes = self.pending_offset + (self.pending.len() + PAGE_BYTES) as u64;
        let footer = Footer {
            family: self.options.family,
            file_bytes,
            filter: filter_section,
            index: index_section,
            props: props_section,
        };
        footer.put(&mut self.pending, self.options.file);
        self.finished = true;
        Finished {
            file: self.options.file,
            file_bytes,
            footer_crc: get32(&self.pending, self.pending.len() - 4),
            meta_bytes,
            filter_bytes: filter.bytes() as u64,
            blocks,
            props: self.props.clone(),
        }
    }
}

fn section(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Section {
    let at = out.len();
    put(out);
    pad_to_page(out);
    Section {
        bytes: (out.len() - at) as u64,
        crc: crc32c::crc32c(&out[at..]),
    }
}
