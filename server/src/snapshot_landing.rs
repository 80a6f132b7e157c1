//! [`SnapshotLanding`]: a snapshot that comes from another replica goes to disk file by file, and is looked at when it is whole.
//!
//! What is damaged, or finds no room, is told and not kept; nothing of this replica has changed then. What is in order is
//! given to openraft as its manifest, and waits, with its keys, until that says that it is to be installed, or drops it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use slotcore_engine::store::FileName;
use slotcore_raft_shard::Applied;
use slotcore_raft_shard::peer::{Landed, Landing};
use slotcore_rt::disk::SnapshotDir;
use slotcore_rt::ids::CoreId;

use crate::group_snapshot::{FileSink, Unpacking};
use crate::logging::Event;
use crate::snapshot_check::{Checked, Checking, Look, SentFile, SentFiles};

/// Snapshots that have come and are not installed yet.
pub type Waiting = Rc<RefCell<Vec<Ready>>>;

/// One of them.
pub struct Ready {
    /// Where the bytes lie that stand for it.
    at: usize,
    /// Somebody has them.
    wanted: Weak<()>,
    checked: Box<Checked>,
}

/// The one that these bytes stand for.
pub fn take_ready(waiting: &Waiting, manifest: &Bytes) -> Option<Box<Checked>> {
    let mut waiting = waiting.borrow_mut();
    let at = manifest.as_ptr() as usize;
    let found = waiting.iter().position(|ready| ready.at == at)?;
    Some(waiting.swap_remove(found).checked)
}

/// What is given out: a snapshot is wanted as long as somebody has its manifest.
struct Manifest {
    bytes: Vec<u8>,
    _wanted: Arc<()>,
}

impl AsRef<[u8]> for Manifest {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is known of this replica.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its core.
    pub core: CoreId,
    /// Of its keyspace.
    pub hash_seed: u64,
    /// Bytes of the largest manifest that its log takes.
    pub manifest_bytes_max: usize,
}

/// See the module's text.
pub struct SnapshotLanding {
    place: Place,
    dir: SnapshotDir,
    coming: Option<Coming>,
    /// What it stands for.
    of: Applied,
    /// Counts: one that waits keeps its files when the next one comes.
    number: u64,
    /// Why one was not kept, as last told.
    told: Option<String>,
    waiting: Waiting,
}

enum Coming {
    Parts(Unpacking, FilesComing),
    Checking { manifest: Vec<u8>, checking: Box<Checking> },
}

/// The files of a snapshot that comes.
struct FilesComing {
    dir: SnapshotDir,
    number: u64,
    files: SentFiles,
    last: Option<FileName>,
}

impl FileSink for FilesComing {
    fn begin(&mut self, name: FileName, bytes: u64) -> io::Result<()> {
        let writer = self.dir.write(&format!("sent-{}.{name}", self.number), bytes);
        let writer = writer.map_err(io::Error::other)?;
        self.files.0.insert(name, SentFile { bytes, writer });
        self.last = Some(name);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A leader that waits for a device here would take this replica for unreachable.
        let file = self.last.and_then(|name| self.files.0.get_mut(&name));
        let file = file.ok_or(io::ErrorKind::InvalidInput)?;
        file.writer.append(bytes).map_err(io::Error::other)
    }
}

impl SnapshotLanding {
    /// In `dir`; what is whole and in order goes to `waiting`.
    pub fn new(place: Place, dir: SnapshotDir, waiting: Waiting) -> Self {
        Self {
            place,
            dir,
            coming: None,
            of: Applied::default(),
            number: 0,
            told: None,
            waiting,
        }
    }

    fn telling<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            self.coming = None;
            let error = error.to_string();
            // Each try would say the same while the disk is full.
            if self.told.as_ref() != Some(&error) {
                self.told = Some(error.clone());
                let core = self.place.core;
                Event::SnapshotNotKept { core, error }.log();
            }
        })
    }

    /// All of it there can be, or none: half of it would only fill the disk.
    fn has_room(&self, bytes: u64) -> io::Result<()> {
        let free = self.dir.free_bytes().map_err(io::Error::other)?;
        match bytes > free {
            true => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("it has {bytes} bytes, and the disk has room for {free}"),
            )),
            false => Ok(()),
        }
    }

    /// All parts have come.
    fn whole(&mut self, unpacking: Unpacking, coming: FilesComing) -> io::Result<Coming> {
        let manifest = unpacking.finish()?;
        let bytes_max = self.place.manifest_bytes_max;
        if manifest.len() > bytes_max {
            return Err(io::Error::other(format!(
                "its manifest has {} bytes, and the log takes {bytes_max}: a larger --segment-bytes is needed",
                manifest.len()
            )));
        }
        let core = self.place.core;
        let bytes = coming.files.0.values().map(|file| file.bytes).sum();
        Event::SnapshotCame { core, bytes }.log();
        let checking = Checking::new(coming.files, manifest.clone(), self.place.hash_seed);
        let checking = Box::new(checking);
        Ok(Coming::Checking { manifest, checking })
    }

    /// Gives it out.
    fn ready(&mut self, manifest: Vec<u8>, checked: Box<Checked>) -> Bytes {
        self.told = None;
        let wanted = Arc::new(());
        let weak = Arc::downgrade(&wanted);
        let manifest = Bytes::from_owner(Manifest {
            bytes: manifest,
            _wanted: wanted,
        });
        self.settle();
        self.waiting.borrow_mut().push(Ready {
            at: manifest.as_ptr() as usize,
            wanted: weak,
            checked,
        });
        manifest
    }

    fn finish_step(&mut self, coming: Coming) -> io::Result<Landed> {
        match coming {
            Coming::Parts(unpacking, coming) => {
                self.coming = Some(self.whole(unpacking, coming)?);
                Ok(Landed::More)
            }
            Coming::Checking { manifest, checking } => match checking.step(&self.of).map_err(io::Error::other)? {
                Look::More(checking) => {
                    self.coming = Some(Coming::Checking { manifest, checking });
                    Ok(Landed::More)
                }
                Look::Done(checked) => Ok(Landed::Whole(self.ready(manifest, checked))),
            },
        }
    }
}

impl Landing for SnapshotLanding {
    fn begin(&mut self, at: &Applied, total: u64) -> io::Result<()> {
        // Room first.
        self.coming = None;
        self.settle();
        let room = self.has_room(total);
        self.telling(room)?;
        self.of = at.clone();
        self.number += 1;
        let files = FilesComing {
            dir: self.dir.clone(),
            number: self.number,
            files: SentFiles::default(),
            last: None,
        };
        self.coming = Some(Coming::Parts(Unpacking::new(total), files));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(Coming::Parts(unpacking, files)) = &mut self.coming else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let taken = unpacking.take(bytes, files);
        self.telling(taken)
    }

    fn finish(&mut self) -> io::Result<Landed> {
        let coming = self.coming.take().ok_or(io::ErrorKind::NotFound)?;
        let finished = self.finish_step(coming);
        self.telling(finished)
    }

    fn settle(&mut self) {
        self.waiting
            .borrow_mut()
            .retain(|ready| ready.wanted.strong_count() > 0);
    }
}
