//! Random choices of a command: from the seed of its entry and nothing else, so that replicas choose alike.

use crate::cmd::op::op_seed;
use std::collections::BTreeMap;

/// Choice number `n` of a command: below `len`, which is at least 1.
pub(super) fn draw(seed: u64, n: u64, len: usize) -> usize {
    // The remainder's bias is below 2^-32 for anything that fits into memory.
    (op_seed(seed, n) % len as u64) as usize
}

/// `count` different numbers below `len`, in random order; `count` is at most `len`.
pub(super) fn sample(seed: u64, count: usize, len: usize) -> Vec<usize> {
    // The first steps of shuffling 0..len, of which only the positions that changed are kept.
    let mut moved = BTreeMap::new();
    let shuffle = |i: usize| {
        let j = i + draw(seed, i as u64, len - i);
        let chosen = moved.get(&j).copied().unwrap_or(j);
        let here = moved.get(&i).copied().unwrap_or(i);
        moved.insert(j, here);
        chosen
    };
    (0..count).map(shuffle).collect()
}

#[cfg(test)]
mod tests {
    use super::sample;
    use std::collections::BTreeSet;

    #[test]
    fn a_sample_holds_each_number_once_and_any_number() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let chosen = sample(seed, 5, 20);
            assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 5);
            seen.extend(chosen);
            let mut all = sample(seed, 20, 20);
            all.sort_unstable();
            assert!(all.into_iter().eq(0..20));
        }
        assert!(seen.into_iter().eq(0..20));
    }
}
