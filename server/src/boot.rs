//! Opening a core: its log is read, its keys are rebuilt, its first segments are prepared. Before anybody is served.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slotcore_engine::cmd::spanning::Spanning;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_engine::log::{CoreLog, LogOptions, Record, RecoverError, SyncPolicy, segment_file_name};
use slotcore_raft_shard::{Applied, BadSnapshot, Replay, ReplayError, StateMachine};
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::SegmentDir;
use slotcore_rt::ids::{CoreId, GroupId, GroupSlot, LogIndex, ReplicaId, Term};
use slotcore_rt::rng::SeededRng;

use crate::apply::replay;
use crate::cluster_map::slots_of;
use crate::config::{Config, Durability};
use crate::entry_ops::EntryOps;
use crate::log_driver::SegmentReader;
use crate::logging::Event;
use crate::nodes::{NodeList, NodeNumber};
use crate::startup::StartupError;

/// The one group of a core: it holds all slots of the core.
pub const FIRST_GROUP: GroupSlot = GroupSlot(0);

/// A core as a Raft replica. `nodes`: the cluster, if this node is not alone.
pub fn replica_of(core: CoreId, nodes: Option<&NodeList>) -> ReplicaId {
    nodes.map_or(NodeNumber::ALONE, |nodes| nodes.me).replica(core)
}
/// How often storage is synced in `everysec`.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the log gave back.
pub struct Opened {
    /// The log, ready but for its first new segment.
    pub log: CoreLog,
    /// The keys, as far as entries are known to be committed.
    pub keyspace: Keyspace,
    /// What the keyspace stands for.
    pub at: Applied,
    /// The last transaction over cores that the log holds.
    pub last_spanning: Option<Spanning>,
}

/// When frames of the log become durable, for a durability mode.
pub fn sync_policy(durability: Durability) -> SyncPolicy {
    match durability {
        Durability::Always => SyncPolicy::Each,
        Durability::EverySec => SyncPolicy::Every(SYNC_EVERY),
        Durability::Off => SyncPolicy::Never,
    }
}

/// Reads the log in `dir` and executes what it holds. In a cluster (`nodes`) nothing is executed yet: only a leader knows
/// what is committed.
///
/// # Errors
/// The log is damaged or unreadable, or that of another cluster; nothing was changed.
pub fn open_log(
    core: CoreId,
    dir: &SegmentDir,
    config: &Config,
    nodes: Option<&NodeList>,
    rng: &mut SeededRng,
) -> Result<Opened, StartupError> {
    let began = SystemClock.tick();
    let mut opts = LogOptions::new(core).with_segment_bytes(config.segment_bytes);
    opts.sync = sync_policy(config.settings.durability);
    let slots = slots_of(core, usize::from(config.cores));
    let keyspace = Rc::new(RefCell::new(None));
    let mut rebuilt = Rebuilt {
        keyspace: keyspace.clone(),
        ops: EntryOps::default(),
    };
    let mut replayed = Replay::new(replica_of(core, nodes), FIRST_GROUP, &mut rebuilt, Applied::default());
    let (mut refused, mut group) = (None, None);
    let mut reader = SegmentReader::new(dir.clone());
    let log = CoreLog::recover(opts, &mut reader, &mut |found| {
        if let Record::GroupCreate { id, .. } = found.record {
            group = Some(id);
            keyspace
                .borrow_mut()
                .get_or_insert_with(|| keyspace_of(id, slots.clone()));
        }
        if refused.is_none() && nodes.is_none() {
            refused = replayed.visit(found.record).err();
        }
    })
    .map_err(|error| startup_error(dir, error))?;
    let wanted = nodes.map(|nodes| nodes.group_of(core));
    if group.is_some_and(|found| wanted.is_some_and(|wanted| found != wanted))
        || matches!(refused, Some(ReplayError::NotAlone))
    {
        return Err(StartupError::OtherCluster {
            dir: dir.path().to_owned(),
        });
    }
    let at = match refused {
        Some(error) => Err(error),
        None => replayed.finish(),
    };
    let at = at.map_err(|error| StartupError::Resource {
        what: "executing the log",
        error: std::io::Error::other(error),
    })?;
    let report = *log.recovery();
    let found = keyspace.borrow_mut().take();
    let mut keyspace = found.unwrap_or_else(|| keyspace_of(wanted.unwrap_or_else(|| GroupId(rng.next_u64())), slots));
    keyspace.forget_cached_scripts();
    let took = SystemClock.tick().since(began);
    Event::Recovered {
        keys: keyspace.len(),
        log_bytes: report.bytes,
        took,
    }
    .log();
    Ok(Opened {
        log,
        keyspace,
        at,
        last_spanning: rebuilt.ops.take_last_spanning(),
    })
}

/// The empty keyspace of a group. The key hash is seeded by the group's name: the same on all its replicas and after
/// each start, and unknown to clients.
fn keyspace_of(id: GroupId, slots: RangeInclusive<u16>) -> Keyspace {
    let mut keyspace = Keyspace::new(KeyspaceOptions { hash_seed: id.0 });
    keyspace.serve_slots(slots);
    keyspace
}

/// The state of a group while its log is read.
#[derive(Default)]
struct Rebuilt {
    keyspace: Rc<RefCell<Option<Keyspace>>>,
    ops: EntryOps,
}

impl StateMachine for Rebuilt {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        let mut keyspace = self.keyspace.borrow_mut();
        let keyspace = keyspace.as_mut().expect("a group is created before its first entry");
        replay(keyspace, payload, &mut self.ops);
    }

    fn snapshot(&mut self, _at: &Applied) -> Bytes {
        unreachable!("reading a log takes no snapshots")
    }

    fn install(&mut self, _at: &Applied, _data: &[u8]) -> Result<(), BadSnapshot> {
        unreachable!("reading a log installs no snapshots")
    }
}

fn startup_error(dir: &SegmentDir, error: RecoverError) -> StartupError {
    let what = error.to_string();
    match error {
        RecoverError::Corrupt { segment, offset, .. } => StartupError::CorruptLog {
            file: dir.path().join(segment_file_name(segment)),
            offset,
            what,
        },
        RecoverError::Version { segment, version, .. } => StartupError::UnknownFormat {
            file: dir.path().join(segment_file_name(segment)),
            found: u32::from(version),
            known: u32::from(slotcore_engine::log::frame::LOG_FORMAT_VERSION),
        },
        RecoverError::Io { error, .. } => StartupError::Resource {
            what: "reading the log",
            error,
        },
    }
}
