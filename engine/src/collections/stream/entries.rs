//! [`Entries`]: the entries of a stream, in the order of their ids: a tree of chunks.
//!
//! Entries are added behind the last one only. A chunk is known by its base, the id of the entry it was made for; all ids in
//! it lie between its base and the next chunk's. No chunk is without entries.

use super::chunk::{Chunk, Entry, Fields};
use super::id::StreamId;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Limits of one chunk. They decide what a trim "about" a length removes, so all replicas must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Entries, the deleted ones included; 0 for any number. Redis's `stream-node-max-entries`.
    pub entries: u32,
    /// Bytes, at least one entry; 0 for the most there may be. Redis's `stream-node-max-bytes`.
    pub bytes: u32,
}

impl Default for NodeLimits {
    fn default() -> Self {
        NodeLimits {
            entries: 100,
            bytes: 4096,
        }
    }
}

/// What is counted for a chunk beside its bytes: its share of the tree.
const CHUNK_OVERHEAD_BYTES: usize = (size_of::<StreamId>() + size_of::<Chunk>()) * 3 / 2;

/// What a trim removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// The first entries, until this many are left.
    Len(u64),
    /// The entries before this id.
    MinId(StreamId),
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    chunks: BTreeMap<StreamId, Chunk>,
    len: usize,
    /// Bytes allocated by the chunks.
    chunk_bytes: usize,
}

impl Entries {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of chunks.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.chunk_bytes + self.chunks.len() * CHUNK_OVERHEAD_BYTES
    }

    /// Adds an entry; `id` must be higher than that of any entry there ever was.
    pub(super) fn push<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        limits: NodeLimits,
    ) {
        let payload: usize = pairs.clone().map(|(name, value)| name.len() + value.len()).sum();
        self.len += 1;
        if let Some(mut last) = self.chunks.last_entry() {
            let base = *last.key();
            let chunk = last.get_mut();
            debug_assert!(chunk.ends(base).1 < id);
            let before = chunk.memory();
            let full = limits.entries != 0 && chunk.count + chunk.deleted >= limits.entries;
            let bytes_max = if limits.bytes == 0 { u32::MAX } else { limits.bytes };
            let fits = chunk.len() + payload < bytes_max as usize;
            if fits && !full {
                chunk.push(base, id, pairs);
                self.chunk_bytes += chunk.memory() - before;
                return;
            }
            chunk.seal();
            self.chunk_bytes -= before - chunk.memory();
        }
        let mut chunk = Chunk::new(pairs.clone());
        chunk.push(id, id, pairs);
        self.chunk_bytes += chunk.memory();
        self.chunks.insert(id, chunk);
    }

    /// The chunk in which `id` is, or would be.
    fn chunk_of(&self, id: StreamId) -> Option<(StreamId, &Chunk)> {
        self.chunks.range(..=id).next_back().map(|(base, chunk)| (*base, chunk))
    }

    /// The chunks that may hold ids in `from..=to`.
    fn chunks_in(&self, from: StreamId, to: StreamId) -> impl DoubleEndedIterator<Item = (StreamId, &Chunk)> {
        let first = self.chunk_of(from).map_or(from, |(base, _)| base);
        let bounds = if first <= to {
            (Bound::Included(first), Bound::Included(to))
        } else {
            (Bound::Excluded(StreamId::MAX), Bound::Unbounded)
        };
        self.chunks.range(bounds).map(|(base, chunk)| (*base, chunk))
    }

    /// The entry `id`.
    pub fn get(&self, id: StreamId) -> Option<Fields<'_>> {
        let (base, chunk) = self.chunk_of(id)?;
        let entry = chunk.entries_from(base, id).next()?;
        (entry.id == id).then_some(entry.fields)
    }

    /// The lowest id.
    pub fn first_id(&self) -> Option<StreamId> {
        let (base, chunk) = self.chunks.first_key_value()?;
        Some(chunk.ends(*base).0)
    }

    /// The highest id.
    pub fn last_id(&self) -> Option<StreamId> {
        let (base, chunk) = self.chunks.last_key_value()?;
        Some(chunk.ends(*base).1)
    }

    /// How many entries lie in `from..=to`, at most `limit`. Constant time for each chunk.
    pub fn count(&self, from: StreamId, to: StreamId, limit: usize) -> usize {
        let (mut count, mut chunks) = (0, self.chunks_in(from, to).peekable());
        while let Some((base, chunk)) = chunks.next() {
            // All but the first and the last chunk lie in the range as a whole.
            count += if base >= from && chunks.peek().is_some() {
                chunk.count as usize
            } else {
                chunk.count_in(base, from, to)
            };
            if count >= limit {
                return limit;
            }
        }
        count
    }

    /// Hands the entries in `from..=to` to `f`, at most `limit`; from the last one if `reverse`.
    pub fn visit(
        &self,
        (from, to): (StreamId, StreamId),
        reverse: bool,
        limit: usize,
        mut f: impl FnMut(StreamId, Fields<'_>),
    ) {
        let mut left = limit;
        let mut hand = |e: &Entry<'_>| {
            if left > 0 {
                left -= 1;
                f(e.id, e.fields);
            }
            left > 0
        };
        if reverse {
            for (base, chunk) in self.chunks_in(from, to).rev() {
                let inside = chunk.entries_from(base, from).take_while(|e| e.id <= to);
                let inside: Vec<_> = inside.collect();
                if !inside.iter().rev().all(&mut hand) {
                    return;
                }
            }
        } else {
            for (base, chunk) in self.chunks_in(from, to) {
                let mut inside = chunk.entries_from(base, from).take_while(|e| e.id <= to);
                if !inside.all(|e| hand(&e)) {
                    return;
                }
            }
        }
    }

    /// Removes the entry `id`; says whether it was there.
    pub(super) fn remove(&mut self, id: StreamId) -> bool {
        let Some((base, chunk)) = self.chunks.range_mut(..=id).next_back() else {
            return false;
        };
        if !chunk.remove(*base, id) {
            return false;
        }
        if chunk.count == 0 {
            let base = *base;
            self.chunk_bytes -= chunk.memory();
            self.chunks.remove(&base);
        }
        self.len -= 1;
        true
    }

    /// Removes the first entries. If `whole`, only whole chunks; and nothing of a chunk with which more than `limit` entries
    /// would be removed. Returns how many were.
    pub(super) fn trim(&mut self, trim: Trim, whole: bool, limit: u64) -> u64 {
        let mut removed = 0;
        while let Some(mut first) = self.chunks.first_entry() {
            let (base, chunk) = (*first.key(), first.get_mut());
            let (count, len) = (u64::from(chunk.count), self.len as u64);
            if matches!(trim, Trim::Len(keep) if len <= keep) || removed + count > limit {
                break;
            }
            let doomed = match trim {
                Trim::Len(keep) => len - count >= keep,
                Trim::MinId(id) => chunk.ends(base).1 < id,
            };
            if doomed {
                self.chunk_bytes -= chunk.memory();
                self.len -= count as usize;
                removed += count;
                first.remove();
                continue;
            }
            if !whole {
                let cut = match trim {
                    Trim::Len(keep) => chunk.remove_first(base, (len - keep) as usize, |_| true),
                    Trim::MinId(id) => chunk.remove_first(base, usize::MAX, |entry| entry < id),
                };
                self.len -= cut;
                removed += cut as u64;
            }
            break;
        }
        removed
    }

    /// Hands each chunk to `f`: its base, how many entries were deleted from it, and its entries.
    pub(crate) fn for_each_chunk(&self, mut f: impl FnMut(StreamId, u32, &[(StreamId, Fields<'_>)])) {
        for (base, chunk) in &self.chunks {
            let entries: Vec<_> = chunk.entries(*base).map(|e| (e.id, e.fields)).collect();
            f(*base, chunk.deleted, &entries);
        }
    }

    /// Begins a chunk behind all others, with the fields it shares; entries follow by [`Entries::push_to_chunk`].
    pub(super) fn push_chunk<'a>(
        &mut self,
        base: StreamId,
        deleted: u32,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        let mut chunk = Chunk::new(fields);
        chunk.deleted = deleted;
        self.chunk_bytes += chunk.memory();
        self.chunks.insert(base, chunk);
    }

    /// Adds an entry to the last chunk, however full; its id must be higher than all.
    pub(super) fn push_to_chunk<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) {
        let mut last = self.chunks.last_entry().expect("a chunk was begun");
        let base = *last.key();
        let before = last.get().memory();
        last.get_mut().push(base, id, pairs);
        self.chunk_bytes += last.get().memory() - before;
        self.len += 1;
    }

    /// Drops chunks with about `budget` entries, the last first. Returns how many entries are left.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget.max(1) {
            let Some((_, chunk)) = self.chunks.pop_last() else {
                break;
            };
            freed += chunk.count as usize;
            self.len -= chunk.count as usize;
            self.chunk_bytes -= chunk.memory();
        }
        self.len
    }
}
