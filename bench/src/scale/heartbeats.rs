//! [`count`]: the messages of one tick of heartbeats, counted one by one over a placement.

use std::collections::HashSet;

use super::constants::HEARTBEAT_MS;
use super::placement::Placement;

/// What heartbeats are in a second, all nodes together and for the node that has most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Heartbeats and answers sent.
    pub messages: f64,
    /// Frames they ride in: those of one tick from one core to another are one.
    pub frames: f64,
    /// Connections between cores of different nodes.
    pub links: usize,
    /// Heartbeats and answers sent and taken by the busiest node.
    pub busiest_node: f64,
    /// Its connections.
    pub busiest_links: usize,
}

/// Lets every leader send its heartbeats once, and every follower answer.
pub fn count(placement: &Placement) -> Traffic {
    let mut messages = vec![0_u64; placement.nodes as usize];
    let (mut sent, mut pairs) = (0_u64, HashSet::new());
    for group in &placement.groups {
        let leader = group.replicas[group.leader];
        for (at, &follower) in group.replicas.iter().enumerate() {
            if at == group.leader {
                continue;
            }
            // Out and back; either is sent by one and taken by the other.
            sent += 2;
            messages[leader.0 as usize] += 2;
            messages[follower.0 as usize] += 2;
            pairs.insert((leader, follower));
            pairs.insert((follower, leader));
        }
    }
    let mut links = vec![0_usize; placement.nodes as usize];
    for (from, _) in &pairs {
        links[from.0 as usize] += 1;
    }
    let per_second = 1000.0 / HEARTBEAT_MS as f64;
    Traffic {
        messages: sent as f64 * per_second,
        frames: pairs.len() as f64 * per_second,
        // A pair was entered from either end.
        links: pairs.len() / 2,
        busiest_node: messages.iter().copied().max().unwrap_or(0) as f64 * per_second,
        busiest_links: links.iter().copied().max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::placement::Group;
    use super::*;

    #[test]
    fn groups_on_the_same_cores_share_frames_and_links() {
        let group = Group {
            replicas: vec![(0, 0), (1, 0), (2, 0)],
            leader: 0,
        };
        let placement = Placement {
            nodes: 3,
            cores: 1,
            zones: 3,
            groups: vec![group.clone(), group],
        };
        let traffic = count(&placement);
        assert_eq!((traffic.messages, traffic.frames, traffic.links), (160.0, 80.0, 2));
        assert_eq!((traffic.busiest_node, traffic.busiest_links), (160.0, 2));
    }
}
