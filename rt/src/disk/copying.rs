//! Copying files into a backup and out of it: each with a checksum over what was really read, and durable when it returns.
//!
//! Past the page cache where the file system lets it: a copy of a whole store would throw out of it what other programs
//! have there, and the kernel would write it back with threads of its own, on whatever processor a core of the server runs.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::buf::{AlignedBuf, BUF_ALIGN};
use crate::disk::data_dir::{create_dir_durably, sync_dir};
use crate::disk::{DirectIo, DiskError, dio};

/// Bytes copied at a time: enough for nearly full device speed, little enough for others to come in between.
const COPY_BYTES: usize = 1 << 20;
/// Bytes between two syncs where copies go through the page cache: the server that writes to the same device must not
/// wait behind a full one.
const SYNC_BYTES: u64 = 8 << 20;

/// Reads the first `bytes` bytes of a file, a piece at a time. Returns their CRC32C.
///
/// # Errors
/// As the system says; `UnexpectedEof` when the file is shorter.
pub fn read_through(from: &Path, bytes: u64) -> Result<u32, DiskError> {
    in_pieces(from, bytes, &mut |_, _| Ok(()))
}

/// Hands the first `bytes` bytes of a file to `piece`, with where they begin. Returns their CRC32C.
fn in_pieces(
    from: &Path,
    bytes: u64,
    piece: &mut dyn FnMut(u64, &mut AlignedBuf) -> Result<(), DiskError>,
) -> Result<u32, DiskError> {
    let file = dio::open_to_read(from).map_err(DiskError::at("open", from))?;
    let mut buf = AlignedBuf::with_capacity(COPY_BYTES);
    let (mut crc, mut done) = (0, 0);
    while done < bytes {
        let part = COPY_BYTES.min(usize::try_from(bytes - done).unwrap_or(usize::MAX));
        let read = dio::read_up_to(&file, done, part, &mut buf).and_then(|()| match buf.len() < part {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        });
        read.map_err(DiskError::at("read", from))?;
        crc = crc32c::crc32c_append(crc, &buf);
        piece(done, &mut buf)?;
        done += part as u64;
    }
    Ok(crc)
}

/// Copies the first `bytes` bytes of `from` to the file `to`, which is made anew, with its folder; its length becomes
/// `length`, zeroes from `bytes` on. `told` hears of each piece. Returns the CRC32C of the bytes copied.
///
/// # Errors
/// As the system says; `UnexpectedEof` when the file is shorter.
pub fn copy_durably(
    from: &Path,
    to: &Path,
    bytes: u64,
    length: u64,
    told: &mut dyn FnMut(u64),
) -> Result<u32, DiskError> {
    let folder = to.parent().unwrap_or(Path::new("."));
    create_dir_durably(folder)?;
    // What a copy that was broken off has left.
    remove(to)?;
    let (file, direct) = dio::open(to, true, DirectIo::Preferred)?;
    let mut unsynced = 0;
    let crc = in_pieces(from, bytes, &mut |at, piece| {
        let part = piece.len();
        // Direct I/O writes whole blocks.
        piece.extend_zeroed(part.next_multiple_of(BUF_ALIGN) - part);
        unsynced += part as u64;
        let synced = match !direct && unsynced >= SYNC_BYTES {
            true => {
                unsynced = 0;
                file.write_all_at(piece, at).and_then(|()| file.sync_data())
            }
            false => file.write_all_at(piece, at),
        };
        synced.map_err(DiskError::at("write", to))?;
        told(part as u64);
        Ok(())
    })?;
    let ended = file.set_len(length.max(bytes)).and_then(|()| file.sync_all());
    ended.map_err(DiskError::at("write", to))?;
    sync_dir(folder)?;
    Ok(crc)
}

/// Writes a small text file, which then holds either what it held or all of `text`.
///
/// # Errors
/// As the system says.
pub fn write_text_durably(path: &Path, text: &str) -> Result<(), DiskError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_dir_durably(folder)?;
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(DiskError::at("write", &new))?;
    fs::rename(&new, path).map_err(DiskError::at("rename", &new))?;
    sync_dir(folder)
}

/// The whole of a text file; `None` when it is not there.
///
/// # Errors
/// As the system says.
pub fn read_text(path: &Path) -> Result<Option<String>, DiskError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some).map_err(DiskError::at("read", path)),
    }
}

/// Removes a file; one that is gone already is no error.
///
/// # Errors
/// As the system says.
pub fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::at("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Gives a folder that is complete its name. Whoever looks finds nothing of that name, or all of it.
///
/// # Errors
/// As the system says; above all when there is something of that name already.
pub fn publish_dir(from: &Path, to: &Path) -> Result<(), DiskError> {
    if to.exists() {
        // An empty one may be in the way.
        fs::remove_dir(to).map_err(DiskError::at("replace", to))?;
    }
    fs::rename(from, to).map_err(DiskError::at("rename", from))?;
    match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Removes a folder that a tool was making and did not finish.
///
/// # Errors
/// As the system says; one that is not there is no error.
pub fn remove_unfinished(dir: &Path) -> Result<(), DiskError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::at("remove", dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;

    #[test]
    fn a_copy_has_its_part_and_zeroes_behind() {
        let tmp = TestDir::new("copy");
        let (from, to) = (tmp.path().join("from"), tmp.path().join("a/b/to"));
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        fs::write(&from, &bytes).unwrap();
        let mut seen = 0;
        let crc = copy_durably(&from, &to, 2_500_000, 4_000_000, &mut |n| seen += n).unwrap();
        assert_eq!(crc, crc32c::crc32c(&bytes[..2_500_000]));
        assert_eq!(seen, 2_500_000);
        let copied = fs::read(&to).unwrap();
        assert_eq!(copied.len(), 4_000_000);
        assert!(copied[..2_500_000] == bytes[..2_500_000] && copied[2_500_000..].iter().all(|&b| b == 0));
        let short = copy_durably(&from, &to, 9_000_000, 0, &mut |_| ())
            .unwrap_err()
            .to_string();
        assert!(short.contains("from"), "{short}");
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let tmp = TestDir::new("publish");
        let (from, to) = (tmp.path().join("new.part"), tmp.path().join("new"));
        write_text_durably(&from.join("x"), "1").unwrap();
        fs::create_dir(&to).unwrap();
        publish_dir(&from, &to).unwrap();
        assert_eq!(read_text(&to.join("x")).unwrap().as_deref(), Some("1"));
        assert_eq!(read_text(&to.join("y")).unwrap(), None);
        fs::create_dir(&from).unwrap();
        assert!(publish_dir(&from, &to).is_err(), "what is there stays");
        assert!(to.join("x").exists());
    }
}
