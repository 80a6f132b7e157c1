//! [`Uses`]: when, or how often, keys were used. For the policies of eviction that ask, and for OBJECT.
//!
//! A table of its own beside the records, of a size that does not change, so that who does not want it pays nothing:
//!
//! ```text
//! set of 8 entries, one cache line:   | tag, 32 bits of the key's hash | use, 32 bits |   x 8
//! use, Recency:    tenths of a second on the wall clock, modulo 2^32
//! use, Frequency:  minutes on the wall clock, modulo 2^24 | counter, 8 bits
//! ```
//! A set that is full gives up the entry that is worth least. A key without an entry counts as one that was not used since
//! the table was made. Both are right for eviction: such keys are the ones to go. The counter is Redis's: it grows with the
//! logarithm of the uses and falls with time.
//!
//! Nothing of this is part of the state: it differs from node to node, is lost with the process, and is hidden from scripts,
//! whose effect must be the same everywhere.

use super::Keyspace;
use crate::eviction::Measure;
use crate::ord::KeyHash;

/// How uses are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseOptions {
    /// What is noted.
    pub measure: Measure,
    /// How much more often a key must be used to be counted one higher (`lfu-log-factor`).
    pub log_factor: u32,
    /// Minutes without use after which a counter falls by one (`lfu-decay-time`); 0: never.
    pub decay_minutes: u32,
    /// Bytes that the table may take.
    pub bytes: usize,
}

/// Entries of a set: a cache line.
const WAYS: usize = 8;
/// Counter of a key that is new, so that it is not the first to go (`LFU_INIT_VAL` of Redis).
const FREQUENCY_OF_NEW: u32 = 5;
/// Highest counter.
const FREQUENCY_MAX: u32 = 255;
/// Milliseconds in a unit of [`Measure::Recency`].
const RECENCY_UNIT_MS: u64 = 100;
/// Milliseconds in a unit of [`Measure::Frequency`].
const FREQUENCY_UNIT_MS: u64 = 60_000;
/// Bits of its minutes.
const MINUTES_MASK: u32 = (1 << 24) - 1;

/// See the module's text.
pub(super) struct Uses {
    options: UseOptions,
    /// A power of two of them.
    sets: Box<[[u64; WAYS]]>,
    began_ms: u64,
    /// State of the generator that decides whether a counter grows.
    random: u64,
    /// A script runs.
    is_hidden: bool,
}

impl Uses {
    fn new(options: UseOptions, now_ms: u64) -> Self {
        let sets = (options.bytes / size_of::<[u64; WAYS]>()).max(2);
        // Down to a power of two.
        let sets = 1 << sets.ilog2();
        Self {
            options,
            sets: vec![[0; WAYS]; sets].into_boxed_slice(),
            began_ms: now_ms,
            random: 0x9e37_79b9_7f4a_7c15,
            is_hidden: false,
        }
    }

    fn place(&self, hash: KeyHash) -> (usize, u32) {
        // The set from the low bits, the tag from the high ones; 0 means that an entry is free.
        (hash.h as usize & (self.sets.len() - 1), (hash.h >> 32) as u32 | 1)
    }

    fn find(&self, hash: KeyHash) -> Option<u32> {
        let (set, tag) = self.place(hash);
        let entry = self.sets[set].iter().find(|entry| (**entry >> 32) as u32 == tag)?;
        Some(*entry as u32)
    }

    fn store(&mut self, hash: KeyHash, used: u32, now_ms: u64) {
        let (set, tag) = self.place(hash);
        let measure = self.options;
        let set = &mut self.sets[set];
        let worth = |entry: u64| match entry {
            0 => u64::MAX,
            entry => measure.score(entry as u32, now_ms),
        };
        let at = set
            .iter()
            .position(|entry| (*entry >> 32) as u32 == tag)
            .unwrap_or_else(|| {
                let mut least = 0;
                for at in 1..WAYS {
                    if worth(set[at]) > worth(set[least]) {
                        least = at;
                    }
                }
                least
            });
        set[at] = u64::from(tag) << 32 | u64::from(used);
    }

    fn note(&mut self, hash: KeyHash, now_ms: u64) {
        let used = match self.options.measure {
            Measure::Recency => recency(now_ms),
            Measure::Frequency => match self.find(hash) {
                None => frequency(now_ms, FREQUENCY_OF_NEW),
                Some(used) => {
                    let count = self.options.decayed(used, now_ms);
                    frequency(now_ms, self.grown(count))
                }
            },
        };
        self.store(hash, used, now_ms);
    }

    /// `count` after one more use.
    fn grown(&mut self, count: u32) -> u32 {
        if count >= FREQUENCY_MAX {
            return FREQUENCY_MAX;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let above = u64::from(count.saturating_sub(FREQUENCY_OF_NEW));
        // With a probability of 1 / (above * factor + 1).
        count
            + u32::from(
                self.random
                    .is_multiple_of(above * u64::from(self.options.log_factor) + 1),
            )
    }

    fn idle_ms(&self, hash: KeyHash, now_ms: u64) -> u64 {
        match self.find(hash) {
            Some(used) => u64::from(recency(now_ms).wrapping_sub(used)) * RECENCY_UNIT_MS,
            None => now_ms.saturating_sub(self.began_ms),
        }
    }
}

impl UseOptions {
    /// How little the loss of a key would cost that was `used`.
    fn score(&self, used: u32, now_ms: u64) -> u64 {
        match self.measure {
            Measure::Recency => u64::from(recency(now_ms).wrapping_sub(used)),
            Measure::Frequency => u64::from(FREQUENCY_MAX - self.decayed(used, now_ms)),
        }
    }

    /// A counter as it is now.
    fn decayed(&self, used: u32, now_ms: u64) -> u32 {
        let count = used & FREQUENCY_MAX;
        let minutes = ((now_ms / FREQUENCY_UNIT_MS) as u32).wrapping_sub(used >> 8) & MINUTES_MASK;
        match self.decay_minutes {
            0 => count,
            period => count.saturating_sub(minutes / period),
        }
    }
}

fn recency(now_ms: u64) -> u32 {
    (now_ms / RECENCY_UNIT_MS) as u32
}

fn frequency(now_ms: u64, count: u32) -> u32 {
    ((now_ms / FREQUENCY_UNIT_MS) as u32 & MINUTES_MASK) << 8 | count
}

impl Keyspace {
    /// From now on uses of keys are noted in this way; `None`: not at all. What is known stays as long as the measure and
    /// the size do.
    pub fn note_uses(&mut self, options: Option<UseOptions>) {
        match (&mut self.uses, options) {
            (Some(uses), Some(options))
                if uses.options.measure == options.measure && uses.options.bytes == options.bytes =>
            {
                uses.options = options;
            }
            (uses, options) => *uses = options.map(|options| Box::new(Uses::new(options, self.wall_ms))),
        }
    }

    /// Bytes that the table of uses takes.
    pub fn uses_memory(&self) -> usize {
        self.uses.as_ref().map_or(0, |uses| size_of_val(&*uses.sets))
    }

    /// A command used the key.
    #[cold]
    pub(super) fn note_use(&mut self, hash: KeyHash) {
        if let Some(uses) = &mut self.uses {
            uses.note(hash, self.wall_ms);
        }
    }

    /// Uses of keys that went all at once count for nothing.
    pub(super) fn forget_uses(&mut self) {
        if let Some(uses) = &mut self.uses {
            **uses = Uses::new(uses.options, self.wall_ms);
        }
    }

    /// Says that a key was last used so long ago, if that is noted.
    pub(crate) fn set_idle(&mut self, key: &[u8], idle_ms: u64) {
        let (hash, now_ms) = (self.table.hash(key), self.wall_ms);
        if let Some(uses) = &mut self.uses
            && uses.options.measure == Measure::Recency
        {
            uses.store(
                hash,
                recency(now_ms).wrapping_sub((idle_ms / RECENCY_UNIT_MS) as u32),
                now_ms,
            );
        }
    }

    /// Says how often a key is used, as a counter up to 255, if that is noted.
    pub(crate) fn set_frequency(&mut self, key: &[u8], count: u8) {
        let (hash, now_ms) = (self.table.hash(key), self.wall_ms);
        if let Some(uses) = &mut self.uses
            && uses.options.measure == Measure::Frequency
        {
            uses.store(hash, frequency(now_ms, count.into()), now_ms);
        }
    }

    /// What is noted of uses; nothing is for scripts.
    pub(crate) fn uses_noted(&self) -> Option<Measure> {
        let uses = self.uses.as_ref().filter(|uses| !uses.is_hidden)?;
        Some(uses.options.measure)
    }

    /// For how long the key was not used, in milliseconds; 0 where that is not noted.
    pub(crate) fn idle_ms(&self, key: &[u8]) -> u64 {
        match (&self.uses, self.uses_noted()) {
            (Some(uses), Some(Measure::Recency)) => uses.idle_ms(self.table.hash(key), self.wall_ms),
            _ => 0,
        }
    }

    /// How often the key is used, as a counter up to 255; 0 where that is not noted.
    pub(crate) fn frequency(&self, key: &[u8]) -> u32 {
        match (&self.uses, self.uses_noted()) {
            (Some(uses), Some(Measure::Frequency)) => {
                let used = uses.find(self.table.hash(key));
                used.map_or(0, |used| uses.options.decayed(used, self.wall_ms))
            }
            _ => 0,
        }
    }

    /// How little the loss of a key would cost, by how it was used; 0 where that is not noted.
    pub(super) fn use_score(&self, hash: KeyHash) -> u64 {
        let Some(uses) = &self.uses else { return 0 };
        match (uses.find(hash), uses.options.measure) {
            (Some(used), _) => uses.options.score(used, self.wall_ms),
            (None, Measure::Recency) => uses.idle_ms(hash, self.wall_ms) / RECENCY_UNIT_MS,
            (None, Measure::Frequency) => FREQUENCY_MAX.into(),
        }
    }

    /// A script begins or ends.
    pub(crate) fn hide_uses(&mut self, hidden: bool) {
        if let Some(uses) = &mut self.uses {
            uses.is_hidden = hidden;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> KeyHash {
        KeyHash::of(&n.to_le_bytes(), 7)
    }

    fn options(measure: Measure, bytes: usize) -> UseOptions {
        UseOptions {
            measure,
            log_factor: 10,
            decay_minutes: 1,
            bytes,
        }
    }

    #[test]
    fn a_full_table_forgets_those_that_were_not_used_for_longest() {
        let mut uses = Uses::new(options(Measure::Recency, 64 << 10), 0);
        for n in 0..100_000 {
            uses.note(hash(n), 1_000 * n);
        }
        let now = 100_000_000;
        let known = |from: u64| (from..from + 1_000).filter(|n| uses.find(hash(*n)).is_some()).count();
        assert_eq!(known(99_000), 1_000, "the newest are known");
        assert_eq!(known(0), 0, "the oldest are not");
        assert_eq!(uses.idle_ms(hash(99_999), now), 1_000);
        assert_eq!(uses.idle_ms(hash(0), now), now, "as long as the table is there");
    }

    #[test]
    fn counters_grow_ever_more_slowly_and_fall_with_time() {
        let mut uses = Uses::new(options(Measure::Frequency, 4 << 10), 0);
        let count = |uses: &Uses, now| uses.options.decayed(uses.find(hash(1)).unwrap(), now);
        uses.note(hash(1), 0);
        assert_eq!(count(&uses, 0), FREQUENCY_OF_NEW);
        let mut counts = Vec::new();
        for _ in 0..4 {
            (0..1_000).for_each(|_| uses.note(hash(1), 0));
            counts.push(count(&uses, 0));
        }
        // Redis's table for a factor of 10: 1,000 hits lead to about 18.
        assert!((14..=24).contains(&counts[0]), "{counts:?}");
        assert!(counts[3] > counts[0] && counts[3] < 3 * counts[0], "{counts:?}");
        assert_eq!(count(&uses, 3 * FREQUENCY_UNIT_MS), counts[3] - 3);
        assert_eq!(count(&uses, 1_000 * FREQUENCY_UNIT_MS), 0);
    }
}
