//! [`after_death`]: how long each group of a dead node is without a leader.
//!
//! As `raft-shard` elects: a follower campaigns when its election timeout has passed since the last heartbeat, and grants
//! no vote while the lease that it promised to the dead leader may run, which is the longest timeout. Pure, seeded.

use slotcore_rt::rng::SeededRng;

use super::constants::{ELECTION_MS, HEARTBEAT_MS};
use super::placement::{Node, Placement};

/// There and back between two nodes, in milliseconds: within a region, across zones.
const ROUND_TRIP_MS: f64 = 1.0;
/// A durable write, in milliseconds: votes and the new leader's first entry wait for one.
const FLUSH_MS: f64 = 0.5;
/// Campaigns of a group before it is called stuck.
const CAMPAIGNS_MAX: u32 = 50;

/// What a node's death did.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Milliseconds without a leader, of each group the node had led, ascending.
    pub without_leader_ms: Vec<f64>,
    /// Campaigns in all of them.
    pub campaigns: u32,
    /// Groups that lost a follower and went on.
    pub followers_lost: usize,
}

/// Kills `dead` and elects new leaders in `placement`.
///
/// # Errors
/// A text: a group found no leader.
pub fn after_death(placement: &mut Placement, dead: Node, rng: &mut SeededRng) -> Result<Failover, String> {
    let mut failover = Failover {
        without_leader_ms: Vec::new(),
        campaigns: 0,
        followers_lost: 0,
    };
    for (number, group) in placement.groups.iter_mut().enumerate() {
        let Some(lost) = group.replicas.iter().position(|replica| replica.0 == dead) else {
            continue;
        };
        if lost != group.leader {
            failover.followers_lost += 1;
            continue;
        }
        let followers: Vec<usize> = (0..group.replicas.len()).filter(|&replica| replica != lost).collect();
        let (winner, time_ms, campaigns) =
            elect(followers.len(), rng).ok_or_else(|| format!("group {number} found no leader"))?;
        group.leader = followers[winner];
        failover.without_leader_ms.push(time_ms);
        failover.campaigns += campaigns;
    }
    failover.without_leader_ms.sort_by(f64::total_cmp);
    Ok(failover)
}

/// One group's election among `followers`: who wins, after how many milliseconds from the death, in how many campaigns.
fn elect(followers: usize, rng: &mut SeededRng) -> Option<(usize, f64, u32)> {
    let fraction = |rng: &mut SeededRng| rng.below(1 << 20) as f64 / f64::from(1 << 20);
    let timeout = |rng: &mut SeededRng| {
        let (low, high) = (ELECTION_MS.0 as f64, ELECTION_MS.1 as f64);
        low + (high - low) * fraction(rng)
    };
    // The last heartbeat came at most one interval before the death, to all of them at about the same time.
    let heard: Vec<f64> = {
        let ago = HEARTBEAT_MS as f64 * fraction(rng);
        (0..followers).map(|_| ROUND_TRIP_MS * fraction(rng) - ago).collect()
    };
    let mut next: Vec<f64> = heard.iter().map(|heard| heard + timeout(rng)).collect();
    for campaigns in 1..=CAMPAIGNS_MAX {
        let who = (0..followers).min_by(|&a, &b| next[a].total_cmp(&next[b]))?;
        let at = next[who];
        let arrives = at + ROUND_TRIP_MS / 2.0;
        let granted = (0..followers).filter(|&other| other != who).all(|other| {
            let promised = arrives < heard[other] + ELECTION_MS.1 as f64;
            // It has voted for itself before the question came.
            let campaigns_too = next[other] < arrives;
            !promised && !campaigns_too
        });
        if granted {
            // Vote made durable, counted, first entry made durable by a quorum.
            let done = at + 2.0 * (ROUND_TRIP_MS + FLUSH_MS);
            return Some((who, done, campaigns));
        }
        next[who] = at + timeout(rng);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_another_leader_within_a_second() {
        let mut placement = Placement::new(99, 8, 4096, &mut SeededRng::new(3));
        let led = placement.leaders()[17] as usize;
        let failover = after_death(&mut placement, 17, &mut SeededRng::new(4)).unwrap();
        assert_eq!(failover.without_leader_ms.len(), led);
        assert_eq!(placement.leaders()[17], 0);
        assert!(failover.followers_lost > 0 && failover.campaigns as usize >= led);
        let (first, last) = (
            failover.without_leader_ms[0],
            *failover.without_leader_ms.last().unwrap(),
        );
        // Nobody wins while the old leader may still answer reads.
        assert!(first >= (ELECTION_MS.1 - HEARTBEAT_MS) as f64, "{first}");
        assert!(last < 1000.0, "{last}");
    }
}
