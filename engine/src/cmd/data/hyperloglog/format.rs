//! The bytes of a HyperLogLog, as Redis stores them.
//!
//! ```text
//! | "HYLL" | encoding | 3 unused | cached count, 8 bytes, little-endian; top bit: out of date | registers |
//! ```
//!
//! 16,384 registers hold the longest run of zero bits seen by each. Dense (encoding 0): six bits each, lowest bits first.
//! Sparse (encoding 1): runs, see [`super::sparse`].
//!
//! A count is never cached here, as reads change nothing: the bytes are those of a Redis that was not asked to count.

use super::sparse;
use crate::cmd::error::CmdError;

/// Bits of the hash that choose a register.
const INDEX_BITS: u32 = 14;
/// Registers.
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of the hash whose zeros are counted.
pub(super) const PATTERN_BITS: u32 = 64 - INDEX_BITS;
/// Bytes before the registers.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of a dense one.
pub(super) const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;

const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Top bit of the cached count, in the header's last byte.
const OUT_OF_DATE: u8 = 0x80;

pub(super) const CORRUPTED: CmdError = CmdError::Other("INVALIDOBJ Corrupted HLL object detected");

/// An empty one.
pub(super) fn empty() -> Vec<u8> {
    let mut value = vec![0; HEADER_BYTES];
    value[..MAGIC.len()].copy_from_slice(MAGIC);
    value[ENCODING_AT] = SPARSE;
    sparse::put_zeros(&mut value, REGISTERS);
    value
}

/// Refuses strings that are no HyperLogLog.
pub(super) fn check(value: &[u8]) -> Result<(), CmdError> {
    let sound = value.len() >= HEADER_BYTES
        && value.starts_with(MAGIC)
        && match value[ENCODING_AT] {
            DENSE => value.len() == DENSE_BYTES,
            SPARSE => true,
            _ => false,
        };
    sound.then_some(()).ok_or(CmdError::Other(
        "WRONGTYPE Key is not a valid HyperLogLog string value.",
    ))
}

pub(super) fn is_sparse(value: &[u8]) -> bool {
    value[ENCODING_AT] == SPARSE
}

/// The count that is kept in the header, unless it is out of date.
pub(super) fn cached_count(value: &[u8]) -> Option<u64> {
    let count = value[8..HEADER_BYTES].try_into().expect("eight bytes were cut");
    (value[HEADER_BYTES - 1] & OUT_OF_DATE == 0).then(|| u64::from_le_bytes(count))
}

/// Notes that the registers changed.
pub(super) fn outdate_count(value: &mut [u8]) {
    value[HEADER_BYTES - 1] |= OUT_OF_DATE;
}

fn dense_get(registers: &[u8], n: usize) -> u8 {
    let (at, shift) = (n * 6 / 8, n * 6 % 8);
    let next = registers.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([registers[at], next]) >> shift) as u8 & 63
}

/// Raises register `n` of a dense one; says whether it was lower.
pub(super) fn dense_raise(value: &mut [u8], n: usize, count: u8) -> bool {
    let registers = &mut value[HEADER_BYTES..];
    if dense_get(registers, n) >= count {
        return false;
    }
    let (at, shift) = (n * 6 / 8, n * 6 % 8);
    let (mask, bits) = (
        (63u16 << shift).to_le_bytes(),
        (u16::from(count) << shift).to_le_bytes(),
    );
    registers[at] = registers[at] & !mask[0] | bits[0];
    if let Some(next) = registers.get_mut(at + 1) {
        *next = *next & !mask[1] | bits[1];
    }
    true
}

/// All registers; `None` when the runs of a sparse one do not cover them.
pub(super) fn registers(value: &[u8]) -> Option<Vec<u8>> {
    let body = &value[HEADER_BYTES..];
    if !is_sparse(value) {
        return Some((0..REGISTERS).map(|n| dense_get(body, n)).collect());
    }
    let mut all = Vec::with_capacity(REGISTERS);
    for run in sparse::runs(body) {
        if all.len() + run.len > REGISTERS {
            return None;
        }
        all.resize(all.len() + run.len, run.value);
    }
    (all.len() == REGISTERS).then_some(all)
}

/// Makes a sparse one dense; `None` when it is corrupted.
pub(super) fn make_dense(value: &mut Vec<u8>) -> Option<()> {
    let registers = registers(value)?;
    value.truncate(HEADER_BYTES);
    value.resize(DENSE_BYTES, 0);
    value[ENCODING_AT] = DENSE;
    for (n, count) in registers.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        dense_raise(value, n, count);
    }
    Some(())
}

/// Raises register `n`; says whether it was lower, `None` when the value is corrupted. The cached count stays.
pub(super) fn raise(value: &mut Vec<u8>, n: usize, count: u8) -> Option<bool> {
    if is_sparse(value) {
        match sparse::raise(value, n, count)? {
            sparse::Raised::No => return Some(false),
            sparse::Raised::Yes => return Some(true),
            sparse::Raised::TooLarge => make_dense(value)?,
        }
    }
    Some(dense_raise(value, n, count))
}

/// The register that an element falls into, and what it raises that to.
pub(super) fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element);
    let pattern = hash >> INDEX_BITS | 1 << PATTERN_BITS;
    ((hash as usize) & (REGISTERS - 1), pattern.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A, with the seed of Redis.
fn murmur64a(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xadc8_3b19;
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ k >> R).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |k, byte| k << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::op::op_seed;

    #[test]
    fn sparse_and_dense_registers_are_those_of_a_plain_array() {
        for seed in 0..6 {
            let (mut value, mut model) = (empty(), vec![0u8; REGISTERS]);
            let mut steps = 0;
            while steps < 20_000 {
                let draw = |n: u64| op_seed(seed * 100_000 + steps, n);
                // Neighbouring registers, so that runs are split and joined.
                let spread = [50, 300, REGISTERS as u64][seed as usize % 3];
                let (n, count) = (
                    (draw(0) % spread) as usize,
                    (draw(1) % [3, 5, 51][seed as usize % 3] + 1) as u8,
                );
                assert_eq!(raise(&mut value, n, count), Some(count > model[n]));
                model[n] = model[n].max(count);
                steps += 1;
                if steps % 1000 == 0 {
                    assert_eq!(registers(&value).as_deref(), Some(&model[..]));
                    assert_eq!(check(&value), Ok(()));
                }
            }
            assert_eq!(is_sparse(&value), seed % 3 != 2);
        }
    }
}
