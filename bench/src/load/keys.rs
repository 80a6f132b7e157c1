//! [`Keys`]: which key the next request is about.

use clap::ValueEnum;
use serde::Serialize;
use slotcore_rt::rng::SeededRng;

/// Skew of the zipfian distributions: that of YCSB, under which 1 % of 1 M keys get about two thirds of the requests.
const ZIPF_THETA: f64 = 0.99;
/// Terms of the zeta function that are added one by one; the rest is an integral, exact to nine digits.
const ZETA_TERMS: u64 = 100_000;

/// How requests are spread over keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Distribution {
    /// Every key is equally likely.
    Uniform,
    /// Few keys get most requests (YCSB's zipfian, theta 0.99), scattered over the key space.
    Zipfian,
    /// Writes take one key after the other, reads prefer what was written last (zipfian by age).
    Latest,
    /// One key gets every request.
    Single,
    /// One key after the other, from the first, over and over.
    Sequential,
}

/// Draws keys as numbers in `0..keys`. The same seed gives the same keys.
pub struct Keys {
    distribution: Distribution,
    keys: u64,
    zipf: Option<Zipf>,
    /// `Sequential` and `Latest`: the key written next.
    next: u64,
    rng: SeededRng,
}

impl Keys {
    /// `keys` must not be 0.
    pub fn new(distribution: Distribution, keys: u64, rng: SeededRng) -> Self {
        assert!(keys > 0, "requests need a key");
        let skewed = matches!(distribution, Distribution::Zipfian | Distribution::Latest);
        Self {
            distribution,
            keys,
            zipf: skewed.then(|| Zipf::new(keys)),
            next: 0,
            rng,
        }
    }

    /// The key of the next request that only reads.
    pub fn for_read(&mut self) -> u64 {
        match self.distribution {
            Distribution::Latest => {
                let age = self.rank() + 1;
                (self.next + self.keys - age) % self.keys
            }
            _ => self.draw(),
        }
    }

    /// The key of the next request that writes.
    pub fn for_write(&mut self) -> u64 {
        match self.distribution {
            Distribution::Latest => self.successor(),
            _ => self.draw(),
        }
    }

    fn draw(&mut self) -> u64 {
        match self.distribution {
            Distribution::Uniform => self.rng.below(self.keys),
            // Neighbours in rank must not be neighbours in the key space.
            Distribution::Zipfian => scatter(self.rank()) % self.keys,
            Distribution::Single => 0,
            Distribution::Sequential | Distribution::Latest => self.successor(),
        }
    }

    fn successor(&mut self) -> u64 {
        let key = self.next;
        self.next = (key + 1) % self.keys;
        key
    }

    fn rank(&mut self) -> u64 {
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        self.zipf
            .as_ref()
            .expect("made for every skewed distribution")
            .rank(uniform)
    }
}

/// A fixed mixing of 64 bits (the finaliser of MurmurHash3).
fn scatter(rank: u64) -> u64 {
    let mut hash = (rank ^ rank >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// Ranks by Zipf's law: rank `r` is `(r + 1)^-theta` times as likely as rank 0.
///
/// By the inversion of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), section 3, which
/// YCSB uses too: the first two ranks are exact, the others follow the continuous law.
struct Zipf {
    keys: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    fn new(keys: u64) -> Self {
        let zeta = zeta(keys);
        let eta = (1.0 - (2.0 / keys as f64).powf(1.0 - ZIPF_THETA)) / (1.0 - zeta_two() / zeta);
        Self {
            keys,
            zeta,
            alpha: 1.0 / (1.0 - ZIPF_THETA),
            eta,
        }
    }

    /// The rank at `uniform` in `[0, 1)` of the cumulated probability.
    fn rank(&self, uniform: f64) -> u64 {
        let scaled = uniform * self.zeta;
        let rank = if scaled < 1.0 {
            0
        } else if scaled < zeta_two() {
            1
        } else {
            (self.keys as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha)) as u64
        };
        rank.min(self.keys - 1)
    }
}

fn zeta_two() -> f64 {
    1.0 + 0.5_f64.powf(ZIPF_THETA)
}

/// Sum of `r^-theta` over `r` in `1..=keys`.
fn zeta(keys: u64) -> f64 {
    let exact = keys.min(ZETA_TERMS);
    let head: f64 = (1..=exact).map(|r| (r as f64).powf(-ZIPF_THETA)).sum();
    let integral = |x: f64| x.powf(1.0 - ZIPF_THETA) / (1.0 - ZIPF_THETA);
    // Each term of the rest is the area of a column of width 1 around it.
    head + integral(keys as f64 + 0.5) - integral(exact as f64 + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 200_000;

    fn counts(distribution: Distribution, keys: u64) -> Vec<u64> {
        let mut drawn = Keys::new(distribution, keys, SeededRng::new(1));
        let mut counts = vec![0; keys as usize];
        for _ in 0..DRAWS {
            counts[drawn.for_read() as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_gives_each_key_its_share() {
        let counts = counts(Distribution::Uniform, 100);
        let mean = DRAWS / 100;
        assert!(
            counts.iter().all(|&n| n > mean * 4 / 5 && n < mean * 6 / 5),
            "{counts:?}"
        );
    }

    #[test]
    fn zipfian_falls_as_the_law_says_and_is_scattered() {
        let keys = 10_000;
        let mut counts = counts(Distribution::Zipfian, keys);
        let hottest = (0..keys as usize).max_by_key(|&key| counts[key]).unwrap();
        assert_eq!(hottest as u64, scatter(0) % keys);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let expected = |rank: u64| DRAWS as f64 * ((rank + 1) as f64).powf(-ZIPF_THETA) / zeta(keys);
        for rank in [0, 1, 9, 99] {
            let ratio = counts[rank as usize] as f64 / expected(rank);
            assert!(
                (0.7..1.4).contains(&ratio),
                "rank {rank}: {ratio} times what the law says"
            );
        }
        let hot: u64 = counts[..100].iter().sum();
        assert!(hot > DRAWS / 2, "1 % of the keys got {hot} of {DRAWS}");
    }

    #[test]
    fn the_integral_agrees_with_the_sum() {
        let keys = 3 * ZETA_TERMS;
        let sum: f64 = (1..=keys).map(|r| (r as f64).powf(-ZIPF_THETA)).sum();
        assert!((zeta(keys) / sum - 1.0).abs() < 1e-9);
    }

    #[test]
    fn latest_reads_what_was_just_written() {
        let keys = 1_000;
        let mut drawn = Keys::new(Distribution::Latest, keys, SeededRng::new(2));
        let (mut recent, mut reads) = (0, 0);
        for _ in 0..3 * keys {
            let newest = drawn.for_write();
            for _ in 0..10 {
                let age = (newest + keys - drawn.for_read()) % keys;
                reads += 1;
                recent += u64::from(age < 10);
            }
        }
        assert!(
            recent * 10 > reads * 3,
            "{recent} of {reads} reads went to the 10 newest keys"
        );
    }

    #[test]
    fn single_and_sequential() {
        assert_eq!(counts(Distribution::Single, 5), [DRAWS, 0, 0, 0, 0]);
        let mut drawn = Keys::new(Distribution::Sequential, 3, SeededRng::new(1));
        let keys: Vec<u64> = (0..7).map(|_| drawn.for_write()).collect();
        assert_eq!(keys, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn one_key_is_enough_for_every_distribution() {
        for distribution in Distribution::value_variants() {
            let mut drawn = Keys::new(*distribution, 1, SeededRng::new(3));
            assert!((0..100).all(|_| drawn.for_read() == 0 && drawn.for_write() == 0));
        }
    }
}
