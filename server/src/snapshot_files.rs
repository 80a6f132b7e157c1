//! [`SnapshotFiles`]: the files of a core as its group's snapshot.
//!
//! What a replica has in files, as of its last flush, is what others are sent that are too far behind for the log: nothing has to be
//! made for it ([decision 0014](../../docs/decisions/0014-replicas-larger-than-memory.md)). What comes goes to disk file by file
//! ([`SnapshotLanding`]). It is installed in steps, each of which takes little time: the files become durable and get their
//! names; they are opened; all keys are read from them; one manifest in the log makes them the state of this replica, and
//! the keys take the place of those before. Until that manifest is durable the old state counts, also after a crash.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_engine::store::{Adoption, FileName, Loading, Store};
use slotcore_raft_shard::peer::Landing;
use slotcore_raft_shard::{Applied, Installing};
use slotcore_rt::disk::{JoinedFiles, SnapshotDir, SnapshotWriter, StoreDir};
use slotcore_rt::ids::CoreId;

use crate::boot::{stands_for, take_over_side};
use crate::core_state::CoreState;
use crate::group_snapshot::{FileSink, Unpacking, encode_head, files_of};
use crate::logging::Event;
use crate::store_files::{FilesNow, describe, on_disk};

/// Bytes of keys that are taken in at once: thousands of small keys, well below a millisecond.
const KEYS_BYTES: usize = 64 << 10;

/// See the module's text.
pub struct SnapshotFiles {
    files: StoreDir,
    dir: SnapshotDir,
    /// What an older version left, until there are files.
    old: Option<(Applied, Bytes)>,
    landings: Landings,
    coming: Option<Coming>,
}

/// A file that has come.
struct LandedFile {
    name: FileName,
    bytes: u64,
    writer: SnapshotWriter,
}

type LandedFiles = Mutex<Vec<LandedFile>>;

/// Snapshots that have come and are not installed yet: where the bytes lie that stand for them, and their files.
type Landings = Rc<RefCell<Vec<(usize, Weak<LandedFiles>)>>>;

/// A manifest that has come. Its files stay as long as somebody has it.
struct Landed {
    manifest: Vec<u8>,
    _files: Arc<LandedFiles>,
}

impl AsRef<[u8]> for Landed {
    fn as_ref(&self) -> &[u8] {
        &self.manifest
    }
}

/// A snapshot that is being installed.
enum Coming {
    /// Its files become durable; so many are.
    Syncing {
        files: Vec<LandedFile>,
        synced: usize,
    },
    /// Files that had the same names are still being deleted.
    Waiting {
        files: Vec<LandedFile>,
    },
    Opening {
        adoption: Adoption,
        source: FilesNow,
    },
    Loading(Box<KeysComing>),
    /// The manifest is on its way into the log; `None`: it is in it.
    Adopting {
        adoption: Option<Adoption>,
        keys: Box<Keyspace>,
    },
}

struct KeysComing {
    adoption: Adoption,
    source: FilesNow,
    loading: Loading,
    keys: Box<Keyspace>,
}

impl SnapshotFiles {
    /// Those in `files`; `dir`: where others come. `old`: what an older version left, if files have less.
    pub fn new(files: StoreDir, dir: SnapshotDir, old: Option<(Applied, Bytes)>) -> Self {
        Self {
            files,
            dir,
            old,
            landings: Rc::default(),
            coming: None,
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
            landings: self.landings.clone(),
        }
    }

    /// What is in files, and what it stands for. Files that are deleted later stay readable. `None`: nothing has been flushed.
    ///
    /// # Errors
    /// A file that the manifest names is not there, or cannot be mapped.
    pub fn kept(&self, store: &Store) -> io::Result<Option<(Applied, Bytes)>> {
        let at = stands_for(store).map_err(io::Error::other)?;
        if let Some(old) = self.old.as_ref().filter(|(old, _)| old.index > at.index) {
            return Ok(Some(old.clone()));
        }
        if at.index.0 == 0 {
            return Ok(None);
        }
        let view = store.view();
        let head = encode_head(&view.version().encode());
        let files = files_of(view.version()).into_iter();
        let files: Vec<_> = files
            .map(|(name, bytes)| (self.files.file_path(on_disk(name)), bytes))
            .collect();
        let joined = JoinedFiles::open(&head, &files).map_err(io::Error::other)?;
        Ok(Some((at, Bytes::from_owner(joined))))
    }

    /// Begins to install the snapshot that has come with this `manifest`, or goes on with it. Between two calls the store must be
    /// worked on: its manifest has to get into the log.
    ///
    /// # Errors
    /// Those of the device; or files are damaged, or stand for something else than `at`.
    pub(crate) fn install(
        &mut self,
        at: &Applied,
        manifest: &Bytes,
        state: &mut CoreState,
    ) -> Result<Installing, String> {
        let coming = match self.coming.take() {
            Some(coming) => coming,
            None => Coming::Syncing {
                files: self.take_landed(manifest).ok_or("its files have not come")?,
                synced: 0,
            },
        };
        self.coming = coming.next(at, manifest, state, &self.files)?;
        if self.coming.is_some() {
            return Ok(Installing::More);
        }
        self.old = None;
        Ok(Installing::Done)
    }

    fn take_landed(&self, manifest: &Bytes) -> Option<Vec<LandedFile>> {
        let landings = self.landings.borrow();
        let (_, files) = landings.iter().find(|(at, _)| *at == manifest.as_ptr() as usize)?;
        let files = files.upgrade()?;
        let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut *files))
    }
}

impl Coming {
    /// One step. `None`: it is installed.
    fn next(
        self,
        at: &Applied,
        manifest: &[u8],
        state: &mut CoreState,
        dir: &StoreDir,
    ) -> Result<Option<Self>, String> {
        let damaged = |error| describe(&error);
        Ok(Some(match self {
            Self::Syncing { files, synced } => match files.get(synced) {
                Some(file) => {
                    file.writer.sync().map_err(|error| error.to_string())?;
                    let synced = synced + 1;
                    Self::Syncing { files, synced }
                }
                None => {
                    let names = files.iter().map(|file| file.name).collect();
                    state.store.borrow_mut().reserve(names);
                    Self::Waiting { files }
                }
            },
            Self::Waiting { files } if state.store_deletes => Self::Waiting { files },
            Self::Waiting { files } => {
                for LandedFile { name, writer, .. } in files {
                    let moved = writer.move_to(&dir.file_path(on_disk(name)));
                    moved.map_err(|error| error.to_string())?;
                }
                dir.sync_names().map_err(|error| error.to_string())?;
                let mut source = FilesNow::new(dir.clone());
                let adoption = Adoption::new(manifest, &mut source).map_err(damaged)?;
                if (adoption.flushed().index, adoption.flushed().term) != (at.index, at.term) {
                    return Err("its manifest stands for another entry than was said".into());
                }
                Self::Opening { adoption, source }
            }
            Self::Opening {
                mut adoption,
                mut source,
            } => match adoption.open_next(&mut source).map_err(damaged)? {
                true => Self::Opening { adoption, source },
                false => {
                    let hash_seed = state.keyspace.hash_seed();
                    let mut keys = Box::new(Keyspace::new(KeyspaceOptions { hash_seed }));
                    Self::Loading(Box::new(KeysComing {
                        loading: adoption.loading(&mut keys),
                        adoption,
                        source,
                        keys,
                    }))
                }
            },
            Self::Loading(mut coming) => {
                let KeysComing {
                    loading, source, keys, ..
                } = &mut *coming;
                if loading.step(keys, source, KEYS_BYTES).map_err(damaged)? {
                    return Ok(Some(Self::Loading(coming)));
                }
                let KeysComing { adoption, mut keys, .. } = *coming;
                take_over_side(adoption.side(), &mut keys)?;
                let adoption = Some(adoption);
                Self::Adopting { adoption, keys }
            }
            Self::Adopting { mut adoption, keys } => {
                if adoption.is_some() {
                    state.store.borrow_mut().begin_adoption(&mut adoption);
                }
                if !state.store.borrow().is_adoption_durable() {
                    return Ok(Some(Self::Adopting { adoption, keys }));
                }
                state.replace_keys(*keys);
                state.store.borrow_mut().adopt_loaded(&state.keyspace);
                return Ok(None);
            }
        }))
    }
}

/// Writes a snapshot that comes from another replica to disk, part by part.
pub struct SnapshotLanding {
    core: CoreId,
    dir: SnapshotDir,
    coming: Option<(Unpacking, FilesComing)>,
    /// Counts: one that is being installed keeps its files when the next one comes.
    number: u64,
    /// Why one was not kept, as last told.
    told: Option<String>,
    landings: Landings,
}

/// The files of a snapshot that comes.
struct FilesComing {
    dir: SnapshotDir,
    number: u64,
    files: Vec<LandedFile>,
}

impl FileSink for FilesComing {
    fn begin(&mut self, name: FileName, bytes: u64) -> io::Result<()> {
        let writer = self.dir.write(&format!("sent-{}.{name}", self.number), bytes);
        let writer = writer.map_err(io::Error::other)?;
        self.files.push(LandedFile { name, bytes, writer });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A leader that waits for a device here would take this replica for unreachable.
        let file = self.files.last_mut().ok_or(io::ErrorKind::InvalidInput)?;
        file.writer.append(bytes).map_err(io::Error::other)
    }
}

impl SnapshotLanding {
    fn telling<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            self.coming = None;
            let error = error.to_string();
            // Each try would say the same while the disk is full.
            if self.told.as_ref() != Some(&error) {
                self.told = Some(error.clone());
                Event::SnapshotNotKept { core: self.core, error }.log();
            }
        })
    }
}

impl Landing for SnapshotLanding {
    fn begin(&mut self, _at: &Applied, total: u64) -> io::Result<()> {
        // Room first.
        self.coming = None;
        self.number += 1;
        let files = FilesComing {
            dir: self.dir.clone(),
            number: self.number,
            files: Vec::new(),
        };
        self.coming = Some((Unpacking::new(total), files));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (unpacking, files) = self.coming.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let taken = unpacking.take(bytes, files);
        self.telling(taken)
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        let (unpacking, coming) = self.coming.take().ok_or(io::ErrorKind::NotFound)?;
        let finished = unpacking.finish();
        let manifest = self.telling(finished)?;
        self.told = None;
        let bytes = coming.files.iter().map(|file| file.bytes).sum();
        Event::SnapshotCame { core: self.core, bytes }.log();
        let files = Arc::new(Mutex::new(coming.files));
        let landed = Arc::downgrade(&files);
        let manifest = Bytes::from_owner(Landed {
            manifest,
            _files: files,
        });
        let mut landings = self.landings.borrow_mut();
        landings.retain(|(_, files)| files.strong_count() > 0);
        landings.push((manifest.as_ptr() as usize, landed));
        Ok(manifest)
    }
}
