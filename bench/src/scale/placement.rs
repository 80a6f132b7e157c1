//! [`Placement`]: which nodes hold a group's replicas, which of them leads, and on which cores.
//!
//! Copysets (Cidon et al., USENIX ATC 2013): nodes of each zone are shuffled a few times; the first of each zone form a set,
//! then the second, and so on. All groups live in such sets, so that a node shares groups with few others. Pure.

use slotcore_rt::rng::SeededRng;

use super::constants::{REPLICAS, SCATTER_WIDTH, SLOTS};

/// A node's number.
pub type Node = u32;

/// Where a group lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Node and core of each replica, all in different zones.
    pub replicas: Vec<(Node, u32)>,
    /// Which of them leads.
    pub leader: usize,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Nodes; node `n` is in zone `n % zones`.
    pub nodes: u32,
    /// Cores of each.
    pub cores: u32,
    /// Zones: as many as replicas.
    pub zones: u32,
    /// All groups.
    pub groups: Vec<Group>,
}

impl Placement {
    /// Places `groups` (> 0) on `nodes` (at least as many as replicas) with `cores` (> 0) each.
    pub fn new(nodes: u32, cores: u32, groups: u64, rng: &mut SeededRng) -> Self {
        assert!(
            u64::from(nodes) >= REPLICAS && groups > 0 && groups <= SLOTS,
            "no such cluster"
        );
        let zones = REPLICAS as u32;
        let sets = copysets(nodes, zones, rng);
        let mut core_load = vec![0_u32; (nodes * cores) as usize];
        let mut place = |node: Node| {
            let of_node = &mut core_load[(node * cores) as usize..((node + 1) * cores) as usize];
            let core = (0..cores as usize)
                .min_by_key(|&core| of_node[core])
                .expect("a node has cores");
            of_node[core] += 1;
            (node, core as u32)
        };
        let groups = (0..groups as usize).map(|group| Group {
            replicas: sets[group % sets.len()].iter().map(|&node| place(node)).collect(),
            leader: 0,
        });
        let mut placement = Self {
            nodes,
            cores,
            zones,
            groups: groups.collect(),
        };
        placement.spread_leaders(&|_| true);
        placement
    }

    /// Moves leadership until no single move makes it more even, among the nodes that are `alive`. Returns the moves.
    pub fn spread_leaders(&mut self, alive: &dyn Fn(Node) -> bool) -> usize {
        let mut leaders = self.leaders();
        let mut moves = 0;
        loop {
            let before = moves;
            for group in &mut self.groups {
                let of = |replica: usize| leaders[group.replicas[replica].0 as usize];
                let candidates = (0..group.replicas.len()).filter(|&replica| alive(group.replicas[replica].0));
                let Some(least) = candidates.min_by_key(|&replica| of(replica)) else {
                    continue;
                };
                let (from, to) = (group.replicas[group.leader].0, group.replicas[least].0);
                if !alive(from) || leaders[from as usize] > leaders[to as usize] + 1 {
                    leaders[from as usize] -= 1;
                    leaders[to as usize] += 1;
                    group.leader = least;
                    moves += 1;
                }
            }
            if moves == before {
                return moves;
            }
        }
    }

    /// Groups led, by node.
    pub fn leaders(&self) -> Vec<u32> {
        let mut leaders = vec![0; self.nodes as usize];
        for group in &self.groups {
            leaders[group.replicas[group.leader].0 as usize] += 1;
        }
        leaders
    }

    /// Replicas held, by node.
    pub fn replicas(&self) -> Vec<u32> {
        let mut replicas = vec![0; self.nodes as usize];
        for (node, _) in self.groups.iter().flat_map(|group| &group.replicas) {
            replicas[*node as usize] += 1;
        }
        replicas
    }

    /// Checks what must always hold of groups whose replicas are all on nodes that are `alive`.
    ///
    /// # Errors
    /// A text: two replicas of a group in one zone, or one on a node that is not alive.
    pub fn check(&self, alive: impl Fn(Node) -> bool) -> Result<(), String> {
        for (number, group) in self.groups.iter().enumerate() {
            let mut zones: Vec<u32> = group.replicas.iter().map(|replica| replica.0 % self.zones).collect();
            zones.sort_unstable();
            zones.dedup();
            if zones.len() != REPLICAS as usize {
                return Err(format!("group {number} has replicas in {} zones", zones.len()));
            }
            if let Some(dead) = group.replicas.iter().find(|replica| !alive(replica.0)) {
                return Err(format!("group {number} has a replica on dead node {}", dead.0));
            }
        }
        Ok(())
    }
}

fn copysets(nodes: u32, zones: u32, rng: &mut SeededRng) -> Vec<Vec<Node>> {
    let permutations = SCATTER_WIDTH / (REPLICAS - 1);
    let mut sets = Vec::new();
    for _ in 0..permutations {
        let shuffled: Vec<Vec<Node>> = (0..zones)
            .map(|zone| {
                let mut of_zone: Vec<Node> = (zone..nodes).step_by(zones as usize).collect();
                rng.shuffle(&mut of_zone);
                of_zone
            })
            .collect();
        let longest = shuffled.iter().map(Vec::len).max().unwrap_or(0);
        // Zones may differ by a node: the shorter ones begin again.
        let set = |at: usize| shuffled.iter().map(|zone| zone[at % zone.len()]).collect();
        sets.extend((0..longest).map(set));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_in_different_zones_and_evenly_spread() {
        for nodes in [3, 7, 100, 1000] {
            let groups = (u64::from(nodes) * 16).min(SLOTS);
            let placement = Placement::new(nodes, 8, groups, &mut SeededRng::new(7));
            placement.check(|_| true).unwrap();
            let spread = |counts: Vec<u32>| counts.iter().max().unwrap() - counts.iter().min().unwrap();
            let mean = groups * REPLICAS / u64::from(nodes);
            assert!(
                spread(placement.leaders()) <= 2,
                "{nodes} nodes: {:?}",
                placement.leaders()
            );
            // Zones that differ by a node carry different loads.
            let allowed = if nodes % 3 == 0 { 8 } else { mean as u32 };
            assert!(spread(placement.replicas()) <= allowed.max(8), "{nodes} nodes");
        }
    }

    #[test]
    fn a_node_shares_groups_with_few_others() {
        let placement = Placement::new(999, 64, SLOTS, &mut SeededRng::new(1));
        let mut peers = std::collections::BTreeSet::new();
        for group in placement
            .groups
            .iter()
            .filter(|group| group.replicas.iter().any(|r| r.0 == 5))
        {
            peers.extend(group.replicas.iter().map(|replica| replica.0));
        }
        assert!(peers.len() as u64 <= SCATTER_WIDTH + 1, "{}", peers.len());
    }
}
