//! The files of the store. Operations are carried out one after the other by a thread, as the device does for a core, which
//! goes on with commands meanwhile.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use slotcore_engine::sst::{FileId, PageRange};
use slotcore_engine::store::{FileKind, FileName, FileSource, StoreEffect, Ticket};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::disk::{StoreDir, StoreFile, StoreFileKind, StoreFileName};

use crate::contestant::Failure;

/// Room reserved for a new file, in bytes.
const RESERVE_BYTES: u64 = 8 << 20;

/// What is said of an effect that was carried out: whose it was, and what was read or given back.
pub type Carried = (Ticket, Option<AlignedBuf>);

/// The files, where they are worked on.
pub struct Files {
    dir: StoreDir,
    open: HashMap<FileName, StoreFile>,
}

/// See the module's text.
pub struct FileWorker {
    effects: Option<Sender<StoreEffect>>,
    carried: Receiver<Result<Option<Carried>, String>>,
    /// Effects that are not done.
    under_way: usize,
    thread: Option<JoinHandle<()>>,
}

impl FileWorker {
    /// Starts the thread.
    pub fn start(mut files: Files) -> Self {
        let (effects, inbox) = channel();
        let (outbox, carried) = channel();
        let work = move || {
            for effect in inbox {
                let done = files.carry_out(effect).map_err(|error| error.to_string());
                if outbox.send(done).is_err() {
                    return;
                }
            }
        };
        Self {
            effects: Some(effects),
            carried,
            under_way: 0,
            thread: Some(std::thread::spawn(work)),
        }
    }

    /// Hands it over.
    pub fn begin(&mut self, effect: StoreEffect) {
        self.under_way += 1;
        let handed = self
            .effects
            .as_ref()
            .is_some_and(|effects| effects.send(effect).is_ok());
        assert!(handed, "the thread ends with its owner");
    }

    /// True while something is not done.
    pub fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    /// What is done; with `wait` at least one thing. Only to be waited for while [`FileWorker::is_busy`].
    pub fn done(&mut self, wait: bool) -> Result<Vec<Carried>, Failure> {
        let mut found = Vec::new();
        if wait {
            found.push(self.carried.recv()?);
        }
        found.extend(self.carried.try_iter());
        self.under_way -= found.len();
        let found: Result<Vec<_>, _> = found.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }
}

impl Drop for FileWorker {
    fn drop(&mut self) {
        self.effects = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing left to do.
            let _ = thread.join();
        }
    }
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
    fn carry_out(&mut self, effect: StoreEffect) -> Result<Option<Carried>, Failure> {
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
