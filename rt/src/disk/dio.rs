//! Direct I/O: which alignment a file asks for, and opening with or without it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::buf::{AlignedBuf, BUF_ALIGN};
use crate::disk::DiskError;

/// Whether files bypass the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// O_DIRECT, or an error when the file system has none.
    Required,
    /// O_DIRECT where the file system has it, else through the page cache: slower, equally durable once synced.
    Preferred,
}

/// What the device asks of direct I/O, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Of offsets and lengths: 512 or 4,096 in practice.
    pub offset: u32,
    /// Of memory addresses.
    pub memory: u32,
}

/// The smallest block of any device, in bytes.
const DIRECT_BYTES_MIN: usize = 512;

/// Used where the kernel does not tell: right for every device with a block of 4 KiB or less.
const ALIGNMENT_SAFE: Alignment = Alignment {
    offset: BUF_ALIGN as u32,
    memory: BUF_ALIGN as u32,
};

/// The alignment `file` asks for (statx `STATX_DIOALIGN`, Linux 6.1); 4 KiB where the file system does not tell.
pub fn alignment(file: &File) -> Alignment {
    // SAFETY: `statx` is plain data, valid when zeroed.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is an empty C string (the descriptor itself is meant), `found` is exclusively borrowed.
    let rc = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            &mut found,
        )
    };
    let told = rc == 0 && found.stx_mask & libc::STATX_DIOALIGN != 0 && found.stx_dio_offset_align != 0;
    if !told {
        return ALIGNMENT_SAFE;
    }
    Alignment {
        offset: found.stx_dio_offset_align,
        memory: found.stx_dio_mem_align,
    }
}

/// Reads `len` bytes at `offset`, which is aligned, into `buf`, which is cleared first; it stays shorter at the end of the
/// file. Blocking.
pub(super) fn read_up_to(file: &File, offset: u64, len: usize, buf: &mut AlignedBuf) -> io::Result<()> {
    // Direct I/O reads whole blocks; only of a file that was cut short somebody wants less.
    let whole = len.next_multiple_of(BUF_ALIGN);
    if whole > buf.capacity() {
        let mut larger = AlignedBuf::with_capacity(whole);
        read_up_to(file, offset, whole, &mut larger)?;
        buf.clear();
        buf.extend_from_slice(&larger[..larger.len().min(len)]);
        return Ok(());
    }
    buf.clear();
    buf.extend_zeroed(whole);
    let mut filled = 0;
    // A read that ends within a block ends with the file.
    while filled < whole && filled.is_multiple_of(DIRECT_BYTES_MIN) {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buf.set_len(filled.min(len));
    Ok(())
}

/// Opens `path` for reading alone, past the page cache where the file system has direct I/O.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
    match open(libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(0),
        opened => opened,
    }
}

/// Opens `path` for reading and writing, creating it when `create` (it must not exist then). Returns whether the page
/// cache is bypassed.
///
/// # Errors
/// As the system says; with [`DirectIo::Required`] also where the file system has no O_DIRECT, saying so.
pub(crate) fn open(path: &Path, create: bool, mode: DirectIo) -> Result<(File, bool), DiskError> {
    let what = if create { "create" } else { "open" };
    let open = |flags| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(create)
            .mode(0o600)
            .custom_flags(flags)
            .open(path)
    };
    match open(libc::O_DIRECT) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // The kernel creates the file before it finds that the file system refuses O_DIRECT.
            if create {
                let _ = std::fs::remove_file(path);
            }
            if mode == DirectIo::Required {
                let text = "this file system has no direct I/O (O_DIRECT); put the data directory on ext4 or XFS";
                let source = io::Error::new(io::ErrorKind::Unsupported, text);
                return Err(DiskError {
                    what,
                    path: path.to_owned(),
                    source,
                });
            }
            open(0).map(|file| (file, false)).map_err(DiskError::at(what, path))
        }
        Err(error) => Err(DiskError::at(what, path)(error)),
    }
}
