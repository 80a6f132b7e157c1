//! [`Sessions`]: which writes of whom were executed, so that one that is sent again counts once.
//!
//! A *session* numbers its writes and sends one again, with the same number, when it does not hear of it: because a link
//! was lost, or the leader died. Wherever the copies end up, all of them are executed through the log, and this table,
//! which is replicated state changed by executing entries only, lets one of them pass. The others are answered with what
//! that one was answered.
//!
//! With each write the session says which numbers it has settled: below its `floor` nobody waits for an answer, so those
//! answers are forgotten, and a late copy of such a write is not executed. So the table holds what is under way, and no
//! more.
//!
//! **Order.** A write may name one that must come before it (`after`). If that one has neither been executed nor been
//! settled, it is not executed: something got lost on the way, and the session sends both again, in order.
//!
//! Nothing here reads a clock: idle sessions go by the group's.

mod codec;

use std::collections::{BTreeMap, BTreeSet};

pub use codec::BadSessions;

/// Bytes of an answer that are kept. A longer one is not: whoever asks again is told that the write was executed.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of answers that a session keeps; beyond, the oldest are dropped as if they were too long.
pub const SESSION_BYTES_MAX: usize = 4 << 20;
/// Bytes of answers that all sessions keep together; beyond, those of the sessions that wrote least recently are dropped: they are
/// part of every manifest, whose parts beside the keys have a limit ([`crate::store::SIDE_BYTES_MAX`]).
pub const ALL_BYTES_MAX: usize = 16 << 20;
/// Sessions kept; beyond, the one that wrote least recently is forgotten. Far more than a cluster has cores that forward.
pub const SESSIONS_MAX: usize = 16 << 10;
/// A session that wrote nothing for so long on the group's clock, in milliseconds, is forgotten. Whoever sends a write again
/// gives up within seconds.
pub const IDLE_MS_MAX: u64 = 60 * 60 * 1000;

/// A name that nobody else has: drawn at random by whoever opens the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

/// What makes a write count once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Once {
    /// Whose it is.
    pub session: SessionId,
    /// Its number in the session, from 1.
    pub serial: u64,
    /// Writes with lower numbers are settled: nobody waits for their answers.
    pub floor: u64,
    /// The write that must come before; 0: none.
    pub after: u64,
    /// The version of RESP of its answer; 0: nobody reads it.
    pub proto: u8,
}

/// Whether a write is to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Yes, now; then [`Sessions::executed`].
    Execute,
    /// It was. This was the answer; `None`: that was too long to be kept.
    Known(Option<&'a [u8]>),
    /// Not before another one that is missing: it must be sent again behind that.
    Early,
    /// No, and nobody waits for an answer.
    Settled,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    /// When it wrote last, in milliseconds on the group's clock.
    last_ms: u64,
    floor: u64,
    /// What was executed, from the floor on.
    done: BTreeMap<u64, Option<Box<[u8]>>>,
    /// Bytes of answers kept.
    bytes: usize,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    /// By the time of their last write.
    by_age: BTreeSet<(u64, SessionId)>,
    /// Bytes of answers kept by all of them.
    bytes: usize,
}

impl Sessions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A write has come out of the log. `now_ms`: the group's clock.
    pub fn admit(&mut self, once: &Once, now_ms: u64) -> Verdict<'_> {
        self.forget_idle(now_ms);
        self.touch(once.session, now_ms);
        let session = self.sessions.get_mut(&once.session).expect("it was touched");
        let before = session.bytes;
        session.settle(once.floor);
        self.bytes -= before - session.bytes;
        if once.serial < session.floor {
            return Verdict::Settled;
        }
        if !session.done.contains_key(&once.serial) {
            let early = once.after >= session.floor && once.after > 0 && !session.done.contains_key(&once.after);
            return if early { Verdict::Early } else { Verdict::Execute };
        }
        Verdict::Known(session.done[&once.serial].as_deref())
    }

    /// An admitted write was executed, and this is its answer.
    pub fn executed(&mut self, once: &Once, answer: &[u8]) {
        if let Some(session) = self.sessions.get_mut(&once.session) {
            let before = session.bytes;
            session.keep(once.serial, answer);
            self.bytes = self.bytes - before + session.bytes;
        }
        if self.bytes > ALL_BYTES_MAX {
            self.drop_answers();
        }
    }

    /// Those of the sessions that wrote least recently go, as if they had been too long.
    #[cold]
    fn drop_answers(&mut self) {
        for (_, id) in &self.by_age {
            let session = self.sessions.get_mut(id).expect("each has its age");
            if session.bytes == 0 {
                continue;
            }
            session.done.values_mut().for_each(|answer| *answer = None);
            self.bytes -= std::mem::take(&mut session.bytes);
            if self.bytes <= ALL_BYTES_MAX {
                return;
            }
        }
    }

    fn touch(&mut self, id: SessionId, now_ms: u64) {
        let session = self.sessions.entry(id).or_default();
        self.by_age.remove(&(session.last_ms, id));
        session.last_ms = now_ms;
        self.by_age.insert((now_ms, id));
        if self.sessions.len() > SESSIONS_MAX {
            let oldest = self.by_age.iter().copied().find(|(_, other)| *other != id);
            if let Some(oldest) = oldest {
                self.forget(oldest);
            }
        }
    }

    fn forget_idle(&mut self, now_ms: u64) {
        while let Some(&oldest) = self.by_age.first()
            && oldest.0.saturating_add(IDLE_MS_MAX) < now_ms
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, oldest: (u64, SessionId)) {
        self.by_age.remove(&oldest);
        if let Some(session) = self.sessions.remove(&oldest.1) {
            self.bytes -= session.bytes;
        }
    }
}

impl Session {
    fn settle(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        while let Some(first) = self.done.first_entry()
            && *first.key() < floor
        {
            self.bytes -= first.remove().map_or(0, |answer| answer.len());
        }
    }

    fn keep(&mut self, serial: u64, answer: &[u8]) {
        let kept = (answer.len() <= ANSWER_BYTES_MAX).then_some(answer);
        self.bytes += kept.map_or(0, <[u8]>::len);
        self.done.insert(serial, kept.map(Into::into));
        if self.bytes > SESSION_BYTES_MAX {
            for answer in self.done.values_mut() {
                self.bytes -= answer.take().map_or(0, |answer| answer.len());
                if self.bytes <= SESSION_BYTES_MAX {
                    return;
                }
            }
        }
    }
}
