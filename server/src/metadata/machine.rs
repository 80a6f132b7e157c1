//! [`MetadataMachine`]: a [`ClusterState`] as Raft sees it, with its snapshots in the log itself.
//!
//! The state is a few hundred bytes a node, so a snapshot is the manifest of the group in the core's log: durable with the
//! frame it is in, and carried over into each new segment by the log. It is that of a group without files, whose whole state
//! stands beside them. Format: `docs/formats/metadata.md`.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slotcore_engine::log::{AppendError, CoreLog, LogPos, Record};
use slotcore_engine::manifest::{SideState, Version};
use slotcore_raft_shard::{Applied, BadSnapshot, Installing, StateMachine, Taking};
use slotcore_rt::ids::{FrameNo, LogIndex, Term};

use super::read::Malformed;
use super::{Change, ClusterState, METADATA_GROUP};

/// Side state of the manifest: who votes in the metadata group, as for a group of keys.
const SIDE_MEMBERSHIP: u16 = 1;
/// Side state of the manifest: the [`ClusterState`].
const SIDE_METADATA: u16 = 5;

/// The manifest in the log is not one of this group.
#[derive(Debug)]
pub struct BadManifest(String);

impl fmt::Display for BadManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the snapshot of the metadata group makes no sense: {}", self.0)
    }
}

impl std::error::Error for BadManifest {}

/// See the module's text.
pub struct MetadataMachine {
    state: ClusterState,
    /// Counts changes of the state, whatever they are.
    version: u64,
    log: Rc<RefCell<CoreLog>>,
    /// The newest snapshot that is durable.
    kept: Option<(Applied, Bytes)>,
    /// One that is on its way to the device.
    writing: Option<FrameNo>,
    /// An entry that this version does not understand: nothing after it was executed.
    unreadable: Option<LogIndex>,
}

impl MetadataMachine {
    /// The state that the log keeps, and what it stands for.
    ///
    /// # Errors
    /// [`BadManifest`].
    pub fn open(log: Rc<RefCell<CoreLog>>) -> Result<(Self, Applied), BadManifest> {
        let manifest = log.borrow().group(METADATA_GROUP).map(|group| group.manifest().clone());
        let kept = match manifest {
            Some(bytes) if !bytes.is_empty() => Some(read(&bytes)?),
            _ => None,
        };
        let state = match &kept {
            Some((_, state)) => ClusterState::decode(state).map_err(|bad| BadManifest(bad.to_string()))?,
            None => ClusterState::default(),
        };
        let at = kept.as_ref().map(|(at, _)| at.clone()).unwrap_or_default();
        let machine = Self {
            state,
            version: 1,
            log,
            kept,
            writing: None,
            unreadable: None,
        };
        Ok((machine, at))
    }

    /// What has been decided, as far as this node knows.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Changes whenever the state does.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An entry of a newer version, if there was one: this node cannot go on.
    pub fn unreadable(&self) -> Option<LogIndex> {
        self.unreadable
    }

    /// The last entry that the newest snapshot holds; 0: there is none.
    pub fn kept_at(&self) -> LogIndex {
        self.kept.as_ref().map_or(LogIndex(0), |(at, _)| at.index)
    }

    /// Keeps a state, or goes on with it. True: it is durable.
    fn keep(&mut self, at: &Applied, state: &Bytes) -> io::Result<Option<bool>> {
        let Some(frame) = self.writing else {
            let bytes = write(at, state).into();
            let group = METADATA_GROUP;
            let mut log = self.log.borrow_mut();
            return match log.append(Record::Manifest { group, bytes }) {
                Ok(frame) => {
                    log.request_sync();
                    self.writing = Some(frame);
                    Ok(Some(false))
                }
                Err(AppendError::NotReady | AppendError::Backlog | AppendError::NoSpace) => Ok(None),
                Err(error) => Err(io::Error::other(error)),
            };
        };
        let log = self.log.borrow();
        if let Some(failure) = log.failure() {
            return Err(io::Error::other(failure));
        }
        if log.durable() < frame {
            return Ok(Some(false));
        }
        self.writing = None;
        self.kept = Some((at.clone(), state.clone()));
        Ok(Some(true))
    }
}

impl StateMachine for MetadataMachine {
    fn apply(&mut self, index: LogIndex, _term: Term, payload: &[u8]) {
        if self.unreadable.is_some() {
            return;
        }
        match Change::decode(payload) {
            // What is refused changes nothing: whoever proposed it looks at the state.
            Ok(change) => self.version += u64::from(self.state.apply(&change).is_ok()),
            Err(_) => self.unreadable = Some(index),
        }
    }

    fn snapshot(&mut self, at: &Applied) -> io::Result<Taking> {
        let state = self.state.encode().into();
        Ok(match self.keep(at, &state)? {
            Some(true) => Taking::Durable,
            Some(false) => Taking::More,
            None => Taking::GivenUp,
        })
    }

    fn kept(&mut self) -> io::Result<Option<(Applied, Bytes)>> {
        Ok(self.kept.clone())
    }

    fn install(&mut self, at: &Applied, data: &Bytes) -> Result<Installing, BadSnapshot> {
        let state = ClusterState::decode(data).map_err(|bad| BadSnapshot(bad.to_string()))?;
        // Without room it is tried again: nothing else can be done without the state.
        match self.keep(at, data).map_err(|error| BadSnapshot(error.to_string()))? {
            Some(true) => {
                self.state = state;
                self.version += 1;
                Ok(Installing::Done)
            }
            Some(false) | None => Ok(Installing::More),
        }
    }
}

/// The state of the metadata group that a manifest holds; `None`: it is that of a group of keys.
pub fn kept_in(version: &Version) -> Option<Result<ClusterState, Malformed>> {
    let side = version.side.iter().find(|side| side.kind == SIDE_METADATA)?;
    Some(ClusterState::decode(&side.bytes))
}

fn write(at: &Applied, state: &Bytes) -> Vec<u8> {
    let side = |kind, bytes| SideState { kind, bytes };
    let version = Version {
        flushed: LogPos {
            term: at.term,
            index: at.index,
        },
        side: vec![
            side(SIDE_MEMBERSHIP, at.membership_bytes()),
            side(SIDE_METADATA, state.to_vec()),
        ],
        ..Version::default()
    };
    version.encode()
}

fn read(manifest: &[u8]) -> Result<(Applied, Bytes), BadManifest> {
    let bad = |what: &dyn fmt::Display| BadManifest(what.to_string());
    let version = Version::decode(manifest).map_err(|error| bad(&error))?;
    let side = |kind| {
        version
            .side
            .iter()
            .find(|side| side.kind == kind)
            .map(|side| &side.bytes)
    };
    let members = side(SIDE_MEMBERSHIP).ok_or_else(|| bad(&"it does not say who votes"))?;
    let state = side(SIDE_METADATA).ok_or_else(|| bad(&"it holds no state"))?;
    let at = Applied::flushed(version.flushed.index, version.flushed.term, members).map_err(|error| bad(&error))?;
    Ok((at, Bytes::copy_from_slice(state)))
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{drain, founded};
    use super::*;

    #[test]
    fn a_snapshot_is_a_manifest_without_files() {
        let mut state = founded(3, 2);
        state
            .apply(&Change::Drain {
                node: crate::nodes::NodeNumber(2),
                replicas: 2,
            })
            .unwrap();
        assert!(state.apply(&drain(1)).is_err());
        let at = Applied {
            index: LogIndex(7),
            term: Term(3),
            ..Applied::default()
        };
        let bytes = state.encode().into();
        let manifest = write(&at, &bytes);
        assert_eq!(read(&manifest).unwrap(), (at, bytes));
        let version = Version::decode(&manifest).unwrap();
        assert_eq!(version.files().count(), 0);
        assert_eq!(kept_in(&version), Some(Ok(state)));
        assert!(kept_in(&Version::default()).is_none());
        assert!(read(&Version::default().encode()).is_err(), "that of a group of keys");
    }
}
