//! [`ColdDesk`]: who waits for keys that are in files, and what is needed to go on with them.
//!
//! A command whose keys only files know is not carried out: its bytes stay in the connection's input, nothing more of that
//! connection is taken, and when all that it lacks was fetched its input is looked at again, as if it had just arrived. So
//! order needs no thought, and others on the core go on. What follows the command is looked through meanwhile, so that all
//! that a pipeline lacks is read at once. Requests of other cores wait as copies, one queue a connection.
//!
//! Keys that were asked for are pinned until the command was carried out; those of a batch until it was applied.

use std::collections::{HashMap, VecDeque};

use slotcore_engine::keyspace::FileKeys;
use slotcore_engine::log::LogPos;
use slotcore_engine::ord::KeyHash;
use slotcore_engine::store::FetchId;
use slotcore_netio::ConnId;

use crate::key_walk::KeyWalk;
use crate::parcel::Asker;

/// Keys that may be on their way for all connections of a core: each takes memory when it comes. Beyond, connections wait
/// for others.
pub(crate) const FETCHES_MAX: usize = 1024;
/// Commands behind the first that waits whose keys are fetched with it.
pub(crate) const AHEAD_COMMANDS_MAX: usize = 64;

/// Who waits for a fetch.
#[derive(Clone, Copy)]
pub(crate) enum Waiter {
    /// A connection of this core.
    Client(ConnId),
    /// Requests of another core for one of its connections; or parts of this core's own commands.
    Core(u16, ConnId),
    /// A command that looks at all keys: its number in [`Walks`].
    Walk(u32),
    /// The choice of keys that go (`dataset.rs`).
    Victims,
}

/// What a command that missed gets when it is run again.
#[derive(Debug)]
pub(crate) struct Rerun {
    /// Keys of files in a range it looked at, and the state of the store they belong to.
    pub lent: Option<(FileKeys, LogPos)>,
    /// What its random choices come from: the same as before, or it would look elsewhere.
    pub seed: u64,
}

/// What a connection waits for, or has just waited for.
#[derive(Debug, Default)]
pub(crate) struct ColdLane {
    /// Fetches under way, and queues of its own parts of commands.
    pub awaited: u32,
    /// Pinned until the command that waits was carried out.
    pub pins: Vec<KeyHash>,
    /// For the command that waits.
    pub rerun: Option<Rerun>,
}

impl ColdLane {
    /// One of those awaited has come, when the store was at `state`.
    pub fn got(&mut self, keys: Option<FileKeys>, state: LogPos) {
        self.awaited -= 1;
        if let (Some(rerun), Some(keys)) = (&mut self.rerun, keys) {
            rerun.lent = Some((keys, state));
        }
    }
}

/// Requests that wait in order.
#[derive(Default)]
pub(crate) struct Parked {
    /// As in a parcel.
    pub requests: Vec<u8>,
    /// As for a connection.
    pub cold: ColdLane,
}

/// Commands that look at all keys, by number.
#[derive(Default)]
pub(crate) struct Walks {
    walks: Vec<Option<KeyWalk>>,
}

impl Walks {
    /// Enters one; returns its number.
    pub fn insert(&mut self, walk: KeyWalk) -> u32 {
        let at = self.walks.iter().position(Option::is_none).unwrap_or_else(|| {
            self.walks.push(None);
            self.walks.len() - 1
        });
        self.walks[at] = Some(walk);
        at as u32
    }

    /// One that was entered.
    pub fn get(&mut self, number: u32) -> &mut KeyWalk {
        self.walks[number as usize]
            .as_mut()
            .expect("a walk is there until it ends")
    }

    /// Ends one.
    pub fn remove(&mut self, number: u32) -> KeyWalk {
        self.walks[number as usize].take().expect("a walk ends once")
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdStats {
    /// Commands that had to wait for files.
    pub waits: u64,
    /// Commands that were run again because they looked further than their arguments say.
    pub reruns: u64,
    /// Times a write had to wait because too much was not in files yet.
    pub writes_held: u64,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct ColdDesk {
    pub waiters: HashMap<FetchId, Vec<Waiter>>,
    /// Connections that wait until fewer keys are on their way, or until writes may go on.
    pub later: VecDeque<ConnId>,
    /// By core and connection.
    pub parked: HashMap<(u16, ConnId), Parked>,
    /// Of these, those that can go on.
    pub thawed: VecDeque<(u16, ConnId)>,
    /// Of these, those that wait for writes before them.
    pub behind: Vec<(u16, Asker)>,
    /// For the first request of the queue being carried out.
    pub rerun: Option<Rerun>,
    pub walks: Walks,
    pub stats: ColdStats,
}

impl ColdDesk {
    /// True when nobody waits.
    pub fn is_quiet(&self) -> bool {
        self.waiters.is_empty() && self.parked.is_empty() && self.later.is_empty()
    }

    /// True when nothing more should be fetched for now.
    pub fn is_busy(&self) -> bool {
        self.waiters.len() >= FETCHES_MAX
    }
}
