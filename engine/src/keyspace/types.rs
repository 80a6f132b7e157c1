//! The small types in which commands and the keyspace speak.

use crate::collections::stream::NodeLimits;
use crate::table::RecKind;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A string of bytes.
    Str,
    /// A list.
    List,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set.
    ZSet,
    /// A stream.
    Stream,
}

impl Kind {
    /// The name as the command TYPE prints it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Str => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::ZSet => "zset",
            Kind::Stream => "stream",
        }
    }
}

impl From<RecKind> for Kind {
    #[inline]
    fn from(kind: RecKind) -> Self {
        match kind {
            RecKind::Str | RecKind::BigStr => Kind::Str,
            RecKind::List => Kind::List,
            RecKind::Set => Kind::Set,
            RecKind::Hash => Kind::Hash,
            RecKind::ZSet => Kind::ZSet,
            RecKind::Stream => Kind::Stream,
            RecKind::Absent => unreachable!("a key that does not exist has no type"),
        }
    }
}

/// The key holds a value of another type than the command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// What a write does with the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// The key lives until deleted.
    Clear,
    /// An existing expiry stays.
    Keep,
    /// The key disappears when the group clock reaches this moment, in milliseconds since 1970.
    At(u64),
}

/// How a [`super::Keyspace`] is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyspaceOptions {
    /// Seed of the key hash: the same on all replicas of a group (scan cursors depend on it), secret to clients.
    pub hash_seed: u64,
}

/// Limits that decide what commands answer: the same on all replicas of a group, so they change by commands only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of one chunk of a stream.
    pub stream_node: NodeLimits,
}

/// Counters of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys removed because their expiry had passed.
    pub expired: u64,
    /// Keys removed because the data set had reached its limit.
    pub evicted: u64,
    /// Large values that were freed in slices, behind the command that deleted them.
    pub freed_in_slices: u64,
}

/// Where the memory is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// The index: buckets and directories.
    pub index: usize,
    /// Records, free room in their pages included.
    pub records: usize,
    /// Large strings and collections.
    pub objects: usize,
    /// Expiry timers.
    pub timers: usize,
    /// Deleted, waiting to be freed in slices.
    pub garbage: usize,
    /// How many values and tables that is; no bytes.
    pub garbage_objects: usize,
}

impl MemoryUse {
    /// All of it.
    pub fn total(&self) -> usize {
        self.index + self.records + self.objects + self.timers + self.garbage
    }
}
