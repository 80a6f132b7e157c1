//! [`Flights`]: which frames are submitted, written, durable. Pure bookkeeping.
//!
//! Completions come in any order; only the contiguous prefix counts, so a hole is never acknowledged. A frame written
//! with O_DSYNC is durable when it completes; any other waits for a *round*: one flush of each segment that holds such
//! frames, begun after they completed.

use std::collections::VecDeque;
use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, SegmentId};

use super::group::FrameRange;
use super::stats::Span;

struct Flight {
    frame: FrameNo,
    at: FrameRange,
    submitted_at: Tick,
    done: bool,
}

/// A flush under way.
struct Round {
    covers: FrameNo,
    outstanding: usize,
}

/// See the file's head.
pub(crate) struct Flights {
    flights: VecDeque<Flight>,
    outstanding: usize,
    submitted: FrameNo,
    written: FrameNo,
    durable: FrameNo,
    /// First frame that no flush covers and that was not written with O_DSYNC.
    first_unsynced: Option<FrameNo>,
    last_unsynced: FrameNo,
    /// Segments with unsynced frames, and the last such frame of each.
    dirty: Vec<(SegmentId, FrameNo)>,
    round: Option<Round>,
    round_began: Tick,
    wanted: FrameNo,
    /// Frames whose time until durable is being measured.
    measured: VecDeque<(FrameNo, Tick)>,
}

/// Frames measured at the same time, at most: with rare flushes thousands wait, and a sample is enough.
const MEASURED_MAX: usize = 256;

impl Flights {
    /// `written`: everything up to here needs no write; `durable`: and this much no flush; `dirty`: where the rest lies.
    pub(crate) fn new(written: FrameNo, durable: FrameNo, dirty: Vec<(SegmentId, FrameNo)>) -> Self {
        let unsynced = !dirty.is_empty();
        Self {
            flights: VecDeque::new(),
            outstanding: 0,
            submitted: written,
            written,
            durable: if unsynced { durable } else { written },
            first_unsynced: unsynced.then_some(FrameNo(durable.0 + 1)),
            last_unsynced: if unsynced { written } else { FrameNo(0) },
            dirty,
            round: None,
            round_began: Tick::ZERO,
            // What was found at start is flushed at once: it may so far have been in the device's cache only.
            wanted: if unsynced { written } else { FrameNo(0) },
            measured: VecDeque::new(),
        }
    }

    pub(crate) fn submitted(&self) -> FrameNo {
        self.submitted
    }

    pub(crate) fn written(&self) -> FrameNo {
        self.written
    }

    pub(crate) fn durable(&self) -> FrameNo {
        self.durable
    }

    /// Frames handed out and not completed.
    pub(crate) fn in_flight(&self) -> usize {
        self.outstanding
    }

    /// The next frame, in order, was handed to the device.
    pub(crate) fn submit(&mut self, frame: FrameNo, at: FrameRange, sync: bool, now: Tick) {
        assert!(frame.0 == self.submitted.0 + 1, "frames are submitted in order");
        self.submitted = frame;
        self.outstanding += 1;
        self.flights.push_back(Flight {
            frame,
            at,
            submitted_at: now,
            done: false,
        });
        if self.measured.len() < MEASURED_MAX {
            self.measured.push_back((frame, now));
        }
        if sync {
            return;
        }
        self.first_unsynced.get_or_insert(frame);
        self.last_unsynced = frame;
        match self.dirty.last_mut() {
            Some((s, last)) if *s == at.segment => *last = frame,
            _ => self.dirty.push((at.segment, frame)),
        }
    }

    /// Where a frame in flight lies.
    pub(crate) fn range_of(&self, frame: FrameNo) -> FrameRange {
        let front = self.flights.front().expect("a completion belongs to a flight").frame;
        self.flights[(frame.0 - front.0) as usize].at
    }

    /// Where the oldest frame lies that is not known to be written, among those submitted.
    pub(crate) fn first_unwritten(&self) -> Option<FrameRange> {
        self.flights.front().map(|f| f.at)
    }

    /// Adds to `span` what frames took that became durable since the last call.
    pub(crate) fn measure(&mut self, now: Tick, span: &mut Span) {
        while let Some(&(frame, at)) = self.measured.front()
            && frame <= self.durable
        {
            self.measured.pop_front();
            span.add(now.since(at));
        }
    }

    /// A frame was written; returns how long that took.
    pub(crate) fn complete(&mut self, frame: FrameNo, now: Tick) -> Duration {
        let front = self.flights.front().expect("a completion belongs to a flight").frame;
        let flight = &mut self.flights[(frame.0 - front.0) as usize];
        assert!(!flight.done, "frame {frame} completed twice");
        flight.done = true;
        let took = now.since(flight.submitted_at);
        self.outstanding -= 1;
        while let Some(f) = self.flights.front()
            && f.done
        {
            self.written = f.frame;
            self.flights.pop_front();
        }
        self.advance();
        took
    }

    /// The last frame that was asked for by [`Flights::want_durable`].
    pub(crate) fn wanted(&self) -> FrameNo {
        self.wanted
    }

    /// Asks for everything up to `frame` to become durable whatever the policy.
    pub(crate) fn want_durable(&mut self, frame: FrameNo) {
        self.wanted = self.wanted.max(frame);
    }

    /// When the next round may begin: `None` = nothing to flush, or a round is under way. `interval`: `None` = only what
    /// was asked for by [`Flights::want_durable`].
    pub(crate) fn round_due(&self, interval: Option<Duration>) -> Option<Tick> {
        let first = self.first_unsynced?;
        if self.round.is_some() || first > self.written {
            return None;
        }
        if self.wanted > self.durable {
            return Some(Tick::ZERO);
        }
        interval.map(|d| self.round_began + d)
    }

    /// Begins a round over everything written so far; calls `flush` for each segment to flush.
    pub(crate) fn begin_round(&mut self, now: Tick, mut flush: impl FnMut(SegmentId)) {
        let first = self.first_unsynced.expect("a round begins when something is unsynced");
        let mut outstanding = 0;
        // A segment's frames are consecutive, so it is concerned when its first unsynced frame is written. Segments
        // that lie wholly beyond what is written are left out.
        let mut segment_first = first;
        for &(segment, last) in &self.dirty {
            if segment_first <= self.written {
                flush(segment);
                outstanding += 1;
            }
            segment_first = FrameNo(last.0 + 1);
        }
        self.round = Some(Round {
            covers: self.written,
            outstanding,
        });
        self.round_began = now;
    }

    /// One flush of the round ended well.
    pub(crate) fn flushed(&mut self) {
        let round = self.round.as_mut().expect("a flush belongs to a round");
        round.outstanding -= 1;
        if round.outstanding > 0 {
            return;
        }
        let covers = round.covers;
        self.round = None;
        self.dirty.retain(|&(_, last)| last > covers);
        self.first_unsynced = (self.last_unsynced > covers).then_some(FrameNo(covers.0 + 1));
        self.advance();
    }

    fn advance(&mut self) {
        let prefix = match self.first_unsynced {
            None => self.written,
            Some(first) => self.written.min(FrameNo(first.0 - 1)),
        };
        // A stretch of O_DSYNC frames behind an unsynced one may lower what the formula gives, never what was said.
        self.durable = self.durable.max(prefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SegmentId = SegmentId(1);

    fn at(segment: u64) -> FrameRange {
        FrameRange {
            segment: SegmentId(segment),
            offset: 0,
            len: 4096,
        }
    }

    #[test]
    fn only_the_prefix_is_durable() {
        let mut f = Flights::new(FrameNo(0), FrameNo(0), Vec::new());
        for n in 1..=3 {
            f.submit(FrameNo(n), at(1), true, Tick(n));
        }
        f.complete(FrameNo(2), Tick(9));
        assert_eq!((f.durable(), f.in_flight()), (FrameNo(0), 2));
        f.complete(FrameNo(1), Tick(9));
        assert_eq!(f.durable(), FrameNo(2));
        f.complete(FrameNo(3), Tick(9));
        assert_eq!(f.durable(), FrameNo(3));
    }

    #[test]
    fn a_dsync_frame_behind_an_unsynced_one_waits_for_the_flush() {
        let mut f = Flights::new(FrameNo(0), FrameNo(0), Vec::new());
        f.submit(FrameNo(1), at(1), false, Tick(0));
        f.submit(FrameNo(2), at(1), true, Tick(0));
        f.complete(FrameNo(1), Tick(1));
        f.complete(FrameNo(2), Tick(1));
        assert_eq!((f.written(), f.durable()), (FrameNo(2), FrameNo(0)));
        assert_eq!(f.round_due(None), None, "nobody asked");
        f.want_durable(FrameNo(2));
        assert_eq!(f.round_due(None), Some(Tick::ZERO));
        let mut flushed = Vec::new();
        f.begin_round(Tick(2), |s| flushed.push(s));
        assert_eq!(flushed, [S]);
        // A frame submitted during the round is not covered by it.
        f.submit(FrameNo(3), at(1), false, Tick(2));
        f.complete(FrameNo(3), Tick(3));
        f.flushed();
        assert_eq!(f.durable(), FrameNo(2));
    }

    #[test]
    fn a_round_flushes_every_segment_it_covers() {
        let mut f = Flights::new(FrameNo(0), FrameNo(0), Vec::new());
        f.submit(FrameNo(1), at(1), false, Tick(0));
        f.submit(FrameNo(2), at(2), false, Tick(0));
        f.submit(FrameNo(3), at(3), false, Tick(0));
        f.complete(FrameNo(1), Tick(1));
        f.complete(FrameNo(2), Tick(1));
        let mut flushed = Vec::new();
        f.begin_round(Tick(1), |s| flushed.push(s));
        assert_eq!(flushed, [SegmentId(1), SegmentId(2)]);
        f.flushed();
        assert_eq!(f.durable(), FrameNo(0), "one of two flushes");
        f.flushed();
        assert_eq!(f.durable(), FrameNo(2));
    }
}
