//! [`SimClock`]: a node's own idea of the time, wrong in every way a machine's clock can be.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::clock::{Clock, Tick};

/// What the wall clock of an unskewed node shows at virtual time zero, in milliseconds: 2026-01-01 00:00 UTC. Far from
/// zero, so that nobody mixes up the two scales unnoticed.
pub const WALL_MS_AT_ZERO: u64 = 1_767_225_600_000;

#[derive(Clone, Copy)]
struct Course {
    /// From this moment of true time on ...
    since: Tick,
    /// ... the node's monotonic clock, which then showed this, ...
    local: Tick,
    /// ... runs fast by so many parts in a million (negative: slow).
    drift_ppm: i64,
    /// The wall clock shows the monotonic one plus this, in milliseconds.
    wall_offset_ms: i64,
}

/// One node's clock. Clones show the same.
#[derive(Clone)]
pub struct SimClock {
    time: Rc<Cell<Tick>>,
    course: Rc<RefCell<Course>>,
}

impl SimClock {
    /// A clock that follows `time` (see [`Sim::time`](super::Sim::time)) exactly.
    pub fn new(time: Rc<Cell<Tick>>) -> Self {
        let now = time.get();
        let course = Course {
            since: now,
            local: now,
            drift_ppm: 0,
            wall_offset_ms: WALL_MS_AT_ZERO as i64,
        };
        Self {
            time,
            course: Rc::new(RefCell::new(course)),
        }
    }

    /// From now on the clock runs fast by `ppm` parts in a million, slow when negative (at least -999,999).
    pub fn set_drift_ppm(&self, ppm: i64) {
        assert!(ppm > -1_000_000, "a monotonic clock never runs backwards");
        let local = self.tick();
        let mut course = self.course.borrow_mut();
        (course.since, course.local, course.drift_ppm) = (self.time.get(), local, ppm);
    }

    /// The wall clock jumps, as when it is set by hand or by NTP; the monotonic clock does not notice.
    pub fn jump_wall_ms(&self, by: i64) {
        self.course.borrow_mut().wall_offset_ms += by;
    }

    /// Both clocks jump forward, as after a suspend that the node itself did not notice.
    pub fn jump_forward(&self, by: Duration) {
        let mut course = self.course.borrow_mut();
        course.local = course.local + by;
    }

    /// True time at which this clock will show `local`, for timers of this node; now, when it already does.
    pub fn true_time_of(&self, local: Tick) -> Tick {
        let shown = self.tick();
        if local <= shown {
            return self.time.get();
        }
        let course = *self.course.borrow();
        let ahead = u128::from(local.0 - shown.0) * 1_000_000;
        let rate = (1_000_000 + course.drift_ppm) as u128;
        self.time.get() + Duration::from_nanos(u64::try_from(ahead.div_ceil(rate)).unwrap_or(u64::MAX))
    }
}

impl Clock for SimClock {
    fn tick(&self) -> Tick {
        let course = self.course.borrow();
        let passed = i128::from(self.time.get().0 - course.since.0);
        let drift = passed * i128::from(course.drift_ppm) / 1_000_000;
        Tick(course.local.0 + (passed + drift) as u64)
    }

    fn wall_us(&self) -> u64 {
        let offset = self.course.borrow().wall_offset_ms;
        (self.tick().0 / 1_000).saturating_add_signed(offset * 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn clock() -> (Rc<Cell<Tick>>, SimClock) {
        let time = Rc::new(Cell::new(Tick(5 * SECOND)));
        (Rc::clone(&time), SimClock::new(time))
    }

    #[test]
    fn without_faults_it_shows_true_time() {
        let (time, clock) = clock();
        time.set(Tick(7 * SECOND));
        assert_eq!(clock.tick(), Tick(7 * SECOND));
        assert_eq!(clock.wall_ms(), WALL_MS_AT_ZERO + 7_000);
    }

    #[test]
    fn drift_starts_where_the_clock_stands() {
        let (time, clock) = clock();
        clock.set_drift_ppm(100_000);
        time.set(Tick(15 * SECOND));
        assert_eq!(clock.tick(), Tick(16 * SECOND));
        clock.set_drift_ppm(-500_000);
        assert_eq!(clock.tick(), Tick(16 * SECOND));
        time.set(Tick(17 * SECOND));
        assert_eq!(clock.tick(), Tick(17 * SECOND));
        assert_eq!(clock.true_time_of(Tick(18 * SECOND)), Tick(19 * SECOND));
    }

    #[test]
    fn jumps_move_what_they_should() {
        let (_, clock) = clock();
        clock.jump_wall_ms(-10_000);
        assert_eq!(
            (clock.tick(), clock.wall_ms()),
            (Tick(5 * SECOND), WALL_MS_AT_ZERO - 5_000)
        );
        clock.jump_forward(Duration::from_secs(1));
        assert_eq!(
            (clock.tick(), clock.wall_ms()),
            (Tick(6 * SECOND), WALL_MS_AT_ZERO - 4_000)
        );
    }
}
