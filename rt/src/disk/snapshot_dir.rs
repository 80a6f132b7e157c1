//! [`SnapshotDir`]: the newest snapshot of a group, in one file that is there as a whole or not at all.
//!
//! A snapshot is written to a file of its own, a slice at a time, each of which is durable, or on its way, when it is written, so
//! that no write has to wait for all of them at the end; then it takes the place of the one before by its name. Whatever has another
//! name is left over from a crash. Several may be written at once, each with a name of its own.
//!
//! The calls block. A slice takes as long as a small write of the log.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::disk::data_dir::sync_dir;
use crate::disk::{DiskError, MappedFile};

const FILE: &str = "snapshot";

/// See the module's text.
#[derive(Clone, Debug)]
pub struct SnapshotDir {
    path: PathBuf,
}

/// A snapshot that is being written. Given up, it leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotWriter {
    file: File,
    path: PathBuf,
    finished: bool,
}

impl SnapshotDir {
    /// Takes the existing directory `path`, and removes what was being written when the process ended.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let entries = fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        for entry in entries.map_err(DiskError::at("list", path))? {
            if entry.file_name() != FILE {
                fs::remove_file(entry.path()).map_err(DiskError::at("remove", &entry.path()))?;
            }
        }
        Ok(Self::look(path))
    }

    /// Takes the directory `path`, which need not be there, without changing anything in it: for those who only read.
    pub fn look(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where the snapshot is, for messages.
    pub fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// The snapshot, which is read when it is looked at, also when another one has taken its place by then; `None`: there is
    /// none.
    ///
    /// # Errors
    /// As the system says.
    pub fn read(&self) -> Result<Option<MappedFile>, DiskError> {
        match File::open(self.file()).and_then(|file| MappedFile::open(&file)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::at("read", &self.file())(error)),
        }
    }

    /// Begins to write another one. `name`: no other one that is being written has it.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&self, name: &str) -> Result<SnapshotWriter, DiskError> {
        let path = self.path.join(format!("{FILE}.{name}"));
        let file = File::create(&path).map_err(DiskError::at("create", &path))?;
        Ok(SnapshotWriter {
            file,
            path,
            finished: false,
        })
    }
}

impl SnapshotWriter {
    /// Appends a slice, which is durable on return.
    ///
    /// # Errors
    /// As the system says; the snapshot is to be given up.
    pub fn append(&mut self, slice: &[u8]) -> Result<(), DiskError> {
        let written = self.file.write_all(slice).and_then(|()| self.file.sync_data());
        written.map_err(DiskError::at("write", &self.path))
    }

    /// Appends a slice that is on its way to the device on return: whoever appends waits for no device, and
    /// [`SnapshotWriter::finish`] for little.
    ///
    /// # Errors
    /// As the system says; the snapshot is to be given up.
    pub fn append_unsynced(&mut self, slice: &[u8]) -> Result<(), DiskError> {
        self.file.write_all(slice).map_err(DiskError::at("write", &self.path))?;
        // SAFETY: the call takes an open descriptor and no pointer. Length 0 means everything to the end: what was told before is
        // under way or done. It only begins what `finish` makes sure of, so that its failure means nothing.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        Ok(())
    }

    /// Writes over the first bytes.
    ///
    /// # Errors
    /// As the system says; the snapshot is to be given up.
    pub fn set_head(&mut self, head: &[u8]) -> Result<(), DiskError> {
        self.file
            .write_all_at(head, 0)
            .map_err(DiskError::at("write", &self.path))
    }

    /// What has been written so far, for reading. It stays when this is dropped or finished.
    ///
    /// # Errors
    /// As the system says.
    pub fn read(&self) -> Result<MappedFile, DiskError> {
        let mapped = File::open(&self.path).and_then(|file| MappedFile::open(&file));
        mapped.map_err(DiskError::at("read", &self.path))
    }

    /// From now on, and after a crash, this is the snapshot of `dir`.
    ///
    /// # Errors
    /// As the system says; which one it is after a crash is not known then, but it is one of them.
    pub fn finish(mut self, dir: &SnapshotDir) -> Result<(), DiskError> {
        self.file.sync_all().map_err(DiskError::at("sync", &self.path))?;
        fs::rename(&self.path, dir.file()).map_err(DiskError::at("rename", &self.path))?;
        self.finished = true;
        sync_dir(&dir.path)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;

    #[test]
    fn a_snapshot_is_there_once_it_is_finished_and_replaces_the_one_before() {
        let tmp = TestDir::new("snapshot");
        let dir = SnapshotDir::open(tmp.path()).unwrap();
        let read = || dir.read().unwrap().map(|file| file.as_ref().to_vec());
        assert_eq!(read(), None);
        for text in ["one", "the other"] {
            let (before, mapped) = (read(), dir.read().unwrap());
            let mut writer = dir.write("new").unwrap();
            writer.append(b"?").unwrap();
            writer.append(&text.as_bytes()[1..2]).unwrap();
            writer.append_unsynced(&text.as_bytes()[2..]).unwrap();
            assert_eq!(read(), before);
            assert_eq!(writer.read().unwrap().as_ref()[1..], text.as_bytes()[1..]);
            writer.set_head(&text.as_bytes()[..1]).unwrap();
            writer.finish(&dir).unwrap();
            assert_eq!(read().unwrap(), text.as_bytes());
            let still = mapped.map(|file| file.as_ref().to_vec());
            assert_eq!(still, before, "whoever reads the one before can go on");
        }
    }

    #[test]
    fn what_was_given_up_or_left_over_is_gone() {
        let tmp = TestDir::new("snapshot-left-over");
        let dir = SnapshotDir::open(tmp.path()).unwrap();
        let mut writer = dir.write("new").unwrap();
        writer.append(b"half").unwrap();
        drop(writer);
        fs::write(tmp.path().join("snapshot.other"), b"half").unwrap();
        fs::write(dir.file(), b"whole").unwrap();
        let dir = SnapshotDir::open(tmp.path()).unwrap();
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
        assert_eq!(dir.read().unwrap().unwrap().as_ref(), b"whole");
    }
}
