//! [`StoreDir`]: the files of one core's store: sorted files and blob files, each written once and never changed.
//!
//! A file is called `<id>.sst` or `<id>.blob`, the id in twenty decimal digits so that names sort as numbers. It counts
//! only once a manifest names it, which is written after [`StoreDir::finish`]; whatever else is found at start is left over
//! from a crash. Which those are is for the store to say.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::buf::AlignedBuf;
use crate::disk::DiskError;
use crate::disk::data_dir::sync_dir;
use crate::disk::dio::{self, DirectIo};

/// Digits of an id in a name: as many as the largest has.
const ID_DIGITS: usize = 20;

/// What a store file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreFileKind {
    /// Records in order.
    Sorted,
    /// Large values.
    Blob,
}

impl StoreFileKind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Sorted => ".sst",
            Self::Blob => ".blob",
        }
    }
}

/// Names one file of a core's store. No id is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreFileName {
    /// Its number.
    pub id: u64,
    /// What it holds.
    pub kind: StoreFileKind,
}

impl fmt::Display for StoreFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0ID_DIGITS$}{}", self.id, self.kind.suffix())
    }
}

impl StoreFileName {
    /// Reads a file's name back; `None` for one that is not ours.
    pub fn parse(name: &str) -> Option<Self> {
        let kinds = [StoreFileKind::Sorted, StoreFileKind::Blob];
        let parsed = kinds.into_iter().find_map(|kind| {
            let id = name.strip_suffix(kind.suffix())?.parse().ok()?;
            Some(Self { id, kind })
        });
        // There is one way to write each number.
        parsed.filter(|parsed| parsed.to_string() == name)
    }
}

/// A file found in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFileInfo {
    /// Which.
    pub name: StoreFileName,
    /// Its length.
    pub bytes: u64,
}

/// One core's directory of store files.
#[derive(Clone, Debug)]
pub struct StoreDir {
    path: PathBuf,
    mode: DirectIo,
}

/// An open file.
#[derive(Debug)]
pub struct StoreFile {
    /// Which one.
    pub name: StoreFileName,
    /// Its descriptor, for the ring; offsets, lengths and memory are whole pages.
    pub file: File,
    /// Its length when it was opened.
    pub bytes: u64,
    path: PathBuf,
}

impl StoreDir {
    /// Takes the existing directory `path`.
    pub fn new(path: &Path, mode: DirectIo) -> Self {
        Self {
            path: path.to_owned(),
            mode,
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file is, for messages.
    pub fn file_path(&self, name: StoreFileName) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// All files in ascending order. Those with other names are left alone and not listed.
    ///
    /// # Errors
    /// As the system says.
    pub fn list(&self) -> Result<Vec<StoreFileInfo>, DiskError> {
        let entries = fs::read_dir(&self.path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut found = Vec::new();
        for entry in entries.map_err(DiskError::at("list", &self.path))? {
            if let Some(name) = entry.file_name().to_str().and_then(StoreFileName::parse) {
                let path = entry.path();
                let bytes = entry.metadata().map_err(DiskError::at("examine", &path))?.len();
                found.push(StoreFileInfo { name, bytes });
            }
        }
        found.sort_unstable_by_key(|file| file.name);
        Ok(found)
    }

    /// Creates an empty file with room for `reserve_bytes`, so that a full device says so early and the blocks lie
    /// together. Nothing is durable before [`StoreDir::finish`]. One of that name that was never finished gives way.
    ///
    /// # Errors
    /// As the system says; nothing is left behind. [`DiskError::is_no_space`] tells a full device.
    pub fn create(&self, name: StoreFileName, reserve_bytes: u64) -> Result<StoreFile, DiskError> {
        self.delete(name)?;
        let path = self.file_path(name);
        let (file, _) = dio::open(&path, true, self.mode)?;
        if let Err(error) = reserve(&file, reserve_bytes) {
            // The first error is the one to report; what cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&path);
            return Err(DiskError::at("reserve space for", &path)(error));
        }
        Ok(StoreFile {
            name,
            file,
            bytes: 0,
            path,
        })
    }

    /// Ends the writing of a file: `bytes` were written, all of them completed. What was reserved beyond is given back;
    /// contents, length and name are durable when this returns.
    ///
    /// # Errors
    /// As the system says, or when fewer bytes are there. The file must not be used then.
    pub fn finish(&self, name: StoreFileName, bytes: u64) -> Result<(), DiskError> {
        let path = self.file_path(name);
        let (file, _) = dio::open(&path, false, self.mode)?;
        let found = file.metadata().map_err(DiskError::at("examine", &path))?.len();
        if found != bytes {
            let text = format!("{found} bytes are there, {bytes} were written");
            return Err(DiskError::at("finish", &path)(io::Error::other(text)));
        }
        file.set_len(bytes).map_err(DiskError::at("cut to length", &path))?;
        file.sync_all().map_err(DiskError::at("sync", &path))?;
        sync_dir(&self.path)
    }

    /// Makes the names of all files durable.
    ///
    /// # Errors
    /// As the system says.
    pub fn sync_names(&self) -> Result<(), DiskError> {
        sync_dir(&self.path)
    }

    /// Opens an existing file.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(&self, name: StoreFileName) -> Result<StoreFile, DiskError> {
        let path = self.file_path(name);
        let (file, _) = dio::open(&path, false, self.mode)?;
        let bytes = file.metadata().map_err(DiskError::at("examine", &path))?.len();
        Ok(StoreFile {
            name,
            file,
            bytes,
            path,
        })
    }

    /// Removes a file. Whether it comes back after a power cut does not matter: no manifest names it.
    ///
    /// # Errors
    /// As the system says; one that is gone already is no error.
    pub fn delete(&self, name: StoreFileName) -> Result<(), DiskError> {
        let path = self.file_path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::at("delete store file", &path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl StoreFile {
    /// Reads `len` bytes at `offset` (both whole pages) into `buf`, which is cleared first. Blocking: at start, and for
    /// tools. At the end of the file `buf` stays shorter.
    ///
    /// # Errors
    /// As the system says.
    pub fn read_at(&self, offset: u64, len: usize, buf: &mut AlignedBuf) -> Result<(), DiskError> {
        dio::read_up_to(&self.file, offset, len, buf).map_err(DiskError::at("read", &self.path))
    }

    /// The file's name, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reserves blocks beyond the end of the file, which does not get longer by it.
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    if length == 0 {
        return Ok(());
    }
    // SAFETY: the call takes an open descriptor and no pointer.
    if unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, length) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Writing allocates too, only piece by piece.
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;

    fn sorted(id: u64) -> StoreFileName {
        StoreFileName {
            id,
            kind: StoreFileKind::Sorted,
        }
    }

    fn page(byte: u8) -> AlignedBuf {
        let mut buf = AlignedBuf::with_capacity(4096);
        buf.extend_from_slice(&[byte; 4096]);
        buf
    }

    #[test]
    fn a_finished_file_has_its_bytes_and_no_more_room_than_it_needs() {
        let tmp = TestDir::new("store-finish");
        let dir = StoreDir::new(tmp.path(), DirectIo::Preferred);
        let file = dir.create(sorted(7), 8 << 20).unwrap();
        for at in 0..3 {
            file.file.write_all_at(&page(at + 1), u64::from(at) * 4096).unwrap();
        }
        assert_eq!(file.file.metadata().unwrap().len(), 3 * 4096);
        let wrong = dir.finish(sorted(7), 4 * 4096).unwrap_err().to_string();
        assert!(wrong.contains("00000000000000000007.sst"), "{wrong}");
        dir.finish(sorted(7), 3 * 4096).unwrap();
        assert!(file.file.metadata().unwrap().blocks() * 512 <= 64 << 10);
        let again = dir.open(sorted(7)).unwrap();
        assert_eq!(again.bytes, 3 * 4096);
        let mut buf = AlignedBuf::with_capacity(8192);
        again.read_at(4096, 4096, &mut buf).unwrap();
        assert_eq!(buf[..], [2; 4096]);
        again.read_at(8192, 8192, &mut buf).unwrap();
        assert_eq!(buf[..], [3; 4096], "short at the end");
    }

    #[test]
    fn files_are_listed_by_id_and_strangers_stay() {
        let tmp = TestDir::new("store-list");
        let dir = StoreDir::new(tmp.path(), DirectIo::Preferred);
        for id in [12, 3, u64::MAX] {
            dir.create(sorted(id), 0).unwrap();
        }
        fs::write(tmp.path().join("3.sst"), b"mine").unwrap();
        let kind = StoreFileKind::Blob;
        dir.create(StoreFileName { id: 4, kind }, 0).unwrap();
        let names: Vec<StoreFileName> = dir.list().unwrap().iter().map(|file| file.name).collect();
        let blob = StoreFileName { id: 4, kind };
        assert_eq!(names, [sorted(3), blob, sorted(12), sorted(u64::MAX)]);
        dir.delete(sorted(12)).unwrap();
        dir.delete(sorted(12)).unwrap();
        assert_eq!(dir.list().unwrap().len(), 3);
        assert!(tmp.path().join("3.sst").exists());
    }

    #[test]
    fn a_device_that_is_too_small_says_so_and_keeps_nothing() {
        let tmp = TestDir::new("store-full");
        let dir = StoreDir::new(tmp.path(), DirectIo::Preferred);
        let error = dir.create(sorted(1), 1 << 60).unwrap_err();
        assert!(error.is_no_space() || error.errno() == libc::EFBIG, "{error}");
        assert!(dir.list().unwrap().is_empty());
    }
}
