//! The file `opened` of a log's directory: in which segment the log went on when it was last opened, and how long its
//! segments are from there on.
//!
//! A log that is opened goes on in a new segment, and nothing in the older ones names it: without this file, a newest
//! segment that was lost would look like one that never was, and everything in it would be missing without a word. The
//! same holds for one that was cut short. Format: `docs/formats/log.md`, "Which segment must be there".

use std::fs::{self, File};
use std::io::{self, Write as _};

use crate::disk::data_dir::sync_dir;
use crate::disk::{DiskError, SegmentDir};
use crate::ids::SegmentId;

/// The file's name.
pub const OPENED_FILE: &str = "opened";
const WHILE_WRITTEN: &str = "opened.new";

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The log went on here: this segment, or a later one, is in use.
    pub segment: SegmentId,
    /// The length of it, and of every later one, in bytes; 0: they differ, because that length is being changed.
    pub segment_bytes: u64,
}

impl SegmentDir {
    /// Says durably where the log goes on: in a segment that holds a durable frame. Blocks for as long as the device
    /// needs: before anybody is served.
    ///
    /// # Errors
    /// As the system says; the file then says what it said before.
    pub fn set_opened(&self, opening: Opening) -> Result<(), DiskError> {
        let (new, path) = (self.path().join(WHILE_WRITTEN), self.path().join(OPENED_FILE));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(format(opening).as_bytes())?;
            file.sync_all()
        });
        written.map_err(DiskError::at("write", &new))?;
        fs::rename(&new, &path).map_err(DiskError::at("rename", &new))?;
        sync_dir(self.path())
    }

    /// What [`SegmentDir::set_opened`] said last. `None`: it never did, or the file is damaged, which by itself loses
    /// nothing.
    ///
    /// # Errors
    /// As the system says.
    pub fn opened(&self) -> Result<Option<Opening>, DiskError> {
        let path = self.path().join(OPENED_FILE);
        match fs::read(&path) {
            Ok(text) => Ok(parse(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::at("read", &path)(error)),
        }
    }
}

fn format(opening: Opening) -> String {
    let body = format!("segment {}\nbytes {}\n", opening.segment, opening.segment_bytes);
    let crc = crc32c::crc32c(body.as_bytes());
    format!("{body}crc32c {crc:08x}\n")
}

fn parse(text: &str) -> Option<Opening> {
    let mut lines = text.lines();
    let mut number = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok();
    let opening = Opening {
        segment: SegmentId(number("segment")?),
        segment_bytes: number("bytes")?,
    };
    (text == format(opening)).then_some(opening)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DirectIo;
    use crate::disk::segment_dir::test_dir::TestDir;

    #[test]
    fn what_was_said_last_is_read_and_damage_is_nothing() {
        let tmp = TestDir::new("opened");
        let dir = SegmentDir::open(tmp.path(), DirectIo::Preferred).unwrap();
        assert_eq!(dir.opened().unwrap(), None);
        for id in [1, u64::MAX] {
            let opening = Opening {
                segment: SegmentId(id),
                segment_bytes: 1 << 20,
            };
            dir.set_opened(opening).unwrap();
            assert_eq!(dir.opened().unwrap(), Some(opening));
        }
        let path = tmp.path().join(OPENED_FILE);
        let sound = fs::read(&path).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            assert_eq!(dir.opened().unwrap(), None, "bit {bit}");
        }
    }
}
