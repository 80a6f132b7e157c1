//! Results on standard output and in files, with errors that say what could not be written where.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Prints `text` on standard output.
///
/// # Errors
/// Standard output is full or closed.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| io::Error::new(e.kind(), format!("cannot write to standard output: {e}")))
}

/// Writes `text` to the file `path`.
///
/// # Errors
/// The file cannot be made, or the disk is full.
pub fn save(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text).map_err(|e| cannot_write(path, &e))
}

/// The error of a file that could not be written: which one.
pub fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}
