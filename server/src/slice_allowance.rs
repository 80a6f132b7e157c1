//! [`SliceAllowance`]: how long a core's store may work in a turn, decided from what the core did besides.
//!
//! Time for the store is earned by time that went to everything else. So a turn full of commands pays for several slices, and
//! those who wait meanwhile wait about twice as long as they did anyway; one with a command or none pays for a part of a slice,
//! and whoever comes during it waits for that one slice. The store's own time earns nothing: otherwise long turns would go on
//! being long, as what comes in during slices makes the next turn long by itself.

use std::time::Duration;

use slotcore_rt::clock::Tick;

/// What was earned and not used is kept up to this: a slice.
const KEPT_MAX: Duration = Duration::from_micros(50);
/// What one turn may take at most.
const TURN_MAX: Duration = Duration::from_micros(300);
/// Time that counts as one turn's at most: a core that slept did nothing that somebody waited for.
const EARNING_MAX: Duration = Duration::from_millis(1);
/// A slice that took longer is paid for up to this: the core may have been taken away meanwhile.
const DEBT_MAX: Duration = Duration::from_millis(1);

/// See the module's text.
#[derive(Debug, Default)]
pub struct SliceAllowance {
    /// Below zero when the last slice took longer than was allowed.
    left_ns: i64,
    /// When the last slice ended, or somebody last asked.
    seen: Tick,
}

impl SliceAllowance {
    /// At `now` a turn's other work is done. The store is to have `share_permille` of the time that slices and everything else
    /// take together, 0 to 999.
    pub fn earn(&mut self, now: Tick, share_permille: u64) {
        let others = now.since(self.seen).min(EARNING_MAX).as_nanos() as u64;
        self.seen = now;
        let earned = others * share_permille / (1_000 - share_permille);
        let left = self.left_ns.min(ns(KEPT_MAX)).saturating_add_unsigned(earned);
        self.left_ns = left.min(ns(TURN_MAX));
    }

    /// Whether a slice may begin.
    pub fn allows(&self) -> bool {
        self.left_ns > 0
    }

    /// A slice took so long.
    pub fn spend(&mut self, from: Tick, to: Tick) {
        self.left_ns = (self.left_ns - ns(to.since(from))).max(-ns(DEBT_MAX));
        self.seen = to;
    }
}

fn ns(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE_US: u64 = 50;

    fn at(us: u64) -> Tick {
        Tick::ZERO + Duration::from_micros(us)
    }

    /// Turns of a core of which each takes what `others` makes of the time since the last one began, in us. Returns how long the
    /// slices of each were.
    fn turns(count: usize, share_permille: u64, mut others: impl FnMut(usize, u64) -> u64) -> Vec<u64> {
        let mut allowance = SliceAllowance::default();
        let (mut now, mut last) = (0, 0);
        (0..count)
            .map(|turn| {
                let took = now - last;
                last = now;
                now += others(turn, took);
                allowance.earn(at(now), share_permille);
                let from = now;
                while allowance.allows() {
                    allowance.spend(at(now), at(now + SLICE_US));
                    now += SLICE_US;
                }
                now - from
            })
            .collect()
    }

    #[test]
    fn the_store_gets_its_share() {
        for share in [100, 300, 500] {
            for turn_us in [5, 40, 250] {
                let slices: u64 = turns(10_000, share, |_, _| turn_us).iter().sum();
                let permille = slices * 1_000 / (slices + 10_000 * turn_us);
                assert!(
                    permille.abs_diff(share) < 30,
                    "{permille} of {share}, turns of {turn_us}"
                );
            }
        }
    }

    #[test]
    fn short_turns_have_one_slice_and_full_ones_several() {
        assert_eq!(turns(10_000, 500, |_, _| 10).into_iter().max(), Some(SLICE_US));
        let full = turns(10_000, 500, |_, _| 250);
        assert_eq!(full.into_iter().max(), Some(250));
        // However long a turn was, and however long nobody asked.
        assert!(turns(10, 500, |_, _| 1_000_000).into_iter().max() < Some(400));
    }

    #[test]
    fn a_burst_is_over_soon() {
        // Requests that take a quarter of the core, after one that took a millisecond.
        let slices = turns(20, 500, |turn, took| if turn == 0 { 1_000 } else { 3 + took / 4 });
        assert_eq!(slices[0], 300);
        assert!(slices[4..].iter().all(|&us| us <= SLICE_US), "{slices:?}");
    }

    #[test]
    fn a_slice_that_took_long_is_paid_for_up_to_a_limit() {
        let mut allowance = SliceAllowance::default();
        allowance.spend(at(0), at(50_000));
        allowance.earn(at(50_900), 500);
        assert!(!allowance.allows());
        allowance.earn(at(51_050), 500);
        assert!(allowance.allows());
    }
}
