//! [`Digest`]: a 128-bit fingerprint of bytes, and how fingerprints of unordered things are combined.
//!
//! Replicas compare digests to find out whether they hold the same state. Every variable-length part is fed with its
//! length, so that no two different sequences of parts feed the same bytes. Unordered containers add up the digests of
//! their members ([`Digest::unordered`]): the sum does not depend on the order in which a replica met them.

use xxhash_rust::xxh3::Xxh3;

/// A fingerprint under construction.
#[derive(Clone)]
pub struct Digest(Box<Xxh3>);

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// Nothing fed yet.
    pub fn new() -> Self {
        Self(Box::new(Xxh3::new()))
    }

    /// Feeds a string of bytes together with its length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// Feeds a number.
    pub fn u64(&mut self, n: u64) {
        self.0.update(&n.to_le_bytes());
    }

    /// Feeds the combined digests of unordered members.
    pub fn unordered(&mut self, sum: u128) {
        self.0.update(&sum.to_le_bytes());
    }

    /// The fingerprint of all that was fed.
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }

    /// Starts over.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// Combines the digests of unordered members: commutative and associative, and a member fed twice does not cancel out.
pub fn combine(a: u128, b: u128) -> u128 {
    a.wrapping_add(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> u128 {
        let mut d = Digest::new();
        parts.iter().for_each(|p| d.bytes(p));
        d.finish()
    }

    #[test]
    fn boundaries_between_parts_count() {
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"ab"]), of(&[b"ab", b""]));
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
    }
}
