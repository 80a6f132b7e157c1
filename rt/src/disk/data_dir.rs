//! [`DataDir`]: the directory a server owns, and the lock that makes it the only one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::disk::DiskError;
use crate::ids::CoreId;

const LOCK_FILE: &str = "LOCK";

/// An exclusively locked data directory. The lock goes with this value, or with the process, however that ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory could not be taken.
#[derive(Debug)]
pub enum DataDirError {
    /// Another process has it.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The holder's process id, where it could be read.
        pid: Option<u32>,
    },
    /// The system refused.
    Disk(DiskError),
}

impl From<DiskError> for DataDirError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl std::fmt::Display for DataDirError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse { path, pid } => {
                write!(f, "the data directory {} is in use by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => write!(f, "another process")?,
                }
                write!(f, ": stop that process, or choose another directory with --dir")
            }
            Self::Disk(error) => {
                write!(
                    f,
                    "{error}: check that the directory can be written to, or choose another with --dir"
                )
            }
        }
    }
}

impl std::error::Error for DataDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::Disk(error) => Some(error),
        }
    }
}

impl DataDir {
    /// Takes `path`, which is created (readable by its owner alone) when it is not there; its parents too.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] when another process, or another value in this one, has it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create_dir_durably(path)?;
        Self::open_existing(path)
    }

    /// Takes `path`, which must be there already: for tools, which must not make a directory of a misspelt name.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open_existing(path: &Path) -> Result<Self, DataDirError> {
        let path = fs::canonicalize(path).map_err(DiskError::at("find", path))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(DiskError::at("open", &lock_path))?;
        // SAFETY: the call takes an open descriptor and no pointer.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(DiskError::at("lock", &lock_path)(error).into());
            }
            let mut text = String::new();
            let pid = lock
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(DataDirError::InUse { path, pid });
        }
        write_pid(&mut lock).map_err(DiskError::at("write", &lock_path))?;
        sync_dir(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of a core's log segments, `core-<c>/log`, created when it is not there.
    ///
    /// # Errors
    /// As the system says.
    pub fn core_log(&self, core: CoreId) -> Result<PathBuf, DiskError> {
        self.core_dir(core, "log")
    }

    /// The directory of a core's store files, `core-<c>/store`, created when it is not there.
    ///
    /// # Errors
    /// As the system says.
    pub fn core_store(&self, core: CoreId) -> Result<PathBuf, DiskError> {
        self.core_dir(core, "store")
    }

    /// Where [`DataDir::core_log`], [`DataDir::core_store`] and [`DataDir::core_snapshot`] are, whether they are there or not.
    pub fn core_paths(&self, core: CoreId) -> (PathBuf, PathBuf, PathBuf) {
        let dir = self.path.join(format!("core-{core}"));
        (dir.join("log"), dir.join("store"), dir.join("snapshot"))
    }

    /// The directory of a core's snapshot, `core-<c>/snapshot`, created when it is not there.
    ///
    /// # Errors
    /// As the system says.
    pub fn core_snapshot(&self, core: CoreId) -> Result<PathBuf, DiskError> {
        self.core_dir(core, "snapshot")
    }

    fn core_dir(&self, core: CoreId, name: &str) -> Result<PathBuf, DiskError> {
        let dir = self.path.join(format!("core-{core}")).join(name);
        create_dir_durably(&dir)?;
        Ok(dir)
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Makes the names in directory `path` survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<(), DiskError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(DiskError::at("sync directory", path))
}

/// Creates `path` and its missing parents, each made durable in the directory that names it.
pub(crate) fn create_dir_durably(path: &Path) -> Result<(), DiskError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        create_dir_durably(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(DiskError::at("create directory", path)(error))
        }
        // Created by someone else a moment ago is as good, unless it is a file: then the next use says so.
        Ok(()) | Err(_) => sync_dir(parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;

    #[test]
    fn a_directory_has_one_owner_and_the_second_is_told_who() {
        let tmp = TestDir::new("lock");
        let path = tmp.path().join("a/b");
        let owner = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("in use by process {}:", std::process::id())),
            "{refused}"
        );
        assert!(refused.contains("--dir"), "{refused}");
        drop(owner);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn core_directories_are_created_once() {
        let tmp = TestDir::new("cores");
        let dir = DataDir::open(tmp.path()).unwrap();
        let log = dir.core_log(CoreId(3)).unwrap();
        assert!(log.ends_with("core-3/log") && log.is_dir());
        assert_eq!(dir.core_log(CoreId(3)).unwrap(), log);
    }

    #[test]
    fn a_path_that_is_a_file_is_named_in_the_error() {
        let tmp = TestDir::new("file");
        let path = tmp.path().join("data");
        fs::write(&path, b"").unwrap();
        let text = DataDir::open(&path).unwrap_err().to_string();
        assert!(text.contains("data"), "{text}");
    }
}
