//! Reading a stopped core's files, with a count of what was read.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use slotcore_engine::log::SegmentSource;
use slotcore_engine::sst::PageRange;
use slotcore_engine::store::{FileName, FileSource};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::SegmentId;

use super::CoreFiles;
use super::progress::Progress;
use crate::log_driver::SegmentReader;
use crate::store_files::FilesNow;

/// Who is told of bytes that were read.
pub type Told = Option<Rc<RefCell<Progress>>>;

fn tell(told: &Told, bytes: usize) {
    if let Some(progress) = told {
        progress.borrow_mut().add(bytes as u64);
    }
}

/// The log of a core.
pub struct Segments {
    reader: Option<SegmentReader>,
    told: Told,
}

/// The sorted files and blob files of a core.
pub struct Files {
    files: Option<FilesNow>,
    told: Told,
}

/// Both. A folder that is not there has no files.
pub fn sources(files: &CoreFiles, told: &Told) -> (Segments, Files) {
    let reader = files.log.path().is_dir().then(|| SegmentReader::new(files.log.clone()));
    let store = files.store.path().is_dir().then(|| FilesNow::new(files.store.clone()));
    let files = Files {
        files: store,
        told: told.clone(),
    };
    let told = told.clone();
    (Segments { reader, told }, files)
}

fn not_there() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl SegmentSource for Segments {
    fn list(&mut self) -> io::Result<Vec<(SegmentId, u64)>> {
        self.reader.as_mut().map_or(Ok(Vec::new()), SegmentSource::list)
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> io::Result<()> {
        tell(&self.told, buf.len());
        self.reader
            .as_mut()
            .ok_or_else(not_there)?
            .read_at(segment, offset, buf)
    }
}

impl FileSource for Files {
    fn list(&mut self) -> io::Result<Vec<(FileName, u64)>> {
        self.files.as_mut().map_or(Ok(Vec::new()), FileSource::list)
    }

    fn read_at(&mut self, file: FileName, range: PageRange, buf: &mut AlignedBuf) -> io::Result<()> {
        tell(&self.told, range.bytes);
        self.files.as_mut().ok_or_else(not_there)?.read_at(file, range, buf)
    }
}
