//! [`plan`]: what the leader of the metadata group proposes, given the state. Pure.
//!
//! Asked again and again. It keeps nothing between two times, so another leader goes on where one has stopped; and it
//! proposes nothing that is wanted already, so it comes to rest.
//!
//! A group's wanted nodes are exchanged one at a time: a node that may hold no replica for one that may, or, when all may, a
//! one of a zone that has two replicas more for one of a zone that has fewer, or else a node with more replicas than its share for one with
//! fewer; the second never at the cost of the first, so that it comes to rest. A node that has been silent for long is exchanged for
//! one that answers, as long as a majority of the group does. The number of replicas never falls for the sake of either.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::spread::Spread;
use super::state::ClusterState;
use crate::nodes::{NodeNumber, NodeState};

/// Groups whose replicas move at a time: each costs a copy of the group's data over the network.
pub const MOVES_MAX: usize = 2;
/// A node must hold so many replicas more than another before one moves: with 1 it would go on for ever.
const IMBALANCE: usize = 2;

/// Replicas that each node is to hold.
type Load = BTreeMap<NodeNumber, usize>;

/// The changes to propose now. `hears`: whether a node has answered lately: none that has not is given a replica, and of those that do
/// equally well it goes first. `is_lost`: whether it has not answered for so long that its replicas are to be rebuilt elsewhere.
pub fn plan(
    state: &ClusterState,
    hears: impl Fn(NodeNumber) -> bool,
    is_lost: impl Fn(NodeNumber) -> bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    // It may have answered since that was looked at.
    let is_lost = |node: &NodeNumber| is_lost(*node) && !hears(*node);
    let is_settled = |group: &super::GroupRecord| group.wanted == group.holders;
    // Who waits for a lost node copies nothing, and holds up no others.
    let moves = |group: &&super::GroupRecord| !is_settled(group) && !group.wanted.iter().any(is_lost);
    let mut moving = state.groups.values().filter(moves).count();
    let mut load: Load = state.nodes.keys().map(|node| (*node, 0)).collect();
    for node in state.groups.values().flat_map(|group| &group.wanted) {
        *load.entry(*node).or_default() += 1;
    }
    for (&core, group) in &state.groups {
        // Let what is under way end, unless it cannot: a node that is to be added may be lost.
        let stuck = group.wanted.iter().any(|node| !is_fit(state, *node) || is_lost(node));
        if !is_settled(group) && !stuck || is_settled(group) && moving >= MOVES_MAX {
            continue;
        }
        let now = (&group.wanted, is_settled(group));
        if let Some(nodes) = next_nodes(state, now, &load, &hears, is_lost) {
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

/// What a group's wanted nodes should be instead of `now`, and whether it has them; one node less, more or other. `None`: nothing
/// better.
fn next_nodes(
    state: &ClusterState,
    (now, has_them): (&BTreeSet<NodeNumber>, bool),
    load: &Load,
    hears: impl Fn(NodeNumber) -> bool,
    is_lost: impl Fn(&NodeNumber) -> bool,
) -> Option<BTreeSet<NodeNumber>> {
    let of = |node: NodeNumber| load.get(&node).copied().unwrap_or(0);
    let free: Vec<NodeNumber> = state.up().filter(|&node| !now.contains(&node) && hears(node)).collect();
    let without = |node: NodeNumber| {
        let mut nodes = now.clone();
        nodes.remove(&node);
        nodes
    };
    // One more: of the zone that has fewest of those that stay, and there the lightest.
    let with_another = |mut nodes: BTreeSet<NodeNumber>| {
        let stay = nodes.iter().filter(|node| is_fit(state, **node) && !is_lost(node));
        let spread = Spread::of(state, stay.copied());
        let key = |node: NodeNumber| (spread.standing(node).beside, of(node), node);
        let node = free.iter().copied().min_by_key(|&node| key(node))?;
        nodes.insert(node);
        Some(nodes)
    };

    let size = usize::from(state.replicas);
    if let Some(unfit) = now.iter().copied().find(|node| !is_fit(state, *node)) {
        let rest = without(unfit);
        // Whoever drained it was told how many replicas are left then; a replica is given up for another one only.
        return match rest.len() >= size {
            true => Some(rest),
            false => with_another(rest),
        };
    }
    if now.len() > size {
        let spread = Spread::of(state, now.iter().copied());
        let key = |node: NodeNumber| (!hears(node), spread.standing(node).beside, of(node), node);
        return now.iter().copied().max_by_key(|&node| key(node)).map(without);
    }
    // Without a majority nothing would come of it.
    if has_them && 2 * now.iter().filter(|node| hears(**node)).count() <= now.len() {
        return None;
    }
    if let Some(&lost) = now.iter().find(|node| is_lost(node)) {
        return with_another(without(lost));
    }
    if now.len() < size {
        return with_another(now.clone());
    }
    // Nothing has to move: not while one is missing that may come back.
    if !now.iter().all(|node| hears(*node)) {
        return None;
    }
    let (out, into) = exchange(state, now, &free, of)?;
    let mut nodes = without(out);
    nodes.insert(into);
    Some(nodes)
}

/// Which of `now` to exchange for which of `free`: what spreads the group better over zones, or, as well spread, evens the `load` of two
/// nodes. `None`: nothing does.
fn exchange(
    state: &ClusterState,
    now: &BTreeSet<NodeNumber>,
    free: &[NodeNumber],
    load: impl Fn(NodeNumber) -> usize,
) -> Option<(NodeNumber, NodeNumber)> {
    let spread = Spread::of(state, now.iter().copied());
    let seat = |&node: &NodeNumber| (node, spread.standing(node), load(node));
    let held: Vec<_> = now.iter().map(seat).collect();
    let mut best = None;
    for (into, into_standing, into_load) in free.iter().map(seat) {
        for &(out, out_standing, out_load) in &held {
            let Some(gain) = out_standing.gain(into_standing) else {
                continue;
            };
            if gain > 0 || out_load >= into_load + IMBALANCE {
                let key = (gain, out_load, Reverse(into_load), out, Reverse(into));
                best = best.max(Some(key));
            }
        }
    }
    best.map(|(_, _, _, out, Reverse(into))| (out, into))
}

#[cfg(test)]
mod tests {
    use slotcore_rt::ids::{CoreId, LogIndex};
    use slotcore_rt::rng::SeededRng;

    use super::super::spread::tests::spreads;
    use super::super::state::tests::{drain, founded, in_zone, join};
    use super::super::{GroupRecord, Refused};
    use super::*;

    /// A cluster whose groups do what is wanted of them, a few at a time, as far as their nodes are there.
    struct World {
        state: ClusterState,
        rng: SeededRng,
        reports: u64,
        /// Who really votes in each group.
        voters: BTreeMap<CoreId, BTreeSet<NodeNumber>>,
        /// Nodes that do not answer.
        silent: BTreeSet<NodeNumber>,
        /// Those of them that have not for long.
        lost: BTreeSet<NodeNumber>,
    }

    impl World {
        fn new(seed: u64, nodes: u32, cores: u16) -> Self {
            let mut state = founded(nodes.min(3), cores);
            (4..=nodes).for_each(|number| state.apply(&join(number, cores)).unwrap());
            let voters = |(core, group): (&CoreId, &GroupRecord)| (*core, group.wanted.clone());
            Self {
                voters: state.groups.iter().map(voters).collect(),
                state,
                rng: SeededRng::new(seed),
                reports: 0,
                silent: BTreeSet::new(),
                lost: BTreeSet::new(),
            }
        }

        fn hears(&self, node: NodeNumber) -> bool {
            !self.silent.contains(&node)
        }

        /// A node tells that it is in one of so many zones; without zones nobody does.
        fn move_to_any(&mut self, node: NodeNumber, zones: usize) {
            if zones > 0 {
                let zone = format!("z{}", self.rng.index(zones));
                // It may be there already.
                _ = self.state.apply(&in_zone(node.0, &zone));
            }
        }

        /// Whether more than half of these answer.
        fn stands(&self, nodes: &BTreeSet<NodeNumber>) -> bool {
            2 * nodes.iter().filter(|node| self.hears(**node)).count() > nodes.len()
        }

        /// Checks that a group may be told that other nodes are wanted.
        fn allow(&self, before: &GroupRecord, after: &BTreeSet<NodeNumber>) {
            let (size, before, settled) = (
                usize::from(self.state.replicas),
                &before.wanted,
                before.wanted == before.holders,
            );
            assert!(before.symmetric_difference(after).count() <= 2, "one node at a time");
            assert!(
                before.intersection(after).next().is_some() || before.len() == 1,
                "nobody is left"
            );
            assert!(after.len() >= size.min(before.len()), "a replica is given up");
            if before.len() == after.len()
                && before
                    .iter()
                    .all(|node| is_fit(&self.state, *node) && self.hears(*node))
            {
                let crowd =
                    |nodes: &BTreeSet<NodeNumber>| spreads(&self.state, nodes.iter().copied(), self.state.up()).0;
                assert!(crowd(after) <= crowd(before), "load has cost spread");
            }
            let added: Vec<_> = after.difference(before).collect();
            assert!(added.iter().all(|node| self.hears(**node)), "onto a silent node");
            for left in before.difference(after).filter(|node| is_fit(&self.state, **node)) {
                if before.len() == after.len() {
                    let all_answer = before.iter().all(|node| self.hears(*node));
                    assert!(all_answer || self.lost.contains(left), "{left:?} may come back");
                    assert!(!settled || self.stands(before) && self.stands(after), "no majority");
                }
            }
        }

        /// The leader plans once, and some groups have done what is wanted. True when nothing was left to do.
        fn step(&mut self) -> bool {
            let changes = plan(&self.state, |node| self.hears(node), |node| self.lost.contains(&node));
            for change in &changes {
                let Change::SetWanted { group, nodes } = change else {
                    panic!("{change:?}")
                };
                self.allow(&self.state.groups[group], nodes);
                self.state.apply(change).expect("only what is possible is planned");
            }
            let unsettled = |group: &GroupRecord| group.wanted != group.holders;
            // Each has a leader, whom enough of those answer that are to vote, and all that are new.
            let can_move = |core: &CoreId, group: &GroupRecord| {
                let voters = &self.voters[core];
                let mut new = group.wanted.difference(voters);
                self.stands(voters) && self.stands(&group.wanted) && new.all(|node| self.hears(*node))
            };
            let moving = self.state.groups.iter();
            let moving = moving.filter(|(core, group)| unsettled(group) && can_move(core, group));
            let moving: Vec<_> = moving
                .map(|(core, group)| (*core, group.decision, group.wanted.clone()))
                .collect();
            let quiet = changes.is_empty() && moving.is_empty();
            for (group, decision, holders) in moving {
                if self.rng.below(3) == 0 {
                    self.reports += 1;
                    let leader = *holders.first().unwrap();
                    let at = LogIndex(self.reports);
                    self.voters.insert(group, holders.clone());
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

        /// Lets it come to rest.
        fn settle(&mut self) {
            assert!(
                (0..20_000).any(|_| self.step()),
                "it does not come to rest: {:?}",
                self.state.groups
            );
        }

        /// Lets it come to rest while silent nodes are lost, and checks what must hold then.
        fn repair(&mut self) {
            self.lost.clone_from(&self.silent);
            self.settle();
            if !self.voters.values().all(|voters| self.stands(voters)) {
                return;
            }
            let answer: BTreeSet<_> = self.state.up().filter(|node| self.hears(*node)).collect();
            for (core, group) in &self.state.groups {
                let has_lost = group.wanted.iter().any(|node| !self.hears(*node));
                let nobody_instead = answer.is_subset(&group.wanted);
                assert!(!has_lost || nobody_instead, "group {core} was not repaired: {group:?}");
            }
        }

        /// Lets it come to rest when all nodes are there, and checks what must hold then.
        fn rest(&mut self) {
            self.silent.clear();
            self.lost.clear();
            self.settle();
            let size = usize::from(self.state.replicas);
            let mut load: Load = self.state.up().map(|node| (node, 0)).collect();
            for (core, group) in &self.state.groups {
                assert_eq!(group.wanted.len(), size, "group {core}");
                assert_eq!(group.wanted, self.voters[core], "group {core}");
                let (have, best) = spreads(&self.state, group.wanted.iter().copied(), self.state.up());
                assert_eq!(have, best, "group {core}");
                for node in &group.wanted {
                    *load.get_mut(node).expect("only nodes that are up") += 1;
                }
            }
            // Only nodes of one zone, or such as are a zone each, can always stand in for each other.
            let mut zones: BTreeMap<_, Vec<usize>> = BTreeMap::new();
            for (node, load) in load {
                zones.entry(&self.state.nodes[&node].zone).or_default().push(load);
            }
            for (zone, load) in zones {
                let (least, most) = (load.iter().min().unwrap(), load.iter().max().unwrap());
                assert!(most - least < IMBALANCE, "uneven in {zone:?}: {load:?}");
            }
        }
    }

    #[test]
    fn nodes_come_and_go_and_it_comes_to_rest() {
        for seed in 0..60 {
            let mut rng = SeededRng::new(seed).derive("events");
            let (nodes, cores) = (rng.range(3..30) as u32, rng.range(1..17) as u16);
            let mut world = World::new(seed, nodes, cores);
            let zones = rng.index(6);
            for node in 1..=nodes {
                // Some may not say where they are.
                if rng.below(8) > 0 {
                    world.move_to_any(NodeNumber(node), zones);
                }
            }
            world.rest();
            let mut next = nodes + 1;
            for _ in 0..16 {
                let any: Vec<_> = world.state.nodes.keys().copied().collect();
                let node = any[rng.index(any.len())];
                match rng.below(9) {
                    0 => {
                        world.state.apply(&join(next, cores)).unwrap();
                        if rng.below(8) > 0 {
                            world.move_to_any(NodeNumber(next), zones);
                        }
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
                    3 => {
                        let answer = world.state.apply(&Change::Remove { node });
                        assert_eq!(answer.is_ok(), !world.state.nodes.contains_key(&node));
                    }
                    4 => _ = world.silent.insert(node),
                    8 if world.state.nodes.contains_key(&node) => world.move_to_any(node, zones),
                    5 => {
                        world.silent.remove(&node);
                        world.lost.remove(&node);
                    }
                    // Time passes, or another leads, who has not waited yet.
                    6 => world.lost.clone_from(&world.silent),
                    _ => world.lost.clear(),
                }
                // What came before may still be under way.
                match rng.below(6) {
                    0 => world.rest(),
                    1 => world.repair(),
                    2 => world.settle(),
                    3 => _ = world.step(),
                    _ => {}
                }
            }
            world.repair();
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
    fn a_node_that_does_not_answer_goes_first_and_is_not_chosen() {
        let mut state = founded(3, 1);
        let next = |state: &ClusterState, lost: u32| match &plan(state, |node| node.0 != lost, |_| false)[..] {
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
        // When nobody else is there, none is: the group waits.
        state.apply(&Change::SetReplicas { replicas: 3 }).unwrap();
        [3, 5].iter().for_each(|&node| state.apply(&drain(node)).unwrap());
        assert_eq!(plan(&state, |node| node.0 != 4, |_| false), []);
        assert_eq!(next(&state, 3), [1, 2, 4]);
    }

    #[test]
    fn a_lost_node_is_replaced_by_one_that_answers_where_a_majority_is_left() {
        let mut state = founded(3, 1);
        let next = |state: &ClusterState, lost: &[u32]| {
            let is_lost = |node: NodeNumber| lost.contains(&node.0);
            match &plan(state, |node| !is_lost(node), is_lost)[..] {
                [] => vec![],
                [Change::SetWanted { nodes, .. }] => nodes.iter().map(|node| node.0).collect(),
                other => panic!("{other:?}"),
            }
        };
        const NOTHING: [u32; 0] = [];
        assert_eq!(next(&state, &[3]), NOTHING, "no replica is given up");
        state.apply(&join(4, 1)).unwrap();
        assert_eq!(next(&state, &[3]), [1, 2, 4]);
        assert_eq!(next(&state, &[3, 4]), NOTHING);
        assert_eq!(next(&state, &[2, 3]), NOTHING, "two of three cannot be replaced by one");
        assert_eq!(plan(&state, |node| node.0 != 3, |_| false), [], "it may come back");
        assert_eq!(plan(&state, |_| true, |node| node.0 == 3), [], "it has just answered");
        // The one that was to come instead is lost as well, before it was there.
        let nodes = [1, 2, 4].map(NodeNumber).into();
        let group = CoreId(0);
        state.apply(&Change::SetWanted { group, nodes }).unwrap();
        assert_eq!(next(&state, &[3]), NOTHING);
        assert_eq!(next(&state, &[3, 4]), NOTHING);
        assert_eq!(next(&state, &[4]), [1, 2, 3]);
    }

    /// A cluster with a group on its first three nodes and these zones; what is wanted of the group then, one exchange after the other.
    fn exchanges(zones: &[&str], hears: impl Fn(u32) -> bool, lost: &[u32]) -> Vec<Vec<u32>> {
        let mut state = founded(3, 1);
        for (node, zone) in (1..).zip(zones) {
            _ = state.apply(&join(node, 1));
            state.apply(&in_zone(node, zone)).unwrap();
        }
        let mut seen = Vec::new();
        loop {
            let changes = plan(&state, |node| hears(node.0), |node| lost.contains(&node.0));
            let [Change::SetWanted { group, nodes }] = &changes[..] else {
                assert_eq!(changes, []);
                return seen;
            };
            seen.push(nodes.iter().map(|node| node.0).collect());
            state.apply(&changes[0]).unwrap();
            let report = Change::Report {
                group: *group,
                at: LogIndex(seen.len() as u64),
                decision: state.groups[group].decision,
                holders: nodes.clone(),
                leader: *nodes.first().unwrap(),
            };
            state.apply(&report).unwrap();
        }
    }

    #[test]
    fn a_group_is_spread_over_zones_as_far_as_there_are_any() {
        let all = |_| true;
        const NONE: [Vec<u32>; 0] = [];
        assert_eq!(exchanges(&["a", "a", "b", "c"], all, &[]), [[1, 3, 4]]);
        assert_eq!(exchanges(&["a", "a", "a", "a", "b"], all, &[]), [[1, 2, 5]]);
        assert_eq!(exchanges(&["a", "a", "a", "b", "c"], all, &[]), [[1, 2, 4], [1, 4, 5]]);
        assert_eq!(
            exchanges(&["a", "a", "b", "b"], all, &[]),
            NONE,
            "two and one are as good"
        );
        assert_eq!(exchanges(&["a", "b", "c", "c"], all, &[]), NONE);
        assert_eq!(exchanges(&["a", "a", "b", "c"], |node| node != 4, &[]), NONE);
        assert_eq!(
            exchanges(&["a", "a", "b", "c"], |node| node != 1, &[]),
            NONE,
            "it may come back"
        );
        // A lost one is rebuilt where it was, or in another zone, or anywhere at all.
        assert_eq!(
            exchanges(&["a", "b", "c", "a", "c"], |node| node != 3, &[3]),
            [[1, 2, 5]]
        );
        assert_eq!(
            exchanges(&["a", "b", "c", "a", "d"], |node| node != 3, &[3]),
            [[1, 2, 5]]
        );
        assert_eq!(exchanges(&["a", "b", "c", "a"], |node| node != 3, &[3]), [[1, 2, 4]]);
    }

    #[test]
    fn a_replica_too_many_goes_where_most_are() {
        let mut state = founded(3, 1);
        for (node, zone) in [(1, "a"), (2, "a"), (3, "b")] {
            state.apply(&in_zone(node, zone)).unwrap();
        }
        state.apply(&Change::SetReplicas { replicas: 2 }).unwrap();
        let next = |silent: u32| match &plan(&state, |node| node.0 != silent, |_| false)[..] {
            [Change::SetWanted { nodes, .. }] => nodes.iter().map(|node| node.0).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(next(0), [1, 3]);
        assert_eq!(next(3), [1, 2], "who does not answer goes before");
    }

    #[test]
    fn few_groups_are_repaired_at_a_time() {
        let mut state = founded(3, 8);
        state.apply(&join(4, 8)).unwrap();
        let is_lost = |node: NodeNumber| node.0 == 3;
        let changes = plan(&state, |node| !is_lost(node), is_lost);
        assert_eq!(changes.len(), MOVES_MAX);
        changes.iter().for_each(|change| state.apply(change).unwrap());
        assert_eq!(plan(&state, |node| !is_lost(node), is_lost), []);
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
