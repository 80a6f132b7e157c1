//! The files of the store, each operation carried out at once.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;

use slotcore_engine::sst::{FileId, PageRange};
use slotcore_engine::store::{FileKind, FileName, FileSource, StoreEffect, Ticket};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::disk::{StoreDir, StoreFile, StoreFileKind, StoreFileName};

use crate::contestant::Failure;

/// Room reserved for a new file, in bytes.
const RESERVE_BYTES: u64 = 8 << 20;

/// What is said of an effect that was carried out: whose it was, and what was read or given back.
pub type Carried = (Ticket, Option<AlignedBuf>);

/// See the module's text.
pub struct Files {
    dir: StoreDir,
    open: HashMap<FileName, StoreFile>,
}

fn on_disk(file: FileName) -> StoreFileName {
    let kind = match file.kind {
        FileKind::Sorted => StoreFileKind::Sorted,
        FileKind::Blob => StoreFileKind::Blob,
    };
    StoreFileName { id: file.id.0, kind }
}

impl Files {
    /// In this directory.
    pub fn new(dir: StoreDir) -> Self {
        Self {
            dir,
            open: HashMap::new(),
        }
    }

    /// Does it; `None` when nobody waits for it.
    pub fn carry_out(&mut self, effect: StoreEffect) -> Result<Option<Carried>, Failure> {
        match effect {
            StoreEffect::Write {
                ticket,
                file,
                offset,
                buf,
            } => {
                if !self.open.contains_key(&file) {
                    let made = self.dir.create(on_disk(file), RESERVE_BYTES)?;
                    self.open.insert(file, made);
                }
                self.open[&file].file.write_all_at(&buf, offset)?;
                Ok(Some((ticket, Some(buf))))
            }
            StoreEffect::Finish {
                ticket,
                file,
                file_bytes,
            } => {
                self.open.remove(&file);
                self.dir.finish(on_disk(file), file_bytes)?;
                Ok(Some((ticket, None)))
            }
            StoreEffect::Read {
                ticket, file, range, ..
            } => {
                let mut buf = AlignedBuf::with_capacity(range.bytes);
                self.read_at(file, range, &mut buf)?;
                Ok(Some((ticket, Some(buf))))
            }
            StoreEffect::Delete { file } => {
                self.open.remove(&file);
                self.dir.delete(on_disk(file))?;
                Ok(None)
            }
            StoreEffect::Manifest { .. } | StoreEffect::Flushed { .. } => Err("the log's business".into()),
        }
    }
}

impl FileSource for Files {
    fn list(&mut self) -> io::Result<Vec<(FileName, u64)>> {
        let found = self.dir.list().map_err(io::Error::other)?;
        let named = found.into_iter().map(|info| {
            let id = FileId(info.name.id);
            let file = match info.name.kind {
                StoreFileKind::Sorted => FileName::sorted(id),
                StoreFileKind::Blob => FileName::blob(id),
            };
            (file, info.bytes)
        });
        Ok(named.collect())
    }

    fn read_at(&mut self, file: FileName, range: PageRange, buf: &mut AlignedBuf) -> io::Result<()> {
        if !self.open.contains_key(&file) {
            let opened = self.dir.open(on_disk(file)).map_err(io::Error::other)?;
            self.open.insert(file, opened);
        }
        self.open[&file]
            .read_at(range.offset, range.bytes, buf)
            .map_err(io::Error::other)?;
        match buf.len() == range.bytes {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{file} is too short"),
            )),
        }
    }
}
