//! [`Spread`]: how many of some nodes are in each zone. Pure.
//!
//! A node that names no zone is one of its own: nobody knows with which others it fails.

use std::collections::BTreeMap;

use super::ClusterState;
use crate::nodes::{NodeNumber, Zone};

/// What fails as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Zone(&'a Zone),
    Node(NodeNumber),
}

/// A node's place, and how many of the nodes that were counted have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    place: Place<'a>,
    /// Itself included, if it is one of those that were counted.
    pub beside: usize,
}

impl Standing<'_> {
    /// What the spread gains when a node that was not counted, and stands as `other`, takes the place of this one, which was: 0 is as well
    /// spread as before, more is better. `None`: it would be worse.
    pub fn gain(self, other: Self) -> Option<usize> {
        match self.place == other.place {
            true => Some(0),
            false => self.beside.checked_sub(other.beside + 1),
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Spread<'a> {
    state: &'a ClusterState,
    counts: BTreeMap<Place<'a>, usize>,
}

impl<'a> Spread<'a> {
    /// Of these nodes.
    pub fn of(state: &'a ClusterState, nodes: impl IntoIterator<Item = NodeNumber>) -> Self {
        let mut spread = Self {
            state,
            counts: BTreeMap::new(),
        };
        nodes.into_iter().for_each(|node| spread.add(node));
        spread
    }

    /// One more.
    pub fn add(&mut self, node: NodeNumber) {
        *self.counts.entry(self.place(node)).or_default() += 1;
    }

    /// How a node stands beside those that were counted.
    pub fn standing(&self, node: NodeNumber) -> Standing<'a> {
        let place = self.place(node);
        let beside = self.counts.get(&place).copied().unwrap_or(0);
        Standing { place, beside }
    }

    fn place(&self, node: NodeNumber) -> Place<'a> {
        let zone = self.state.nodes.get(&node).and_then(|node| node.zone.as_ref());
        zone.map_or(Place::Node(node), Place::Zone)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::state::tests::{founded, in_zone, join};
    use super::*;

    /// How many of `nodes` are in each zone, most first; and what the best choice of as many nodes among `fit` has: it takes one after
    /// the other from where fewest were taken.
    pub fn spreads(
        state: &ClusterState,
        nodes: impl IntoIterator<Item = NodeNumber>,
        fit: impl IntoIterator<Item = NodeNumber>,
    ) -> (Vec<usize>, Vec<usize>) {
        let sorted = |mut counts: Vec<usize>| {
            counts.sort_by_key(|&count| std::cmp::Reverse(count));
            counts
        };
        let chosen = Spread::of(state, nodes).counts.into_values().collect::<Vec<_>>();
        let there = Spread::of(state, fit).counts.into_values().collect::<Vec<_>>();
        let mut best = vec![0; there.len()];
        for _ in 0..chosen.iter().sum() {
            let open = (0..there.len()).filter(|&at| best[at] < there[at]);
            let at = open.min_by_key(|&at| best[at]).expect("all of them are fit");
            best[at] += 1;
        }
        best.retain(|&count| count > 0);
        (sorted(chosen), sorted(best))
    }

    #[test]
    fn an_exchange_gains_when_it_goes_where_fewer_are() {
        let mut state = founded(3, 1);
        (4..=6).for_each(|node| state.apply(&join(node, 1)).unwrap());
        for (node, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "b")] {
            state.apply(&in_zone(node, zone)).unwrap();
        }
        let spread = Spread::of(&state, [1, 2, 3].map(NodeNumber));
        let beside = [1, 2, 3, 4, 5, 6].map(|node| spread.standing(NodeNumber(node)).beside);
        assert_eq!(beside, [2, 2, 1, 0, 1, 0]);
        let gain = |out, into| {
            let standing = |node| spread.standing(NodeNumber(node));
            standing(out).gain(standing(into))
        };
        assert_eq!(gain(1, 4), Some(1), "a zone that has none");
        assert_eq!(gain(1, 6), Some(1), "a node that names no zone is one of its own");
        assert_eq!(gain(1, 5), Some(0), "two and one become one and two");
        assert_eq!(gain(3, 5), Some(0), "the same zone");
        assert_eq!(gain(3, 4), Some(0));
        let crowded = Spread::of(&state, [1, 2, 4].map(NodeNumber));
        let standing = |node| crowded.standing(NodeNumber(node));
        assert_eq!(standing(4).gain(standing(3)), Some(0));
        let one = Spread::of(&state, [3, 4].map(NodeNumber));
        assert_eq!(one.standing(NodeNumber(4)).gain(one.standing(NodeNumber(5))), None);
    }
}
