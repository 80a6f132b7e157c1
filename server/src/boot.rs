//! Opening a core: its log is read, its files are opened, its keys are rebuilt. Before anybody is served.

use std::cell::RefCell;
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slotcore_engine::cmd::spanning::Spanning;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_engine::log::{
    CoreLog, GroupLog, LogOptions, LogPos, Record, RecoverError, SyncPolicy, segment_file_name,
};
use slotcore_engine::script::BadLibraries;
use slotcore_engine::sessions::Sessions;
use slotcore_engine::store::{SideState, Store, StoreError, StoreOptions};
use slotcore_engine::waiters::Waiters;
use slotcore_raft_shard::{Applied, BadSnapshot, Installing, Replay, ReplayError, StateMachine, Taking};
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::{DiskError, Opening, SegmentDir, StoreDir};
use slotcore_rt::ids::{CoreId, GroupId, GroupSlot, LogIndex, ReplicaId, SegmentId, Term};
use slotcore_rt::mem::machine_bytes;
use slotcore_rt::rng::SeededRng;

use crate::acl::read_rights;
use crate::apply::replay;
use crate::cluster_map::slots_of;
use crate::cold_files::{ColdFiles, Failure};
use crate::config::{Config, Durability};
use crate::entry_ops::EntryOps;
use crate::log_driver::SegmentReader;
use crate::logging::Event;
use crate::memory_budget::MemoryBudget;
use crate::nodes::{NodeList, NodeNumber};
use crate::old_snapshot;
use crate::startup::StartupError;
use crate::store_files::{self, FilesNow, describe};

/// The one group of a core: it holds all slots of the core.
pub const FIRST_GROUP: GroupSlot = GroupSlot(0);

/// A core as a Raft replica. `nodes`: the cluster, if this node is not alone.
pub fn replica_of(core: CoreId, nodes: Option<&NodeList>) -> ReplicaId {
    nodes.map_or(NodeNumber::ALONE, |nodes| nodes.me).replica(core)
}

/// The first segment of a log.
const FIRST_SEGMENT: SegmentId = SegmentId(1);
/// The machine's memory where the system does not tell, in bytes.
const MACHINE_BYTES_UNKNOWN: u64 = 1 << 30;
/// Files of the log there are at least: one that is written, one that is being flushed, and two that are prepared.
const LOG_SEGMENTS_MIN: u64 = 4;
/// Smallest target of a file, in bytes: below, there would be more files than records in their indexes.
const FILE_BYTES_MIN: u64 = 1 << 20;
/// Bytes of keys that are loaded at once at a start.
const LOAD_BYTES: usize = 1 << 20;
/// Flushes of a replica let its log go: it has what came since the one before the last, which together may be so many parts of what it
/// may take.
const REPLICA_FLUSHES_PER_LOG: u64 = 4;
/// How often storage is synced in `everysec`.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Side state of a flush: who votes. See `docs/formats/raft-entries.md`, "Membership beside a flushed state".
const SIDE_MEMBERSHIP: u16 = 1;
/// Side state of a flush: the commands that wait for keys, if there are any. See `docs/formats/waiters.md`.
const SIDE_WAITERS: u16 = 2;
/// Side state of a flush: libraries of functions, if there are any. See `docs/formats/functions.md`.
const SIDE_FUNCTIONS: u16 = 3;
/// Side state of a flush: the number of the last transaction over cores, a u64, if there was one.
const SIDE_SPANNING: u16 = 4;
/// Side state of a flush: writes that count once, if there are any. See `docs/formats/sessions.md`.
const SIDE_SESSIONS: u16 = 6;

/// What log and files gave back.
pub struct Opened {
    /// The log, ready but for its first new segment.
    pub log: CoreLog,
    /// The keys, as far as entries are known to be committed.
    pub keyspace: Keyspace,
    /// Those in files.
    pub store: Rc<RefCell<Store>>,
    /// What the keyspace stands for.
    pub at: Applied,
    /// Bytes of log that files do not make superfluous, about.
    pub tail_bytes: u64,
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

/// What a core has on disk.
pub struct OnDisk<'a> {
    /// Where its log is.
    pub log: &'a SegmentDir,
    /// Where its files of keys are.
    pub files: &'a StoreDir,
    /// What an older version kept of a cluster's group beside the log, and what that stands for.
    pub old: Option<(Applied, Bytes)>,
    /// Clients were served from here, so that there must be a log.
    pub was_served: bool,
}

/// Reads the log, opens the files that it names, and executes the entries that came after them.
///
/// In a cluster (`nodes`) nothing is executed yet: only a leader knows what is committed; and all keys come into memory.
///
/// The log is read twice: which files count, and so which entries are to be executed, is known only at its end.
///
/// # Errors
/// Log or files are damaged or unreadable, or those of another cluster; nothing was changed but for files that nothing names, which are deleted.
pub fn open_log(
    core: CoreId,
    on_disk: OnDisk<'_>,
    config: &Config,
    nodes: Option<&NodeList>,
    rng: &mut SeededRng,
) -> Result<Opened, StartupError> {
    let OnDisk {
        log: dir,
        files: files_dir,
        old,
        was_served,
    } = on_disk;
    let began = SystemClock.tick();
    let opts = log_options(core, config);
    let mut reader = SegmentReader::new(dir.clone());
    refuse_missing(dir, cut_short(dir))?;
    let log = CoreLog::recover(opts.clone(), &mut reader, &mut |_| {}).map_err(|error| startup_error(dir, error))?;
    // Before any file is taken for superfluous: a manifest that is lost with its segment may name it.
    refuse_missing(dir, missing_since_opened(dir, log.newest_segment(), was_served))?;
    let group = log.group(FIRST_GROUP);
    let (found, wanted) = (group.map(GroupLog::id), nodes.map(|nodes| nodes.group_of(core)));
    let id = found.or(wanted).unwrap_or_else(|| GroupId(rng.next_u64()));
    let manifest = group.map(|group| group.manifest().clone()).unwrap_or_default();
    let purged = group.map_or_else(LogPos::default, GroupLog::purged);
    drop(log);

    let damaged = |error: StoreError| StartupError::DamagedStore {
        dir: files_dir.path().to_owned(),
        what: describe(&error),
    };
    let mut keyspace = keyspace_of(id, slots_of(core, usize::from(config.cores)));
    let mut files = FilesNow::new(files_dir.clone());
    let (store, left_over) =
        Store::open(store_options(config, nodes), &manifest, &mut files, &mut keyspace).map_err(damaged)?;
    for file in left_over {
        files_dir
            .delete(store_files::on_disk(file))
            .map_err(StartupError::Disk)?;
    }
    let at = stands_for(&store).map_err(|what| StartupError::DamagedStore {
        dir: files_dir.path().to_owned(),
        what,
    })?;
    take_over_side(store.side(), &mut keyspace).map_err(|what| StartupError::DamagedStore {
        dir: files_dir.path().to_owned(),
        what,
    })?;
    if nodes.is_some() {
        let mut loading = store.loading();
        while loading.step(&mut keyspace, &mut files, LOAD_BYTES).map_err(damaged)? {}
    }
    let at = match old.filter(|(old, _)| old.index > at.index) {
        Some((at, state)) => {
            let state = old_snapshot::import(&state, id.0).map_err(|what| StartupError::DamagedStore {
                dir: dir.path().to_owned(),
                what: format!("the snapshot beside the log is no state of this group: {what}"),
            })?;
            keyspace.take_over(state);
            at
        }
        None => at,
    };
    if purged.index > at.index {
        return Err(StartupError::DamagedStore {
            dir: files_dir.path().to_owned(),
            what: format!(
                "the files hold everything up to entry {}, but the log begins behind entry {}",
                at.index, purged.index
            ),
        });
    }

    let (store, failure) = (Rc::new(RefCell::new(store)), Failure::default());
    keyspace.read_with(Box::new(ColdFiles::at_start(store.clone(), files, failure.clone())));
    let mut rebuilt = Rebuilt {
        keyspace,
        ops: EntryOps::default(),
        failure: failure.clone(),
    };
    let flushed = at.index;
    let mut replayed = Replay::new(replica_of(core, nodes), FIRST_GROUP, &mut rebuilt, at);
    let (mut refused, mut tail_bytes) = (None, 0);
    let log = CoreLog::recover(opts, &mut reader, &mut |found| {
        if let Record::Entry { pos, payload, .. } = &found.record
            && pos.index > flushed
        {
            tail_bytes += payload.len() as u64;
        }
        if refused.is_none() && nodes.is_none() {
            refused = replayed.visit(found.record).err();
        }
    })
    .map_err(|error| startup_error(dir, error))?;
    let wanted = nodes.map(|nodes| nodes.group_of(core));
    if found.is_some_and(|found| wanted.is_some_and(|wanted| found != wanted))
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
    let Rebuilt {
        mut keyspace, mut ops, ..
    } = rebuilt;
    let last_spanning = ops.take_last_spanning();
    if let Some(error) = failure.borrow_mut().take() {
        return Err(damaged(error));
    }
    keyspace.read_with(Box::new(ColdFiles::new(
        store.clone(),
        FilesNow::new(files_dir.clone()),
    )));
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
        store,
        at,
        tail_bytes,
        last_spanning,
    })
}

/// A core's share of the memory.
fn memory_budget(config: &Config) -> MemoryBudget {
    // Without /proc there is nothing to go by; then the option has to say it.
    let machine = machine_bytes().unwrap_or(MACHINE_BYTES_UNKNOWN);
    MemoryBudget::new(config.settings.memory_bytes_max, machine, u64::from(config.cores))
}

/// What the log of a core may take on disk.
pub fn log_target(config: &Config) -> u64 {
    (config.log_bytes_target / u64::from(config.cores.max(1))).max(LOG_SEGMENTS_MIN * config.segment_bytes)
}

/// The log of a core, as configured.
fn log_options(core: CoreId, config: &Config) -> LogOptions {
    let mut opts = LogOptions::new(core).with_segment_bytes(config.segment_bytes);
    opts.sync = sync_policy(config.settings.durability);
    opts.log_bytes_target = log_target(config);
    let bytes = memory_budget(config).log_bytes();
    // Payloads of entries that are not executed yet stay in memory: a small budget gives them a small part.
    opts.cache_bytes_max = opts.cache_bytes_max.min(bytes);
    opts.backlog_bytes_max = opts.backlog_bytes_max.min(bytes.max(2 * opts.frame_bytes_max as u64));
    opts
}

fn store_options(config: &Config, nodes: Option<&NodeList>) -> StoreOptions {
    let limits = memory_budget(config).limits(0);
    let defaults = StoreOptions::default();
    StoreOptions {
        maker: nodes.map_or(0, |nodes| {
            u16::try_from(nodes.me.0).expect("numbers of nodes have 16 bits")
        }),
        dirty_bytes_max: usize::try_from(limits.flush_from).unwrap_or(usize::MAX),
        log_bytes_target: log_target(config) / nodes.map_or(2, |_| REPLICA_FLUSHES_PER_LOG),
        // Several files a flush, however small that is: merges take whole files.
        file_bytes_target: (limits.flush_from / 2).clamp(FILE_BYTES_MIN, defaults.file_bytes_target),
        blob_file_bytes_target: limits.flush_from.clamp(FILE_BYTES_MIN, defaults.blob_file_bytes_target),
        ..defaults
    }
}

/// What the files of a store stand for.
pub(crate) fn stands_for(store: &Store) -> Result<Applied, String> {
    let flushed = store.flushed();
    if flushed.index == LogIndex(0) {
        return Ok(Applied::default());
    }
    let side = store.side().iter().find(|side| side.kind == SIDE_MEMBERSHIP);
    let side = side.ok_or("the manifest does not say who votes")?;
    Applied::flushed(flushed.index, flushed.term, &side.bytes).map_err(|error| error.to_string())
}

/// What the state has besides keys when it is that of files: entries that follow may need it.
pub(crate) fn take_over_side(side: &[SideState], keyspace: &mut Keyspace) -> Result<(), String> {
    for side in side {
        match side.kind {
            SIDE_WAITERS => {
                *keyspace.waiters_mut() = Waiters::import(&side.bytes).map_err(|error| error.to_string())?;
            }
            SIDE_FUNCTIONS => keyspace
                .import_functions(&side.bytes)
                .map_err(|BadLibraries(what)| what)?,
            SIDE_SPANNING => {
                let number = side.bytes.as_slice().try_into();
                let number = number.map_err(|_| "the number of the last transaction over cores makes no sense")?;
                keyspace.set_last_spanning(u64::from_le_bytes(number));
            }
            SIDE_SESSIONS => {
                *keyspace.sessions_mut() = Sessions::import(&side.bytes).map_err(|error| error.to_string())?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a flush stores of a state besides its keys.
pub fn side_of(keyspace: &Keyspace, applied: &Applied) -> Vec<SideState> {
    let mut side = vec![SideState {
        kind: SIDE_MEMBERSHIP,
        bytes: applied.membership_bytes(),
    }];
    if !keyspace.waiters().is_empty() {
        let mut bytes = Vec::new();
        keyspace.waiters().export(&mut bytes);
        side.push(SideState {
            kind: SIDE_WAITERS,
            bytes,
        });
    }
    if let Some(bytes) = keyspace.export_functions() {
        side.push(SideState {
            kind: SIDE_FUNCTIONS,
            bytes,
        });
    }
    if !keyspace.sessions().is_empty() {
        let mut bytes = Vec::new();
        keyspace.sessions().export(&mut bytes);
        side.push(SideState {
            kind: SIDE_SESSIONS,
            bytes,
        });
    }
    if keyspace.last_spanning() > 0 {
        side.push(SideState {
            kind: SIDE_SPANNING,
            bytes: keyspace.last_spanning().to_le_bytes().to_vec(),
        });
    }
    side
}

/// The empty keyspace of a group. The key hash is seeded by the group's name: the same on all its replicas and after
/// each start, and unknown to clients.
fn keyspace_of(id: GroupId, slots: RangeInclusive<u16>) -> Keyspace {
    let mut keyspace = Keyspace::new(KeyspaceOptions { hash_seed: id.0 });
    keyspace.serve_slots(slots);
    keyspace.read_rights_by(read_rights);
    keyspace
}

/// The state of a group while its log is read.
struct Rebuilt {
    keyspace: Keyspace,
    ops: EntryOps,
    /// A file that an entry needed cannot be read: what follows is not executed.
    failure: Failure,
}

impl StateMachine for Rebuilt {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        if self.failure.borrow().is_none() {
            replay(&mut self.keyspace, payload, &mut self.ops);
        }
    }

    fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
        unreachable!("reading a log takes no snapshots")
    }

    fn install(&mut self, _at: &Applied, _data: &Bytes) -> Result<Installing, BadSnapshot> {
        unreachable!("reading a log installs no snapshots")
    }
}

/// What the log's own frames cannot tell, as an error: see [`cut_short`] and [`missing_since_opened`].
fn refuse_missing(dir: &SegmentDir, found: Result<Option<Missing>, DiskError>) -> Result<(), StartupError> {
    match found.map_err(StartupError::Disk)? {
        None => Ok(()),
        Some(Missing { segment, offset, what }) => Err(StartupError::CorruptLog {
            file: dir.path().join(segment_file_name(segment)),
            offset,
            what,
        }),
    }
}

/// What is not there of the segments since the log was last opened.
pub struct Missing {
    /// Of which segment.
    pub segment: SegmentId,
    /// From where on, in bytes.
    pub offset: u64,
    /// In words.
    pub what: String,
}

/// Looks for a segment that is too short. Its own frames may look as if they ended there, and with what was cut off others
/// seem to be missing: so this is to be asked before the log is read.
///
/// # Errors
/// The directory cannot be read.
pub fn cut_short(dir: &SegmentDir) -> Result<Option<Missing>, DiskError> {
    let Some(Opening { segment, segment_bytes }) = dir.opened()? else {
        return Ok(None);
    };
    // A file gets its name only when it has its length.
    let mut since = dir.list()?.into_iter().filter(|found| found.id >= segment);
    let short = since.find(|found| segment_bytes > 0 && found.bytes != segment_bytes);
    Ok(short.map(|short| Missing {
        segment: short.id,
        offset: short.bytes,
        what: format!("{} bytes instead of {segment_bytes}", short.bytes),
    }))
}

/// Looks for what is gone as a whole: all of the log, or the segment in which it was last opened. `newest`: the last one in
/// use, as recovery found it. `was_served`: whether there must be one.
///
/// # Errors
/// The directory cannot be read.
pub fn missing_since_opened(
    dir: &SegmentDir,
    newest: Option<SegmentId>,
    was_served: bool,
) -> Result<Option<Missing>, DiskError> {
    let gone = |segment, what: &str| Missing {
        segment,
        offset: 0,
        what: what.to_string(),
    };
    Ok(match dir.opened()? {
        None if was_served && newest.is_none() => Some(gone(
            FIRST_SEGMENT,
            "clients were served from this directory before, and the whole log of this core is missing",
        )),
        Some(Opening { segment, .. }) if newest.is_none_or(|newest| newest < segment) => Some(gone(
            segment,
            "the log was last opened in this segment, and neither it nor a later one is in use",
        )),
        _ => None,
    })
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
