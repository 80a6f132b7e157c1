//! [`Flights`]: what this core has proposed and not yet executed, and what has become of it. Pure.
//!
//! A batch is answered when its entry is executed. When leadership is lost on the way, one of these is true of it:
//! - it was refused before it reached the log: it is certainly not executed;
//! - an entry of a later term has been executed and it has not: it is certainly not executed and never will be. Its place in
//!   the log lies either before that entry, and is taken by another, or behind it, where nothing of an earlier term can be;
//! - neither is known yet. Then nobody may be told anything, and nothing proposed behind it may be tried again before it:
//!   it may still be executed, and a connection's commands keep their order.
//!
//! So flights are settled from the front. What is certainly not executed is tried again (by this core, or by whoever leads
//! now) when nothing is left in flight behind it; otherwise its clients are told that it was not executed.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use slotcore_raft_shard::{ProposalId, Refusal};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::Term;

struct Flight {
    /// The batch's number.
    seq: u64,
    proposal: ProposalId,
    payload: Bytes,
    since: Tick,
    /// Once it is in the log: its term, or a later one.
    term: Option<Term>,
    refused: Option<Refusal>,
}

impl Flight {
    fn is_lost(&self, executed: Term) -> bool {
        match (self.refused, self.term) {
            (Some(Refusal::NotExecuted), _) => true,
            (_, Some(term)) => executed > term,
            (_, None) => false,
        }
    }
}

/// What is known of the oldest flights: see [`Flights::settle`].
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing yet.
    Nothing,
    /// These payloads, all there were, are not executed: to be tried again, in this order.
    Again(Vec<Bytes>),
    /// These payloads, the oldest, are not executed, and something behind them may be.
    NotExecuted(Vec<Bytes>),
}

/// See the module's text.
#[derive(Default)]
pub struct Flights(VecDeque<Flight>);

impl Flights {
    /// True when nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Batch number `seq` was proposed.
    pub fn proposed(&mut self, seq: u64, proposal: ProposalId, payload: Bytes, now: Tick) {
        self.0.push_back(Flight {
            seq,
            proposal,
            payload,
            since: now,
            term: None,
            refused: None,
        });
    }

    /// A proposal was refused, or its entry replaced.
    pub fn refused(&mut self, proposal: ProposalId, refusal: Refusal) {
        if let Some(flight) = self.0.iter_mut().find(|flight| flight.proposal == proposal) {
            flight.refused = Some(refusal);
        }
    }

    /// Every proposal so far is in the log or refused. `last`: the term of the last entry appended.
    pub fn digested(&mut self, last: Term) {
        for flight in self.0.iter_mut().rev().take_while(|flight| flight.term.is_none()) {
            flight.term = Some(last);
        }
    }

    /// Batch number `seq` is executed now. The payloads of older ones, which were overtaken: they never will be. `None`: it
    /// is not in flight, for it was given up.
    pub fn executed(&mut self, seq: u64) -> Option<Vec<Bytes>> {
        let at = self.0.iter().position(|flight| flight.seq == seq)?;
        let overtaken = self.0.drain(..at).map(|flight| flight.payload).collect();
        self.0.pop_front();
        Some(overtaken)
    }

    /// Settles the oldest flights. `executed`: the term of the last entry executed.
    pub fn settle(&mut self, executed: Term) -> Settled {
        let lost = self.0.iter().take_while(|flight| flight.is_lost(executed)).count();
        if lost == 0 {
            return Settled::Nothing;
        }
        if lost == self.0.len() {
            return Settled::Again(self.0.drain(..).map(|flight| flight.payload).collect());
        }
        let is_appended = |flight: &Flight| flight.term.is_some() && flight.refused != Some(Refusal::NotExecuted);
        if !self.0.range(lost..).any(is_appended) {
            // Those behind may yet turn out to be refused as well.
            return Settled::Nothing;
        }
        Settled::NotExecuted(self.0.drain(..lost).map(|flight| flight.payload).collect())
    }

    /// True when the oldest flight has been under way for longer than `patience`.
    pub fn is_overdue(&self, now: Tick, patience: Duration) -> bool {
        self.0.front().is_some_and(|flight| now.since(flight.since) > patience)
    }

    /// The oldest flight is waited for no more. Its payload.
    pub fn give_up(&mut self) -> Option<Bytes> {
        self.0.pop_front().map(|flight| flight.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches 1 to `n`, proposed as 11 and so on.
    fn flying(n: u64) -> Flights {
        let mut flights = Flights::default();
        for seq in 1..=n {
            let payload = Bytes::copy_from_slice(&[seq as u8]);
            flights.proposed(seq, ProposalId(10 + seq), payload, Tick(seq));
        }
        flights
    }

    fn bytes(payloads: &[u8]) -> Vec<Bytes> {
        payloads.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect()
    }

    fn again(payloads: &[u8]) -> Settled {
        Settled::Again(bytes(payloads))
    }

    #[test]
    fn what_is_executed_in_order_leaves_nothing_behind() {
        let mut flights = flying(3);
        flights.digested(Term(5));
        assert_eq!(flights.settle(Term(5)), Settled::Nothing);
        assert!(
            [1, 2, 3]
                .into_iter()
                .all(|seq| flights.executed(seq) == Some(Vec::new()))
        );
        assert!(flights.is_empty());
    }

    #[test]
    fn what_never_reached_the_log_is_tried_again_in_order() {
        let mut flights = flying(3);
        flights.refused(ProposalId(11), Refusal::NotExecuted);
        flights.refused(ProposalId(12), Refusal::NotExecuted);
        assert_eq!(flights.settle(Term(5)), Settled::Nothing, "the third may be in the log");
        flights.refused(ProposalId(13), Refusal::NotExecuted);
        flights.digested(Term(5));
        assert_eq!(flights.settle(Term(5)), again(&[1, 2, 3]));
    }

    #[test]
    fn what_others_have_overtaken_is_not_tried_again() {
        let mut flights = flying(2);
        flights.refused(ProposalId(11), Refusal::NotExecuted);
        flights.digested(Term(5));
        assert_eq!(flights.settle(Term(5)), Settled::NotExecuted(bytes(&[1])));
        assert_eq!(flights.executed(2), Some(Vec::new()));

        let mut flights = flying(2);
        flights.digested(Term(5));
        assert_eq!(flights.executed(3), None);
        assert_eq!(flights.executed(2), Some(bytes(&[1])));
        assert!(flights.is_empty());
    }

    #[test]
    fn an_entry_of_a_later_term_settles_what_was_in_the_log_and_not_what_may_not_be_yet() {
        let mut flights = flying(2);
        flights.digested(Term(5));
        flights.refused(ProposalId(11), Refusal::Unknown);
        assert_eq!(flights.settle(Term(5)), Settled::Nothing, "it may still be executed");
        assert_eq!(flights.settle(Term(6)), again(&[1, 2]));

        let mut flights = flying(1);
        assert_eq!(
            flights.settle(Term(6)),
            Settled::Nothing,
            "in which term it will be appended is not known"
        );
        flights.digested(Term(7));
        assert_eq!(flights.settle(Term(7)), Settled::Nothing);
        assert_eq!(flights.settle(Term(8)), again(&[1]));
    }

    #[test]
    fn patience_ends() {
        let mut flights = flying(2);
        let patience = Duration::from_nanos(10);
        assert!(!flights.is_overdue(Tick(11), patience) && flights.is_overdue(Tick(12), patience));
        assert_eq!(flights.give_up().as_deref(), Some(&[1][..]));
        assert!(!flights.is_overdue(Tick(12), patience));
    }
}
