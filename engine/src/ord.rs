//! [`KeyHash`] and `ord`: where a key stands in a group's one order of keys.
//!
//! ```text
//! ord:  | slot, 14 bits | hash >> 14, 50 bits |
//! ```
//! The same order holds in memory, in scan cursors and, later, on disk and for splits: a cursor taken before a table grew,
//! a restart or a change of leader stays valid, because it names a place in the order and not in a table.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::database::users_key;

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
    if has_brace(key) { tag_in_braces(key) } else { key }
}

/// Whether there is a `{`: hardly any key has one, so this is all that most keys cost.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let (words, rest) = key.as_chunks::<8>();
    let brace_in = |word: u64| {
        // A byte of `x` is zero where the key has a brace; the classic test for a zero byte.
        let x = word ^ (ONES * b'{' as u64);
        x.wrapping_sub(ONES) & !x & HIGHS != 0
    };
    words.iter().any(|&word| brace_in(u64::from_le_bytes(word))) || rest.contains(&b'{')
}

#[cold]
fn tag_in_braces(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&b| b == b'}') {
        Some(len) if len > 0 => &rest[..len],
        _ => key,
    }
}

/// The slot of the stored key `key`: that of the user's bytes, so that a key has the same slot in all databases
/// ([`crate::database`]).
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    slot_of_bytes(users_key(key))
}

/// The slot of what a user calls a key, or of a channel: CRC16 (XMODEM) of its hash tag, as Redis Cluster.
#[inline]
pub fn slot_of_bytes(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & (SLOTS - 1)
}

/// CRC16 XMODEM: polynomial 0x1021, initial value 0, no reflection. Eight bytes at a time: a remainder is linear, so that
/// each byte's share can be looked up by its distance from the end, all at once.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut crc = 0u16;
    for w in words {
        let [high, low] = crc.to_be_bytes();
        crc = CRC16[7][usize::from(w[0] ^ high)]
            ^ CRC16[6][usize::from(w[1] ^ low)]
            ^ CRC16[5][usize::from(w[2])]
            ^ CRC16[4][usize::from(w[3])]
            ^ CRC16[3][usize::from(w[4])]
            ^ CRC16[2][usize::from(w[5])]
            ^ CRC16[1][usize::from(w[6])]
            ^ CRC16[0][usize::from(w[7])];
    }
    rest.iter()
        .fold(crc, |crc, &b| (crc << 8) ^ CRC16[0][usize::from((crc >> 8) as u8 ^ b)])
}

/// Remainder of a byte followed by as many zero bytes as the row says.
static CRC16: [[u16; 256]; 8] = {
    let mut table = [[0u16; 256]; 8];
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
        table[0][i] = crc;
        i += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut i = 0;
        while i < 256 {
            let before = table[row - 1][i];
            table[row][i] = (before << 8) ^ table[0][(before >> 8) as usize];
            i += 1;
        }
        row += 1;
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
    fn eight_bytes_at_a_time_give_what_single_bits_give() {
        let bytes: Vec<u8> = (0..100u32).map(|i| (i * 7 + i * i) as u8).collect();
        for len in 0..bytes.len() {
            let slow = bytes[..len].iter().fold(0u16, |crc, &b| {
                (0..8).fold(crc ^ u16::from(b) << 8, |c, _| {
                    if c & 0x8000 != 0 { (c << 1) ^ 0x1021 } else { c << 1 }
                })
            });
            assert_eq!(crc16(&bytes[..len]), slow, "{len} bytes");
        }
    }

    #[test]
    fn a_brace_is_seen_at_any_place() {
        for len in 1..40 {
            assert!(!has_brace(&vec![b'|'; len]) && !has_brace(&vec![b'z'; len]) && !has_brace(&vec![0xfb; len]));
            for at in 0..len {
                let mut key = vec![b'x'; len];
                key[at] = b'{';
                assert!(has_brace(&key), "at {at} of {len}");
            }
        }
    }

    #[test]
    fn ord_sorts_by_slot_first() {
        let (a, b) = (KeyHash { slot: 1, h: u64::MAX }, KeyHash { slot: 2, h: 0 });
        assert!(a.ord() < b.ord());
        assert_eq!(a.ord() >> SLOT_SHIFT, 1);
    }
}
