//! [`Schedule`]: when which request is due. Pure: `client.rs` brings the time.

use std::time::Duration;

use slotcore_rt::clock::Tick;

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// After that many requests.
    Requests(u64),
    /// After that time; what is under way is waited for.
    After(Duration),
}

/// How requests follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most requests of a connection under way at once.
    pub pipeline: usize,
    /// Requests per second over all connections (open loop): each has its moment, and if no connection is free then it
    /// waits, which counts. `None`: a connection sends again when it has all its replies (closed loop).
    pub rate: Option<f64>,
    /// When it ends.
    pub stop: Stop,
}

/// See the module's text.
#[derive(Debug)]
pub struct Schedule {
    start: Tick,
    /// Nanoseconds between two requests of an open loop.
    interval_ns: Option<f64>,
    requests: u64,
    /// Closed loop: nothing begins from then on.
    end: Option<Tick>,
    begun: u64,
}

impl Schedule {
    /// Of a run that starts at `start`.
    pub fn new(pace: &Pace, start: Tick) -> Self {
        let (requests, end) = match (pace.stop, pace.rate) {
            (Stop::Requests(requests), _) => (requests, None),
            // Every request whose moment lies within the time, however late it will be sent.
            (Stop::After(time), Some(rate)) => ((rate * time.as_secs_f64()) as u64, None),
            (Stop::After(time), None) => (u64::MAX, Some(start + time)),
        };
        Self {
            start,
            interval_ns: pace.rate.map(|rate| 1e9 / rate),
            requests,
            end,
            begun: 0,
        }
    }

    /// Begins as many requests as are due at `now`, at most `max`: their number, 0 when there is none.
    #[inline]
    pub fn begin(&mut self, now: Tick, max: usize) -> usize {
        if self.end.is_some_and(|end| now >= end) {
            return 0;
        }
        let due = match self.interval_ns {
            Some(interval) => ((now.since(self.start).as_nanos() as f64 / interval) as u64 + 1).min(self.requests),
            None => self.requests,
        };
        let count = due.saturating_sub(self.begun).min(max as u64);
        self.begun += count;
        count as usize
    }

    /// Requests there will be at most.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The part of the run that is over at `now`, after so many replies: 0 to 1.
    pub fn progress(&self, now: Tick, replies: u64) -> f64 {
        match self.end {
            Some(end) => {
                let whole = end.since(self.start).as_secs_f64();
                (now.since(self.start).as_secs_f64() / whole.max(1e-9)).min(1.0)
            }
            None => replies as f64 / self.requests.max(1) as f64,
        }
    }

    /// Requests begun so far.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// The moment of request `number` in an open loop; in a closed loop there is none but when it was sent.
    #[inline]
    pub fn intended(&self, number: u64) -> Option<Tick> {
        let after_ns = self.interval_ns? * number as f64;
        Some(self.start + Duration::from_nanos(after_ns as u64))
    }

    /// True when nothing will begin any more.
    pub fn is_over(&self, now: Tick) -> bool {
        self.begun >= self.requests || self.end.is_some_and(|end| now >= end)
    }

    /// When to look again if no reply comes before: the next request of an open loop.
    pub fn next_due(&self) -> Option<Tick> {
        (self.begun < self.requests)
            .then(|| self.intended(self.begun))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick(1_000_000_000 + ms * 1_000_000)
    }

    fn pace(rate: Option<f64>, stop: Stop) -> Pace {
        Pace {
            pipeline: 4,
            rate,
            stop,
        }
    }

    #[test]
    fn an_open_loop_begins_what_is_due_and_keeps_the_moments_of_what_came_late() {
        let mut schedule = Schedule::new(&pace(Some(1_000.0), Stop::After(Duration::from_millis(10))), at(0));
        assert_eq!(schedule.begin(at(0), 4), 1);
        assert_eq!(schedule.begin(at(0), 4), 0);
        assert_eq!(schedule.next_due(), Some(at(1)));
        // Seven came due while every connection was busy.
        assert_eq!(schedule.begin(at(7), 4), 4);
        assert_eq!(schedule.begin(at(7), 4), 3);
        assert_eq!(schedule.intended(1), Some(at(1)));
        // The last ones are sent although the time is over.
        assert!(!schedule.is_over(at(50)));
        assert_eq!(schedule.begin(at(50), 4), 2);
        assert!(schedule.is_over(at(50)));
        assert_eq!((schedule.begun(), schedule.next_due()), (10, None));
    }

    #[test]
    fn a_closed_loop_begins_whenever_asked_until_its_end() {
        let mut schedule = Schedule::new(&pace(None, Stop::Requests(6)), at(0));
        assert_eq!(
            (
                schedule.begin(at(0), 4),
                schedule.begin(at(0), 4),
                schedule.begin(at(9), 4)
            ),
            (4, 2, 0)
        );
        assert!(schedule.is_over(at(0)));
        assert_eq!((schedule.requests(), schedule.progress(at(0), 3)), (6, 0.5));
        let mut schedule = Schedule::new(&pace(None, Stop::After(Duration::from_millis(5))), at(0));
        assert_eq!((schedule.begin(at(4), 4), schedule.begin(at(5), 4)), (4, 0));
        assert_eq!((schedule.progress(at(1), 9), schedule.progress(at(9), 9)), (0.2, 1.0));
        assert!(schedule.is_over(at(5)) && !schedule.is_over(at(4)));
        assert_eq!((schedule.next_due(), schedule.intended(3)), (None, None));
    }
}
