//! Bringing a single voter's state machine back while its log is being read.
//!
//! For the only voter everything durable is committed, so entries can be executed as recovery meets them: the log is
//! read once. With several voters only a leader knows what is committed; they go the ordinary way, through openraft.
//!
//! Recovery meets records in the order they were written. Entries that space reclaiming wrote a second time come late,
//! or twice; entries that replaced others are refused, since the replaced ones have been executed already: only a log
//! that has followed a leader holds such, and its group had several voters.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use slotcore_engine::log::{LogPos, Record};
use slotcore_rt::ids::{GroupSlot, LogIndex, ReplicaId};

use crate::core_log::kind_of;
use crate::log_store::EntryKind;
use crate::membership::{self, BadMembership};
use crate::state_machine::{Applied, StateMachine};
use crate::types::{StoredMembership, log_id};

/// Why a log cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// The group has other voters: open it with what its state machine stood for before, and let openraft go on.
    NotAlone,
    /// Entries after this index were replaced after they had been written.
    Rewritten(LogIndex),
    /// The membership entry at this index cannot be read.
    Membership(LogIndex, BadMembership),
    /// The entry after this index is missing.
    Gap(LogIndex),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAlone => f.write_str("the group has several voters"),
            Self::Rewritten(index) => write!(f, "log entries after {index} were replaced"),
            Self::Membership(index, bad) => write!(f, "log entry {index}: {bad}"),
            Self::Gap(index) => write!(f, "the log entry after {index} is missing"),
        }
    }
}

impl std::error::Error for ReplayError {}

/// Executes the entries of one group as recovery visits them.
pub struct Replay<'a, S> {
    id: ReplicaId,
    slot: GroupSlot,
    machine: &'a mut S,
    at: Applied,
    /// Entries met before those that come before them.
    early: BTreeMap<LogIndex, (LogPos, Bytes)>,
}

impl<'a, S: StateMachine> Replay<'a, S> {
    /// `machine` stands for `at` already. `id`: this replica; `slot`: the group's place in the log.
    pub fn new(id: ReplicaId, slot: GroupSlot, machine: &'a mut S, at: Applied) -> Self {
        Replay {
            id,
            slot,
            machine,
            at,
            early: BTreeMap::new(),
        }
    }

    /// Takes in one record, of any group.
    pub fn visit(&mut self, record: Record) -> Result<(), ReplayError> {
        if record.group() != self.slot {
            return Ok(());
        }
        match record {
            Record::Entry { pos, payload, .. } | Record::Rewrite { pos, payload, .. } => self.entry(pos, payload),
            Record::TruncateAfter { index, .. } if index < self.at.index => Err(ReplayError::Rewritten(index)),
            Record::TruncateAfter { index, .. } => {
                self.early.split_off(&LogIndex(index.0 + 1));
                Ok(())
            }
            Record::Vote { .. }
            | Record::Commit { .. }
            | Record::Purge { .. }
            | Record::GroupCreate { .. }
            | Record::GroupDrop { .. }
            | Record::Manifest { .. }
            | Record::SnapshotInstalled { .. } => Ok(()),
        }
    }

    /// All records were visited. Returns what the machine stands for now, to be handed to [`crate::Group::open`].
    pub fn finish(self) -> Result<Applied, ReplayError> {
        match self.early.is_empty() {
            true => Ok(self.at),
            false => Err(ReplayError::Gap(self.at.index)),
        }
    }

    fn entry(&mut self, pos: LogPos, payload: Bytes) -> Result<(), ReplayError> {
        if pos.index <= self.at.index {
            // A second copy. An entry of a newer term would be a replacement.
            return if pos.term <= self.at.term {
                Ok(())
            } else {
                Err(ReplayError::Rewritten(pos.index))
            };
        }
        self.early.insert(pos.index, (pos, payload));
        while let Some((pos, payload)) = self.early.remove(&LogIndex(self.at.index.0 + 1)) {
            self.execute(pos, &payload)?;
        }
        Ok(())
    }

    fn execute(&mut self, pos: LogPos, payload: &[u8]) -> Result<(), ReplayError> {
        match kind_of(payload) {
            EntryKind::Blank => {}
            EntryKind::Normal => self.machine.apply(pos.index, pos.term, payload),
            EntryKind::Membership => {
                let members = membership::decode(payload).map_err(|bad| ReplayError::Membership(pos.index, bad))?;
                if !members.voter_ids().eq([self.id.0]) {
                    return Err(ReplayError::NotAlone);
                }
                self.at.membership = StoredMembership::new(log_id(pos.index, pos.term), members);
            }
        }
        (self.at.index, self.at.term) = (pos.index, pos.term);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use slotcore_rt::ids::Term;

    use super::*;
    use crate::state_machine::{BadSnapshot, Installing, Taking};
    use crate::types::Membership;

    #[derive(Default)]
    struct Executed(Vec<(u64, u64, u8)>);

    impl StateMachine for Executed {
        fn apply(&mut self, index: LogIndex, term: Term, payload: &[u8]) {
            self.0.push((index.0, term.0, payload[0]));
        }
        fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
            unreachable!("replay takes no snapshots")
        }
        fn install(&mut self, _at: &Applied, _data: &Bytes) -> Result<Installing, BadSnapshot> {
            unreachable!("replay installs no snapshots")
        }
    }

    const SLOT: GroupSlot = GroupSlot(3);

    fn entry(index: u64, term: u64, payload: &[u8]) -> Record {
        let pos = LogPos {
            term: Term(term),
            index: LogIndex(index),
        };
        Record::Entry {
            group: SLOT,
            pos,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn members(index: u64, voters: &[u64]) -> Record {
        let mut payload = Vec::new();
        let voters = vec![voters.iter().copied().collect()];
        membership::encode(&Membership::new_with_defaults(voters, []), &mut payload);
        entry(index, 0, &payload)
    }

    type Outcome = (Vec<(u64, u64, u8)>, Result<(u64, u64), ReplayError>);

    fn replay(records: Vec<Record>) -> Outcome {
        let mut machine = Executed::default();
        let mut replay = Replay::new(ReplicaId(7), SLOT, &mut machine, Applied::default());
        let visited = records.into_iter().try_for_each(|record| replay.visit(record));
        let end = visited.and_then(|()| replay.finish()).map(|at| (at.index.0, at.term.0));
        (machine.0, end)
    }

    #[test]
    fn entries_are_executed_in_index_order_and_once() {
        let other = Record::TruncateAfter {
            group: GroupSlot(1),
            index: LogIndex(0),
        };
        let records = vec![
            members(1, &[7]),
            entry(2, 1, b""),
            entry(4, 1, b"d"),
            other,
            entry(3, 1, b"c"),
            entry(3, 1, b"c"),
        ];
        assert_eq!(replay(records), (vec![(3, 1, b'c'), (4, 1, b'd')], Ok((4, 1))));
    }

    #[test]
    fn what_a_single_voter_cannot_have_written_is_refused() {
        assert_eq!(replay(vec![members(1, &[7, 8])]).1, Err(ReplayError::NotAlone));
        assert_eq!(
            replay(vec![members(1, &[7]), entry(3, 1, b"c")]).1,
            Err(ReplayError::Gap(LogIndex(1)))
        );
        let replaced = vec![members(1, &[7]), entry(2, 1, b"b"), entry(2, 2, b"B")];
        assert_eq!(replay(replaced).1, Err(ReplayError::Rewritten(LogIndex(2))));
        let cut = Record::TruncateAfter {
            group: SLOT,
            index: LogIndex(1),
        };
        assert_eq!(
            replay(vec![members(1, &[7]), entry(2, 1, b"b"), cut]).1,
            Err(ReplayError::Rewritten(LogIndex(1)))
        );
    }
}
