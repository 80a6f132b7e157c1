//! [`RangeFetch`]: the names of keys that files have from an order on, for walks.

use super::effect::FileName;
use super::error::StoreError;
use super::fetch::{BlobValue, Progress};
use super::runs::Runs;
use crate::collections::{Collection, EncodedKind};
use crate::compact::{Merge, MergeOptions, MergeStep};
use crate::keyspace::{FileKey, FileKeys, Kind as ValueKind};
use crate::sst::{Body, Bounds, Family, Kind, Run, SstScan, blob_value};
use slotcore_rt::buf::AlignedBuf;
use std::rc::Rc;

/// Keys of one fetch at most, so that it is a short piece of work: a walk goes on with another.
const RANGE_KEYS_MAX: usize = 1024;
/// Bytes that one source reads at once, at least and at most: the first for short fetches, which should not read what they do
/// not want; the last is where larger pieces gain little.
const READ_BYTES: std::ops::RangeInclusive<usize> = 16 << 10..=256 << 10;

#[derive(Clone, Copy, Debug)]
enum Awaited {
    Nothing,
    Pages(usize),
    Blob(BlobValue),
}

/// See the module's text.
pub(super) struct RangeFetch {
    merge: Merge,
    awaited: Awaited,
    count: usize,
    clock_ms: u64,
    found: FileKeys,
    pub(super) epoch: u64,
    /// What is read, kept from being deleted.
    _runs: Rc<Runs>,
}

/// How much is read at once of a run for `count` keys of runs that have `all` records together: its share of them, and a
/// quarter more, as keys are spread like hashes.
fn read_bytes(run: &Run, all: u64, count: usize) -> usize {
    let share = run.bytes().saturating_mul(count as u64) / all.max(1);
    let bytes = usize::try_from(share + share / 4).unwrap_or(usize::MAX);
    bytes.clamp(*READ_BYTES.start(), *READ_BYTES.end())
}

impl RangeFetch {
    /// `count` keys from `from_ord` on, about. Those that have expired at `clock_ms` are left out.
    pub(super) fn new(runs: Rc<Runs>, epoch: u64, from_ord: u64, count: usize, clock_ms: u64) -> Self {
        let bounds = Bounds {
            from_ord,
            ..Bounds::default()
        };
        let count = count.clamp(1, RANGE_KEYS_MAX);
        let all: u64 = runs.runs.iter().map(Run::records).sum();
        let scan = |run| SstScan::new(run, bounds.clone(), read_bytes(run, all, count));
        let options = MergeOptions {
            family: Family::Keys,
            bottom: true,
            clock_ms,
        };
        Self {
            merge: Merge::new(runs.runs.iter().map(scan).collect(), options),
            awaited: Awaited::Nothing,
            count,
            clock_ms,
            found: FileKeys {
                from_ord,
                ..FileKeys::default()
            },
            epoch,
            _runs: runs,
        }
    }

    /// Goes on with the pages that were read.
    pub(super) fn advance(&mut self, pages: Option<AlignedBuf>) -> Result<Progress<FileKeys>, StoreError> {
        match (std::mem::replace(&mut self.awaited, Awaited::Nothing), pages) {
            (Awaited::Pages(source), Some(pages)) => self.merge.feed(source, pages)?,
            (Awaited::Blob(blob), Some(pages)) => {
                let kind = self.kind_of(blob.kind, blob_value(&blob.ptr, &pages)?)?;
                self.found(kind)?;
            }
            _ => {}
        }
        loop {
            match self.merge.step()? {
                MergeStep::Need { source, file, range } => {
                    self.awaited = Awaited::Pages(source);
                    return Ok(Progress::Need(FileName::sorted(file), range));
                }
                MergeStep::Pause => {}
                MergeStep::End => return Ok(Progress::Done(std::mem::take(&mut self.found))),
                MergeStep::Ready => {
                    let record = self.merge.record();
                    let ord = record.key.ord;
                    let keys = &self.found.keys;
                    if keys.len() >= self.count && keys.last().is_some_and(|last| last.ord != ord) {
                        self.found.to_ord = Some(ord);
                        return Ok(Progress::Done(std::mem::take(&mut self.found)));
                    }
                    let kind = match record.body {
                        // What a collection is stands in its bytes.
                        Body::Blob(kind @ Kind::Packed, ptr) => {
                            let expire_ms = record.expire_ms;
                            self.awaited = Awaited::Blob(BlobValue { ptr, kind, expire_ms });
                            return Ok(Progress::Need(FileName::blob(ptr.file), ptr.range()));
                        }
                        Body::Blob(..) => Some(ValueKind::Str),
                        Body::Inline(kind, bytes) => self.kind_of(kind, bytes)?,
                        Body::Tombstone | Body::DeadCollection => unreachable!("left out at the bottom"),
                    };
                    self.found(kind)?;
                }
            }
        }
    }

    /// Takes the record under the merge, unless it has no kind: then nobody can see it.
    fn found(&mut self, kind: Option<ValueKind>) -> Result<(), StoreError> {
        if let Some(kind) = kind {
            let record = self.merge.record();
            self.found.keys.push(FileKey {
                ord: record.key.ord,
                key: record.key.tail.into(),
                kind,
                expire_ms: record.expire_ms,
            });
        }
        Ok(self.merge.advance()?)
    }

    /// The type of a value; `None`: a hash whose fields have all expired.
    fn kind_of(&self, kind: Kind, bytes: &[u8]) -> Result<Option<ValueKind>, StoreError> {
        if kind == Kind::Str {
            return Ok(Some(ValueKind::Str));
        }
        let ord = self.merge.record().key.ord;
        let value_error = |error| StoreError::Value { ord, error };
        Ok(match EncodedKind::of(bytes) {
            Some(EncodedKind::List) => Some(ValueKind::List),
            Some(EncodedKind::Set) => Some(ValueKind::Set),
            Some(EncodedKind::ZSet) => Some(ValueKind::ZSet),
            Some(EncodedKind::Stream) => Some(ValueKind::Stream),
            Some(EncodedKind::Hash { expires: false }) => Some(ValueKind::Hash),
            Some(EncodedKind::Hash { expires: true }) => match Collection::decode(bytes).map_err(value_error)? {
                (Collection::Hash(hash), _) if hash.is_spent(self.clock_ms) => None,
                _ => Some(ValueKind::Hash),
            },
            None => {
                return Err(value_error(
                    Collection::decode(bytes)
                        .err()
                        .unwrap_or(crate::collections::DecodeError::Truncated),
                ));
            }
        })
    }
}
