//! What several keyspace tests need: seeded randomness and a way to fill a keyspace.
#![allow(dead_code, reason = "each test file uses a part")]

use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};

/// SplitMix64: small, and good enough to choose test operations.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

pub fn keyspace() -> Keyspace {
    Keyspace::new(KeyspaceOptions { hash_seed: 0x5107_C04E })
}

/// The key that redis-benchmark would use: 16 bytes.
pub fn key16(i: u64) -> Vec<u8> {
    format!("key:{i:012}").into_bytes()
}

/// All keys a whole scan reports, with repetitions; `between` runs after every call.
pub fn scan_all(ks: &mut Keyspace, count: usize, mut between: impl FnMut(&mut Keyspace)) -> Vec<Vec<u8>> {
    let (mut cursor, mut keys) = (0, Vec::new());
    loop {
        cursor = ks.scan(cursor, count, &mut |key, _| keys.push(key.to_vec()));
        if cursor == 0 {
            return keys;
        }
        between(ks);
    }
}
