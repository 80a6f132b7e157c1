//! [`ClusterMap`]: which core owns which slots, and where each core is reached.
//!
//! Made once, before any core serves, and shared by all of them unchanged. Each core owns one contiguous range of slots,
//! so that what clients are told stays one line a core. A core is a node of its own in the eyes of a cluster client.

use std::ops::RangeInclusive;

use slotcore_engine::ord::SLOTS;
use slotcore_rt::ids::CoreId;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMap {
    /// The host that clients are told.
    pub host: String,
    /// The port that answers for every slot.
    pub any_slot_port: u16,
    /// Each core as a node of the cluster, by core number; at least one.
    pub nodes: Vec<CoreNode>,
}

/// One core as a cluster node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreNode {
    /// Its name: 40 hexadecimal digits that stay the same over restarts.
    pub id: String,
    /// Where it listens.
    pub port: u16,
}

impl ClusterMap {
    /// One core that owns everything, for tests and for what runs without a network.
    pub fn single(host: &str, any_slot_port: u16, core_port: u16) -> Self {
        Self {
            host: host.to_string(),
            any_slot_port,
            nodes: vec![CoreNode {
                id: node_id(0, CoreId(0)),
                port: core_port,
            }],
        }
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.nodes.len()
    }

    /// The slots of a core: `16384 * core / cores` up to the next one's.
    pub fn range_of(&self, core: CoreId) -> RangeInclusive<u16> {
        slots_of(core, self.cores())
    }

    /// Who owns a slot.
    #[inline]
    pub fn owner_of(&self, slot: u16) -> CoreId {
        // The inverse of `range_of`: the last core whose first slot is not above `slot`.
        CoreId((((usize::from(slot) + 1) * self.cores() - 1) / usize::from(SLOTS)) as u16)
    }

    /// The node of a core.
    pub fn node(&self, core: CoreId) -> &CoreNode {
        &self.nodes[usize::from(core.0)]
    }
}

/// The name of a core as a cluster node: made from the data directory's identity, so it is the same after each start.
///
/// It begins with eight digits that differ between the cores of a directory, since tools show, and accept, a name by its
/// first digits.
pub fn node_id(data_dir_id: u128, core: CoreId) -> String {
    // An odd factor: no two numbers of cores give the same digits.
    let of_core = u32::from(core.0).wrapping_mul(0x9e37_79b1);
    let first = ((data_dir_id >> 96) as u32).wrapping_add(of_core);
    format!("{first:08x}{data_dir_id:032x}")
}

/// The slots of one of `cores` cores: as many as the others have, or one more or less.
pub fn slots_of(core: CoreId, cores: usize) -> RangeInclusive<u16> {
    let start = |core: usize| (usize::from(SLOTS) * core / cores) as u16;
    start(usize::from(core.0))..=start(usize::from(core.0) + 1) - 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn map(cores: u16) -> ClusterMap {
        ClusterMap {
            host: "127.0.0.1".into(),
            any_slot_port: 6379,
            nodes: (0..cores)
                .map(|core| CoreNode {
                    id: node_id(7, CoreId(core)),
                    port: 6380 + core,
                })
                .collect(),
        }
    }

    #[test]
    fn every_slot_has_one_owner_whose_range_holds_it() {
        for cores in [1, 2, 3, 4, 7, 64, 1000, 16_384] {
            let map = map(cores);
            let mut next = 0;
            for core in 0..cores {
                let range = map.range_of(CoreId(core));
                assert_eq!(*range.start(), next, "{cores} cores");
                for slot in range.clone() {
                    assert_eq!(map.owner_of(slot), CoreId(core), "slot {slot} of {cores} cores");
                }
                next = range.end() + 1;
            }
            assert_eq!(next, SLOTS, "{cores} cores");
        }
    }

    #[test]
    fn node_names_are_forty_digits_and_differ() {
        assert_eq!(node_id(u128::MAX, CoreId(u16::MAX)).len(), 40);
        assert_ne!(node_id(1, CoreId(0)), node_id(2, CoreId(0)));
        let starts: BTreeSet<String> = (0..2000)
            .map(|core| node_id(1, CoreId(core))[..8].to_string())
            .collect();
        assert_eq!(starts.len(), 2000);
    }
}
