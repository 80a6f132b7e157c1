//! [`AuthGuard`]: slows down whoever guesses passwords. Redis answers 19,900 guesses a second.
//!
//! Each address may be wrong [`BURST`] times at once and [`PER_SECOND`] times a second in the long run; beyond that its
//! passwords are not even compared. A client that knows the password is never counted. Pure: the caller brings the time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use slotcore_rt::clock::Tick;

/// Wrong passwords an address may give at once: a fleet of clients restarting with an old password stays below.
pub const BURST: u32 = 100;
/// Wrong passwords a second an address may give in the long run: 6 hundred million a year, too few to guess by.
pub const PER_SECOND: u32 = 20;
/// Addresses remembered. When there are more, the one whose last mistake is longest ago is forgotten: by then it has
/// mostly earned its allowance back.
pub const ADDRESSES_MAX: usize = 4096;

/// Wrong passwords by address.
#[derive(Clone, Debug, Default)]
pub struct AuthGuard {
    addresses: BTreeMap<IpAddr, Guesses>,
}

#[derive(Clone, Copy, Debug)]
struct Guesses {
    /// Wrong passwords not yet forgiven.
    count: f64,
    last: Tick,
}

impl Guesses {
    fn at(self, now: Tick) -> f64 {
        (self.count - now.since(self.last).as_secs_f64() * f64::from(PER_SECOND)).max(0.0)
    }
}

impl AuthGuard {
    /// True when a password from `address` may be compared now.
    pub fn allows(&self, address: IpAddr, now: Tick) -> bool {
        self.addresses
            .get(&address)
            .is_none_or(|guesses| guesses.at(now) < f64::from(BURST))
    }

    /// Counts a wrong password. Returns true when the address has just used up its allowance, to be logged.
    pub fn wrong(&mut self, address: IpAddr, now: Tick) -> bool {
        let before = self.addresses.get(&address).map_or(0.0, |guesses| guesses.at(now));
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            let oldest = self
                .addresses
                .iter()
                .min_by_key(|(_, guesses)| guesses.last)
                .map(|(&address, _)| address);
            oldest.and_then(|address| self.addresses.remove(&address));
        }
        self.addresses.insert(
            address,
            Guesses {
                count: before + 1.0,
                last: now,
            },
        );
        before + 1.0 >= f64::from(BURST)
    }
}

/// Whether two texts are equal, in a time that depends on the length of `given` alone: how long a comparison takes must not
/// tell how much of a guess was right.
pub fn equal_in_constant_time(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != expected.len());
    for (at, byte) in given.iter().enumerate() {
        // Beyond the expected length the byte is compared with itself; the lengths differ already.
        let other = if expected.is_empty() {
            !*byte
        } else {
            expected[at % expected.len()]
        };
        difference |= byte ^ other;
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn guesses_are_slowed_down_per_address() {
        let (mut guard, bad, good) = (
            AuthGuard::default(),
            IpAddr::from([1, 2, 3, 4]),
            IpAddr::from([1, 2, 3, 5]),
        );
        for guess in 1..=BURST {
            assert!(guard.allows(bad, Tick::ZERO));
            assert_eq!(guard.wrong(bad, Tick::ZERO), guess == BURST);
        }
        assert!(!guard.allows(bad, Tick::ZERO));
        assert!(guard.allows(good, Tick::ZERO));
        let later = Tick::ZERO + Duration::from_secs(1);
        for _ in 0..PER_SECOND {
            assert!(guard.allows(bad, later));
            guard.wrong(bad, later);
        }
        assert!(!guard.allows(bad, later));
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let mut guard = AuthGuard::default();
        for i in 0..ADDRESSES_MAX as u32 + 10 {
            guard.wrong(IpAddr::from(i.to_be_bytes()), Tick(u64::from(i)));
        }
        assert_eq!(guard.addresses.len(), ADDRESSES_MAX);
        assert!(!guard.addresses.contains_key(&IpAddr::from([0, 0, 0, 9])));
    }

    #[test]
    fn texts_are_compared_whole() {
        for (given, expected, equal) in [
            ("", "", true),
            ("a", "a", true),
            ("ab", "a", false),
            ("aa", "a", false),
            ("", "a", false),
            ("a", "", false),
        ] {
            assert_eq!(
                equal_in_constant_time(given.as_bytes(), expected.as_bytes()),
                equal,
                "{given:?} {expected:?}"
            );
        }
    }
}
