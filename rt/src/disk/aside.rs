//! What tools do to a stopped data directory: files are moved aside, never deleted, and every change is durable.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::disk::data_dir::{create_dir_durably, sync_dir};
use crate::disk::{DataDir, DiskError};

/// Where files that cannot be used are kept.
const ASIDE: &str = "damaged";
/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;

impl DataDir {
    /// Moves a file of this directory to `damaged/`, under the path that it had, with a number behind it when there is
    /// such a file already. Returns where it is now.
    ///
    /// # Errors
    /// As the system says.
    pub fn move_aside(&self, file: &Path) -> Result<PathBuf, DiskError> {
        let to = self.free_place(file)?;
        fs::rename(file, &to).map_err(DiskError::at("move aside", file))?;
        sync_dir(to.parent().unwrap_or(self.path()))?;
        sync_dir(file.parent().unwrap_or(self.path()))?;
        Ok(to)
    }

    /// Keeps a copy of a file in `damaged/`, durably. Returns where it is.
    ///
    /// # Errors
    /// As the system says.
    pub fn copy_aside(&self, file: &Path) -> Result<PathBuf, DiskError> {
        let to = self.free_place(file)?;
        let copied = fs::copy(file, &to).and_then(|_| File::open(&to)?.sync_all());
        copied.map_err(DiskError::at("copy aside", file))?;
        sync_dir(to.parent().unwrap_or(self.path()))?;
        Ok(to)
    }

    fn free_place(&self, file: &Path) -> Result<PathBuf, DiskError> {
        let below = file.strip_prefix(self.path()).unwrap_or(file);
        let place = self.path().join(ASIDE).join(below);
        create_dir_durably(place.parent().unwrap_or(self.path()))?;
        let numbered = (1..).map(|n: u32| PathBuf::from(format!("{}.{n}", place.display())));
        let mut places = std::iter::once(place.clone()).chain(numbered);
        Ok(places.find(|place| !place.exists()).unwrap_or(place))
    }
}

/// Overwrites a file with zeroes from `offset` to its end, durably.
///
/// # Errors
/// As the system says.
pub fn zero_from(path: &Path, offset: u64) -> Result<(), DiskError> {
    let zeroed = OpenOptions::new().write(true).open(path).and_then(|file| {
        let zeroes = vec![0; COPY_BYTES];
        let (mut at, end) = (offset, file.metadata()?.len());
        while at < end {
            let part = zeroes.len().min((end - at) as usize);
            file.write_all_at(&zeroes[..part], at)?;
            at += part as u64;
        }
        file.sync_all()
    });
    zeroed.map_err(DiskError::at("overwrite", path))
}

/// The names in a directory, sorted; none when it is not there.
///
/// # Errors
/// As the system says.
pub fn names(dir: &Path) -> Result<Vec<String>, DiskError> {
    let entries = match fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(DiskError::at("list", dir))?,
    };
    let names = entries
        .into_iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;

    #[test]
    fn nothing_that_is_moved_aside_is_overwritten() {
        let tmp = TestDir::new("aside");
        let dir = DataDir::open(tmp.path()).unwrap();
        let file = dir.path().join("core-0/log/x.seg");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for text in ["first", "second", "third"] {
            fs::write(&file, text).unwrap();
            let to = dir.move_aside(&file).unwrap();
            assert!(!file.exists());
            assert_eq!(fs::read_to_string(to).unwrap(), text);
        }
        assert_eq!(names(&dir.path().join("damaged/core-0/log")).unwrap().len(), 3);
        assert_eq!(names(&dir.path().join("nowhere")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn zeroes_reach_to_the_end() {
        let tmp = TestDir::new("zero");
        let path = tmp.path().join("x");
        fs::write(&path, [7; 10_000]).unwrap();
        zero_from(&path, 4096).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 10_000);
        assert!(bytes[..4096].iter().all(|&b| b == 7) && bytes[4096..].iter().all(|&b| b == 0));
    }
}
