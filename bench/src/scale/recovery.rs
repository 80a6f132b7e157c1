//! [`heal`]: new replicas in place of those of a dead node, with bounded work on every node.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::placement::{Node, Placement};

/// Transfers a node sends, and takes, at once.
const TRANSFERS_MAX: u32 = 2;
/// Bytes a second of one transfer: a tenth of a link of 10 Gbit/s.
const TRANSFER_BYTES_PER_S: f64 = 125e6;

/// What healing took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Healing {
    /// Replicas that were made anew.
    pub replicas: usize,
    /// Nodes that sent or took any.
    pub nodes: usize,
    /// Seconds until the last was there.
    pub seconds: f64,
    /// Leaderships moved afterwards to make them even.
    pub leader_moves: usize,
}

/// Makes a new replica of each group of `dead`, in its zone, on the node there that has fewest; each of `group_bytes`.
///
/// # Errors
/// A text: there is no other node in a zone, or a rule of the placement is broken afterwards.
pub fn heal(placement: &mut Placement, dead: Node, group_bytes: f64) -> Result<Healing, String> {
    let mut held = placement.replicas();
    let zone: Vec<Node> = (dead % placement.zones..placement.nodes)
        .step_by(placement.zones as usize)
        .filter(|&node| node != dead)
        .collect();
    let mut core_of: Vec<u32> = vec![0; placement.nodes as usize];
    // Source and target of each transfer.
    let mut waiting: Vec<(Node, Node)> = Vec::new();
    for group in &mut placement.groups {
        let Some(lost) = group.replicas.iter().position(|replica| replica.0 == dead) else {
            continue;
        };
        let target = *zone
            .iter()
            .min_by_key(|&&node| held[node as usize])
            .ok_or("no other node in the zone")?;
        held[target as usize] += 1;
        let core = core_of[target as usize] % placement.cores;
        core_of[target as usize] += 1;
        group.replicas[lost] = (target, core);
        waiting.push((group.replicas[group.leader].0, target));
    }
    let mut healing = Healing {
        replicas: waiting.len(),
        ..Healing::default()
    };
    let mut nodes: Vec<Node> = waiting.iter().flat_map(|&(source, target)| [source, target]).collect();
    nodes.sort_unstable();
    nodes.dedup();
    healing.nodes = nodes.len();
    healing.seconds = transfer(placement.nodes, waiting, group_bytes / TRANSFER_BYTES_PER_S);
    healing.leader_moves = placement.spread_leaders(&|node| node != dead);
    placement.check(|node| node != dead)?;
    Ok(healing)
}

/// Seconds until all transfers are done, each of `seconds`, as many at once as every node allows.
fn transfer(nodes: u32, mut waiting: Vec<(Node, Node)>, seconds: f64) -> f64 {
    let (mut sends, mut takes) = (vec![0_u32; nodes as usize], vec![0_u32; nodes as usize]);
    // Ends in microseconds, so that they can be ordered.
    let mut under_way: BinaryHeap<Reverse<(u64, Node, Node)>> = BinaryHeap::new();
    let each_us = (seconds * 1e6) as u64;
    let mut now = 0;
    loop {
        waiting.retain(|&(source, target)| {
            let (from, to) = (&mut sends[source as usize], &mut takes[target as usize]);
            if *from >= TRANSFERS_MAX || *to >= TRANSFERS_MAX {
                return true;
            }
            *from += 1;
            *to += 1;
            under_way.push(Reverse((now + each_us, source, target)));
            false
        });
        let Some(Reverse((end, source, target))) = under_way.pop() else {
            return now as f64 / 1e6;
        };
        now = end;
        sends[source as usize] -= 1;
        takes[target as usize] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use slotcore_rt::rng::SeededRng;

    use super::*;

    #[test]
    fn every_group_is_whole_again_and_leaders_are_even() {
        let mut placement = Placement::new(99, 8, 4096, &mut SeededRng::new(3));
        let lost = placement.replicas()[17] as usize;
        super::super::failover::after_death(&mut placement, 17, &mut SeededRng::new(4)).unwrap();
        let healing = heal(&mut placement, 17, 125e6).unwrap();
        assert_eq!((healing.replicas, placement.replicas()[17]), (lost, 0));
        let leaders: Vec<u32> = (0..99).filter(|&n| n != 17).map(|n| placement.leaders()[n]).collect();
        assert!(
            leaders.iter().max().unwrap() - leaders.iter().min().unwrap() <= 2,
            "{leaders:?}"
        );
        // A second for each round of transfers, many at once.
        assert!(
            healing.seconds >= 1.0 && healing.seconds < lost as f64 / 2.0,
            "{healing:?}"
        );
        assert!(healing.nodes > 20);
    }

    #[test]
    fn a_node_takes_only_so_many_at_once() {
        let to_one: Vec<(Node, Node)> = (1..=5).map(|source| (source, 0)).collect();
        assert_eq!(transfer(6, to_one, 1.0), 3.0);
    }
}
