//! A moment as openraft wants it: our [`Tick`] with the clock it came from in the type.
//!
//! `Instant::now` takes no argument, so the clock must be known from the type alone: [`TimeSource`] is a marker.

use std::marker::PhantomData;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use slotcore_rt::clock::Tick;

/// Where [`Moment::now`] takes the time from.
pub trait TimeSource: Clone + Copy + std::fmt::Debug + Eq + Ord + RefUnwindSafe + UnwindSafe + Unpin + 'static {
    /// The current tick; never goes back.
    fn tick() -> Tick;
}

/// A tick of the clock `S`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment<S>(Tick, PhantomData<S>);

impl<S> Moment<S> {
    /// The moment at `tick`.
    pub fn at(tick: Tick) -> Self {
        Moment(tick, PhantomData)
    }

    /// The tick of this moment.
    pub fn tick(self) -> Tick {
        self.0
    }
}

impl<S: TimeSource> openraft_rt::Instant for Moment<S> {
    fn now() -> Self {
        Moment::at(S::tick())
    }
}

impl<S> Add<Duration> for Moment<S> {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Moment::at(self.0 + rhs)
    }
}

impl<S> AddAssign<Duration> for Moment<S> {
    fn add_assign(&mut self, rhs: Duration) {
        self.0 = self.0 + rhs;
    }
}

impl<S> Sub<Duration> for Moment<S> {
    type Output = Self;
    /// Saturates at the clock's beginning: openraft looks back by whole leases right after a simulated start.
    fn sub(self, rhs: Duration) -> Self {
        Moment::at(Tick(
            self.0
                .0
                .saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)),
        ))
    }
}

impl<S> Sub<Moment<S>> for Moment<S> {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.0.since(rhs.0)
    }
}

impl<S> SubAssign<Duration> for Moment<S>
where
    S: Copy,
{
    fn sub_assign(&mut self, rhs: Duration) {
        *self = *self - rhs;
    }
}
