//! Whether this replica may answer reads alone. Pure: [`crate::Group`] brings the facts and the time.
//!
//! A leader may read its own state while no other replica can have been elected and nothing anyone has been shown is
//! newer than that state. Hence all of:
//! - a quorum has answered a message of ours *sent* less than the lease ago. Voters refuse other candidates for
//!   openraft's leader lease (the largest election timeout) after hearing from us; ours is a tenth shorter, less the
//!   drift allowed between two machines' clocks;
//! - an entry of this term has been executed: only then are all entries of earlier terms that could have been
//!   acknowledged executed too;
//! - everything we have called committed in a message is executed: a follower may already have shown it;
//! - no transfer of leadership has begun: it makes voters ignore the lease.
//!
//! A single voter needs no quorum's answer: nobody else can be elected.
//!
//! Without the lease, and without trusting any clock, a leader may answer what was asked before a moment when a quorum has
//! answered messages of ours sent after it, and the middle two conditions hold: it led at that moment, so that nobody else
//! had acknowledged anything newer (ReadIndex). A transfer that has begun does not matter.
//!
//! Source: Ongaro, "Consensus: Bridging Theory and Practice", section 6.4.1; DESIGN D.4 for the extra conditions.

use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, Term};

/// The lease is a tenth shorter than what voters promise, against clocks that run at slightly different rates.
const MARGIN_DIVISOR: u32 = 10;

/// Something that changes whether reads may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseInput {
    /// This replica leads in `term`. Repeating it changes nothing.
    Leading {
        /// The term it leads in.
        term: Term,
        /// Whether it is the only voter.
        alone: bool,
    },
    /// This replica does not lead.
    NotLeading,
    /// A quorum, this replica included, has answered messages sent at `asked_at` or later by the leader of `term`.
    QuorumAck {
        /// The term of the messages.
        term: Term,
        /// When the oldest of them was sent.
        asked_at: Tick,
    },
    /// The state machine has executed the entry at `index`, appended in `term`.
    Applied {
        /// Its position.
        index: LogIndex,
        /// Its term.
        term: Term,
    },
    /// A message is about to tell others that entries up to `index` are committed.
    CommitSent {
        /// The commit index in the message.
        index: LogIndex,
    },
    /// Leadership is about to be handed to another replica: told before the first message of it is sent.
    TransferBegins,
    /// Time has passed.
    TimerFired,
}

/// What the caller must do after an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEffect {
    /// Reads may be answered from the state machine alone.
    ServeReads,
    /// They may not.
    StopReads,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Lease {
    duration: Duration,
    /// `None` when not leading.
    term: Option<Term>,
    alone: bool,
    transferring: bool,
    reads_until: Tick,
    /// A quorum has answered messages sent at this moment or later.
    asked_at: Option<Tick>,
    applied: (LogIndex, Term),
    commit_sent: LogIndex,
}

impl Lease {
    /// A lease nobody holds.
    ///
    /// `voters_promise`: how long a voter refuses other candidates after hearing from a leader. `clock_drift`: how far
    /// two machines' clocks may diverge within that time. When nothing remains, reads are never served alone by one of
    /// several voters.
    pub fn new(voters_promise: Duration, clock_drift: Duration) -> Self {
        Lease {
            duration: (voters_promise - voters_promise / MARGIN_DIVISOR).saturating_sub(clock_drift),
            term: None,
            alone: false,
            transferring: false,
            reads_until: Tick::ZERO,
            asked_at: None,
            applied: (LogIndex(0), Term(0)),
            commit_sent: LogIndex(0),
        }
    }

    /// Advances by one input; appends to `effects` what the caller must now do.
    pub fn step(&mut self, now: Tick, input: LeaseInput, effects: &mut Vec<LeaseEffect>) {
        self.learn(input);
        effects.push(if self.holds(now) {
            LeaseEffect::ServeReads
        } else {
            LeaseEffect::StopReads
        });
    }

    /// Takes in one fact.
    pub fn learn(&mut self, input: LeaseInput) {
        match input {
            LeaseInput::Leading { term, alone } => {
                if self.term != Some(term) {
                    self.forget();
                }
                (self.term, self.alone) = (Some(term), alone);
            }
            LeaseInput::NotLeading => self.forget(),
            // Counted from when we asked, not from when they answered: the answer may have lain in a queue.
            LeaseInput::QuorumAck { term, asked_at } if self.term == Some(term) => {
                self.reads_until = self.reads_until.max(asked_at + self.duration);
                self.asked_at = self.asked_at.max(Some(asked_at));
            }
            LeaseInput::Applied { index, term } => self.applied = self.applied.max((index, term)),
            LeaseInput::CommitSent { index } => self.commit_sent = self.commit_sent.max(index),
            LeaseInput::TransferBegins => self.transferring = true,
            LeaseInput::QuorumAck { .. } | LeaseInput::TimerFired => {}
        }
    }

    /// Whether reads may be served at `now`.
    pub fn holds(&self, now: Tick) -> bool {
        self.has_executed() && !self.transferring && (self.alone || now < self.reads_until)
    }

    /// Whether what was asked before `then` may be answered now: a quorum has said that this replica led after `then`.
    pub fn confirms(&self, then: Tick) -> bool {
        self.has_executed() && (self.alone || self.asked_at.is_some_and(|asked_at| asked_at >= then))
    }

    /// It leads, and its state has all that an earlier leader acknowledged and all that it called committed itself.
    fn has_executed(&self) -> bool {
        let (applied, applied_term) = self.applied;
        self.term == Some(applied_term) && applied >= self.commit_sent
    }

    fn forget(&mut self) {
        (self.term, self.alone, self.transferring, self.reads_until) = (None, false, false, Tick::ZERO);
        self.asked_at = None;
    }
}
