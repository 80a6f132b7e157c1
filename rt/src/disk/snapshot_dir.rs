//! [`SnapshotDir`]: where files are written that another replica sends, until they get their places.
//!
//! Each has a name of its own until it is moved. Whatever is found at a start is left over from a crash; but for one name, which an
//! older version gave to the whole state of a group.
//!
//! The calls block, as long as a write to the page cache takes.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::buf::AlignedBuf;
use crate::disk::store_dir::reserve;
use crate::disk::{DiskError, MappedFile, dio};

const FILE: &str = "snapshot";

/// See the module's text.
#[derive(Clone, Debug)]
pub struct SnapshotDir {
    path: PathBuf,
}

/// A file that is being written. Given up, it leaves nothing behind.
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

    /// Where an older version's snapshot is.
    pub fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// An older version's snapshot, which is read when it is looked at; `None`: there is none.
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

    /// Removes an older version's snapshot, if there is one.
    ///
    /// # Errors
    /// As the system says.
    pub fn remove(&self) -> Result<(), DiskError> {
        match fs::remove_file(self.file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::at("remove", &self.file())(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Bytes that the device has room for, as far as this process may use it.
    ///
    /// # Errors
    /// As the system says.
    pub fn free_bytes(&self) -> Result<u64, DiskError> {
        let failed = DiskError::at("examine", &self.path);
        let path = CString::new(self.path.as_os_str().as_bytes());
        let path = match path {
            Ok(path) => path,
            Err(error) => return Err(failed(error.into())),
        };
        // SAFETY: all zeros are such a value, and the call writes it.
        let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: both live until the call returns, and the path ends with a zero.
        match unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } {
            0 => Ok(found.f_bavail.saturating_mul(found.f_frsize)),
            _ => Err(failed(io::Error::last_os_error())),
        }
    }

    /// Begins to write a file with room for `bytes`, so that a full device says so early. `name`: no other one that is being written has
    /// it.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&self, name: &str, bytes: u64) -> Result<SnapshotWriter, DiskError> {
        let path = self.path.join(format!("{FILE}.{name}"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(DiskError::at("create", &path))?;
        let writer = SnapshotWriter {
            file,
            path,
            finished: false,
        };
        reserve(&writer.file, bytes).map_err(DiskError::at("reserve space for", &writer.path))?;
        Ok(writer)
    }
}

impl SnapshotWriter {
    /// Appends a slice that is on its way to the device on return: whoever appends waits for no device, and
    /// [`SnapshotWriter::sync`] for little.
    ///
    /// # Errors
    /// As the system says; the file is to be given up.
    pub fn append(&mut self, slice: &[u8]) -> Result<(), DiskError> {
        self.file.write_all(slice).map_err(DiskError::at("write", &self.path))?;
        // SAFETY: the call takes an open descriptor and no pointer. Length 0 means everything to the end: what was told before is
        // under way or done. It only begins what `sync` makes sure of, so that its failure means nothing.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        Ok(())
    }

    /// Reads `len` bytes at `offset` (both whole pages) into `buf`, which is cleared first. At the end of the file `buf` stays shorter.
    ///
    /// # Errors
    /// As the system says.
    pub fn read_at(&self, offset: u64, len: usize, buf: &mut AlignedBuf) -> Result<(), DiskError> {
        dio::read_up_to(&self.file, offset, len, buf).map_err(DiskError::at("read", &self.path))
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// As the system says; the file is to be given up.
    pub fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_all().map_err(DiskError::at("sync", &self.path))
    }

    /// Gives the file its name, in place of one that has it. The name is durable when the directory of `to` is synced.
    ///
    /// # Errors
    /// As the system says.
    pub fn move_to(mut self, to: &Path) -> Result<(), DiskError> {
        fs::rename(&self.path, to).map_err(DiskError::at("rename", &self.path))?;
        self.finished = true;
        Ok(())
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
    fn a_file_gets_its_name_when_it_is_moved() {
        let tmp = TestDir::new("snapshot");
        let dir = SnapshotDir::open(tmp.path()).unwrap();
        let to = tmp.path().join("7.sst");
        for text in ["one", "the other"] {
            let mut writer = dir.write("new", 5000).unwrap();
            writer.append(&text.as_bytes()[..1]).unwrap();
            writer.append(&text.as_bytes()[1..]).unwrap();
            writer.sync().unwrap();
            let mut buf = AlignedBuf::with_capacity(4096);
            writer.read_at(0, 4096, &mut buf).unwrap();
            assert_eq!(buf[..], *text.as_bytes());
            writer.move_to(&to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), text.as_bytes());
        }
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_given_up_or_left_over_is_gone() {
        let tmp = TestDir::new("snapshot-left-over");
        let dir = SnapshotDir::open(tmp.path()).unwrap();
        let mut writer = dir.write("new", 0).unwrap();
        writer.append(b"half").unwrap();
        drop(writer);
        fs::write(tmp.path().join("snapshot.other"), b"half").unwrap();
        fs::write(dir.file(), b"whole").unwrap();
        let dir = SnapshotDir::open(tmp.path()).unwrap();
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
        assert_eq!(dir.read().unwrap().unwrap().as_ref(), b"whole");
        assert!(dir.free_bytes().unwrap() > 0);
        dir.remove().unwrap();
        dir.remove().unwrap();
        assert!(dir.read().unwrap().is_none());
    }
}
