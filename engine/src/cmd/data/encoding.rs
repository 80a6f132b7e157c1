//! [`EncodingLimits`]: up to which size OBJECT ENCODING calls a collection small.
//!
//! Nothing here is stored in another way because of them. As long as nobody changes them a collection says itself what Redis
//! would make of it, and remembers that it has been large. Otherwise the name follows from what the collection holds when
//! it is asked.

use crate::collections::{HashObj, Set, ZSet};

/// Entries, and bytes of the longest one, with which a collection still counts as small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Small {
    /// How many there may be.
    pub entries: usize,
    /// How long each may be, in bytes.
    pub bytes: usize,
}

/// See the module's text; the defaults are Redis's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodingLimits {
    /// Fields and values.
    pub hash: Small,
    /// Members.
    pub zset: Small,
    /// Members of a set of integers.
    pub intset_entries: usize,
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self {
            hash: Small {
                entries: 512,
                bytes: 64,
            },
            zset: Small {
                entries: 128,
                bytes: 64,
            },
            intset_entries: 512,
        }
    }
}

impl EncodingLimits {
    /// What a hash is called.
    pub(super) fn of_hash(&self, hash: &HashObj) -> &'static str {
        if self.hash == Self::default().hash {
            return hash.encoding();
        }
        let (mut count, mut longest) = (0, 0);
        hash.for_each(|field, value| {
            count += 1;
            longest = longest.max(field.len()).max(value.len());
        });
        match count <= self.hash.entries && longest <= self.hash.bytes {
            true if hash.has_expiry() => "listpackex",
            true => "listpack",
            false => "hashtable",
        }
    }

    /// What a sorted set is called.
    pub(super) fn of_zset(&self, zset: &ZSet) -> &'static str {
        if self.zset == Self::default().zset {
            return zset.encoding();
        }
        let (mut count, mut longest) = (0, 0);
        zset.range(0, usize::MAX, false, |member, _| {
            count += 1;
            longest = longest.max(member.len());
        });
        match count <= self.zset.entries && longest <= self.zset.bytes {
            true => "listpack",
            false => "skiplist",
        }
    }

    /// What a set is called.
    pub(super) fn of_set(&self, set: &Set) -> &'static str {
        let mut count = 0;
        if self.intset_entries != Self::default().intset_entries {
            set.for_each(|_| count += 1);
        }
        match set.encoding() {
            "intset" if count > self.intset_entries => "hashtable",
            own => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_limits_once_they_are_changed() {
        let (mut hash, mut zset) = (HashObj::default(), ZSet::default());
        hash.insert(b"field", b"value");
        zset.insert(b"member", 1.0);
        let none = Small { entries: 0, bytes: 64 };
        let short = Small { entries: 1, bytes: 5 };
        let limits = |small| EncodingLimits {
            hash: small,
            zset: small,
            ..EncodingLimits::default()
        };
        let names = |limits: EncodingLimits| (limits.of_hash(&hash), limits.of_zset(&zset));
        assert_eq!(names(EncodingLimits::default()), ("listpack", "listpack"));
        assert_eq!(names(limits(none)), ("hashtable", "skiplist"));
        assert_eq!(names(limits(short)), ("listpack", "skiplist"));
    }
}
