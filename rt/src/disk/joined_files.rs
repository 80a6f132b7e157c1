//! [`JoinedFiles`]: some bytes and then whole files, one behind the other, as one piece of memory that is read when it is looked at.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use crate::disk::DiskError;
use crate::thread;

/// Each part begins at a multiple of so many bytes; what is between them is zeros. A page of every processor that is supported; and
/// part of a format.
pub const PART_ALIGN: u64 = 4096;

/// From so many bytes on another thread gives the mapping back.
const LARGE_BYTES: usize = if cfg!(test) { 4096 } else { 1 << 20 };

/// So many are given back at once: others of the process cannot map anything meanwhile.
const SLICE_BYTES: usize = if cfg!(test) { 4096 } else { 1 << 20 };

/// Where the part behind one of so many bytes begins, counted from that one's beginning.
pub fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(PART_ALIGN)
}

/// See the module's text. As [`MappedFile`](super::MappedFile): the files may be removed meanwhile, and must not be changed.
#[derive(Debug)]
pub struct JoinedFiles {
    at: NonNull<u8>,
    len: usize,
}

impl JoinedFiles {
    /// `head`, and then `files`, each with its length in bytes, which nobody writes to any more.
    ///
    /// # Errors
    /// As the system says, or a file is of another length.
    pub fn open(head: &[u8], files: &[(PathBuf, u64)]) -> Result<Self, DiskError> {
        let mut opened = Vec::with_capacity(files.len());
        for (path, bytes) in files {
            let file = File::open(path).map_err(DiskError::at("read", path))?;
            let found = file.metadata().map_err(DiskError::at("examine", path))?.len();
            if found != *bytes {
                let text = format!("{found} bytes are there instead of {bytes}");
                let error = io::Error::new(io::ErrorKind::InvalidData, text);
                return Err(DiskError::at("read", path)(error));
            }
            opened.push((file, *bytes));
        }
        let first = files.first().map_or(Path::new(""), |(path, _)| path);
        Self::map(head, &opened).map_err(DiskError::at("map", first))
    }

    fn map(head: &[u8], files: &[(File, u64)]) -> io::Result<Self> {
        let whole =
            files.iter().map(|(_, bytes)| aligned(*bytes)).sum::<u64>() + aligned(head.len() as u64).max(PART_ALIGN);
        let len = usize::try_from(whole).map_err(io::Error::other)?;
        // SAFETY: a new mapping at an address of the system's choice; no memory of ours is touched.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast::<u8>()).expect("the system maps nothing at address 0 unless asked to");
        // Unmapped if a file cannot be mapped.
        let joined = Self { at, len };
        // SAFETY: the mapping is new, ours alone, writable, and at least as long as `head`.
        unsafe { std::ptr::copy_nonoverlapping(head.as_ptr(), at.as_ptr(), head.len()) };
        let mut begin = aligned(head.len() as u64).max(PART_ALIGN) as usize;
        for (file, bytes) in files {
            if *bytes > 0 {
                joined.lay(file, begin, *bytes as usize)?;
            }
            begin += aligned(*bytes) as usize;
        }
        Ok(joined)
    }

    /// Maps a file over what was reserved for it.
    fn lay(&self, file: &File, begin: usize, bytes: usize) -> io::Result<()> {
        assert!(begin + bytes <= self.len, "room was reserved for all files");
        // SAFETY: the range lies within the mapping that is ours alone (see the assertion), begins at a page, and nobody looks at it yet.
        let laid = unsafe {
            libc::mmap(
                self.at.as_ptr().add(begin).cast(),
                bytes,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_FIXED,
                file.as_raw_fd(),
                0,
            )
        };
        match laid == libc::MAP_FAILED {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        }
    }
}

impl AsRef<[u8]> for JoinedFiles {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `at` on are mapped until `self` is dropped; nobody writes to them any more, nor to the files (see the
        // type).
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl Drop for JoinedFiles {
    fn drop(&mut self) {
        let (at, len) = (self.at.as_ptr() as usize, self.len);
        let unmap = move || {
            for begin in (0..len).step_by(SLICE_BYTES) {
                let slice = SLICE_BYTES.min(len - begin);
                // SAFETY: together exactly what `map` reserved, with what was laid over it; nobody borrows it any more.
                unsafe { libc::munmap((at + begin) as *mut libc::c_void, slice) };
            }
        };
        // Where files were removed meanwhile the file system gives their blocks back now: half a second for a gigabyte.
        if len < LARGE_BYTES || thread::spawn_beside("unmap", unmap).is_err() {
            unmap();
        }
    }
}

// SAFETY: the mapping is not written to any more and belongs to no thread.
unsafe impl Send for JoinedFiles {}
// SAFETY: the same.
unsafe impl Sync for JoinedFiles {}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;

    fn file(tmp: &TestDir, name: &str, bytes: &[u8]) -> (PathBuf, u64) {
        let path = tmp.path().join(name);
        fs::write(&path, bytes).unwrap();
        (path, bytes.len() as u64)
    }

    #[test]
    fn parts_stand_behind_each_other_at_pages_although_their_files_are_gone() {
        let tmp = TestDir::new("joined");
        let (page, long) = ([7; 4096], [9; 5000]);
        let files = [("a", &page[..]), ("b", b""), ("c", b"abc"), ("d", &long)];
        let files = files.map(|(name, bytes)| file(&tmp, name, bytes));
        let joined = JoinedFiles::open(b"head", &files).unwrap();
        for (path, _) in files {
            fs::remove_file(path).unwrap();
        }
        let all = joined.as_ref();
        assert_eq!(all.len(), 4096 * 5);
        assert_eq!((&all[..5], &all[4096..8192]), (&b"head\0"[..], &page[..]));
        assert_eq!((&all[8192..8196], &all[12288..17288]), (&b"abc\0"[..], &long[..]));
        assert!(all[17288..].iter().all(|byte| *byte == 0));
        assert_eq!(JoinedFiles::open(b"", &[]).unwrap().as_ref(), [0; 4096]);
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let tmp = TestDir::new("joined-length");
        let (short, _) = file(&tmp, "f", b"abc");
        let error = JoinedFiles::open(b"head", &[(short.clone(), 4)])
            .unwrap_err()
            .to_string();
        assert!(error.contains("3 bytes are there instead of 4"), "{error}");
        fs::remove_file(&short).unwrap();
        assert!(JoinedFiles::open(b"head", &[(short, 3)]).is_err());
    }
}
