//! Sorted files: where records live that do not fit the memory, each file written once and never changed.
//!
//! Sans-I/O throughout. [`SstBuilder`] turns records in order into aligned chunks for the caller to write; [`Opening`],
//! [`Lookup`] and [`SstScan`] say which pages they need next and take them when they were read. Everything a reader is
//! handed is checksummed before it is believed, and the checksum of a block lies outside the block, so that a page that
//! was written elsewhere is found as well.
//!
//! ```text
//! SstFile = header page | data blocks … | filter | index | properties | footer page       all multiples of a page
//! ```
//! A *run* is a list of files that follow one another in the order of keys and are of one age: one source of a lookup or a
//! merge. Newer runs win over older ones; inside a run no key stands twice.
//!
//! Formats: `docs/formats/sst.md`, `docs/formats/blob.md`.

mod blob;
mod blob_pieces;
mod blob_scan;
mod block;
mod builder;
pub(crate) mod bytes;
mod error;
mod filter;
mod frame;
mod index;
mod lookup;
mod props;
mod reader;
mod record;
mod scan;
mod visit;

pub use blob::{BLOB_VALUE_BYTES_MAX, BlobBuilder, BlobCheck, blob_value};
pub use blob_pieces::BlobPieces;
pub use blob_scan::BlobScan;
pub use block::Scratch;
pub use builder::{CHUNK_BYTES, Chunk, FilterBits, Finished, PushError, SstBuilder, SstOptions};
pub use error::{Damage, SstError};
pub use filter::FILTER_PARTITION_KEYS;
pub use lookup::{Lookup, LookupStep, Run, RunFile};
pub use props::{BlobRefs, Props};
pub use reader::{Opening, PageRange, SstReader};
pub use record::{BlobPtr, Body, Element, Family, Kind, Record, SstKey};
pub use scan::{Bounds, ScanStep, SstScan};

/// Unit of reading and writing, in bytes: the largest logical block size of common devices.
pub const PAGE_BYTES: usize = 4096;

/// A sorted file or blob file of one core, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}
