//! [`Stopped`]: a data directory that no server has, and what its cores have stored.

use std::path::{Path, PathBuf};

use slotcore_rt::disk::{DataDir, DirectIo, LayoutFound, SegmentDir, SnapshotDir, StoreDir};
use slotcore_rt::ids::{CoreId, LogIndex};

use super::Failure;
use crate::old_snapshot;

/// See the module's text. No server can take the directory while this lives.
pub struct Stopped {
    /// The directory, locked.
    pub data: DataDir,
    /// Cores that its keys are dealt to.
    pub cores: u16,
    was_served: bool,
}

/// Where a core's files are.
pub struct CoreFiles {
    /// Which core.
    pub core: CoreId,
    /// Its log.
    pub log: SegmentDir,
    /// Its sorted files and blob files.
    pub store: StoreDir,
    /// Where an older version kept its snapshot, in a cluster.
    pub snapshot: SnapshotDir,
    /// Clients were served from the directory, so that there must be a log.
    pub was_served: bool,
}

impl CoreFiles {
    /// Reads what an older version left. The last entry that it stands for, if there is one, or what is wrong with it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn kept_snapshot(&self) -> Result<Result<Option<LogIndex>, String>, Failure> {
        let Some(file) = self.snapshot.read()? else {
            return Ok(Ok(None));
        };
        let head = old_snapshot::decode(file.as_ref());
        let index = head.map(|head| Some(head.at.index));
        Ok(index.ok_or_else(|| "it is damaged".into()))
    }
}

impl Stopped {
    /// Takes the directory.
    ///
    /// # Errors
    /// It is not there, a server has it, or it is no data directory; or its layout is damaged.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let data = DataDir::open_existing(dir)?;
        let cores = match data.layout_found()? {
            LayoutFound::Written(layout) => layout.cores,
            LayoutFound::OneCore => 1,
            LayoutFound::Nothing => return Err(format!("{} holds no data of a server", dir.display()).into()),
        };
        let was_served = data.was_served()?;
        Ok(Self {
            data,
            cores,
            was_served,
        })
    }

    /// All cores, or the one that is asked for.
    ///
    /// # Errors
    /// There is no such core.
    pub fn cores(&self, only: Option<u16>) -> Result<Vec<CoreFiles>, Failure> {
        if let Some(core) = only.filter(|&core| core >= self.cores) {
            return Err(format!(
                "there is no core {core}: the directory has {} of them, from 0",
                self.cores
            )
            .into());
        }
        let wanted = (0..self.cores).filter(|core| only.is_none_or(|only| only == *core));
        Ok(wanted.map(|core| self.core(CoreId(core))).collect())
    }

    fn core(&self, core: CoreId) -> CoreFiles {
        let (log, store, snapshot) = self.data.core_paths(core);
        CoreFiles {
            core,
            log: SegmentDir::look(&log, DirectIo::Preferred),
            store: StoreDir::new(&store, DirectIo::Preferred),
            snapshot: SnapshotDir::look(&snapshot),
            was_served: self.was_served,
        }
    }

    /// A path below the directory, as the check names files.
    pub fn path(&self, file: &str) -> PathBuf {
        self.data.path().join(file)
    }
}
