//! openraft's state machine on top of ours.
//!
//! Entries are executed one after another in one go, without an await between them. Blank and membership entries are
//! dealt with here; the state machine sees only what was proposed.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use slotcore_rt::ids::{LogIndex, Term};

use crate::group_state::GroupState;
use crate::membership::{self, BadMembership};
use crate::runtime::Runtime;
use crate::types::{LogId, RaftTypes, Snapshot, SnapshotMeta, StoredMembership, log_id, position};

/// What a state machine's contents stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last entry executed; 0 for none.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The membership in force there.
    pub membership: StoredMembership,
}

impl Applied {
    /// The membership as bytes, to be kept with a flushed state: its entry may be purged from the log.
    ///
    /// Format: `docs/formats/raft-entries.md`, "Membership beside a flushed state".
    pub fn membership_bytes(&self) -> Vec<u8> {
        let (index, term) = position(self.membership.log_id().as_ref());
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&index.0.to_le_bytes());
        bytes.extend_from_slice(&term.0.to_le_bytes());
        membership::encode(self.membership.membership(), &mut bytes);
        bytes
    }

    /// What a state stands for that was flushed at (`index`, `term`) with these [`Applied::membership_bytes`].
    ///
    /// # Errors
    /// The bytes are not what that wrote.
    pub fn flushed(index: LogIndex, term: Term, bytes: &[u8]) -> Result<Self, BadMembership> {
        let (at, rest) = bytes.split_first_chunk::<8>().ok_or(BadMembership)?;
        let (at_term, rest) = rest.split_first_chunk::<8>().ok_or(BadMembership)?;
        let at = log_id(LogIndex(u64::from_le_bytes(*at)), Term(u64::from_le_bytes(*at_term)));
        Ok(Self {
            index,
            term,
            membership: StoredMembership::new(at, membership::decode(rest)?),
        })
    }
}

/// A snapshot's bytes are not a state of this state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSnapshot(pub String);

impl fmt::Display for BadSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad snapshot: {}", self.0)
    }
}

impl std::error::Error for BadSnapshot {}

/// The replicated state of one group. Everything in it is a function of the entries executed so far.
pub trait StateMachine: 'static {
    /// Executes one proposed payload. Called once for each, in log order; indexes may skip (blank and membership
    /// entries). Must not fail and must not await.
    fn apply(&mut self, index: LogIndex, term: Term, payload: &[u8]);

    /// The whole state, which stands for `at`. Until it can be brought back by [`StateMachine::install`] after a crash,
    /// the log must not be purged up to `at`.
    fn snapshot(&mut self, at: &Applied) -> Bytes;

    /// Replaces the whole state by what [`StateMachine::snapshot`] gave on some replica. Durable on return: openraft
    /// purges the log up to `at` next.
    fn install(&mut self, at: &Applied, data: &[u8]) -> Result<(), BadSnapshot>;
}

/// The adaptor.
pub struct Applier<S> {
    state: Rc<RefCell<S>>,
    group: Rc<GroupState>,
    /// Shared with snapshot builders, which openraft runs beside the applier.
    position: Rc<RefCell<Position>>,
}

#[derive(Default)]
struct Position {
    last: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<Snapshot>,
}

impl Position {
    fn applied(&self) -> Applied {
        let (index, term) = position(self.last.as_ref());
        Applied {
            index,
            term,
            membership: self.membership.clone(),
        }
    }
}

impl<S: StateMachine> Applier<S> {
    /// `at`: what `state` already stands for; [`Applied::default`] when it is empty.
    pub fn new(state: Rc<RefCell<S>>, at: Applied, group: Rc<GroupState>) -> Self {
        group.set_applied(at.index, at.term);
        group.set_membership(at.membership.clone());
        let position = Position {
            last: log_id(at.index, at.term),
            membership: at.membership,
            snapshot: None,
        };
        Applier {
            state,
            group,
            position: Rc::new(RefCell::new(position)),
        }
    }
}

impl<RT: Runtime, S: StateMachine> RaftStateMachine<RaftTypes<RT>> for Applier<S> {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotTaker<S>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let position = self.position.borrow();
        Ok((position.last, position.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<RaftTypes<RT>>>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            // Dropped with what was proposed: such an entry tells itself whose proposal it was. Whoever changes the
            // group's replicas waits for an answer.
            let (entry, mut responder) = item?;
            let (index, term) = position(Some(&entry.log_id));
            let is_membership = matches!(entry.payload, EntryPayload::Membership(_));
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(payload) => self.state.borrow_mut().apply(index, term, &payload.bytes),
                EntryPayload::Membership(members) => {
                    let members = StoredMembership::new(Some(entry.log_id), members);
                    self.group.set_membership(members.clone());
                    self.position.borrow_mut().membership = members;
                }
            }
            self.position.borrow_mut().last = Some(entry.log_id);
            self.group.set_applied(index, term);
            if let Some(responder) = responder.take_if(|_| is_membership) {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotTaker<S> {
        SnapshotTaker {
            state: self.state.clone(),
            position: self.position.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let (index, term) = position(meta.last_log_id.as_ref());
        let at = Applied {
            index,
            term,
            membership: meta.last_membership.clone(),
        };
        self.state
            .borrow_mut()
            .install(&at, &snapshot)
            .map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?;
        self.group.set_applied(index, term);
        self.group.set_membership(at.membership.clone());
        *self.position.borrow_mut() = Position {
            last: meta.last_log_id,
            membership: at.membership,
            snapshot: Some(Snapshot {
                meta: meta.clone(),
                snapshot,
            }),
        };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.position.borrow().snapshot.clone())
    }
}

/// Takes a snapshot of what has been applied when it runs.
pub struct SnapshotTaker<S> {
    state: Rc<RefCell<S>>,
    position: Rc<RefCell<Position>>,
}

impl<RT: Runtime, S: StateMachine> RaftSnapshotBuilder<RaftTypes<RT>> for SnapshotTaker<S> {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let mut position = self.position.borrow_mut();
        let at = position.applied();
        let data = self.state.borrow_mut().snapshot(&at);
        let meta = SnapshotMeta {
            last_log_id: position.last,
            last_membership: at.membership,
        };
        let snapshot = Snapshot { meta, snapshot: data };
        position.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Membership;

    #[test]
    fn what_a_flushed_state_stands_for_comes_back_and_no_prefix_passes() {
        for at in [LogIndex(0), LogIndex(7)] {
            let members = Membership::new_with_defaults(vec![[3, 4].into()], [9]);
            let applied = Applied {
                index: LogIndex(70),
                term: Term(5),
                membership: StoredMembership::new(log_id(at, Term(2)), members),
            };
            let bytes = applied.membership_bytes();
            assert_eq!(Applied::flushed(LogIndex(70), Term(5), &bytes), Ok(applied));
            for end in 0..bytes.len() {
                assert_eq!(
                    Applied::flushed(LogIndex(70), Term(5), &bytes[..end]),
                    Err(BadMembership)
                );
            }
        }
    }
}
