//! [`SnapshotFiles`]: the newest snapshot of a core's group on disk, made here or sent by a leader.
//!
//! Either is written a slice at a time between the core's turns, and takes the place of the one before once it is whole. One
//! that is sent goes to disk as it comes ([`SnapshotLanding`]), so that it takes no memory beside the keys, and is read back into
//! keys first, so that the one before stays if it is no good.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::snapshot::{Export, Import};
use slotcore_raft_shard::peer::Landing;
use slotcore_raft_shard::{Applied, Taking};
use slotcore_rt::disk::{DiskError, SnapshotDir, SnapshotWriter};
use slotcore_rt::ids::{CoreId, LogIndex};

use crate::group_snapshot::{self, decode, decode_head, encode_head};
use crate::logging::Event;

/// Bytes that are written at once: some tenths of a millisecond on any SSD.
const WRITE_BYTES: usize = 256 << 10;
/// Bytes of keys that are written out or taken in at once: thousands of small keys, well below a millisecond.
const KEYS_BYTES: usize = 64 << 10;

/// Which snapshot is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The last entry it stands for; 0: there is none.
    pub index: LogIndex,
    /// How long it is.
    pub bytes: u64,
}

/// See the module's text.
pub struct SnapshotFiles {
    dir: SnapshotDir,
    newest: Rc<Cell<Kept>>,
    unwanted: Rc<Cell<bool>>,
    making: Option<Making>,
    coming: Option<Coming>,
    landed: Rc<RefCell<Option<Landed>>>,
}

/// Writes a snapshot that comes from another replica to disk, part by part.
pub struct SnapshotLanding {
    core: CoreId,
    dir: SnapshotDir,
    coming: Option<(Applied, StateWriter)>,
    /// Counts: one that is being installed keeps its file when the next one comes.
    number: u64,
    /// The error for which it was not kept, as last told.
    told: Option<i32>,
    landed: Rc<RefCell<Option<Landed>>>,
}

/// A snapshot that has come and is not installed yet.
struct Landed {
    at: Applied,
    writer: StateWriter,
    state: Bytes,
}

/// A snapshot that is made here.
struct Making {
    export: Export,
    writer: StateWriter,
    waiting: Vec<u8>,
}

/// One that was sent.
struct Coming {
    writer: StateWriter,
    written: usize,
    import: Import,
}

/// Writes a state behind a head that is known at the end.
struct StateWriter {
    file: SnapshotWriter,
    head_bytes: usize,
    bytes: u64,
    crc: u32,
}

impl SnapshotFiles {
    /// Those in `dir`.
    pub fn new(dir: SnapshotDir) -> Self {
        Self {
            dir,
            newest: Rc::default(),
            unwanted: Rc::default(),
            making: None,
            coming: None,
            landed: Rc::default(),
        }
    }

    /// Where snapshots go that come.
    pub fn landing(&self, core: CoreId) -> SnapshotLanding {
        SnapshotLanding {
            core,
            dir: self.dir.clone(),
            coming: None,
            number: 0,
            told: None,
            landed: self.landed.clone(),
        }
    }

    /// Always tells which one is on disk, once [`SnapshotFiles::read`] was called.
    pub fn newest(&self) -> Rc<Cell<Kept>> {
        self.newest.clone()
    }

    /// To be set while none shall be made; one that is under way is given up.
    pub fn unwanted(&self) -> Rc<Cell<bool>> {
        self.unwanted.clone()
    }

    /// The snapshot and what it stands for, after all of it was looked at; `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn read(&self) -> io::Result<Option<(Applied, Bytes)>> {
        let Some(file) = self.dir.read().map_err(io::Error::other)? else {
            return Ok(None);
        };
        let file = Bytes::from_owner(file);
        let head = decode(&file).ok_or_else(|| self.damaged())?;
        self.note(&head.at, (file.len() - head.begin) as u64);
        Ok(Some((head.at, file.slice(head.begin..))))
    }

    /// The same without looking at the state, which whoever gets it checks.
    ///
    /// # Errors
    /// It cannot be read, or its head is damaged.
    pub fn kept(&self) -> io::Result<Option<(Applied, Bytes)>> {
        let Some(file) = self.dir.read().map_err(io::Error::other)? else {
            return Ok(None);
        };
        let file = Bytes::from_owner(file);
        let head = decode_head(&file).ok_or_else(|| self.damaged())?;
        Ok(Some((head.at, file.slice(head.begin..))))
    }

    fn damaged(&self) -> io::Error {
        let what = format!("{} is damaged, or a newer version wrote it", self.dir.file().display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    }

    /// Begins a snapshot of `keyspace`, which stands for `at`, or goes on with it; see
    /// [`StateMachine::snapshot`](slotcore_raft_shard::StateMachine::snapshot).
    ///
    /// # Errors
    /// Those of the device, but for want of room: then it is given up.
    pub fn take(&mut self, at: &Applied, keyspace: &Keyspace) -> io::Result<Taking> {
        let taken = match self.unwanted.get() {
            true => Ok(Taking::GivenUp),
            false => self.take_slice(at, keyspace),
        };
        if !matches!(taken, Ok(Taking::More)) {
            self.making = None;
        }
        match taken {
            Err(error) if error.is_no_space() => Ok(Taking::GivenUp),
            taken => taken.map_err(io::Error::other),
        }
    }

    fn take_slice(&mut self, at: &Applied, keyspace: &Keyspace) -> Result<Taking, DiskError> {
        let making = match &mut self.making {
            Some(making) => making,
            None => self.making.insert(Making {
                export: group_snapshot::export(keyspace),
                writer: StateWriter::begin(&self.dir, "made", at)?,
                waiting: Vec::with_capacity(WRITE_BYTES + KEYS_BYTES),
            }),
        };
        let goes_on = making.export.next(keyspace, KEYS_BYTES, &mut making.waiting);
        if making.waiting.len() >= WRITE_BYTES || !goes_on {
            making.writer.append(&making.waiting)?;
            making.waiting.clear();
        }
        let Some(made) = self.making.take_if(|_| !goes_on) else {
            return Ok(Taking::More);
        };
        let bytes = made.writer.finish(&self.dir, at)?;
        self.note(at, bytes);
        Ok(Taking::Durable)
    }

    /// Begins to keep a snapshot that has come, or goes on with it. When it gives keys, the snapshot is durable, and the only one.
    ///
    /// # Errors
    /// Those of the device, or it is damaged, or of another group than that with this hash seed.
    pub fn install(&mut self, at: &Applied, state: &Bytes, hash_seed: u64) -> Result<Option<Keyspace>, String> {
        let coming = match &mut self.coming {
            Some(coming) => coming,
            None => self
                .coming
                .insert(match self.landed.take().filter(|landed| landed.is(at, state)) {
                    Some(landed) => Coming::written(landed.writer, state.len()),
                    // Another one has come since.
                    None => Coming::written(
                        StateWriter::begin(&self.dir, "sent", at).map_err(|error| error.to_string())?,
                        0,
                    ),
                }),
        };
        if coming.written < state.len() {
            let end = state.len().min(coming.written + WRITE_BYTES);
            let written = coming.writer.append(&state[coming.written..end]);
            written.map_err(|error| error.to_string())?;
            coming.written = end;
            return Ok(None);
        }
        let Some(imported) = coming
            .import
            .next(state, KEYS_BYTES)
            .map_err(|error| error.to_string())?
        else {
            return Ok(None);
        };
        let come = self.coming.take().expect("it was looked at above");
        let keyspace = group_snapshot::taken_over(imported, hash_seed)?;
        let bytes = come.writer.finish(&self.dir, at).map_err(|error| error.to_string())?;
        self.note(at, bytes);
        Ok(Some(keyspace))
    }

    fn note(&self, at: &Applied, bytes: u64) {
        self.newest.set(Kept { index: at.index, bytes });
    }
}

impl Coming {
    fn written(writer: StateWriter, written: usize) -> Self {
        Self {
            writer,
            written,
            import: Import::default(),
        }
    }
}

impl Landed {
    /// Whether it is the one of these bytes.
    fn is(&self, at: &Applied, state: &Bytes) -> bool {
        self.at == *at && self.state.as_ptr() == state.as_ptr() && self.state.len() == state.len()
    }
}

impl SnapshotLanding {
    fn telling<T>(&mut self, done: Result<T, DiskError>) -> io::Result<T> {
        done.map_err(|error| {
            self.coming = None;
            // Each try would say the same while the disk is full.
            if self.told.replace(error.errno()) != Some(error.errno()) {
                let (core, error) = (self.core, error.to_string());
                Event::SnapshotNotKept { core, error }.log();
            }
            io::Error::other(error)
        })
    }
}

impl Landing for SnapshotLanding {
    fn begin(&mut self, at: &Applied, _total: u64) -> io::Result<()> {
        // Room first.
        (self.coming, *self.landed.borrow_mut()) = (None, None);
        self.number += 1;
        let begun = StateWriter::begin(&self.dir, &format!("sent-{}", self.number), at);
        self.coming = Some((at.clone(), self.telling(begun)?));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (_, coming) = self.coming.as_mut().ok_or(io::ErrorKind::NotFound)?;
        // A leader that waits for a device here would take this replica for unreachable.
        let appended = coming.append_unsynced(bytes);
        self.telling(appended)
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        let (at, writer) = self.coming.take().ok_or(io::ErrorKind::NotFound)?;
        let read = writer.read();
        let state = self.telling(read)?;
        self.told = None;
        let landed = Landed {
            at,
            writer,
            state: state.clone(),
        };
        *self.landed.borrow_mut() = Some(landed);
        Ok(state)
    }
}

impl StateWriter {
    fn begin(dir: &SnapshotDir, name: &str, at: &Applied) -> Result<Self, DiskError> {
        let mut file = dir.write(name)?;
        let mut head = Vec::new();
        encode_head(at, 0, 0, &mut head);
        file.append(&head)?;
        Ok(Self {
            file,
            head_bytes: head.len(),
            bytes: 0,
            crc: 0,
        })
    }

    fn append(&mut self, slice: &[u8]) -> Result<(), DiskError> {
        self.bytes += slice.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, slice);
        self.file.append(slice)
    }

    fn append_unsynced(&mut self, slice: &[u8]) -> Result<(), DiskError> {
        self.bytes += slice.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, slice);
        self.file.append_unsynced(slice)
    }

    /// The state as far as it is written. What takes the place of the head later is not part of it.
    fn read(&self) -> Result<Bytes, DiskError> {
        Ok(Bytes::from_owner(self.file.read()?).slice(self.head_bytes..))
    }

    /// Returns how long the state is.
    fn finish(mut self, dir: &SnapshotDir, at: &Applied) -> Result<u64, DiskError> {
        let mut head = Vec::new();
        encode_head(at, self.bytes, self.crc, &mut head);
        self.file.set_head(&head)?;
        self.file.finish(dir)?;
        Ok(self.bytes)
    }
}
