//! [`Group`]: consumers that share the entries of a stream among them, and what each was given and has not acknowledged.
//!
//! Invariant: an id is pending in the group exactly if it is pending with one of its consumers, the one its [`Pending`] names.

use super::id::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// What is counted for an entry that is pending: its nodes in two trees, taken for two thirds full.
const PENDING_BYTES: usize = (2 * size_of::<StreamId>() + size_of::<Pending>()) * 3 / 2;
/// What is counted for a consumer beside its name.
const CONSUMER_BYTES: usize = size_of::<Option<Consumer>>() + 2 * size_of::<Box<[u8]>>();

/// Names a consumer within its group, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerNo(u32);

/// An entry that was delivered and not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Whose it is.
    pub consumer: ConsumerNo,
    /// When it was last delivered, milliseconds since 1970.
    pub delivered_ms: u64,
    /// How often.
    pub deliveries: u64,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last asked for something, milliseconds since 1970.
    pub seen_ms: u64,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// What it is called.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Number of entries it has not acknowledged.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The entries it has not acknowledged, of those in `ids`, which must not be empty.
    pub fn pending(&self, ids: RangeInclusive<StreamId>) -> impl Iterator<Item = StreamId> {
        self.pending.range(ids).copied()
    }
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that was delivered as a new one.
    pub last_id: StreamId,
    /// How many entries there were in the stream's history up to `last_id`, if that is known.
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    /// In the order of their names.
    by_name: BTreeMap<Box<[u8]>, ConsumerNo>,
    consumers: Vec<Option<Consumer>>,
    name_bytes: usize,
}

impl Group {
    /// A group without consumers.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Group {
            last_id,
            entries_read,
            ..Group::default()
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.pending.len() * PENDING_BYTES
            + self.consumers.len() * CONSUMER_BYTES
            + 2 * self.name_bytes
    }

    /// Number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// The consumers, in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> + Clone {
        self.by_name.values().map(|no| self.consumer(*no))
    }

    /// The consumer of that name.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerNo> {
        self.by_name.get(name).copied()
    }

    /// A consumer that is there.
    pub fn consumer(&self, no: ConsumerNo) -> &Consumer {
        self.consumers[no.0 as usize]
            .as_ref()
            .expect("a number names a consumer as long as it is there")
    }

    fn consumer_mut(&mut self, no: ConsumerNo) -> &mut Consumer {
        self.consumers[no.0 as usize]
            .as_mut()
            .expect("a number names a consumer as long as it is there")
    }

    /// The consumer of that name, which asks for something now; it is made if there is none.
    pub fn meet(&mut self, name: &[u8], now_ms: u64) -> ConsumerNo {
        match self.find(name) {
            Some(no) => {
                self.consumer_mut(no).seen_ms = now_ms;
                no
            }
            None => self.add_consumer(name, now_ms),
        }
    }

    /// Makes a consumer; `name` must be free.
    pub fn add_consumer(&mut self, name: &[u8], now_ms: u64) -> ConsumerNo {
        let consumer = Consumer {
            name: name.into(),
            seen_ms: now_ms,
            pending: BTreeSet::new(),
        };
        let free = self.consumers.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.consumers.push(None);
            self.consumers.len() - 1
        });
        self.consumers[at] = Some(consumer);
        let no = ConsumerNo(at as u32);
        self.by_name.insert(name.into(), no);
        self.name_bytes += name.len();
        no
    }

    /// Removes a consumer with all that is pending with it. Returns how much that was, if there was such a consumer.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let no = self.by_name.remove(name)?;
        let consumer = self.consumers[no.0 as usize].take()?;
        self.name_bytes -= name.len();
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Number of entries that are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What is known of a pending entry.
    pub fn pending_entry(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// The pending entries, of those in `ids`, which must not be empty.
    pub fn pending(&self, ids: RangeInclusive<StreamId>) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> {
        self.pending.range(ids).map(|(id, pending)| (*id, *pending))
    }

    /// Makes an entry pending, or changes what is known of it; it may go from one consumer to another.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) {
        let old = self.pending.insert(id, pending);
        match old {
            Some(old) if old.consumer == pending.consumer => return,
            Some(old) => {
                self.consumer_mut(old.consumer).pending.remove(&id);
            }
            None => {}
        }
        self.consumer_mut(pending.consumer).pending.insert(id);
    }

    /// Ends that an entry is pending; says whether it was.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        self.consumer_mut(pending.consumer).pending.remove(&id);
        true
    }

    /// Drops about `budget` pending entries of a group that nothing names any more. Returns how many are left.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        for _ in 0..budget.max(1) {
            let Some((id, pending)) = self.pending.pop_last() else {
                break;
            };
            self.consumer_mut(pending.consumer).pending.remove(&id);
        }
        self.pending.len()
    }
}
