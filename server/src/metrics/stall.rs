//! [`StallDetector`]: which task queue held its core, and for how long. A core serves everybody from one thread, so one
//! long slice is everybody's latency.

use std::time::Duration;

use slotcore_rt::clock::Tick;

/// A slice of this length is reported: a client notices it, and nothing on a core has a reason to run longer.
pub const SLICE_REPORTED: Duration = Duration::from_millis(10);

/// A kind of work on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Queue {
    /// Sockets, commands, replies.
    Foreground,
    /// Raft's tasks.
    Raft,
    /// The log's completions and decisions.
    Log,
    /// Expiry and the freeing of big values.
    Housekeeping,
    /// Flushes and merges.
    Background,
}

impl Queue {
    /// Every queue, in the order of their numbers.
    pub const ALL: [Queue; 5] = [
        Queue::Foreground,
        Queue::Raft,
        Queue::Log,
        Queue::Housekeeping,
        Queue::Background,
    ];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        ["foreground", "raft", "log", "housekeeping", "background"][self as usize]
    }
}

/// What one queue did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSlices {
    /// Slices that ran.
    pub count: u64,
    /// Their time together.
    pub busy: Duration,
    /// The longest one since the start or the last reset.
    pub longest: Duration,
    /// Slices of at least [`SLICE_REPORTED`].
    pub stalls: u64,
}

/// Slices of every queue of one core. Pure: the caller brings the times.
#[derive(Clone, Debug, Default)]
pub struct StallDetector {
    queues: [QueueSlices; Queue::ALL.len()],
}

impl StallDetector {
    /// Notes a slice that ran from `began` to `ended`. Returns its length when it is one to report.
    #[inline]
    pub fn slice(&mut self, queue: Queue, began: Tick, ended: Tick) -> Option<Duration> {
        let length = ended.since(began);
        let slices = &mut self.queues[queue as usize];
        slices.count += 1;
        slices.busy += length;
        slices.longest = slices.longest.max(length);
        if length < SLICE_REPORTED {
            return None;
        }
        slices.stalls += 1;
        Some(length)
    }

    /// What `queue` did.
    pub fn queue(&self, queue: Queue) -> QueueSlices {
        self.queues[queue as usize]
    }

    /// Adds the slices of another core.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.queues.iter_mut().zip(other.queues) {
            ours.count += theirs.count;
            ours.busy += theirs.busy;
            ours.longest = ours.longest.max(theirs.longest);
            ours.stalls += theirs.stalls;
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_slice_of_each_queue_is_kept_and_long_ones_are_reported() {
        let at = |ms| Tick::ZERO + Duration::from_millis(ms);
        let mut detector = StallDetector::default();
        assert_eq!(detector.slice(Queue::Foreground, at(0), at(3)), None);
        assert_eq!(detector.slice(Queue::Foreground, at(5), at(15)), Some(SLICE_REPORTED));
        assert_eq!(detector.slice(Queue::Raft, at(15), at(16)), None);
        let foreground = detector.queue(Queue::Foreground);
        assert_eq!((foreground.count, foreground.stalls), (2, 1));
        assert_eq!(
            (foreground.longest, foreground.busy),
            (SLICE_REPORTED, Duration::from_millis(13))
        );
        assert_eq!(detector.queue(Queue::Raft).longest, Duration::from_millis(1));
        // A clock that seems to run backwards is no slice at all.
        assert_eq!(detector.slice(Queue::Log, at(9), at(8)), None);
        detector.reset();
        assert_eq!(detector.queue(Queue::Foreground), QueueSlices::default());
    }
}
