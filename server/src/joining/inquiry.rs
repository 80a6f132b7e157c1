//! [`Inquiry`]: a node asks others whether it still belongs to the cluster, and where that is by now. Pure.
//!
//! The others close their links to a node that was removed, and refuse it: but a refusal proves nothing, and a node must not end on
//! the word of a stranger. So it asks where nodes ask that want to join, as both sides prove the secret there first. Nothing is changed
//! by its question: a directory that was emptied and is started as the node it was is unknown to all others, and must not become
//! another node unless somebody says `--join`.
//!
//! Lists come from the leader of the metadata group, and of two nodes the one with the smaller number dials. So a node that was away while
//! others joined is not found by them: it takes a newer list from whoever answers ([`newer`]). It may have links to others
//! meanwhile, and not know that the leader it once heard of leads no more: so a node asks seldom, too, while nothing is amiss.

use std::time::Duration;

use slotcore_netio::peer::PeerPlace;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;

use super::{JoinAnswer, JoinRefusal};
use crate::nodes::NodeList;

/// A node asks when it has heard from nobody who leads for so long, and then another one each time it has passed again: longer than it
/// takes to link with nodes that were started at the same time, and to elect.
pub const ASK_EVERY: Duration = Duration::from_secs(2);
/// It asks after this time, and then another one, if it has: a node that is cut off without knowing it is found so.
pub const ASK_SELDOM: Duration = Duration::from_secs(30);

/// See the module's text.
#[derive(Debug)]
pub struct Inquiry {
    next: Tick,
    seldom: Tick,
    /// Others asked so far.
    asked: usize,
}

impl Inquiry {
    /// Nobody asked so far.
    pub fn new(now: Tick) -> Self {
        Self {
            next: now + ASK_EVERY,
            seldom: now + ASK_SELDOM,
            asked: 0,
        }
    }

    /// Whose core 0 to ask now, if anybody's. `led`: who leads the metadata group is known, and was heard from lately.
    pub fn step(&mut self, now: Tick, led: bool, nodes: &NodeList) -> Option<PeerPlace> {
        if led {
            self.next = now + ASK_EVERY;
        }
        if now < self.next_wake() {
            return None;
        }
        (self.next, self.seldom) = (now + ASK_EVERY, now + ASK_SELDOM);
        let others = || nodes.nodes.iter().filter(|node| node.number != nodes.me);
        let at = self.asked.checked_rem(others().count())?;
        self.asked = self.asked.wrapping_add(1);
        others().nth(at).map(|node| node.peer_place(CoreId(0)))
    }

    /// When [`Inquiry::step`] may have somebody to ask.
    pub fn next_wake(&self) -> Tick {
        self.next.min(self.seldom)
    }
}

/// What the node with this data directory is answered by one that has this list.
pub fn answer(list: &NodeList, incarnation: u128) -> JoinAnswer {
    if list.removed.contains(&incarnation) {
        return JoinAnswer::Refused(JoinRefusal::Removed);
    }
    match list.of_incarnation(incarnation) {
        Some(node) => {
            let mut told = list.clone();
            told.me = node.number;
            JoinAnswer::Accepted(Box::new(told))
        }
        // It may have been told of the node that asks later than others were.
        None => JoinAnswer::AskAgain,
    }
}

/// What a node that has the list `mine` takes of an answer: a newer list of its cluster in which it has the same number. Whoever tells
/// has proved the secret, and tells what was agreed upon.
pub fn newer(told: NodeList, mine: &NodeList) -> Option<NodeList> {
    let is_newer = told.epoch > mine.epoch;
    let is_mine = (told.cluster, told.me, told.cores) == (mine.cluster, mine.me, mine.cores);
    (is_newer && is_mine).then(|| {
        let mut list = told;
        list.keep_addresses_of(mine);
        list
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::list_for_tests;

    #[test]
    fn who_is_not_known_is_told_nothing_and_who_was_removed_is_told_so() {
        let mut list = list_for_tests(2, 3);
        list.nodes[2].incarnation = Some(33);
        list.removed.insert(44);
        let JoinAnswer::Accepted(told) = answer(&list, 33) else {
            panic!("it is a node")
        };
        assert_eq!((told.me, told.nodes), (list.nodes[2].number, list.nodes.clone()));
        assert_eq!(answer(&list, 44), JoinAnswer::Refused(JoinRefusal::Removed));
        assert_eq!(answer(&list, 55), JoinAnswer::AskAgain);
    }

    #[test]
    fn a_node_without_a_leader_asks_all_in_turn() {
        let (list, mut now) = (list_for_tests(2, 3), Tick(0));
        let mut inquiry = Inquiry::new(now);
        let mut after = |wait: Duration, led| {
            now = now + wait;
            inquiry.step(now, led, &list).map(|place| place.address.port())
        };
        let (short, long) = (Duration::from_millis(1900), ASK_EVERY);
        assert_eq!(after(short, false), None);
        assert_eq!(after(short, false), Some(17_100));
        assert_eq!(after(long, false), Some(17_300));
        assert_eq!(after(short, false), None);
        assert_eq!(after(long, true), None);
        assert_eq!(after(short, false), None, "somebody led until lately");
        assert_eq!(after(long, false), Some(17_100));
        assert_eq!(after(ASK_SELDOM - short, true), None);
        assert_eq!(after(short, true), Some(17_300), "it may be cut off and not know it");
        assert_eq!(after(short, true), None);
        let mut lonely = Inquiry::new(Tick(0));
        assert_eq!(lonely.step(Tick(0) + 2 * ASK_EVERY, false, &list_for_tests(1, 1)), None);
    }
    #[test]
    fn a_newer_list_is_taken_from_anybody_of_the_same_cluster() {
        let mine = NodeList {
            epoch: 3,
            ..list_for_tests(2, 3)
        };
        let told = NodeList {
            epoch: 9,
            ..list_for_tests(2, 7)
        };
        assert_eq!(newer(told.clone(), &mine), Some(told.clone()));
        let with = |change: fn(&mut NodeList)| {
            let mut list = told.clone();
            change(&mut list);
            newer(list, &mine)
        };
        assert_eq!(with(|list| list.epoch = 3), None);
        assert_eq!(with(|list| list.cluster += 1), None);
        assert_eq!(with(|list| list.me.0 += 1), None);
        assert_eq!(with(|list| list.cores += 1), None);
        let there = with(|list| list.nodes[0].address = [10, 0, 0, 9].into());
        assert_eq!(there, Some(told.clone()), "where a name is found is known here");
    }
}
