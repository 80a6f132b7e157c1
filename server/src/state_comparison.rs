//! [`ComparePace`]: when replicas compare what they have, and which keys. Pure. And what is told of what they find.
//!
//! The leader of a group proposes entries that name keys, a *slice* at a time in the order of all; every replica looks at its own
//! ([`SliceDigest`]), and [`slotcore_raft_shard::comparison`] judges. All replicas follow where a *round* is, so that the next
//! leader goes on there.

use std::time::Duration;

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::{Args, COMPARE};
use slotcore_engine::keyspace::SliceDigest;
use slotcore_raft_shard::peer::compare;
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Finding, Group, StateMachine};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;

use crate::batch::Who;
use crate::core_loop::CoreLoop;
use crate::core_state::CoreState;
use crate::logging::Event;
use crate::nodes::NodeNumber;

/// Between two slices, at least: each is an entry of the log.
const SLICE_EVERY: Duration = Duration::from_millis(100);
/// Keys of a slice, or what costs as much: about 100 us.
const SLICE_WEIGHT: u64 = 512;
/// A slice that was proposed and not executed for so long is proposed again: the entry may have been lost.
const PROPOSE_AGAIN: Duration = Duration::from_secs(10);

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub struct ComparePace {
    /// Where the next slice begins.
    cursor: u64,
    /// When the present round began, or the last one.
    round_began: Option<Tick>,
    /// It has come to its end.
    rests: bool,
    proposed_at: Option<Tick>,
    /// What was proposed has not been executed.
    waits: bool,
}

impl ComparePace {
    /// Where the slice begins that is to be proposed now; `None`: nothing is. `every`: rounds begin so often, zero = never.
    pub fn step(&mut self, now: Tick, every: Duration) -> Option<u64> {
        let since_proposed = self.proposed_at.map(|at| now.since(at));
        let pause = if self.waits { PROPOSE_AGAIN } else { SLICE_EVERY };
        if every.is_zero() || since_proposed.is_some_and(|since| since < pause) {
            return None;
        }
        if self.rests && self.round_began.is_some_and(|began| now.since(began) < every) {
            return None;
        }
        self.rests = false;
        (self.proposed_at, self.waits) = (Some(now), true);
        Some(self.cursor)
    }

    /// A slice was looked at, here as everywhere.
    pub fn looked_at(&mut self, slice: SliceDigest, now: Tick) {
        if slice.from == 0 {
            self.round_began = Some(now);
        }
        (self.cursor, self.rests, self.waits) = (slice.next, slice.next == 0, false);
    }

    /// Something was found, or mended: the next round begins at once.
    pub fn hurry(&mut self) {
        self.rests = false;
    }
}

/// What a core has found out by comparing, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareFacts {
    /// Slices of this core's groups that replicas were found to have alike.
    pub alike: u64,
    /// Slices that a replica did not have as most others.
    pub differences: u64,
    /// Slices of which it could not be told which replica is right.
    pub undecided: u64,
    /// Times that this node's replica was wrong and became right.
    pub rebuilt: u64,
    /// Replicas of this node that are known to be wrong now.
    pub diverged: u64,
}

impl CompareFacts {
    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        self.alike += other.alike;
        self.differences += other.differences;
        self.undecided += other.undecided;
        self.rebuilt += other.rebuilt;
        self.diverged += other.diverged;
    }

    /// True when the next round should not wait.
    fn note(&mut self, finding: Finding, core: CoreId) -> bool {
        match finding {
            Finding::Same(..) => {
                self.alike += 1;
                return false;
            }
            Finding::Differs(at, replica) => {
                self.differences += 1;
                let node = NodeNumber::of(replica);
                Event::ReplicaDiffers { core, node, at }.log();
            }
            Finding::Undecided(at) => {
                self.undecided += 1;
                Event::ReplicasDisagree { core, at }.log();
                return false;
            }
            Finding::Diverged(at) => Event::Diverged { core, at }.log(),
            Finding::Rebuilt(at) => {
                self.rebuilt += 1;
                Event::Rebuilt { core, at }.log();
            }
        }
        true
    }
}

impl CoreLoop {
    /// Compares what replicas have seen, and tells what comes of it. To be called when Raft's tasks are quiet.
    pub(crate) fn compare_replicas<S: StateMachine>(&self, group: &mut Group<GlommioRuntime, S>) {
        let Some(peers) = &self.peers else { return };
        compare::work(peers.driver.hub(), peers.group, group);
        let mut state = self.state.borrow_mut();
        let core = state.server.core;
        while let Some(finding) = group.state().take_finding() {
            if state.server.facts.compared.note(finding, core)
                && let Some(replication) = &mut state.replication
            {
                replication.comparing.hurry();
            }
        }
        state.server.facts.compared.diverged = u64::from(group.state().is_diverged());
    }
}

impl CoreState {
    /// What an entry has had this replica look at.
    pub(crate) fn note_compared(&mut self) -> Option<u128> {
        let slice = self.keyspace.take_compared()?;
        let replication = self.replication.as_mut()?;
        replication.comparing.looked_at(slice, self.now.tick);
        Some(slice.digest)
    }

    /// Proposes a slice when it is time to, if this core leads and others have replicas.
    pub(crate) fn propose_comparison(&mut self, now: Tick, has_replicas: bool) {
        let every = self.server.config.settings().compare_every();
        let may = self.may_propose() && has_replicas && !self.is_held() && self.pause.is_none() && self.has_room();
        let Some(replication) = &mut self.replication else {
            return;
        };
        // Until then old entries are executed, which nobody asks about any more.
        self.keyspace.compare_slices(true);
        if !may || self.write_barrier.is_some() {
            return;
        }
        let Some(from) = replication.comparing.step(now, every) else {
            return;
        };
        let words = [from.to_le_bytes(), SLICE_WEIGHT.to_le_bytes()].concat();
        // As for a client's command, the name comes first; it is not stored.
        let args = Args::new(&words, &[(0, 0), (0, 8), (8, 8)]);
        let mut operation = Vec::new();
        encode_op(&mut operation, COMPARE.id, &args);
        self.batch.push_encoded_write(Who::Nobody, &operation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn slice(from: u64, next: u64) -> SliceDigest {
        SliceDigest { from, next, digest: 0 }
    }

    #[test]
    fn a_round_goes_through_all_slices_and_rests() {
        let (mut pace, mut now, every) = (ComparePace::default(), Tick::ZERO, 60_000 * MS);
        assert_eq!(pace.step(now, Duration::ZERO), None, "off");
        for (from, next) in [(0, 40), (40, 70), (70, 0)] {
            assert_eq!(pace.step(now, every), Some(from));
            now = now + 99 * MS;
            pace.looked_at(slice(from, next), now);
            assert_eq!(pace.step(now, every), None, "too soon");
            now = now + MS;
        }
        assert_eq!(pace.step(now + 50_000 * MS, every), None);
        let again = Tick::ZERO + (60_000 + 99) * MS;
        assert_eq!(pace.step(again, every), Some(0));
        pace.looked_at(slice(0, 0), again);
        assert_eq!(pace.step(again + 100 * MS, every), None);
        pace.hurry();
        assert_eq!(pace.step(again + 100 * MS, every), Some(0));
    }

    #[test]
    fn what_was_proposed_is_waited_for_and_another_leader_goes_on() {
        let (mut pace, now, every) = (ComparePace::default(), Tick::ZERO, 60_000 * MS);
        assert_eq!(pace.step(now, every), Some(0));
        assert_eq!(pace.step(now + 9_999 * MS, every), None);
        assert_eq!(pace.step(now + 10_000 * MS, every), Some(0));
        let mut follower = ComparePace::default();
        follower.looked_at(slice(0, 40), now);
        assert_eq!(follower.step(now, every), Some(40));
    }
}
