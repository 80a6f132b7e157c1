//! [`Silence`]: for how long the leader of the metadata group has not heard from each node. Pure.
//!
//! A new leader knows nothing of what others have heard, and counts from nothing. Time in which it did not look counts for hardly
//! anything: whoever was stopped for an hour has not listened for an hour either. So a node may be taken for lost later than it was
//! asked for, never earlier.

use std::collections::BTreeMap;
use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::Term;

use crate::nodes::NodeNumber;

/// Most that counts of the time between two looks, which are a tenth of that apart.
const LOOK_GAP_MAX: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug, Default)]
pub struct Silence {
    term: Term,
    looked_at: Tick,
    /// Since a node was last heard; of all nodes of the list.
    nodes: BTreeMap<NodeNumber, Duration>,
}

impl Silence {
    /// The leader of `term`, which hears a majority, says of each node whether it has answered lately.
    pub fn look(&mut self, now: Tick, term: Term, nodes: impl Iterator<Item = (NodeNumber, bool)>) {
        let before = match term == self.term {
            true => std::mem::take(&mut self.nodes),
            false => BTreeMap::new(),
        };
        let passed = now.since(self.looked_at).min(LOOK_GAP_MAX);
        (self.term, self.looked_at) = (term, now);
        self.nodes = nodes
            .map(|(node, is_heard)| {
                let silent = before.get(&node).filter(|_| !is_heard);
                (node, silent.map_or(Duration::ZERO, |silent| *silent + passed))
            })
            .collect();
    }

    /// The nodes that have been silent for at least `after`; `None`: nobody ever is for too long.
    pub fn lost(&self, after: Option<Duration>) -> impl Iterator<Item = NodeNumber> {
        let lost = move |silent: Duration| after.is_some_and(|after| silent >= after);
        let nodes = self.nodes.iter();
        nodes.filter(move |(_, silent)| lost(**silent)).map(|(node, _)| *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);

    /// A leader that looks every tenth of a second, from `from` to `to` seconds.
    fn look(silence: &mut Silence, term: u64, from: u64, to: u64, heard: &[u32]) {
        for tenth in from * 10..to * 10 {
            let now = Tick::ZERO + Duration::from_millis(100) * tenth as u32;
            let nodes = (1..=3).map(|node| (NodeNumber(node), heard.contains(&node)));
            silence.look(now, Term(term), nodes);
        }
    }

    fn lost(silence: &Silence) -> Vec<u32> {
        silence.lost(Some(AFTER)).map(|node| node.0).collect()
    }

    #[test]
    fn a_node_is_lost_when_one_leader_has_not_heard_it_for_so_long() {
        let mut silence = Silence::default();
        look(&mut silence, 1, 0, 30, &[1, 2]);
        assert_eq!(lost(&silence), [] as [u32; 0]);
        look(&mut silence, 1, 30, 31, &[1, 2]);
        assert_eq!(lost(&silence), [3]);
        assert_eq!(silence.lost(None).count(), 0);
        look(&mut silence, 1, 31, 32, &[1, 3]);
        assert_eq!(
            lost(&silence),
            [] as [u32; 0],
            "it is back, and another has just fallen silent"
        );
        look(&mut silence, 1, 32, 63, &[1, 3]);
        assert_eq!(lost(&silence), [2]);
        look(&mut silence, 2, 63, 92, &[1, 3]);
        assert_eq!(lost(&silence), [] as [u32; 0], "a new leader counts anew");
        look(&mut silence, 2, 92, 94, &[1, 3]);
        assert_eq!(lost(&silence), [2]);
    }

    #[test]
    fn time_in_which_nobody_looked_makes_no_node_lost() {
        let mut silence = Silence::default();
        look(&mut silence, 1, 0, 5, &[1, 2, 3]);
        look(&mut silence, 1, 3600, 3601, &[1]);
        assert_eq!(lost(&silence), [] as [u32; 0]);
        look(&mut silence, 1, 3601, 3632, &[1]);
        assert_eq!(lost(&silence), [2, 3]);
    }
}
