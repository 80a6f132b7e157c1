//! [`plan`]: what the leader of the metadata group proposes, given the state. Pure.
//!
//! Asked again and again. It keeps nothing between two times, so another leader goes on where one has stopped; and it
//! proposes nothing that is wanted already, so it comes to rest.
//!
//! A group's wanted nodes are exchanged one at a time: a node that may hold no replica for one that may, or, when all may, a
//! node with more replicas than its share for one with fewer.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::state::ClusterState;
use crate::nodes::{NodeNumber, NodeState};

/// Groups whose replicas move at a time: each costs a copy of the group's data over the network.
pub const MOVES_MAX: usize = 2;
/// A node must hold so many replicas more than another before one moves: with 1 it would go on for ever.
const IMBALANCE: usize = 2;

/// Replicas that each node is to hold.
type Load = BTreeMap<NodeNumber, usize>;

/// The changes to propose now. `hears`: whether a node has answered lately; of those that do equally well, one that has not goes first
/// and is chosen last.
pub fn plan(state: &ClusterState, hears: impl Fn(NodeNumber) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let is_settled = |group: &super::GroupRecord| group.wanted == group.holders;
    let mut moving = state.groups.values().filter(|group| !is_settled(group)).count();
    let mut load: Load = state.nodes.keys().map(|node| (*node, 0)).collect();
    for node in state.groups.values().flat_map(|group| &group.wanted) {
        *load.entry(*node).or_default() += 1;
    }
    for (&core, group) in &state.groups {
        // Let what is under way end, unless it cannot: a node that is to be added may be lost.
        let stuck = group.wanted.iter().any(|node| !is_fit(state, *node));
        if !is_settled(group) && !stuck || is_settled(group) && moving >= MOVES_MAX {
            continue;
        }
        if let Some(nodes) = next_nodes(state, &group.wanted, &load, &hears) {
            moving += usize::from(is_settled(group));
            group
                .wanted
                .iter()
                .for_each(|node| *load.entry(*node).or_default() -= 1);
            nodes.iter().for_each(|node| *load.entry(*node).or_default() += 1);
            changes.push(Change::SetWanted { group: core, nodes });
        }
    }
    changes
}

/// Whether a node may hold replicas.
fn is_fit(state: &ClusterState, node: NodeNumber) -> bool {
    state.nodes.get(&node).is_some_and(|node| node.state == NodeState::Up)
}

/// What a group's wanted nodes should be instead of `now`; one node less, more or other. `None`: nothing better.
fn next_nodes(
    state: &ClusterState,
    now: &BTreeSet<NodeNumber>,
    load: &Load,
    hears: impl Fn(NodeNumber) -> bool,
) -> Option<BTreeSet<NodeNumber>> {
    let of = |node: NodeNumber| load.get(&node).copied().unwrap_or(0);
    let free = state.up().filter(|node| !now.contains(node));
    let lightest = free.min_by_key(|&node| (!hears(node), of(node), node));
    let heaviest = now.iter().copied().max_by_key(|&node| (of(node), node));
    let without = |node: NodeNumber| {
        let mut nodes = now.clone();
        nodes.remove(&node);
        nodes
    };
    let with = |mut nodes: BTreeSet<NodeNumber>, node: NodeNumber| {
        nodes.insert(node);
        nodes
    };

    let size = usize::from(state.replicas);
    if let Some(unfit) = now.iter().copied().find(|node| !is_fit(state, *node)) {
        let rest = without(unfit);
        // Whoever drained it was told how many replicas are left then.
        return match lightest {
            Some(node) if rest.len() < size => Some(with(rest, node)),
            _ => (!rest.is_empty()).then_some(rest),
        };
    }
    if now.len() < size {
        return lightest.map(|node| with(now.clone(), node));
    }
    if now.len() > size {
        let least = now.iter().copied().max_by_key(|&node| (!hears(node), of(node), node));
        return least.map(without);
    }
    // Nothing has to move: not to a node that may be lost.
    let (heaviest, lightest) = (heaviest?, lightest.filter(|&node| hears(node))?);
    (of(heaviest) >= of(lightest) + IMBALANCE).then(|| with(without(heaviest), lightest))
}

#[cfg(test)]
mod tests {
    use slotcore_rt::ids::LogIndex;
    use slotcore_rt::rng::SeededRng;

    use super::super::state::tests::{drain, founded, join};
    use super::super::{GroupRecord, Refused};
    use super::*;

    /// A cluster whose groups do what is wanted of them, a few at a time.
    struct World {
        state: ClusterState,
        rng: SeededRng,
        reports: u64,
    }

    impl World {
        fn new(seed: u64, nodes: u32, cores: u16) -> Self {
            let mut state = founded(nodes.min(3), cores);
            (4..=nodes).for_each(|number| state.apply(&join(number, cores)).unwrap());
            Self {
                state,
                rng: SeededRng::new(seed),
                reports: 0,
            }
        }

        /// The leader plans once, and some groups have done what is wanted. True when nothing was left to do.
        fn step(&mut self) -> bool {
            let changes = plan(&self.state, |_| true);
            for change in &changes {
                let Change::SetWanted { group, nodes } = change else {
                    panic!("{change:?}")
                };
                let before = &self.state.groups[group].wanted;
                assert!(before.symmetric_difference(nodes).count() <= 2, "one node at a time");
                assert!(
                    before.intersection(nodes).next().is_some() || before.len() == 1,
                    "nobody is left"
                );
                self.state.apply(change).expect("only what is possible is planned");
            }
            let unsettled = |group: &GroupRecord| group.wanted != group.holders;
            let moving: Vec<_> = self.state.groups.iter().filter(|(_, group)| unsettled(group)).collect();
            let quiet = changes.is_empty() && moving.is_empty();
            let moving: Vec<_> = moving
                .into_iter()
                .map(|(core, group)| (*core, group.decision, group.wanted.clone()))
                .collect();
            for (group, decision, holders) in moving {
                if self.rng.below(3) == 0 {
                    self.reports += 1;
                    let leader = *holders.first().unwrap();
                    let at = LogIndex(self.reports);
                    let report = Change::Report {
                        group,
                        at,
                        decision,
                        holders,
                        leader,
                    };
                    self.state.apply(&report).unwrap();
                }
            }
            quiet
        }

        /// Lets it come to rest, and checks what must hold then.
        fn rest(&mut self) {
            assert!(
                (0..20_000).any(|_| self.step()),
                "it does not come to rest: {:?}",
                self.state.groups
            );
            let size = usize::from(self.state.replicas);
            let mut load: Load = self.state.up().map(|node| (node, 0)).collect();
            for (core, group) in &self.state.groups {
                assert_eq!(group.wanted.len(), size, "group {core}");
                for node in &group.wanted {
                    *load.get_mut(node).expect("only nodes that are up") += 1;
                }
            }
            let (least, most) = (load.values().min().unwrap(), load.values().max().unwrap());
            assert!(most - least <= 3, "uneven: {load:?}");
        }
    }

    #[test]
    fn nodes_come_and_go_and_it_comes_to_rest() {
        for seed in 0..30 {
            let mut rng = SeededRng::new(seed).derive("events");
            let (nodes, cores) = (rng.range(3..30) as u32, rng.range(1..17) as u16);
            let mut world = World::new(seed, nodes, cores);
            world.rest();
            let mut next = nodes + 1;
            for _ in 0..8 {
                let any: Vec<_> = world.state.nodes.keys().copied().collect();
                let node = any[rng.index(any.len())];
                match rng.below(4) {
                    0 => {
                        world.state.apply(&join(next, cores)).unwrap();
                        next += 1;
                    }
                    1 => {
                        let answer = world.state.apply(&drain(node.0));
                        assert!(
                            matches!(answer, Ok(()) | Err(Refused::TooFewNodes | Refused::Nothing)),
                            "{answer:?}"
                        );
                    }
                    2 => {
                        let replicas = 1 + rng.below(5) as u8;
                        let answer = world.state.apply(&Change::SetReplicas { replicas });
                        assert!(
                            matches!(answer, Ok(()) | Err(Refused::TooFewNodes | Refused::Nothing)),
                            "{answer:?}"
                        );
                    }
                    _ => {
                        let answer = world.state.apply(&Change::Remove { node });
                        assert_eq!(answer.is_ok(), !world.state.nodes.contains_key(&node));
                    }
                }
                // What came before may still be under way.
                if rng.below(2) == 0 {
                    world.rest();
                }
            }
            world.rest();
        }
    }

    #[test]
    fn a_drained_node_holds_nothing_and_can_be_removed() {
        let mut world = World::new(1, 4, 8);
        world.rest();
        let node = NodeNumber(2);
        world.state.apply(&drain(2)).unwrap();
        world.rest();
        assert_eq!(world.state.groups_of(node).count(), 0);
        world.state.apply(&Change::Remove { node }).unwrap();
    }

    #[test]
    fn a_lost_node_goes_first_and_is_chosen_last() {
        let mut state = founded(3, 1);
        let next = |state: &ClusterState, lost: u32| match &plan(state, |node| node.0 != lost)[..] {
            [Change::SetWanted { nodes, .. }] => nodes.iter().map(|node| node.0).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        state.apply(&Change::SetReplicas { replicas: 2 }).unwrap();
        assert_eq!(
            [1, 2, 3].map(|lost| next(&state, lost)),
            [vec![2, 3], vec![1, 3], vec![1, 2]]
        );
        (4..=5).for_each(|node| state.apply(&join(node, 1)).unwrap());
        state.apply(&Change::SetReplicas { replicas: 4 }).unwrap();
        assert_eq!(next(&state, 4), [1, 2, 3, 5]);
        assert_eq!(next(&state, 5), [1, 2, 3, 4]);
    }

    #[test]
    fn a_fourth_node_gets_its_share() {
        let mut world = World::new(2, 3, 8);
        world.rest();
        world.state.apply(&join(4, 8)).unwrap();
        world.rest();
        let share = world.state.groups_of(NodeNumber(4)).count();
        assert!((5..=7).contains(&share), "24 replicas over 4 nodes: {share}");
    }
}
