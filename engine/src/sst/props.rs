//! [`Props`]: what is known of a file's contents without reading them.
//!
//! Format: `docs/formats/sst.md`, "Properties".

use super::bytes::{Short, Take, len32, put32, put64};
use super::{BlobPtr, Body, FileId, Record};
use slotcore_rt::ids::LogIndex;

/// What a sorted file needs of one blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRefs {
    /// The blob file.
    pub file: FileId,
    /// Values referred to.
    pub values: u64,
    /// Bytes of these values. What a blob file holds beyond the sum over all live sorted files is garbage.
    pub bytes: u64,
}

/// See the module's text. Byte counts are of tails and inline values, without any overhead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Props {
    /// Records.
    pub entries: u64,
    /// Of these, deletions and marks of dead collections.
    pub tombstones: u64,
    /// Of these, records with an expiry.
    pub expiring: u64,
    /// Bytes of all records.
    pub user_bytes: u64,
    /// Bytes of records that say that something is gone: dead weight once nothing older is below them.
    pub tombstone_bytes: u64,
    /// Bytes of records with an expiry, their blobs included.
    pub expiring_bytes: u64,
    /// Smallest order.
    pub ord_min: u64,
    /// Largest order.
    pub ord_max: u64,
    /// First log index whose effect may be inside.
    pub index_min: LogIndex,
    /// Last log index whose effect may be inside.
    pub index_max: LogIndex,
    /// Earliest expiry, in milliseconds since 1970; `u64::MAX` when there is none.
    pub expire_min_ms: u64,
    /// Latest expiry; 0 when there is none.
    pub expire_max_ms: u64,
    /// Blob files referred to, by file.
    pub blobs: Vec<BlobRefs>,
}

impl Props {
    pub(super) fn new(index_min: LogIndex, index_max: LogIndex) -> Self {
        Self {
            index_min,
            index_max,
            ord_min: u64::MAX,
            expire_min_ms: u64::MAX,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, record: &Record<'_>) {
        let bytes = record.user_bytes() as u64;
        self.entries += 1;
        self.user_bytes += bytes;
        self.ord_min = self.ord_min.min(record.key.ord);
        self.ord_max = self.ord_max.max(record.key.ord);
        let mut blob_bytes = 0;
        match record.body {
            Body::Tombstone | Body::DeadCollection => {
                self.tombstones += 1;
                self.tombstone_bytes += bytes;
            }
            Body::Blob(_, ptr) => {
                blob_bytes = u64::from(ptr.len);
                self.add_blob(&ptr);
            }
            Body::Inline(..) => {}
        }
        if let Some(at) = record.expire_ms {
            self.expiring += 1;
            self.expiring_bytes += bytes + blob_bytes;
            self.expire_min_ms = self.expire_min_ms.min(at);
            self.expire_max_ms = self.expire_max_ms.max(at);
        }
    }

    fn add_blob(&mut self, ptr: &BlobPtr) {
        let at = match self.blobs.binary_search_by_key(&ptr.file, |refs| refs.file) {
            Ok(at) => at,
            Err(at) => {
                let (file, values, bytes) = (ptr.file, 0, 0);
                self.blobs.insert(at, BlobRefs { file, values, bytes });
                at
            }
        };
        self.blobs[at].values += 1;
        self.blobs[at].bytes += u64::from(ptr.len);
    }

    /// Bytes that have expired at this moment of the group's clock, about: expiries are taken to be spread evenly.
    pub fn expired_bytes_estimate(&self, clock_ms: u64) -> u64 {
        if self.expiring == 0 || clock_ms < self.expire_min_ms {
            return 0;
        }
        if clock_ms >= self.expire_max_ms {
            return self.expiring_bytes;
        }
        let (past, span) = (clock_ms - self.expire_min_ms, self.expire_max_ms - self.expire_min_ms);
        (u128::from(self.expiring_bytes) * u128::from(past) / u128::from(span)) as u64
    }

    /// Appends the properties.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for n in [
            self.entries,
            self.tombstones,
            self.expiring,
            self.user_bytes,
            self.tombstone_bytes,
            self.expiring_bytes,
            self.ord_min,
            self.ord_max,
            self.index_min.0,
            self.index_max.0,
            self.expire_min_ms,
            self.expire_max_ms,
        ] {
            put64(out, n);
        }
        put32(out, len32(self.blobs.len()));
        for refs in &self.blobs {
            put64(out, refs.file.0);
            put64(out, refs.values);
            put64(out, refs.bytes);
        }
    }

    /// Takes what [`Props::put`] appended.
    pub(crate) fn take(from: &mut Take<'_>) -> Result<Self, Short> {
        let mut props = Self {
            entries: from.u64()?,
            tombstones: from.u64()?,
            expiring: from.u64()?,
            user_bytes: from.u64()?,
            tombstone_bytes: from.u64()?,
            expiring_bytes: from.u64()?,
            ord_min: from.u64()?,
            ord_max: from.u64()?,
            index_min: LogIndex(from.u64()?),
            index_max: LogIndex(from.u64()?),
            expire_min_ms: from.u64()?,
            expire_max_ms: from.u64()?,
            blobs: Vec::new(),
        };
        for _ in 0..from.u32()? {
            let (file, values, bytes) = (FileId(from.u64()?), from.u64()?, from.u64()?);
            props.blobs.push(BlobRefs { file, values, bytes });
        }
        Ok(props)
    }
}
