//! openraft's state machine on top of ours.
//!
//! Entries are executed one after another in one go, without an await between them. Blank and membership entries are
//! dealt with here; the state machine sees only what was proposed.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use slotcore_rt::ids::{LogIndex, Term};

use crate::group_state::GroupState;
use crate::members::Members;
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
    /// What a snapshot stands for.
    pub(crate) fn of_snapshot(meta: &SnapshotMeta) -> Self {
        let (index, term) = position(meta.last_log_id.as_ref());
        Self {
            index,
            term,
            membership: meta.last_membership.clone(),
        }
    }

    /// The replicas as they were agreed upon there, and in which entry; 0: in none.
    pub fn members(&self) -> (LogIndex, Members) {
        let (index, _) = position(self.membership.log_id().as_ref());
        (index, Members::of(self.membership.membership()))
    }

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

    /// What the entry that was executed last had replicas compare: equal on all whose states are. Given out once.
    fn take_digest(&mut self) -> Option<u128> {
        None
    }

    /// Begins a snapshot of the whole state, which stands for `at`, or goes on with it. Calls follow each other, with pauses, until
    /// it says something else than [`Taking::More`]; nothing is executed in between. Each takes little time.
    ///
    /// # Errors
    /// The replica stops.
    fn snapshot(&mut self, at: &Applied) -> io::Result<Taking>;

    /// The newest snapshot that is durable, taken or installed, and what it stands for.
    ///
    /// # Errors
    /// The replica stops.
    fn kept(&mut self) -> io::Result<Option<(Applied, Bytes)>> {
        Ok(None)
    }

    /// Begins to replace the whole state by what [`StateMachine::snapshot`] gave on some replica, or goes on with it, as
    /// [`StateMachine::snapshot`] does. When it is done, `data` is durable, and what [`StateMachine::kept`] gives: openraft purges
    /// the log up to `at` next.
    ///
    /// # Errors
    /// The replica stops.
    fn install(&mut self, at: &Applied, data: &Bytes) -> Result<Installing, BadSnapshot>;
}

/// How far [`StateMachine::snapshot`] has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taking {
    /// To be called again.
    More,
    /// This is it, and it is kept nowhere else: that of a replica that nobody asks for snapshots, whose state is durable by
    /// other means.
    InMemory(Bytes),
    /// It is durable, and [`StateMachine::kept`] gives it, or a newer one.
    Durable,
    /// There is no room for it, or no time: the one before stays.
    GivenUp,
}

/// How far [`StateMachine::install`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installing {
    /// To be called again.
    More,
    /// The state is that of the snapshot.
    Done,
}

/// Between two slices of a snapshot: the next turn of a core has come then.
const PAUSE: Duration = Duration::from_micros(100);

/// How often a replica whose state is wrong looks whether another one has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The adaptor.
pub struct Applier<S> {
    state: Rc<RefCell<S>>,
    group: Rc<GroupState>,
    position: Position,
}

#[derive(Default)]
struct Position {
    last: Option<LogId>,
    membership: StoredMembership,
    /// The newest snapshot, if that is nowhere else.
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
        Applier { state, group, position }
    }
}

impl<S: StateMachine> Applier<S> {
    /// Takes a snapshot of what has been executed. Returns the newest one there is.
    async fn take_snapshot<RT: Runtime>(&mut self) -> io::Result<Snapshot> {
        let at = self.position.applied();
        while !self.group.is_diverged() {
            let taken = self.state.borrow_mut().snapshot(&at)?;
            match taken {
                Taking::More => RT::sleep(PAUSE).await,
                Taking::InMemory(data) => {
                    let snapshot = snapshot_of(&at, data);
                    self.position.snapshot = Some(snapshot.clone());
                    return Ok(snapshot);
                }
                Taking::Durable | Taking::GivenUp => break,
            }
        }
        // If it was given up, or would be wrong, that is an older one, of which openraft takes no note.
        let (at, data) = self.state.borrow_mut().kept()?.unwrap_or_default();
        Ok(snapshot_of(&at, data))
    }
}

impl<S: StateMachine> Applier<S> {
    async fn install<RT: Runtime>(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let at = Applied::of_snapshot(meta);
        loop {
            let came = self.state.borrow_mut().install(&at, &snapshot);
            match came.map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))? {
                Installing::More => RT::sleep(PAUSE).await,
                Installing::Done => break,
            }
        }
        self.group.set_applied(at.index, at.term);
        self.group.set_membership(at.membership.clone());
        self.group.comparison.borrow_mut().replaced(at.index);
        self.position = Position {
            last: meta.last_log_id,
            membership: at.membership,
            snapshot: None,
        };
        Ok(())
    }

    /// Waits for another replica's state, which takes the place of this one's. openraft takes no note: for it, the entries up to
    /// there are still to be executed.
    async fn rebuild<RT: Runtime>(&mut self) -> io::Result<()> {
        while self.group.is_diverged() {
            let came = self.group.comparison.borrow_mut().take_came();
            match came {
                Some(Snapshot { meta, snapshot }) => self.install::<RT>(&meta, snapshot).await?,
                None => RT::sleep(LOOK_EVERY).await,
            }
        }
        Ok(())
    }
}

impl<RT: Runtime, S: StateMachine> RaftStateMachine<RaftTypes<RT>> for Applier<S> {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotTaker;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.position.last, self.position.membership.clone()))
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
            if self.group.is_diverged() {
                self.rebuild::<RT>().await?;
            }
            if self.position.last.is_some_and(|last| entry.log_id <= last) {
                // The state that took the place of a wrong one has it.
                if let Some(responder) = responder.take_if(|_| is_membership) {
                    responder.send(());
                }
                continue;
            }
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(payload) => {
                    let mut state = self.state.borrow_mut();
                    state.apply(index, term, &payload.bytes);
                    if let Some(digest) = state.take_digest() {
                        self.group.comparison.borrow_mut().saw(index, digest);
                    }
                }
                EntryPayload::Membership(members) => {
                    let members = StoredMembership::new(Some(entry.log_id), members);
                    self.group.set_membership(members.clone());
                    self.position.membership = members;
                }
            }
            self.position.last = Some(entry.log_id);
            self.group.set_applied(index, term);
            if let Some(responder) = responder.take_if(|_| is_membership) {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotTaker {
        SnapshotTaker(self.take_snapshot::<RT>().await)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        self.install::<RT>(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if let Some(in_memory) = &self.position.snapshot {
            return Ok(Some(in_memory.clone()));
        }
        let kept = self.state.borrow_mut().kept()?;
        Ok(kept.map(|(at, snapshot)| snapshot_of(&at, snapshot)))
    }
}

/// The snapshot that was taken when openraft asked for the means to take one: whoever executes entries waits for that, and so
/// nothing is executed meanwhile.
pub struct SnapshotTaker(io::Result<Snapshot>);

impl<RT: Runtime> RaftSnapshotBuilder<RaftTypes<RT>> for SnapshotTaker {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        std::mem::replace(&mut self.0, Err(io::Error::other("a snapshot is taken once")))
    }
}

fn snapshot_of(at: &Applied, snapshot: Bytes) -> Snapshot {
    let meta = SnapshotMeta {
        last_log_id: log_id(at.index, at.term),
        last_membership: at.membership.clone(),
    };
    Snapshot { meta, snapshot }
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
