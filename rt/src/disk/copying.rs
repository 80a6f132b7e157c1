//! Copying files into a backup and out of it: each with a checksum over what was really read, and durable when it returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::disk::DiskError;
use crate::disk::data_dir::{create_dir_durably, sync_dir};

/// Bytes copied at a time: enough for full device speed.
const COPY_BYTES: usize = 1 << 20;
/// Bytes between two syncs: the server that writes to the same device must not wait behind a full cache.
const SYNC_BYTES: u64 = 8 << 20;

/// Reads the first `bytes` bytes of a file, a piece at a time. Returns their CRC32C.
///
/// # Errors
/// As the system says; `UnexpectedEof` when the file is shorter.
pub fn read_through(from: &Path, bytes: u64, piece: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<u32, DiskError> {
    let mut run = || {
        let mut file = File::open(from)?;
        let mut buf = vec![0; COPY_BYTES];
        let (mut crc, mut left) = (0, bytes);
        while left > 0 {
            let part = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut buf[..part])?;
            crc = crc32c::crc32c_append(crc, &buf[..part]);
            piece(&buf[..part])?;
            left -= part as u64;
        }
        Ok(crc)
    };
    run().map_err(DiskError::at("read", from))
}

/// Copies the first `bytes` bytes of `from` to the file `to`, which is made, with its folder; its length becomes
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
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)
        .map_err(DiskError::at("create", to))?;
    let mut unsynced = 0;
    let crc = read_through(from, bytes, &mut |piece| {
        file.write_all(piece)?;
        unsynced += piece.len() as u64;
        if unsynced >= SYNC_BYTES {
            file.sync_data()?;
            unsynced = 0;
        }
        told(piece.len() as u64);
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
