//! [`SnapshotFiles`]: the files of a core as its group's snapshot.
//!
//! What a replica has in files, as of its last flush, is what others are sent that are too far behind for the log: nothing has to be
//! made for it ([decision 0014](../../docs/decisions/0014-replicas-larger-than-memory.md)). What comes goes to disk file by file
//! ([`crate::snapshot_landing`]), and its keys are read from there ([`crate::snapshot_check`]), before openraft hears of it. Then
//! it is installed: the files get their names; one manifest in the log makes them the state of this replica, and the keys take
//! the place of those before. Until that manifest is durable the old state counts, also after a crash.

use std::io;

use bytes::Bytes;
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::store::{Adoption, Store};
use slotcore_raft_shard::{Applied, Installing};
use slotcore_rt::disk::{JoinedFiles, SnapshotDir, StoreDir};

use crate::boot::stands_for;
use crate::core_state::CoreState;
use crate::group_snapshot::{encode_head, files_of};
use crate::snapshot_check::Checked;
use crate::snapshot_landing::{Place, SnapshotLanding, Waiting, take_ready};
use crate::store_files::on_disk;

/// See the module's text.
pub struct SnapshotFiles {
    files: StoreDir,
    dir: SnapshotDir,
    /// What an older version left, until there are files.
    old: Option<(Applied, Bytes)>,
    waiting: Waiting,
    coming: Option<Coming>,
}

/// A snapshot that is being installed.
enum Coming {
    /// Files that had the same names are still being deleted.
    Naming(Box<Checked>),
    /// The manifest is on its way into the log; `None`: it is in it.
    Adopting {
        adoption: Box<Option<Adoption>>,
        keys: Box<Keyspace>,
    },
}

impl SnapshotFiles {
    /// Those in `files`; `dir`: where others come. `old`: what an older version left, if files have less.
    pub fn new(files: StoreDir, dir: SnapshotDir, old: Option<(Applied, Bytes)>) -> Self {
        Self {
            files,
            dir,
            old,
            waiting: Waiting::default(),
            coming: None,
        }
    }

    /// Where snapshots go that come.
    pub fn landing(&self, place: Place) -> SnapshotLanding {
        SnapshotLanding::new(place, self.dir.clone(), self.waiting.clone())
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
    /// Those of the device.
    pub(crate) fn install(&mut self, manifest: &Bytes, state: &mut CoreState) -> Result<Installing, String> {
        let coming = match self.coming.take() {
            Some(coming) => coming,
            None => {
                let checked = take_ready(&self.waiting, manifest).ok_or("its files have not come")?;
                let names = checked.files.0.keys().copied().collect();
                state.store.borrow_mut().reserve(names);
                // What was handed to the worker in this turn is known at its end.
                state.store_deletes = true;
                Coming::Naming(checked)
            }
        };
        self.coming = coming.next(state, &self.files)?;
        if self.coming.is_some() {
            return Ok(Installing::More);
        }
        self.old = None;
        Ok(Installing::Done)
    }
}

impl Coming {
    /// One step. `None`: it is installed.
    fn next(self, state: &mut CoreState, dir: &StoreDir) -> Result<Option<Self>, String> {
        match self {
            Self::Naming(checked) if state.store_deletes => Ok(Some(Self::Naming(checked))),
            Self::Naming(checked) => {
                let Checked { files, adoption, keys } = *checked;
                for (name, file) in files.0 {
                    let name = on_disk(name);
                    // One that is there under this name has the same contents, unless it is damaged.
                    let moved = file.writer.move_to(&dir.file_path(name));
                    moved.map_err(|error| error.to_string())?;
                    state.store_replaced.push(name);
                }
                dir.sync_names().map_err(|error| error.to_string())?;
                let adoption = Box::new(Some(adoption));
                Ok(Some(Self::Adopting { adoption, keys }))
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
                Ok(None)
            }
        }
    }
}
