//! The file `served` of a data directory: clients were served from it, so that every core's log is there.
//!
//! Without it a log that somebody deleted as a whole would look like one that is yet to be made, and its core would start
//! empty. Only whether the file is there counts. Format: `docs/formats/layout.md`.

use std::fs::{self, File};
use std::io::{self, Write as _};

use crate::disk::data_dir::sync_dir;
use crate::disk::{DataDir, DiskError};

/// The file's name.
pub const SERVED_FILE: &str = "served";
const TEXT: &[u8] = b"clients were served from here: each core's log must be there\n";

impl DataDir {
    /// Whether [`DataDir::set_served`] was called in this directory, ever.
    ///
    /// # Errors
    /// As the system says.
    pub fn was_served(&self) -> Result<bool, DiskError> {
        let path = self.path().join(SERVED_FILE);
        match fs::metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(DiskError::at("examine", &path)(error)),
        }
    }

    /// Says durably that the log of each core is there. Blocks; does nothing when it was said before.
    ///
    /// # Errors
    /// As the system says.
    pub fn set_served(&self) -> Result<(), DiskError> {
        if self.was_served()? {
            return Ok(());
        }
        let path = self.path().join(SERVED_FILE);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(TEXT)?;
            file.sync_all()
        });
        written.map_err(DiskError::at("write", &path))?;
        sync_dir(self.path())
    }
}
