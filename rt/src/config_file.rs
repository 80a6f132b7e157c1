//! Reading and replacing the server's configuration file.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The whole file as text.
///
/// # Errors
/// As the system says; `InvalidData` when it is not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

/// True when a file of secrets can be read by others than its owner.
///
/// # Errors
/// As the system says.
pub fn others_may_read(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Replaces the file's content; after a crash it holds either the old or the new text, never a mixture. The file keeps
/// its permissions, and a new one is for its owner alone: it may hold a password.
///
/// # Errors
/// As the system says; the old file is then still there.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = OsString::from(path);
    temporary.push(".rewrite");
    let written = write_beside(path, temporary.as_ref(), text);
    if written.is_err() {
        // The first error is the one to report; a leftover file harms nobody.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_beside(path: &Path, temporary: &Path, text: &str) -> io::Result<()> {
    let permissions = match fs::metadata(path) {
        Ok(old) => old.permissions(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Permissions::from_mode(0o600),
        Err(error) => return Err(error),
    };
    let mut file = File::create(temporary)?;
    file.set_permissions(permissions)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_leaves_nothing_behind() {
        let dir = std::env::temp_dir().join(format!("slotcore-config-file-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("slotcore.toml");
        fs::write(&path, "port = 1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        replace(&path, "port = 2\n").unwrap();
        assert_eq!(read(&path).unwrap(), "port = 2\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!others_may_read(&path).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(others_may_read(&path).unwrap());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_file(&path).unwrap();
        replace(&path, "new").unwrap();
        assert!(!others_may_read(&path).unwrap());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_missing_file_is_an_error_and_is_not_made() {
        let path = std::env::temp_dir()
            .join(format!("slotcore-no-such-dir-{}", std::process::id()))
            .join("x.toml");
        assert!(read(&path).is_err());
        assert!(replace(&path, "port = 2\n").is_err());
    }
}
