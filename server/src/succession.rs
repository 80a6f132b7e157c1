//! Leadership that is asked for: a follower asks the leader of its group, and the leader hands over if that does no harm.
//!
//! Nobody answers the one who asks: it leads before long, or does not. So a message that is lost, or a leader that refuses,
//! needs no handling of its own.

use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{Group, StateMachine, VOTER_LAG_MAX};
use slotcore_rt::clock::{Clock, SystemClock};

use crate::core_loop::CoreLoop;
use crate::leadership::Standing;
use crate::logging::Event;
use crate::nodes::NodeNumber;
use crate::relay::ask_to_hand_over;

impl CoreLoop {
    /// Asks the leader that this core follows, if any, to hand over to it.
    pub(crate) fn ask_for_leadership(&mut self) {
        let standing = self.state.borrow().replication.as_ref().map(|group| group.standing);
        if let (Some(Standing::Follows(leader)), Some(peers)) = (standing, &self.peers) {
            peers.driver.carry(leader, ask_to_hand_over());
        }
    }

    /// Hands over to `heir`, which has asked for it. Not to one that is silent or lacks more than one message brings: until
    /// it had caught up, nobody would lead.
    pub(crate) fn hand_over_to<S: StateMachine>(&mut self, group: &mut Group<GlommioRuntime, S>, heir: NodeNumber) {
        let Some(peers) = &self.peers else { return };
        let core = self.state.borrow().server.core;
        let replica = heir.replica(core);
        let heard = peers
            .driver
            .heard_lately(heir, SystemClock.tick(), group.election_max());
        let near = group.lag_of(replica).is_some_and(|lag| lag <= VOTER_LAG_MAX);
        let handed_over = heard && near && group.transfer_leader(replica).is_ok();
        Event::HandOverAsked {
            core,
            node: heir,
            handed_over,
        }
        .log();
    }
}
