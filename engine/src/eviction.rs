//! [`EvictionPolicy`]: which keys go when the data set has reached its limit; and [`Victims`], the best candidates so far.
//!
//! As in Redis, the keys that go are found by sampling: a few keys are drawn at random, and the one whose loss costs least,
//! of these and of the best ones that earlier samples left behind, goes. Which keys these are is decided once, by the leader,
//! and carried in the log: nothing here has to be the same on two replicas.

/// Redis's policies, under Redis's names (`maxmemory-policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Of the keys that expire, the one that was not used for longest.
    VolatileLru,
    /// Of the keys that expire, the one that is used least often.
    VolatileLfu,
    /// Any of the keys that expire.
    VolatileRandom,
    /// Of the keys that expire, the one that expires first.
    VolatileTtl,
    /// The key that was not used for longest.
    AllKeysLru,
    /// The key that is used least often.
    AllKeysLfu,
    /// Any key.
    AllKeysRandom,
    /// None: what needs more room is refused.
    #[default]
    NoEviction,
}

/// What is to be remembered of how keys are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// When a key was last used.
    Recency,
    /// How often it is used.
    Frequency,
}

impl EvictionPolicy {
    /// Redis's names, in the order of the variants.
    pub const NAMES: [&str; 8] = [
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "noeviction",
    ];

    /// The variant at a position of [`EvictionPolicy::NAMES`].
    pub fn from_position(at: usize) -> Self {
        [
            Self::VolatileLru,
            Self::VolatileLfu,
            Self::VolatileRandom,
            Self::VolatileTtl,
            Self::AllKeysLru,
            Self::AllKeysLfu,
            Self::AllKeysRandom,
            Self::NoEviction,
        ][at]
    }

    /// Redis's name for it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether only keys with an expiry may go.
    pub fn spares_lasting(self) -> bool {
        matches!(
            self,
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl
        )
    }

    /// What it has to know of how keys are used.
    pub fn measure(self) -> Option<Measure> {
        match self {
            Self::VolatileLru | Self::AllKeysLru => Some(Measure::Recency),
            Self::VolatileLfu | Self::AllKeysLfu => Some(Measure::Frequency),
            Self::VolatileRandom | Self::VolatileTtl | Self::AllKeysRandom | Self::NoEviction => None,
        }
    }
}

/// A key that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// How little its loss costs: more is less. Comparable under one policy only.
    pub score: u64,
    /// The key.
    pub key: Box<[u8]>,
}

/// Candidates that are kept, so that a good one found early is not lost: half of what comes from files at once.
const VICTIMS_KEPT: usize = 128;

/// The best candidates that samples have found so far.
#[derive(Clone, Debug, Default)]
pub struct Victims {
    /// By score, the best one last.
    kept: Vec<Victim>,
}

impl Victims {
    /// Enters a candidate, if it is better than one of those that are kept, or there are few.
    pub fn offer(&mut self, score: u64, key: &[u8]) {
        let is_full = self.kept.len() == VICTIMS_KEPT;
        if is_full && self.kept[0].score >= score {
            return;
        }
        if self.kept.iter().any(|kept| *kept.key == *key) {
            return;
        }
        if is_full {
            self.kept.remove(0);
        }
        let at = self.kept.partition_point(|kept| kept.score <= score);
        self.kept.insert(at, Victim { score, key: key.into() });
    }

    /// Takes the best one.
    pub fn take(&mut self) -> Option<Victim> {
        self.kept.pop()
    }

    /// Forgets all of them: the policy has changed.
    pub fn clear(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_positions_agree() {
        for (at, name) in EvictionPolicy::NAMES.into_iter().enumerate() {
            assert_eq!(EvictionPolicy::from_position(at).name(), name);
        }
    }

    #[test]
    fn the_best_candidates_of_all_samples_are_kept_and_go_first() {
        let mut victims = Victims::default();
        for n in 0..1000_u64 {
            victims.offer(n * 7919 % 1000, &n.to_le_bytes());
            victims.offer(n * 7919 % 1000, &n.to_le_bytes());
        }
        let scores: Vec<u64> = std::iter::from_fn(|| victims.take()).map(|v| v.score).collect();
        assert_eq!(scores, (1000 - VICTIMS_KEPT as u64..1000).rev().collect::<Vec<_>>());
    }
}
