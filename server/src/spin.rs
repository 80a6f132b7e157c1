//! [`Spin`]: whether a core looks for work a little longer before it sleeps.
//!
//! Waking a sleeping core costs tens of microseconds, more than a command: a lone client that waits for each reply feels
//! all of it. With many clients the opposite holds: what arrives while the core is on its way to sleep is served
//! together, and looking early only makes turns smaller and dearer (measured with 50 clients at pipeline 1: a fifth of
//! the processor went into looking). So a core spins only while few connections talk, and only as long as it pays off.
//! Pure: the caller brings the time and the outcomes.

use std::time::Duration;

use slotcore_rt::clock::Tick;

/// Traffic must be as fresh as this for spinning to be considered.
const FRESH: Duration = Duration::from_millis(1);
/// So many of the last inputs are looked at.
const HEARD: usize = 8;
/// They must come from no more connections than this.
const TALKERS_MAX: usize = 2;
/// Share of successes, in 1/256, below which spinning is given up, except for a try now and then.
const WORTH: u32 = 64;
/// One in so many waits tries again although it has not paid off of late.
const RETRY_EVERY: u32 = 64;

/// See the module's text.
#[derive(Debug)]
pub struct Spin {
    budget: Duration,
    /// Connections of the last inputs, by index.
    heard: [usize; HEARD],
    next: usize,
    /// Moving average of successes, in 1/256.
    success: u32,
    skipped: u32,
}

impl Spin {
    /// Spins at most `budget` at a time; zero = never.
    pub fn new(budget: Duration) -> Self {
        Self {
            budget,
            heard: [0; HEARD],
            next: 0,
            success: 256,
            skipped: 0,
        }
    }

    /// Changes the longest time of one spin.
    pub fn set_budget(&mut self, budget: Duration) {
        self.budget = budget;
    }

    /// Longest time of one spin.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// A connection, named by its index, has sent something.
    #[inline]
    pub fn heard(&mut self, connection: usize) {
        self.heard[self.next % HEARD] = connection;
        self.next = self.next.wrapping_add(1);
    }

    /// True when so few connections talk that each should be answered at once rather than together with others.
    pub fn few_talk(&self) -> bool {
        let mut talkers = [usize::MAX; TALKERS_MAX];
        let mut count = 0;
        for connection in self.heard {
            if talkers.contains(&connection) {
                continue;
            }
            if count == TALKERS_MAX {
                return false;
            }
            talkers[count] = connection;
            count += 1;
        }
        true
    }

    /// Whether to spin now, given when the last traffic was seen.
    pub fn is_worth_it(&mut self, now: Tick, last_traffic: Tick) -> bool {
        if self.budget.is_zero() || now.since(last_traffic) > FRESH || !self.few_talk() {
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

    #[test]
    fn only_few_talkers_are_worth_it() {
        let mut spin = Spin::new(Duration::from_micros(50));
        let now = Tick(1_000_000_000);
        (0..HEARD).for_each(|i| spin.heard(i % 2));
        assert!(spin.is_worth_it(now, now), "two clients in turn");
        spin.heard(7);
        assert!(!spin.is_worth_it(now, now), "a third one");
        (0..HEARD).for_each(|_| spin.heard(7));
        assert!(spin.is_worth_it(now, now), "the others fell silent");
    }
}
