//! [`SnapshotFiles`]: the newest snapshot of a core's group on disk, made here or sent by a leader.
//!
//! Either is written a slice at a time between the core's turns, and takes the place of the one before once it is whole; one
//! that was sent is read back into keys first, so that the one before stays if it is no good.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::snapshot::{Export, Import};
use slotcore_raft_shard::{Applied, Taking};
use slotcore_rt::disk::{DiskError, SnapshotDir, SnapshotWriter};
use slotcore_rt::ids::LogIndex;

use crate::group_snapshot::{self, decode, decode_head, encode_head};

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
            None => self.coming.insert(Coming {
                writer: StateWriter::begin(&self.dir, "sent", at).map_err(|error| error.to_string())?,
                written: 0,
                import: Import::default(),
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

impl StateWriter {
    fn begin(dir: &SnapshotDir, name: &str, at: &Applied) -> Result<Self, DiskError> {
        let mut file = dir.write(name)?;
        let mut head = Vec::new();
        encode_head(at, 0, 0, &mut head);
        file.append(&head)?;
        Ok(Self { file, bytes: 0, crc: 0 })
    }

    fn append(&mut self, slice: &[u8]) -> Result<(), DiskError> {
        self.bytes += slice.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, slice);
        self.file.append(slice)
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
