//! [`Holds`]: for which transaction over cores a core is held, and who waits for that. Pure.

use std::collections::VecDeque;

use slotcore_netio::ConnId;
use slotcore_rt::ids::FrameNo;

/// A transaction that wants a core to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The core that coordinates it,
    pub from: u16,
    /// its number there,
    pub part: u32,
    /// and the connection.
    pub conn: ConnId,
    /// The connection watches keys of the core that is asked.
    pub watches: bool,
    /// The core's part writes.
    pub writes: bool,
    /// It is refused when memory is exhausted.
    pub grows: bool,
    /// It exchanges databases.
    pub swaps: bool,
    /// Bytes of the entry it becomes there.
    pub bytes: usize,
}

/// What a core says that was asked to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds, and its log takes an entry of so many bytes.
    Held {
        /// Bytes; to within a factor of two, 0 where it only reads.
        room: usize,
    },
    /// A watched key was changed: it does not hold.
    Changed,
    /// The transaction cannot be carried out, for this reason: it does not hold.
    Refused(&'static str),
}

/// How far a copy is on its way to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// There is none.
    Nothing,
    /// It is in the batch, or proposed.
    Gathered,
    /// It is in this frame of the log, or an earlier one.
    InFrame(FrameNo),
}

/// A transaction that holds the core.
#[derive(Debug)]
struct Hold {
    wanted: Wanted,
    /// All that was taken before is applied, and the coordinator was told.
    granted: bool,
    keep: Keep,
    applied: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Holds {
    current: Option<Hold>,
    waiting: VecDeque<Wanted>,
    /// Ended in this turn: what was left alone is looked at again.
    released: bool,
}

impl Holds {
    /// True while the core takes no commands.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.current.is_some()
    }

    /// True from the moment at which the coordinator was told.
    #[inline]
    pub fn is_granted(&self) -> bool {
        self.current.as_ref().is_some_and(|hold| hold.granted)
    }

    /// True when the core is held, or will be.
    pub fn is_wanted(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// One more wants the core.
    pub fn want(&mut self, wanted: Wanted) {
        self.waiting.push_back(wanted);
    }

    /// From now on the core is held for whoever has waited longest. Returns whose turn it is to be granted, if any:
    /// everything that was taken before must be applied.
    pub fn next(&mut self) -> Option<Wanted> {
        if self.current.is_none() {
            self.current = self.waiting.pop_front().map(|wanted| Hold {
                wanted,
                granted: false,
                keep: Keep::Nothing,
                applied: false,
            });
        }
        self.current
            .as_ref()
            .filter(|hold| !hold.granted)
            .map(|hold| hold.wanted)
    }

    /// The one that [`Holds::next`] named holds the core, or not.
    pub fn decide(&mut self, verdict: Verdict) {
        match (verdict, &mut self.current) {
            (Verdict::Held { .. }, Some(hold)) => hold.granted = true,
            _ => {
                self.current = None;
                self.released = true;
            }
        }
    }

    /// The copy of whoever holds the core was put into the batch.
    pub fn gathered(&mut self) {
        if let Some(hold) = &mut self.current {
            hold.keep = Keep::Gathered;
        }
    }

    /// The copy was carried out.
    pub fn applied(&mut self) {
        if let Some(hold) = &mut self.current {
            hold.applied = true;
        }
    }

    /// How far its copy is.
    #[inline]
    pub fn keep(&self) -> Keep {
        self.current.as_ref().map_or(Keep::Nothing, |hold| hold.keep)
    }

    /// The copy is in this frame of the log.
    pub fn in_frame(&mut self, frame: FrameNo) {
        if let Some(hold) = &mut self.current {
            hold.keep = Keep::InFrame(frame);
        }
    }

    /// The log is durable up to `durable`: names whoever is to be told that its copy is kept, once.
    pub fn kept(&mut self, durable: FrameNo) -> Option<Wanted> {
        let hold = self.current.as_mut()?;
        match hold.keep {
            Keep::InFrame(frame) if frame <= durable && hold.applied => {
                hold.keep = Keep::Nothing;
                Some(hold.wanted)
            }
            _ => None,
        }
    }

    /// The coordinator lets go, or gives up what it wanted.
    pub fn release(&mut self, from: u16, part: u32) {
        let is_it = |wanted: &Wanted| (wanted.from, wanted.part) == (from, part);
        if self.current.as_ref().is_some_and(|hold| is_it(&hold.wanted)) {
            self.current = None;
            self.released = true;
        }
        self.waiting.retain(|wanted| !is_it(wanted));
    }

    /// True when there is something to do that no event tells of.
    pub fn is_due(&self, all_applied: bool) -> bool {
        match &self.current {
            Some(hold) => !hold.granted && all_applied,
            None => self.released || !self.waiting.is_empty(),
        }
    }

    /// A turn begins.
    #[inline]
    pub fn begin_turn(&mut self) {
        self.released = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(from: u16, part: u32) -> Wanted {
        Wanted {
            from,
            part,
            conn: ConnId::from_parts((1, 1)),
            watches: false,
            writes: true,
            grows: false,
            swaps: false,
            bytes: 10,
        }
    }

    #[test]
    fn one_at_a_time_in_the_order_they_came() {
        let mut holds = Holds::default();
        assert!(!holds.is_wanted() && holds.next().is_none());
        holds.want(wanted(0, 1));
        holds.want(wanted(1, 1));
        assert!(holds.is_due(false) && !holds.is_held());
        assert_eq!(holds.next(), Some(wanted(0, 1)));
        assert!(holds.is_held() && !holds.is_granted() && !holds.is_due(false) && holds.is_due(true));
        holds.decide(Verdict::Held { room: 0 });
        assert!(holds.is_granted() && holds.next().is_none() && !holds.is_due(true));
        // Whoever has not got it may give it up, too.
        holds.want(wanted(2, 9));
        holds.release(2, 9);
        holds.release(0, 1);
        assert!(!holds.is_held() && holds.is_due(false));
        holds.begin_turn();
        assert_eq!(holds.next(), Some(wanted(1, 1)));
        holds.decide(Verdict::Changed);
        assert!(!holds.is_wanted() && holds.is_due(false));
    }

    #[test]
    fn a_copy_is_kept_when_it_is_durable_and_carried_out() {
        let mut holds = Holds::default();
        holds.want(wanted(0, 1));
        holds.next();
        holds.decide(Verdict::Held { room: 0 });
        assert_eq!(holds.keep(), Keep::Nothing);
        holds.gathered();
        assert_eq!((holds.keep(), holds.kept(FrameNo(9))), (Keep::Gathered, None));
        holds.in_frame(FrameNo(5));
        assert_eq!(holds.kept(FrameNo(9)), None);
        holds.applied();
        assert_eq!(holds.kept(FrameNo(4)), None);
        assert_eq!(holds.kept(FrameNo(5)), Some(wanted(0, 1)));
        assert_eq!(holds.kept(FrameNo(5)), None);
        assert!(holds.is_held());
    }
}
