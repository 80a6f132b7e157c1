//! [`MappedFile`]: a file's bytes as memory, read when they are looked at.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr::NonNull;

/// See the module's text. The file may be removed meanwhile, and must not be changed: what is cut off it ends the process
/// when it is looked at. A page that cannot be read does, too.
#[derive(Debug)]
pub struct MappedFile {
    /// `None`: it is empty, which the system does not map.
    at: Option<NonNull<u8>>,
    len: usize,
}

impl MappedFile {
    /// Maps the whole of `file`, which nobody writes to any more.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if len == 0 {
            return Ok(Self { at: None, len });
        }
        // SAFETY: a new mapping at an address of the system's choice; no memory of ours is touched.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).expect("the system maps nothing at address 0 unless asked to");
        Ok(Self { at: Some(at), len })
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        match self.at {
            // SAFETY: `len` bytes from `at` on are mapped for reading until `self` is dropped, and whoever made the file does not
            // change it any more (see the type).
            Some(at) => unsafe { std::slice::from_raw_parts(at.as_ptr(), self.len) },
            None => &[],
        }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            // SAFETY: exactly what `open` mapped; nobody borrows it any more.
            unsafe { libc::munmap(at.as_ptr().cast(), self.len) };
        }
    }
}

// SAFETY: the mapping is read-only and belongs to no thread.
unsafe impl Send for MappedFile {}
// SAFETY: the same.
unsafe impl Sync for MappedFile {}
