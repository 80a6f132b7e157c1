//! [`FieldExpiry`]: when the fields of one hash expire: a sorted set of the fields that do, the moment being the score.
//!
//! A moment is milliseconds since 1970, at most [`FIELD_EXPIRY_MS_MAX`], which a score holds exactly. A field is *due* when
//! the group's clock has reached its moment. Due fields are invisible at once; they are removed later, in small steps.

use super::{Elements, ZSet};

/// The last moment at which a field may expire: Redis's own limit, 46 bits.
pub const FIELD_EXPIRY_MS_MAX: u64 = (1 << 46) - 1;
const _: () = assert!(
    FIELD_EXPIRY_MS_MAX < 1 << f64::MANTISSA_DIGITS,
    "a score holds every moment exactly"
);

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldExpiry {
    by_moment: ZSet,
}

impl FieldExpiry {
    /// When `field` expires, if it does.
    pub(super) fn get(&self, field: &[u8]) -> Option<u64> {
        self.by_moment.score(field).map(|moment| moment as u64)
    }

    pub(super) fn set(&mut self, field: &[u8], moment: u64) {
        debug_assert!(moment <= FIELD_EXPIRY_MS_MAX);
        self.by_moment.insert(field, moment as f64);
    }

    /// Lets a field live on; says whether it would have expired.
    pub(super) fn clear(&mut self, field: &[u8]) -> bool {
        self.by_moment.remove(field)
    }

    pub(super) fn is_due(&self, field: &[u8], now_ms: u64) -> bool {
        self.get(field).is_some_and(|moment| moment <= now_ms)
    }

    /// Number of due fields; logarithmic in large hashes.
    pub(super) fn due_len(&self, now_ms: u64) -> usize {
        self.by_moment.partition_point(|moment, _| moment as u64 <= now_ms)
    }

    /// The first moment after `now_ms` at which a field expires.
    pub(super) fn next_after(&self, now_ms: u64) -> Option<u64> {
        let mut next = None;
        self.by_moment
            .range(self.due_len(now_ms), 1, false, |_, moment| next = Some(moment as u64));
        next
    }

    /// The first moment of all.
    pub(super) fn first(&self) -> Option<u64> {
        let mut first = None;
        self.by_moment
            .range(0, 1, false, |_, moment| first = Some(moment as u64));
        first
    }

    /// Forgets the field that is due first, and hands it to `f`; `false` when none is due.
    pub(super) fn take_due(&mut self, now_ms: u64, f: impl FnOnce(&[u8])) -> bool {
        self.first().is_some_and(|moment| moment <= now_ms) && self.by_moment.take_end(false, |field, _| f(field))
    }

    /// Bytes of memory, the struct itself included.
    pub(super) fn memory(&self) -> usize {
        self.by_moment.memory()
    }

    /// See [`Elements::free_some`].
    pub(super) fn free_some(&mut self, budget: usize) {
        self.by_moment.free_some(budget);
    }
}
