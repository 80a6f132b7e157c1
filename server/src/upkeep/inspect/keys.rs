//! The keys of a core: type, size and expiry of each.
//!
//! Of a group without files, its log is executed, as a start does it. Of one with files, what they hold at the entry up to
//! which they were flushed is shown, and behind it every command of the log that came later: executing those would need
//! the values.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slotcore_engine::audit::open_sorted;
use slotcore_engine::cmd::op::{self, BATCH_HEADER_BYTES};
use slotcore_engine::cmd::{Args, by_id};
use slotcore_engine::database::split;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_engine::log::{CoreLog, LogOptions, Record, RecoverError};
use slotcore_engine::manifest::{FileRef, Version};
use slotcore_engine::ord::{SLOT_SHIFT, slot_of};
use slotcore_engine::sst::{Body, Bounds, Kind, Run, RunFile, ScanStep, SstScan};
use slotcore_engine::store::{FileName, FileSource as _};
use slotcore_raft_shard::{Applied, BadSnapshot, Installing, Replay, StateMachine, Taking};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::{CoreId, GroupId, LogIndex, Term};

use crate::boot::{FIRST_GROUP, replica_of};
use crate::entry_ops::EntryOps;
use crate::upkeep::out::{Line, Out, show};
use crate::upkeep::sources::{Files, Segments, sources};
use crate::upkeep::{CoreFiles, Failure};

/// Bytes read at a time of each run.
const READ_BYTES: usize = 256 << 10;
/// Keys looked at between two looks at the output.
const STEP_KEYS: usize = 1024;

/// Prints the keys of a core. True when its log, or a file that counts, is damaged.
pub(super) fn print(files: &CoreFiles, out: &mut Out) -> Result<bool, Failure> {
    let (mut segments, mut source) = sources(files, &None);
    let log = match CoreLog::recover(options(files.core), &mut segments, &mut |_| {}) {
        Ok(log) => log,
        Err(error @ RecoverError::Io { .. }) => return Err(error.into()),
        Err(error) => {
            let line = Line::new("unreadable")
                .with("core", files.core.0)
                .with("what", error.to_string());
            out.line_always(&line);
            return Ok(true);
        }
    };
    let mut damaged = false;
    let groups: Vec<_> = log
        .groups()
        // The metadata group of a cluster has no keys.
        .filter(|(slot, _)| *slot == FIRST_GROUP)
        .map(|(_, group)| (group.id(), group.manifest().clone()))
        .collect();
    for (id, manifest) in groups {
        let version = match Version::decode(&manifest) {
            Ok(version) => version,
            Err(error) => {
                let line = Line::new("unreadable")
                    .with("core", files.core.0)
                    .with("what", error.to_string());
                out.line_always(&line);
                damaged = true;
                continue;
            }
        };
        if version.flushed.index == LogIndex(0) {
            print_replayed(files.core, id, &mut segments, out)?;
        } else {
            damaged |= !print_from_files(files.core, &version, &mut source, out)?;
            print_later(files.core, version.flushed.index, &mut segments, out)?;
        }
    }
    Ok(damaged)
}

fn options(core: CoreId) -> LogOptions {
    LogOptions {
        cache_bytes_max: 0,
        ..LogOptions::new(core)
    }
}

/// A group while its log is executed.
struct Rebuilt {
    keyspace: Rc<RefCell<Keyspace>>,
    ops: EntryOps,
}

impl StateMachine for Rebuilt {
    fn apply(&mut self, _index: LogIndex, _term: Term, payload: &[u8]) {
        let mut keyspace = self.keyspace.borrow_mut();
        // One that makes no sense ends a start, too; here the rest is of use.
        if let Ok(header) = op::decode_header(payload) {
            self.ops.begin(&mut keyspace, &header);
            self.ops.run_all(&mut keyspace, payload);
        }
    }

    fn snapshot(&mut self, _at: &Applied) -> io::Result<Taking> {
        unreachable!("reading a log takes no snapshots")
    }

    fn install(&mut self, _at: &Applied, _data: &Bytes) -> Result<Installing, BadSnapshot> {
        unreachable!("reading a log installs no snapshots")
    }
}

/// Executes the log of a group that has no files.
fn print_replayed(core: CoreId, id: GroupId, segments: &mut Segments, out: &mut Out) -> Result<(), Failure> {
    let keyspace = Rc::new(RefCell::new(Keyspace::new(KeyspaceOptions { hash_seed: id.0 })));
    let mut rebuilt = Rebuilt {
        keyspace: keyspace.clone(),
        ops: EntryOps::default(),
    };
    let mut replay = Replay::new(replica_of(core, None), FIRST_GROUP, &mut rebuilt, Applied::default());
    let mut refused = None;
    CoreLog::recover(options(core), segments, &mut |found| {
        if refused.is_none() {
            refused = replay.visit(found.record).err();
        }
    })?;
    if let Some(error) = refused {
        return Err(Box::new(error));
    }
    replay.finish()?;
    let mut keyspace = keyspace.borrow_mut();
    let mut cursor = 0;
    loop {
        let mut found = Vec::new();
        cursor = keyspace.scan(cursor, STEP_KEYS, &mut |key, kind| found.push((key.to_vec(), kind)));
        for (key, kind) in found {
            let (database, users_key) = split(&key);
            let line = Line::new("key")
                .with("core", core.0)
                .with("slot", slot_of(&key))
                .with("database", database.number())
                .with("key", show(users_key))
                .with("kind", format!("{kind:?}").to_lowercase())
                .with_some("expire_ms", keyspace.expire_at(&key).flatten());
            out.line(&line);
        }
        if cursor == 0 || out.is_full() {
            return Ok(());
        }
    }
}

/// Merges the runs of a version. False when something in them cannot be read.
fn print_from_files(core: CoreId, version: &Version, source: &mut Files, out: &mut Out) -> Result<bool, Failure> {
    let line = Line::new("files")
        .with("core", core.0)
        .with("upto_index", version.flushed.index.0)
        .with("clock_ms", version.clock_ms)
        .with("keys", version.key_count.total());
    out.line(&line);
    let upper = version.keys.upper.iter().map(|run| (run.live_from, &run.files));
    let mut scans = Vec::new();
    for (live_from, files) in upper.chain([(0, &version.keys.bottom)]) {
        match open_run(files, live_from, source)? {
            Ok(run) => scans.push(SstScan::new(&run, Bounds::default(), READ_BYTES)),
            Err(what) => {
                // Without it, what older files have would look like the newest.
                out.line_always(&Line::new("unreadable").with("core", core.0).with("what", what));
                return Ok(false);
            }
        }
    }
    loop {
        for scan in &mut scans {
            if let Err(what) = fill(scan, source) {
                out.line_always(&Line::new("unreadable").with("core", core.0).with("what", what));
                return Ok(false);
            }
        }
        let ready = scans.iter().filter(|scan| scan.is_ready());
        // The first of equal ones is of the newest run.
        let Some(newest) = ready.min_by(|a, b| a.record().key.cmp(&b.record().key)) else {
            return Ok(true);
        };
        let record = newest.record();
        let (ord, tail) = (record.key.ord, record.key.tail.to_vec());
        let (kind, bytes) = match record.body {
            Body::Tombstone | Body::DeadCollection => (None, 0),
            Body::Inline(kind, value) => (Some(kind), value.len()),
            Body::Blob(kind, ptr) => (Some(kind), ptr.len as usize),
        };
        if let Some(kind) = kind {
            let (database, users_key) = split(&tail);
            let line = Line::new("key")
                .with("core", core.0)
                .with("slot", ord >> SLOT_SHIFT)
                .with("database", database.number())
                .with("key", show(users_key))
                .with("kind", if kind == Kind::Str { "string" } else { "collection" })
                .with("bytes", bytes)
                .with_some("expire_ms", record.expire_ms);
            out.line(&line);
        }
        if out.is_full() {
            return Ok(true);
        }
        for scan in &mut scans {
            let same = scan.is_ready() && {
                let key = scan.record().key;
                key.ord == ord && key.tail == tail
            };
            if same && let Err(error) = scan.advance() {
                out.line_always(
                    &Line::new("unreadable")
                        .with("core", core.0)
                        .with("what", error.to_string()),
                );
                return Ok(false);
            }
        }
    }
}

fn open_run(files: &[FileRef], live_from: u64, source: &mut Files) -> Result<Result<Run, String>, Failure> {
    let mut parts = Vec::new();
    for file in files {
        let from_ord = file.from_ord.max(live_from);
        if file.props.ord_max < from_ord {
            continue;
        }
        let name = FileName::sorted(file.file);
        if !source.list()?.contains(&(name, file.file_bytes)) {
            return Ok(Err(format!("{name} is missing or of another length")));
        }
        match open_sorted(source, file.file, file.file_bytes)? {
            Ok(reader) => parts.push(RunFile {
                reader: Rc::new(reader),
                from_ord,
            }),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Ok(Run::of_parts(parts)))
}

/// Brings a scan to its next record, or to its end.
fn fill(scan: &mut SstScan, source: &mut Files) -> Result<(), String> {
    while let ScanStep::Need { file, range } = scan.state() {
        let mut pages = AlignedBuf::with_capacity(range.bytes);
        let read = source.read_at(FileName::sorted(file), range, &mut pages);
        read.map_err(|error| format!("{}: {error}", FileName::sorted(file)))?;
        scan.feed(pages).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The commands that came after what the files hold.
fn print_later(core: CoreId, flushed: LogIndex, segments: &mut Segments, out: &mut Out) -> Result<(), Failure> {
    CoreLog::recover(options(core), segments, &mut |found| {
        let Record::Entry { pos, payload, .. } = found.record else {
            return;
        };
        if pos.index <= flushed || op::decode_header(&payload).is_err() {
            return;
        }
        let (mut at, mut spans) = (BATCH_HEADER_BYTES, Vec::new());
        while at < payload.len() && !out.is_full() {
            let Ok((id, bytes)) = op::decode_op(&payload[at..], &mut spans) else {
                return;
            };
            let args = Args::new(&payload[at..], &spans);
            let spec = by_id(id);
            let key = spec.filter(|spec| spec.first_key > 0 && args.len() > spec.first_key as usize);
            let line = Line::new("changed")
                .with("core", core.0)
                .with("index", pos.index.0)
                .with("command", spec.map_or("?", |spec| spec.name))
                .with_some("key", key.map(|spec| show(args.get(spec.first_key as usize))));
            out.line(&line);
            at += bytes;
        }
    })?;
    Ok(())
}
