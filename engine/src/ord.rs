//! [`KeyHash`] and `ord`: where a key stands in a group's one order of keys.
//!
//! ```text
//! ord:  | slot, 14 bits | hash >> 14, 50 bits |
//! ```
//! The same order holds in memory, in scan cursors and, later, on disk and for splits: a cursor taken before a table grew,
//! a restart or a change of leader stays valid, because it names a place in the order and not in a table.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Slots of the key space, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// Bits of an `ord` below its slot.
pub const SLOT_SHIFT: u32 = 50;

/// A key's slot and seeded hash, computed once per command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    /// The slot the key lives in, below [`SLOTS`].
    pub slot: u16,
    /// Seeded hash of the whole key.
    pub h: u64,
}

impl KeyHash {
    /// Hashes `key`. `seed` must be the same on all replicas of a group: scan cursors and digests depend on it.
    #[inline]
    pub fn of(key: &[u8], seed: u64) -> Self {
        Self {
            slot: slot_of(key),
            h: xxh3_64_with_seed(key, seed),
        }
    }

    /// The place in the order of keys.
    #[inline]
    pub fn ord(self) -> u64 {
        (u64::from(self.slot) << SLOT_SHIFT) | (self.h >> (64 - SLOT_SHIFT))
    }
}

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`, or the whole key when
/// there is no such pair or nothing in between (Redis Cluster specification, "Hash tags").
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&b| b == b'}') {
        Some(len) if len > 0 => &rest[..len],
        _ => key,
    }
}

/// The slot of `key`: CRC16 (XMODEM) of its hash tag, as Redis Cluster.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & (SLOTS - 1)
}

/// CRC16 XMODEM: polynomial 0x1021, initial value 0, no reflection.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0u16, |crc, &b| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ b)])
}

const CRC16: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        for (key, slot) in [
            ("foo", 12182),
            ("bar", 5061),
            ("{user1000}.following", 3443),
            ("", 0),
            ("somekey", 11058),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "slot of {key:?}");
        }
    }

    #[test]
    fn hash_tags_follow_the_cluster_specification() {
        for (key, tag) in [
            ("a{b}c", "b"),
            ("{}x", "{}x"),
            ("a{b", "a{b"),
            ("x{{y}z}", "{y"),
            ("a{b}{c}", "b"),
            ("}{", "}{"),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "tag of {key:?}");
        }
    }

    #[test]
    fn ord_sorts_by_slot_first() {
        let (a, b) = (KeyHash { slot: 1, h: u64::MAX }, KeyHash { slot: 2, h: 0 });
        assert!(a.ord() < b.ord());
        assert_eq!(a.ord() >> SLOT_SHIFT, 1);
    }
}
