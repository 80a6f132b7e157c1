//! [`Stream`]: a stream: entries in the order of their ids, and groups of consumers.
//!
//! A stream stays when its last entry is gone: it remembers its last id, and its groups.

mod chunk;
mod codec;
mod entries;
mod group;
mod id;
#[cfg(test)]
mod tests;

pub use chunk::Fields;
pub use entries::{Entries, NodeLimits, Trim};
pub use group::{Consumer, ConsumerNo, Group, Pending};
pub use id::{ID_TEXT_BYTES_MAX, StreamId};

use super::Elements;
use crate::digest::Digest;
use std::collections::BTreeMap;

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    entries: Entries,
    /// The highest id that was given out, or set.
    pub last_id: StreamId,
    /// The highest id that was deleted; `0-0` for none.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Bytes of all groups.
    group_bytes: usize,
}

impl Stream {
    /// The entries.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Adds an entry; `id` must be higher than the last one. Fields and values come in pairs, at least one.
    pub fn push<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        limits: NodeLimits,
    ) {
        debug_assert!(id > self.last_id);
        self.entries.push(id, pairs, limits);
        self.entries_added += 1;
        self.last_id = id;
    }

    /// Removes an entry; says whether it was there. It stays pending where it is.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let removed = self.entries.remove(id);
        if removed {
            self.max_deleted_id = self.max_deleted_id.max(id);
        }
        removed
    }

    /// Removes the first entries; see [`Entries::trim`]. Returns how many.
    pub fn trim(&mut self, trim: Trim, whole: bool, limit: u64) -> u64 {
        self.entries.trim(trim, whole, limit)
    }

    /// Begins a chunk behind all others, for entries that mostly have these fields; `deleted` entries of it are gone.
    pub(crate) fn begin_chunk<'a>(
        &mut self,
        base: StreamId,
        deleted: u32,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        self.entries.push_chunk(base, deleted, fields);
    }

    /// Adds an entry to the chunk that was begun last; its id must be at least the chunk's base and higher than all others.
    /// Counts and last id are the caller's.
    pub(crate) fn push_to_chunk<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) {
        self.entries.push_to_chunk(id, pairs);
    }

    /// Number of groups.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The groups, in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (name.as_ref(), group))
    }

    /// The group of that name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Lets `f` change the group of that name, beside the entries; `None` when there is no such group.
    pub fn with_group<T>(&mut self, name: &[u8], f: impl FnOnce(&mut Group, &Reading<'_>) -> T) -> Option<T> {
        let reading = Reading {
            entries: &self.entries,
            last_id: self.last_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        };
        let group = self.groups.get_mut(name)?;
        let before = group.memory();
        let result = f(group, &reading);
        self.group_bytes = self.group_bytes - before + group.memory();
        Some(result)
    }

    /// Adds a group; `false` when the name is taken.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.group_bytes += name.len() + group.memory();
        self.groups.insert(name.into(), group);
        true
    }

    /// Takes a group out. What comes back is a stream that holds nothing else, so that a large one is freed in slices.
    pub fn take_group(&mut self, name: &[u8]) -> Option<Stream> {
        let group = self.groups.remove(name)?;
        self.group_bytes -= name.len() + group.memory();
        let mut rest = Stream::default();
        rest.add_group(name, group);
        Some(rest)
    }

    /// What a reader needs to know of the stream.
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            entries: &self.entries,
            last_id: self.last_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        }
    }
}

/// A stream while one of its groups is being changed.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// See [`Stream::entries`].
    pub entries: &'a Entries,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

impl Reading<'_> {
    /// Whether an entry at or behind `id` may have been deleted.
    pub fn may_miss_entries_from(&self, id: StreamId) -> bool {
        let first = self.entries.first_id();
        first.is_some_and(|first| {
            self.max_deleted_id != StreamId::MIN && first <= self.max_deleted_id && id <= self.max_deleted_id
        })
    }

    /// How many entries the stream's history had up to `id`, if that can be told: at both ends, and before a first entry
    /// that nothing was deleted behind.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let len = self.entries.len() as u64;
        if (len == 0 && id <= self.last_id) || id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id {
            return None;
        }
        let first = self.entries.first_id().unwrap_or_default();
        if self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= first {
            return None;
        }
        match id.cmp(&first) {
            std::cmp::Ordering::Less => Some(self.entries_added.wrapping_sub(len)),
            std::cmp::Ordering::Equal => Some(self.entries_added.wrapping_sub(len).wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// How many entries a group has not read yet, if that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let read = match group.entries_read {
            _ if self.entries_added == 0 => return Some(0),
            Some(read) if !self.may_miss_entries_from(group.last_id) => read,
            _ => self.entries_up_to(group.last_id)?,
        };
        Some(self.entries_added.wrapping_sub(read) as i64)
    }

    /// Notes in `group` that it has read the entry `id`, a new one for it.
    pub fn note_read(&self, group: &mut Group, id: StreamId) {
        group.entries_read = match group.entries_read {
            Some(read) if !self.may_miss_entries_from(id) => Some(read.wrapping_add(1)),
            _ if self.entries_added > 0 => self.entries_up_to(id),
            unknown => unknown,
        };
        group.last_id = id;
    }
}

impl Elements for Stream {
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// A stream without entries is a stream.
    fn is_empty(&self) -> bool {
        false
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.memory() + self.group_bytes
    }

    fn digest_into(&self, digest: &mut Digest) {
        let feed_id = |digest: &mut Digest, id: StreamId| {
            digest.u64(id.ms);
            digest.u64(id.seq);
        };
        for id in [self.last_id, self.max_deleted_id] {
            feed_id(digest, id);
        }
        digest.u64(self.entries_added);
        digest.u64(self.entries.len() as u64);
        let all = (StreamId::MIN, StreamId::MAX);
        self.entries.visit(all, false, usize::MAX, |id, fields| {
            feed_id(digest, id);
            digest.u64(fields.len() as u64);
            for (name, value) in fields.iter() {
                digest.bytes(name);
                digest.bytes(value);
            }
        });
        digest.u64(self.groups.len() as u64);
        for (name, group) in &self.groups {
            digest.bytes(name);
            feed_id(digest, group.last_id);
            digest.u64(group.entries_read.map_or(u64::MAX, |n| n));
            digest.u64(group.consumer_count() as u64);
            for consumer in group.consumers() {
                digest.bytes(consumer.name());
                digest.u64(consumer.seen_ms);
                digest.u64(consumer.pending_len() as u64);
            }
            for (id, pending) in group.pending(StreamId::MIN..=StreamId::MAX) {
                feed_id(digest, id);
                digest.bytes(group.consumer(pending.consumer).name());
                digest.u64(pending.delivered_ms);
                digest.u64(pending.deliveries);
            }
        }
    }

    fn free_some(&mut self, budget: usize) -> usize {
        if let Some(mut last) = self.groups.last_entry() {
            let before = last.get().memory();
            let left = last.get_mut().free_some(budget);
            let name_bytes = last.key().len();
            self.group_bytes -= before - last.get().memory();
            if left == 0 {
                self.group_bytes -= last.get().memory() + name_bytes;
                last.remove();
            }
            // Whatever is left, at least this group or the entries are.
            return (left + self.entries.len()).max(1);
        }
        self.entries.free_some(budget)
    }
}
