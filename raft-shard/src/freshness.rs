//! How fresh the state of a replica is that does not lead. Pure: [`crate::Group`] and [`crate::peer`] bring facts and time.
//!
//! A replica asks its leader up to which entry it has executed everything that anyone has been shown. When it has executed as
//! much itself, its state is as fresh as the moment it *asked* at, by its own clock: the question lay before the answer,
//! however long either was under way. One question at a time: whatever is asked for meanwhile shares the next one.
//!
//! The leader vouches for its answer as for a read of its own: by its lease, which trusts clocks within a bound, or by a
//! quorum's word ([`crate::lease`]), which trusts none.
//!
//! Source: Ongaro, "Consensus: Bridging Theory and Practice", section 6.4, the paragraph on followers.

use std::collections::VecDeque;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::LogIndex;

/// What a leader's answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vouched {
    /// Its lease, or a quorum.
    ByLease,
    /// A quorum that was asked after the question came.
    ByQuorum,
}

/// Answers kept that are not executed yet. The oldest counts first, so that a replica that lags behind gets somewhere, and the
/// newest takes the place of the one before it when there are more.
const TOLD_MAX: usize = 8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    is_asking: bool,
    /// When was asked, what the answer was, and what it rests on; in order.
    told: VecDeque<(Tick, LogIndex, Vouched)>,
    by_lease: Option<Tick>,
    by_quorum: Option<Tick>,
}

impl Freshness {
    /// A question is about to be sent. False: another one is under way.
    pub fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.is_asking, true)
    }

    /// The question of `asked_at` was answered: everything up to `index` is to be executed. `None`: nobody could say.
    pub fn answered(&mut self, asked_at: Tick, index: Option<LogIndex>, vouched: Vouched) {
        self.is_asking = false;
        let Some(index) = index else { return };
        if self.told.len() == TOLD_MAX {
            self.told.pop_back();
        }
        self.told.push_back((asked_at, index, vouched));
    }

    /// As of when the state is that has executed everything up to `applied`: all that anyone had been shown by then is in it.
    pub fn as_of(&mut self, applied: LogIndex, vouched: Vouched) -> Option<Tick> {
        while let Some(&(asked_at, index, by)) = self.told.front()
            && index <= applied
        {
            self.told.pop_front();
            self.by_lease = self.by_lease.max(Some(asked_at));
            if by == Vouched::ByQuorum {
                self.by_quorum = self.by_quorum.max(Some(asked_at));
            }
        }
        match vouched {
            Vouched::ByLease => self.by_lease,
            Vouched::ByQuorum => self.by_quorum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_the_question_and_once_it_is_executed() {
        let mut freshness = Freshness::default();
        assert!(freshness.ask());
        assert!(!freshness.ask(), "one at a time");
        freshness.answered(Tick(10), Some(LogIndex(5)), Vouched::ByLease);
        assert_eq!(freshness.as_of(LogIndex(4), Vouched::ByLease), None);
        assert_eq!(freshness.as_of(LogIndex(5), Vouched::ByLease), Some(Tick(10)));
        assert_eq!(freshness.as_of(LogIndex(5), Vouched::ByQuorum), None);

        assert!(freshness.ask());
        freshness.answered(Tick(20), Some(LogIndex(7)), Vouched::ByQuorum);
        assert_eq!(freshness.as_of(LogIndex(6), Vouched::ByLease), Some(Tick(10)));
        assert_eq!(freshness.as_of(LogIndex(9), Vouched::ByQuorum), Some(Tick(20)));
        assert_eq!(freshness.as_of(LogIndex(9), Vouched::ByLease), Some(Tick(20)));
    }

    #[test]
    fn who_gets_no_answer_asks_again() {
        let mut freshness = Freshness::default();
        assert!(freshness.ask());
        freshness.answered(Tick(10), None, Vouched::ByLease);
        assert_eq!(freshness.as_of(LogIndex(100), Vouched::ByLease), None);
        assert!(freshness.ask());
    }

    #[test]
    fn who_lags_behind_for_ever_gets_fresher_all_the_same() {
        let mut freshness = Freshness::default();
        for n in 1..100 {
            assert!(freshness.ask());
            freshness.answered(Tick(n), Some(LogIndex(n * 10)), Vouched::ByLease);
        }
        assert_eq!(freshness.as_of(LogIndex(25), Vouched::ByLease), Some(Tick(2)));
        assert_eq!(freshness.as_of(LogIndex(990), Vouched::ByLease), Some(Tick(99)));
    }
}
