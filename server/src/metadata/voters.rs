//! [`members_wanted`]: who votes in the metadata group, given the state. Pure.

use std::collections::BTreeSet;

use slotcore_raft_shard::{Members, VOTER_LAG_MAX};
use slotcore_rt::ids::ReplicaId;

use super::spread::Spread;
use super::{CORE, ClusterState};
use crate::nodes::{NodeNumber, NodeState};

/// Most voters: a quorum of more costs more and survives hardly more. All other nodes are learners.
const VOTERS_MAX: usize = 5;

/// Who shall vote in the metadata group, and who shall only listen: voters that are up stay voters; others that are up and answer become
/// voters once they have caught up, until there are enough, or in the place of lost ones. Until then voters that drain stay, so there
/// are never fewer for the sake of a node that is there and only has to catch up. An odd number survives as much as the next even
/// one, which is why four do not vote. They are spread over zones: a node makes room for one of a zone that has fewer by two. `now`: the
/// replicas, and this one, its leader.
pub fn members_wanted(
    state: &ClusterState,
    now: (&Members, NodeNumber),
    lag: impl Fn(NodeNumber) -> Option<u64>,
    hears: impl Fn(NodeNumber) -> bool,
    is_lost: impl Fn(NodeNumber) -> bool,
) -> (BTreeSet<ReplicaId>, BTreeSet<ReplicaId>) {
    let (members, me) = now;
    let votes = |node: NodeNumber| members.voters.contains(&node.replica(CORE));
    let mut fit: Vec<NodeNumber> = state.up().collect();
    let count = match fit.len() {
        4 => 3,
        up => up.min(VOTERS_MAX),
    };
    let is_near = |node: NodeNumber| lag(node).is_some_and(|lag| lag <= VOTER_LAG_MAX);
    let mut late = fit.clone();
    late.retain(|&node| !votes(node) && !is_near(node) && hears(node));
    fit.retain(|&node| votes(node) || is_near(node) && hears(node));
    let rank = |node: NodeNumber| (!votes(node), !hears(node), node != me, node);
    fit = spread_out(state, fit, count, is_lost, rank);
    let instead = late.len().min(count - fit.len());
    let drains = |node: NodeNumber| votes(node) && state.nodes[&node].state == NodeState::Draining;
    let mut old: Vec<NodeNumber> = state.nodes.keys().copied().filter(|&node| drains(node)).collect();
    old.sort_by_key(|&node| (!hears(node), node != me, node));
    fit.extend(old.into_iter().take(instead));
    let voters: BTreeSet<ReplicaId> = fit.into_iter().map(|node| node.replica(CORE)).collect();
    let all = state.nodes.keys().map(|node| node.replica(CORE));
    let learners = all.filter(|id| !voters.contains(id)).collect();
    (voters, learners)
}

/// At most `count` of these: those that are not lost before those that are, from each zone as many as from any other if it has so many; and
/// those with the lowest rank where that leaves a choice. So those that were chosen are chosen again.
fn spread_out<R: Ord>(
    state: &ClusterState,
    mut nodes: Vec<NodeNumber>,
    count: usize,
    is_lost: impl Fn(NodeNumber) -> bool,
    rank: impl Fn(NodeNumber) -> R,
) -> Vec<NodeNumber> {
    let mut spread = Spread::of(state, []);
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let key = |node: NodeNumber| (is_lost(node), spread.standing(node).beside, rank(node));
        let Some(at) = (0..nodes.len()).min_by_key(|&at| key(nodes[at])) else {
            break;
        };
        let node = nodes.swap_remove(at);
        spread.add(node);
        chosen.push(node);
    }
    chosen
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use slotcore_rt::rng::SeededRng;

    use super::super::spread::tests::spreads;
    use super::super::state::tests::{drain, founded, in_zone, join};
    use super::*;

    pub fn members(voters: &[u32], learners: &[u32]) -> Members {
        let ids = |nodes: &[u32]| nodes.iter().map(|&node| NodeNumber(node).replica(CORE)).collect();
        Members {
            voters: ids(voters),
            learners: ids(learners),
            ..Members::default()
        }
    }

    #[test]
    fn voters_are_few_and_stay_and_all_others_listen() {
        let mut state = founded(3, 2);
        let lost = Cell::new(0);
        let wanted = |state: &ClusterState, now: &Members, lag: Option<u64>| {
            let hears = |node: NodeNumber| node.0 != lost.get();
            let (voters, learners) = members_wanted(state, (now, NodeNumber(2)), |_| lag, hears, |_| false);
            let of = |ids: BTreeSet<ReplicaId>| ids.into_iter().map(|id| NodeNumber::of(id).0).collect::<Vec<_>>();
            (of(voters), of(learners))
        };
        assert_eq!(
            wanted(&state, &members(&[1, 2, 3], &[]), Some(0)),
            (vec![1, 2, 3], vec![])
        );
        state.apply(&join(4, 2)).unwrap();
        assert_eq!(
            wanted(&state, &members(&[1, 2, 3], &[]), Some(0)),
            (vec![1, 2, 3], vec![4])
        );
        state.apply(&drain(1)).unwrap();
        assert_eq!(
            wanted(&state, &members(&[1, 2, 3], &[4]), Some(0)),
            (vec![2, 3, 4], vec![1])
        );
        assert_eq!(
            wanted(&state, &members(&[1, 2, 3], &[4]), None),
            (vec![1, 2, 3], vec![4]),
            "until the fourth has caught up"
        );
        lost.set(4);
        assert_eq!(
            wanted(&state, &members(&[1, 2, 3], &[4]), None),
            (vec![2, 3], vec![1, 4]),
            "nobody is there to wait for"
        );
        (5..=9).for_each(|node| state.apply(&join(node, 2)).unwrap());
        let (voters, learners) = wanted(&state, &members(&[2, 3, 4], &[]), Some(0));
        assert_eq!((voters, learners), (vec![2, 3, 4, 5, 6], vec![1, 7, 8, 9]));
    }

    #[test]
    fn a_lost_voter_makes_room_for_a_node_that_answers_and_for_none_else() {
        let mut state = founded(3, 2);
        let voters = |state: &ClusterState, now: &[u32], lost: &[u32]| {
            let silent = |node: NodeNumber| lost.contains(&node.0);
            let now = members(now, &[]);
            let (voters, _) = members_wanted(state, (&now, NodeNumber(2)), |_| Some(0), |node| !silent(node), silent);
            voters.into_iter().map(|id| NodeNumber::of(id).0).collect::<Vec<_>>()
        };
        assert_eq!(voters(&state, &[1, 2, 3], &[3]), [1, 2, 3], "nobody is there instead");
        state.apply(&join(4, 2)).unwrap();
        assert_eq!(voters(&state, &[1, 2, 3], &[3]), [1, 2, 4]);
        assert_eq!(voters(&state, &[1, 2, 3], &[3, 4]), [1, 2, 3]);
        assert_eq!(voters(&state, &[1, 2, 4], &[]), [1, 2, 4], "it is back");
        state.apply(&join(5, 2)).unwrap();
        assert_eq!(
            voters(&state, &[1, 2, 4], &[3]),
            [1, 2, 4, 5],
            "who does not answer does not begin to vote"
        );
        assert_eq!(voters(&state, &[1, 2, 4, 5], &[]), [1, 2, 3, 4, 5]);
    }
    #[test]
    fn voters_are_of_many_zones_and_then_they_stay() {
        for seed in 0..200 {
            let mut rng = SeededRng::new(seed);
            let (mut state, nodes) = (founded(3, 1), rng.range(3..12) as u32);
            (4..=nodes).for_each(|node| state.apply(&join(node, 1)).unwrap());
            for node in 1..=nodes {
                let zone = ["a", "b", "c", "d"][rng.index(4)];
                state.apply(&in_zone(node, zone)).unwrap();
            }
            let leader = NodeNumber(1 + rng.below(3) as u32);
            let voters = |now: &Members| members_wanted(&state, (now, leader), |_| Some(0), |_| true, |_| false).0;
            let chosen = voters(&members(&[1, 2, 3], &[]));
            let (have, best) = spreads(&state, chosen.iter().copied().map(NodeNumber::of), state.up());
            assert_eq!(have, best, "{state:?}");
            assert!(chosen.contains(&leader.replica(CORE)), "who leads need not stop");
            let later = Members {
                voters: chosen.clone(),
                ..Members::default()
            };
            assert_eq!(voters(&later), chosen);
        }
    }
}
