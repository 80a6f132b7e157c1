//! [`members_wanted`]: who votes in the metadata group, given the state. Pure.

use std::collections::BTreeSet;

use slotcore_raft_shard::{Members, VOTER_LAG_MAX};
use slotcore_rt::ids::ReplicaId;

use super::{CORE, ClusterState};
use crate::nodes::{NodeNumber, NodeState};

/// Most voters: a quorum of more costs more and survives hardly more. All other nodes are learners.
const VOTERS_MAX: usize = 5;

/// Who shall vote in the metadata group, and who shall only listen: voters that are up stay voters; others that are up and answer become
/// voters once they have caught up, until there are enough, or in the place of lost ones. Until then voters that drain stay, so there
/// are never fewer for the sake of a node that is there and only has to catch up. An odd number survives as much as the next even
/// one, which is why four do not vote. `now`: the replicas, and this one, its leader.
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
    fit.sort_by_key(|&node| (is_lost(node), !votes(node), node != me, node));
    fit.truncate(count);
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

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::super::state::tests::{drain, founded, join};
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
}
