//! A group's settings, and openraft's configuration made of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};
use slotcore_rt::ids::ReplicaId;

/// Proposals accepted by [`crate::Consensus::propose`] that have not reached the log yet. A turn makes one entry for a
/// group, so a backlog means that the group cannot append (it is electing, say): more would only queue in memory.
pub const PROPOSALS_WAITING_MAX: u64 = 64;

/// Messages waiting for a group's core. Above [`PROPOSALS_WAITING_MAX`] plus what peers and timers send at once.
const CORE_QUEUE_MAX: u64 = 1024;

/// Entries in one message to a follower; see [`crate::log_store::REPLICATION_BYTES_MAX`] for their bytes.
pub(crate) const REPLICATION_ENTRIES_MAX: u64 = 64;

/// Settings of one group's replica.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// This replica.
    pub id: ReplicaId,
    /// The voters of a group that has never been started; ignored once its log holds anything. Each of them is opened
    /// with the same set. Empty: the group exists, and this replica waits until its leader adds it.
    pub first_voters: BTreeSet<ReplicaId>,
    /// How often a leader reassures its followers. Default 50 ms: a tenth of a percent of a core for six groups. Lower
    /// wastes messages; above a third of `election_min` a delayed message costs an election.
    pub heartbeat: Duration,
    /// The shortest time without a heartbeat after which a follower campaigns. Default 150 ms.
    pub election_min: Duration,
    /// The longest; also how long a voter refuses other candidates after hearing from a leader. Default 300 ms.
    pub election_max: Duration,
    /// How far two machines' clocks may diverge within `election_max`, taken off the read lease. Default 5 ms.
    pub clock_drift: Duration,
    /// Bugs put back on purpose, by the tests that prove the suite would catch them.
    #[doc(hidden)]
    pub planted: Planted,
}

/// See [`GroupOptions::planted`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// A restarted leader resumes its term.
    pub leader_restore: bool,
    /// A restarted voter votes at once.
    pub no_vote_hold_off: bool,
    /// Lease reads ignore what has been called committed in messages.
    pub ignore_commit_sent: bool,
    /// Whatever a quorum has ever answered in the term confirms a read.
    pub any_answer_confirms: bool,
    /// A replica takes its state for as fresh as the moment its leader's answer came.
    pub counts_from_answers: bool,
}

impl GroupOptions {
    /// A group whose only voter is `id`.
    pub fn alone(id: ReplicaId) -> Self {
        Self::among(id, [id])
    }

    /// Replica `id` of a group of `voters`.
    pub fn among(id: ReplicaId, voters: impl IntoIterator<Item = ReplicaId>) -> Self {
        GroupOptions {
            id,
            first_voters: voters.into_iter().collect(),
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
            clock_drift: Duration::from_millis(5),
            planted: Planted::default(),
        }
    }

    /// A replica that an existing group will add.
    pub fn joining(id: ReplicaId) -> Self {
        Self::among(id, [])
    }

    /// How long a restarted voter gives no vote and does not campaign.
    ///
    /// Before the crash it may have acknowledged a leader's heartbeat, which is a promise not to vote for another for
    /// `election_max`; openraft does not keep that promise over a restart. The drift is added because the leader
    /// measures the promise by its own clock.
    pub fn vote_hold_off(&self) -> Duration {
        self.election_max + self.clock_drift
    }

    /// openraft's configuration.
    pub(crate) fn raft_config(&self) -> Result<Arc<Config>, ConfigError> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: ms(self.election_max),
            enable_pre_vote: Some(true),
            // A restarted leader that resumed its term could give (term, index) to an entry other than the one it had
            // replicated and lost.
            enable_leader_restore: Some(self.planted.leader_restore),
            // Snapshots follow the state machine's own flushes, never a count of entries.
            snapshot_policy: SnapshotPolicy::Never,
            // Nor does a snapshot let the log forget anything unasked. openraft would else keep a count of entries, which takes
            // entries from replicas that are a little behind, and can be less than what it was told to purge and has not yet.
            max_in_snapshot_log_to_keep: u64::MAX,
            max_payload_entries: REPLICATION_ENTRIES_MAX,
            api_channel_size: Some(CORE_QUEUE_MAX),
            ..Config::default()
        };
        config.validate().map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of these defaults to something else in openraft, or did in some version.
    #[test]
    fn openraft_is_told_what_our_promises_rest_on() {
        let options = GroupOptions::alone(ReplicaId(1));
        let config = options.raft_config().expect("the defaults are consistent");
        assert_eq!(
            config.enable_leader_restore,
            Some(false),
            "a leader would resume its term"
        );
        assert_eq!(
            config.enable_pre_vote,
            Some(true),
            "a replica cut off would depose the leader"
        );
        assert_eq!(config.snapshot_policy, SnapshotPolicy::Never);
        assert_eq!(
            config.max_in_snapshot_log_to_keep,
            u64::MAX,
            "only what is asked for is purged"
        );
        assert_ne!(
            config.allow_log_reversion,
            Some(true),
            "lost entries would go unnoticed"
        );
        assert_eq!(
            config.election_timeout_max, 300,
            "what the lease and the hold-off are counted from"
        );
        assert!(options.vote_hold_off() > options.election_max);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let mut options = GroupOptions::alone(ReplicaId(1));
        options.election_min = options.heartbeat;
        assert!(options.raft_config().is_err());
    }
}
