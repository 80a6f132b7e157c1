//! [`Layout`]: what was decided when a data directory was made: who it is, and how many cores its keys are dealt to.
//!
//! A small text file, written once before anything else is in the directory, so that no start can mistake another core's
//! keys for missing ones. Format: `docs/formats/layout.md`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::disk::data_dir::sync_dir;
use crate::disk::{DataDir, DiskError};

const FILE: &str = "layout";
const FILE_WHILE_WRITTEN: &str = "layout.new";
const HEADING: &str = "slotcore data directory, layout 1";

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Names the directory for ever; cluster clients see it in node names.
    pub id: u128,
    /// Cores that own its keys.
    pub cores: u16,
}

/// What [`DataDir::layout_found`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutFound {
    /// The file.
    Written(Layout),
    /// No file, and one core's directory: it is older than the file.
    OneCore,
    /// Neither.
    Nothing,
}

/// Why a layout could not be read.
#[derive(Debug)]
pub enum LayoutError {
    /// The file is not one that this version writes.
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The system refused.
    Disk(DiskError),
}

impl std::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { file, what } => write!(
                f,
                "{} {what}: it was damaged, or a newer version wrote it. Restore it from a backup; without it nobody \
                 knows which core owns which keys",
                file.display()
            ),
            Self::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LayoutError {}

impl From<DiskError> for LayoutError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl DataDir {
    /// The layout of this directory; a new directory gets `new`. One that is older than this file has one core.
    ///
    /// # Errors
    /// The file is damaged, from a newer version, or cannot be read or written. Nothing was changed then.
    pub fn layout(&self, new: Layout) -> Result<Layout, LayoutError> {
        match self.layout_found()? {
            LayoutFound::Written(layout) => Ok(layout),
            found => {
                let one_core = matches!(found, LayoutFound::OneCore);
                let layout = Layout {
                    cores: if one_core { 1 } else { new.cores },
                    ..new
                };
                write_durably(self.path(), &layout)?;
                Ok(layout)
            }
        }
    }

    /// The layout as it is found; nothing is written.
    ///
    /// # Errors
    /// The file is damaged, from a newer version, or cannot be read.
    pub fn layout_found(&self) -> Result<LayoutFound, LayoutError> {
        let file = self.path().join(FILE);
        match fs::read_to_string(&file) {
            Ok(text) => {
                let layout = parse(&text).map_err(|what| LayoutError::Unreadable { file, what })?;
                Ok(LayoutFound::Written(layout))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let has_core = |core: u16| self.path().join(format!("core-{core}")).is_dir();
                if has_core(1) {
                    let what = "is missing beside the directories of several cores";
                    return Err(LayoutError::Unreadable { file, what });
                }
                Ok(if has_core(0) {
                    LayoutFound::OneCore
                } else {
                    LayoutFound::Nothing
                })
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(LayoutError::Unreadable {
                file,
                what: "is not a text",
            }),
            Err(error) => Err(DiskError::at("read", &file)(error).into()),
        }
    }
}

/// A crash at any point leaves either no layout or the whole one.
fn write_durably(dir: &Path, layout: &Layout) -> Result<(), DiskError> {
    let new = dir.join(FILE_WHILE_WRITTEN);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(format(layout).as_bytes())?;
        file.sync_all()
    });
    written.map_err(DiskError::at("write", &new))?;
    fs::rename(&new, dir.join(FILE)).map_err(DiskError::at("rename", &new))?;
    sync_dir(dir)
}

fn format(layout: &Layout) -> String {
    let body = format!("{HEADING}\nid {:032x}\ncores {}\n", layout.id, layout.cores);
    let crc = crc32c::crc32c(body.as_bytes());
    format!("{body}crc32c {crc:08x}\n")
}

fn parse(text: &str) -> Result<Layout, &'static str> {
    let damaged = "is damaged";
    let heading = text.lines().next().unwrap_or_default();
    if heading != HEADING {
        return Err("is of no layout that this version knows");
    }
    let (body, last) = text
        .trim_end()
        .rsplit_once('\n')
        .map(|(body, last)| (&text.as_bytes()[..body.len() + 1], last))
        .ok_or(damaged)?;
    let crc = last.strip_prefix("crc32c ").ok_or(damaged)?;
    if u32::from_str_radix(crc, 16).ok() != Some(crc32c::crc32c(body)) {
        return Err(damaged);
    }
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let id = field("id").and_then(|id| u128::from_str_radix(id, 16).ok());
    let cores = field("cores")
        .and_then(|cores| cores.parse().ok())
        .filter(|&cores| cores > 0);
    match (id, cores) {
        (Some(id), Some(cores)) => Ok(Layout { id, cores }),
        _ => Err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::segment_dir::test_dir::TestDir;
    use crate::ids::CoreId;

    const NEW: Layout = Layout { id: 0xabc, cores: 4 };

    #[test]
    fn what_was_decided_first_stays() {
        let tmp = TestDir::new("layout");
        let dir = DataDir::open(tmp.path()).unwrap();
        assert_eq!(dir.layout(NEW).unwrap(), NEW);
        dir.core_log(CoreId(0)).unwrap();
        let later = Layout { id: 1, cores: 2 };
        assert_eq!(dir.layout(later).unwrap(), NEW);
    }

    #[test]
    fn a_directory_from_before_has_one_core() {
        let tmp = TestDir::new("layout-old");
        let dir = DataDir::open(tmp.path()).unwrap();
        dir.core_log(CoreId(0)).unwrap();
        assert_eq!(dir.layout(NEW).unwrap(), Layout { cores: 1, ..NEW });
        assert_eq!(dir.layout(NEW).unwrap().cores, 1);
    }

    #[test]
    fn a_lost_layout_is_noticed() {
        let tmp = TestDir::new("layout-lost");
        let dir = DataDir::open(tmp.path()).unwrap();
        assert_eq!(dir.layout(NEW).unwrap(), NEW);
        (0..2).for_each(|core| drop(dir.core_log(CoreId(core)).unwrap()));
        fs::remove_file(tmp.path().join(FILE)).unwrap();
        let error = dir.layout(NEW).unwrap_err().to_string();
        assert!(error.contains("layout is missing"), "{error}");
    }

    #[test]
    fn a_crash_while_it_was_written_leaves_none() {
        let tmp = TestDir::new("layout-crash");
        let dir = DataDir::open(tmp.path()).unwrap();
        fs::write(tmp.path().join(FILE_WHILE_WRITTEN), &format(&NEW)[..20]).unwrap();
        assert_eq!(dir.layout(NEW).unwrap(), NEW);
        assert!(!tmp.path().join(FILE_WHILE_WRITTEN).exists());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let text = format(&NEW);
        assert_eq!(parse(&text), Ok(NEW));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(parse(&changed).is_err(), "byte {at}: {changed:?}");
            assert!(parse(&text[..at]).is_err(), "cut at {at}");
        }
        let tmp = TestDir::new("layout-damaged");
        let dir = DataDir::open(tmp.path()).unwrap();
        fs::write(tmp.path().join(FILE), text.replace("cores 4", "cores 5")).unwrap();
        let error = dir.layout(NEW).unwrap_err().to_string();
        assert!(error.contains("layout is damaged"), "{error}");
    }
}
