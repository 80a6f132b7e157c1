//! Raft groups on one core: openraft behind a narrow trait of our own.
//!
//! A [`Group`] replicates opaque payloads and hands them, in order and exactly once, to a [`StateMachine`]. It owns no
//! thread, no file and no socket: its tasks run on the core's executor ([`runtime`]), its log is whatever implements
//! [`GroupLogStore`] (the core's one log), its messages to other replicas go through a network the caller brings.
//!
//! `examples/counter.rs` is a whole replicated program over these, in one process.
//!
//! Three rules of this crate, each with a test that fails without it:
//! - nothing counts towards a commit before [`LogHub::advance`] says so, and votes never before they are durable;
//! - a restarted leader does not resume its old term (`enable_leader_restore = false`): it may have lost entries it had
//!   already replicated, and would write others under the same (term, index);
//! - a restarted voter grants no vote until every lease it may have acknowledged has run out ([`inbound`]).

pub mod comparison;
pub mod consensus;
pub mod core_log;
pub mod freshness;
pub mod group;
pub mod group_state;
pub mod inbound;
pub mod lease;
pub mod log_hub;
pub mod log_store;
pub mod members;
pub mod membership;
pub mod memory_log;
pub mod network;
pub mod options;
mod outgoing;
pub mod peer;
pub mod proposal;
pub mod quorum_acks;
pub mod replay;
pub mod runtime;
pub mod sim_wire;
pub mod snapshots_sent;
pub mod state_machine;
pub mod types;

pub use comparison::Finding;
pub use consensus::{Consensus, Progress, ProposalId, ProposeError, Refusal, Role};
pub use core_log::{CoreLogHandle, ReadFrames};
pub use freshness::{Freshness, Vouched};
pub use group::{Group, LogPositions, OpenError, TransferRefused};
pub use group_state::GroupState;
pub use inbound::Inbound;
pub use lease::{Lease, LeaseEffect, LeaseInput};
pub use log_hub::LogHub;
pub use log_store::{EntryKind, GroupLogStore, LogEntry, VoteRecord, WriteError};
pub use members::{ChangeRefused, MemberChange, MemberStep, Members, VOTER_LAG_MAX};
pub use memory_log::MemoryLog;
pub use network::NoPeers;
pub use options::GroupOptions;
pub use quorum_acks::QuorumAcks;
pub use replay::{Replay, ReplayError};
pub use state_machine::{Applied, BadSnapshot, Installing, StateMachine, Taking};
