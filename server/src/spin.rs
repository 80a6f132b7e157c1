//! [`Spin`]: whether a core looks for work a little longer before it sleeps.
//!
//! Waking a sleeping core costs tens of microseconds, more than a command. Looking costs the time it takes, for nothing
//! when no work comes. So a core spins only while there is traffic, and the less often that has paid off the less it
//! does. Pure: the caller brings the time and the outcomes.

use std::time::Duration;

use slotcore_rt::clock::Tick;

/// Traffic must be as fresh as this for spinning to be considered.
const FRESH: Duration = Duration::from_millis(1);
/// Share of successes, in 1/256, below which spinning is given up, except for a try now and then.
const WORTH: u32 = 64;
/// One in so many waits tries again although it has not paid off of late.
const RETRY_EVERY: u32 = 64;

/// See the module's text.
#[derive(Debug)]
pub struct Spin {
    budget: Duration,
    /// Moving average of successes, in 1/256.
    success: u32,
    skipped: u32,
}

impl Spin {
    /// Spins at most `budget` at a time; zero = never.
    pub fn new(budget: Duration) -> Self {
        Self {
            budget,
            success: 256,
            skipped: 0,
        }
    }

    /// Longest time of one spin.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// Whether to spin now, given when the last traffic was seen.
    pub fn is_worth_it(&mut self, now: Tick, last_traffic: Tick) -> bool {
        if self.budget.is_zero() || now.since(last_traffic) > FRESH {
            return false;
        }
        if self.success >= WORTH {
            return true;
        }
        self.skipped += 1;
        if self.skipped < RETRY_EVERY {
            return false;
        }
        self.skipped = 0;
        true
    }

    /// Work came while spinning.
    pub fn succeeded(&mut self) {
        self.success += (256 - self.success) >> 3;
    }

    /// None came.
    pub fn failed(&mut self) {
        self.success -= self.success >> 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_that_does_not_pay_off_is_given_up_and_tried_again() {
        let mut spin = Spin::new(Duration::from_micros(50));
        let now = Tick(1_000_000_000);
        assert!(spin.is_worth_it(now, now));
        assert!(!spin.is_worth_it(now, Tick::ZERO), "no traffic for a second");
        for _ in 0..32 {
            spin.failed();
        }
        let tries = (0..RETRY_EVERY).filter(|_| spin.is_worth_it(now, now)).count();
        assert_eq!(tries, 1);
        for _ in 0..16 {
            spin.succeeded();
        }
        assert!(spin.is_worth_it(now, now));
        assert!(!Spin::new(Duration::ZERO).is_worth_it(now, now));
    }
}
