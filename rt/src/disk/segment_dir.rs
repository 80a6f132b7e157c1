//! [`SegmentDir`]: one core's log segment files.
//!
//! A segment is called `<id>.seg`, the id in twenty decimal digits so that names sort as numbers. It gets that name only
//! once it is full of durable zeroes: it is written as `<id>.seg.new` and renamed, so a crash during creation leaves a
//! file that the next start removes, never a short segment. A recycled segment is renamed and keeps its old bytes;
//! whoever reads it tells old from new by the salt in its frames.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::buf::AlignedBuf;
use crate::disk::DiskError;
use crate::disk::data_dir::sync_dir;
use crate::disk::dio::{self, Alignment, DirectIo};
use crate::ids::SegmentId;

/// Bytes of zeroes written at a time: large enough for full device speed, small enough to hold twice without notice.
const ZERO_SLICE_BYTES: usize = 1 << 20;

/// Bytes of zeroes between two syncs: a segment's creation must not fill the device's cache while the log next to it
/// waits for its own few kilobytes to become durable.
const ZERO_SYNC_BYTES: u64 = 8 << 20;

const SUFFIX: &str = ".seg";
const SUFFIX_NEW: &str = ".seg.new";

/// A segment found in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// From its name.
    pub id: SegmentId,
    /// Its length.
    pub bytes: u64,
}

/// One core's directory of segments.
#[derive(Clone, Debug)]
pub struct SegmentDir {
    path: PathBuf,
    mode: DirectIo,
}

/// An open segment.
#[derive(Debug)]
pub struct SegmentFile {
    /// Which one.
    pub id: SegmentId,
    /// Its descriptor, for the ring. Opened for reading and writing; without O_DSYNC (each write says what it needs).
    pub file: File,
    /// Its length.
    pub bytes: u64,
    /// What offsets, lengths and memory of direct I/O must be multiples of.
    pub alignment: Alignment,
    /// False where the file system has no O_DIRECT and [`DirectIo::Preferred`] let it pass.
    pub direct: bool,
    path: PathBuf,
}

impl SegmentDir {
    /// Takes the existing directory `path`; removes what an interrupted creation left there.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path, mode: DirectIo) -> Result<Self, DiskError> {
        let dir = Self {
            path: path.to_owned(),
            mode,
        };
        let mut removed = false;
        for name in dir.names()? {
            if name.ends_with(SUFFIX_NEW) {
                let path = dir.path.join(&name);
                fs::remove_file(&path).map_err(DiskError::at("remove", &path))?;
                removed = true;
            }
        }
        if removed {
            sync_dir(&dir.path)?;
        }
        Ok(dir)
    }

    /// The existing directory `path` as it is, for those who only look.
    pub fn look(path: &Path, mode: DirectIo) -> Self {
        let path = path.to_owned();
        Self { path, mode }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of segment `id`, for messages.
    pub fn segment_path(&self, id: SegmentId) -> PathBuf {
        self.path.join(format!("{:020}{SUFFIX}", id.0))
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        let entries = fs::read_dir(&self.path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let entries = entries.map_err(DiskError::at("list", &self.path))?;
        // A name that is not UTF-8 is not ours.
        Ok(entries
            .into_iter()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    /// All segments in ascending order. Files with other names are left alone and not listed.
    ///
    /// # Errors
    /// As the system says.
    pub fn list(&self) -> Result<Vec<SegmentInfo>, DiskError> {
        let mut found = Vec::new();
        for name in self.names()? {
            let id = name
                .strip_suffix(SUFFIX)
                .filter(|stem| stem.len() == 20)
                .and_then(|stem| stem.parse().ok());
            if let Some(id) = id.map(SegmentId) {
                let path = self.segment_path(id);
                let bytes = fs::metadata(&path).map_err(DiskError::at("examine", &path))?.len();
                found.push(SegmentInfo { id, bytes });
            }
        }
        found.sort_unstable_by_key(|segment| segment.id);
        Ok(found)
    }

    /// Opens an existing segment.
    ///
    /// # Errors
    /// As the system says; [`DirectIo::Required`] on a file system without it.
    pub fn open_segment(&self, id: SegmentId) -> Result<SegmentFile, DiskError> {
        let path = self.segment_path(id);
        let (file, direct) = dio::open(&path, false, self.mode)?;
        let bytes = file.metadata().map_err(DiskError::at("examine", &path))?.len();
        Ok(SegmentFile {
            id,
            bytes,
            alignment: dio::alignment(&file),
            file,
            direct,
            path,
        })
    }

    /// Creates a segment of `bytes` (a multiple of 4,096) durable zeroes under a durable name. Blocks for as long as
    /// the device needs for that much: call it on the [worker](super::worker) once serving.
    ///
    /// # Errors
    /// As the system says. Nothing of the segment is left behind; [`DiskError::is_no_space`] tells a full device.
    pub fn create(&self, id: SegmentId, bytes: u64) -> Result<SegmentFile, DiskError> {
        assert!(
            bytes > 0 && bytes.is_multiple_of(4096),
            "segment of {bytes} bytes is not whole blocks"
        );
        let path_new = self.path.join(format!("{:020}{SUFFIX_NEW}", id.0));
        let path = self.segment_path(id);
        let made = self.create_as(&path_new, bytes).and_then(|(file, direct)| {
            fs::rename(&path_new, &path).map_err(DiskError::at("name segment", &path))?;
            Ok((file, direct))
        });
        let (file, direct) = made.inspect_err(|_| {
            // The first error is the one to report; what cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&path_new);
        })?;
        sync_dir(&self.path)?;
        Ok(SegmentFile {
            id,
            bytes,
            alignment: dio::alignment(&file),
            file,
            direct,
            path,
        })
    }

    fn create_as(&self, path: &Path, bytes: u64) -> Result<(File, bool), DiskError> {
        let (file, direct) = dio::open(path, true, self.mode)?;
        reserve(&file, bytes).map_err(DiskError::at("reserve space for", path))?;
        zero(&file, bytes).map_err(DiskError::at("fill with zeroes", path))?;
        Ok((file, direct))
    }

    /// Gives segment `from`, which nobody needs any more, the new name `to`. Its bytes stay; descriptors open on it
    /// stay good.
    ///
    /// # Errors
    /// As the system says; the name on disk is then `from` or `to`.
    pub fn recycle(&self, from: SegmentId, to: SegmentId) -> Result<SegmentFile, DiskError> {
        let path = self.segment_path(from);
        fs::rename(&path, self.segment_path(to)).map_err(DiskError::at("recycle segment", &path))?;
        sync_dir(&self.path)?;
        self.open_segment(to)
    }

    /// Removes a segment; it stays removed after a power cut.
    ///
    /// # Errors
    /// As the system says.
    pub fn delete(&self, id: SegmentId) -> Result<(), DiskError> {
        let path = self.segment_path(id);
        fs::remove_file(&path).map_err(DiskError::at("delete segment", &path))?;
        sync_dir(&self.path)
    }
}

/// Reserves the blocks in one go: they lie together, and a full device says so before anything was written.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: the call takes an open descriptor and no pointer.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Zero-writing allocates too, only block by block.
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        error => Err(error),
    }
}

/// Writes zeroes over the whole file, durably: later overwrites then change data only, no extent and no length.
fn zero(file: &File, bytes: u64) -> io::Result<()> {
    let mut zeroes = AlignedBuf::with_capacity(ZERO_SLICE_BYTES);
    zeroes.extend_zeroed(ZERO_SLICE_BYTES);
    let (mut at, mut synced) = (0, 0);
    while at < bytes {
        let slice = (bytes - at).min(ZERO_SLICE_BYTES as u64);
        file.write_all_at(&zeroes[..slice as usize], at)?;
        at += slice;
        if at - synced >= ZERO_SYNC_BYTES || at == bytes {
            file.sync_data()?;
            synced = at;
        }
    }
    Ok(())
}

impl SegmentFile {
    /// Reads `len` bytes at `offset` (both multiples of the alignment) into `buf`, which is cleared first. Blocking: for
    /// recovery, before serving. At the end of the file `buf` stays shorter.
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

#[cfg(test)]
pub(crate) mod test_dir {
    use std::path::{Path, PathBuf};

    /// A directory of its own for one test, removed at the end.
    pub(crate) struct TestDir(PathBuf);

    impl TestDir {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("slotcore-rt-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test_dir::TestDir;
    use super::*;

    const BYTES: u64 = (ZERO_SLICE_BYTES as u64) * 2 + 4096;

    fn dir(tmp: &TestDir) -> SegmentDir {
        SegmentDir::open(tmp.path(), DirectIo::Preferred).unwrap()
    }

    fn ids(dir: &SegmentDir) -> Vec<u64> {
        dir.list().unwrap().iter().map(|segment| segment.id.0).collect()
    }

    fn read(segment: &SegmentFile, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = AlignedBuf::with_capacity(len);
        segment.read_at(offset, len, &mut buf).unwrap();
        buf.to_vec()
    }

    #[test]
    fn a_created_segment_is_full_of_zeroes_and_listed_in_order() {
        let tmp = TestDir::new("create");
        let dir = dir(&tmp);
        for id in [10, 9, u64::MAX] {
            let segment = dir.create(SegmentId(id), BYTES).unwrap();
            assert_eq!(segment.bytes, BYTES);
            assert!(segment.alignment.offset.is_power_of_two());
            assert!(read(&segment, BYTES - 4096, 8192).iter().all(|&byte| byte == 0));
            assert_eq!(
                read(&segment, BYTES - 4096, 8192).len(),
                4096,
                "a read over the end is short"
            );
        }
        assert_eq!(ids(&dir), [9, 10, u64::MAX]);
        assert_eq!(dir.list().unwrap()[0].bytes, BYTES);
    }

    #[test]
    fn a_recycled_segment_keeps_its_bytes_under_the_new_name() {
        let tmp = TestDir::new("recycle");
        let dir = dir(&tmp);
        let old = dir.create(SegmentId(1), 8192).unwrap();
        let mut block = AlignedBuf::with_capacity(4096);
        block.extend_from_slice(&[7; 4096]);
        old.file.write_all_at(&block, 4096).unwrap();
        let new = dir.recycle(SegmentId(1), SegmentId(5)).unwrap();
        assert_eq!(ids(&dir), [5]);
        assert_eq!(read(&new, 4096, 4096), [7; 4096]);
        dir.delete(SegmentId(5)).unwrap();
        assert!(ids(&dir).is_empty());
    }

    #[test]
    fn what_an_interrupted_creation_left_is_removed_and_strangers_stay() {
        let tmp = TestDir::new("leftover");
        let left = tmp.path().join("00000000000000000007.seg.new");
        let stranger = tmp.path().join("notes.seg");
        fs::write(&left, b"half").unwrap();
        fs::write(&stranger, b"mine").unwrap();
        let dir = dir(&tmp);
        assert!(!left.exists() && stranger.exists());
        assert!(ids(&dir).is_empty());
    }

    #[test]
    fn a_device_that_is_too_small_says_so_and_keeps_nothing() {
        let tmp = TestDir::new("full");
        let dir = dir(&tmp);
        // More than any test machine has; the reservation fails before a byte is written.
        let error = dir.create(SegmentId(1), 1 << 60).unwrap_err();
        assert!(error.is_no_space() || error.errno() == libc::EFBIG, "{error}");
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_segment_is_named() {
        let tmp = TestDir::new("missing");
        let text = dir(&tmp).open_segment(SegmentId(3)).unwrap_err().to_string();
        assert!(text.contains("00000000000000000003.seg"), "{text}");
    }
}
