//! Randomness: the system's entropy, and streams that follow from a seed.
//!
//! Whatever must be repeatable draws from a [`SeededRng`]: ChaCha8, so that the stream for a seed is the same on every
//! machine and in every release. Parts of a simulation draw from streams [derived](SeededRng::derive) by name: one more
//! draw in one part then changes nothing in the others.

use std::io;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Fills `out` from the system's entropy pool.
///
/// # Errors
/// As `getrandom(2)`; with the pool initialised (always, once a system has booted) it does not fail.
pub fn os_entropy(out: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < out.len() {
        let rest = &mut out[filled..];
        // SAFETY: pointer and length describe the exclusively borrowed `rest`.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => filled += n,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Eight bytes of [`os_entropy`], for seeds.
///
/// # Errors
/// As [`os_entropy`].
pub fn os_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    os_entropy(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A repeatable stream of random numbers. Not for secrets unless seeded by [`SeededRng::from_os`].
#[derive(Clone, Debug)]
pub struct SeededRng {
    seed: [u8; 32],
    stream: ChaCha8Rng,
}

impl SeededRng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self::from_key(key)
    }

    /// A stream nobody can predict, seeded by the system.
    ///
    /// # Errors
    /// As [`os_entropy`].
    pub fn from_os() -> io::Result<Self> {
        let mut key = [0; 32];
        os_entropy(&mut key)?;
        Ok(Self::from_key(key))
    }

    fn from_key(seed: [u8; 32]) -> Self {
        Self {
            seed,
            stream: ChaCha8Rng::from_seed(seed),
        }
    }

    /// An independent stream that depends only on this stream's seed (not on how much was drawn) and `label`.
    pub fn derive(&self, label: &str) -> Self {
        // FNV-1a spreads the label; ChaCha does the mixing.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut key = self.seed;
        for (byte, mixed) in key[8..16].iter_mut().zip(hash.to_le_bytes()) {
            *byte ^= mixed;
        }
        key[16] = key[16].wrapping_add(1);
        let mut child = [0; 32];
        ChaCha8Rng::from_seed(key).fill_bytes(&mut child);
        Self::from_key(child)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// A number in `0..bound`; `bound` must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below 0 was asked for");
        // Lemire's multiply-and-shift; its bias of bound / 2^64 is far below what any test here can see.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `range`, which must not be empty.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// An index into something of `len` (> 0) elements.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True `numerator` times out of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.stream.fill_bytes(out);
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut rng = SeededRng::new(1);
        let drawn: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        let again: Vec<u64> = {
            let mut rng = SeededRng::new(1);
            (0..3).map(|_| rng.next_u64()).collect()
        };
        assert_eq!(drawn, again);
        assert_ne!(drawn[0], SeededRng::new(2).next_u64());
    }

    #[test]
    fn derived_streams_ignore_what_was_drawn() {
        let fresh = SeededRng::new(7);
        let mut used = SeededRng::new(7);
        used.next_u64();
        assert_eq!(fresh.derive("disk").next_u64(), used.derive("disk").next_u64());
        assert_ne!(fresh.derive("disk").next_u64(), fresh.derive("net").next_u64());
        assert_ne!(
            fresh.derive("disk").derive("disk").next_u64(),
            fresh.derive("disk").next_u64()
        );
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut rng = SeededRng::new(3);
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[rng.index(10)] = true;
        }
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn shuffle_keeps_the_elements() {
        let mut rng = SeededRng::new(4);
        let mut items: Vec<u32> = (0..100).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_system_gives_entropy() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        os_entropy(&mut a).unwrap();
        os_entropy(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
