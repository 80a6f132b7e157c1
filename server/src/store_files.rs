//! The files of a core's store, as the engine names them and as they lie in their directory.

use std::io;

use slotcore_engine::sst::{FileId, PageRange, SstError};
use slotcore_engine::store::{FileKind, FileName, FileSource, StoreError};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::disk::{StoreDir, StoreFile, StoreFileKind, StoreFileName};

/// What a file is called on disk.
pub fn on_disk(file: FileName) -> StoreFileName {
    let kind = match file.kind {
        FileKind::Sorted => StoreFileKind::Sorted,
        FileKind::Blob => StoreFileKind::Blob,
    };
    StoreFileName { id: file.id.0, kind }
}

/// The file of this name.
pub fn in_engine(file: StoreFileName) -> FileName {
    let kind = match file.kind {
        StoreFileKind::Sorted => FileKind::Sorted,
        StoreFileKind::Blob => FileKind::Blob,
    };
    FileName {
        kind,
        id: FileId(file.id),
    }
}

/// What is wrong with a store, and with which of its files.
pub fn describe(error: &StoreError) -> String {
    match error {
        StoreError::Damaged(SstError::Corrupt { file, .. } | SstError::Version { file, .. }) => {
            // Which of both kinds it is, the reader of a page does not know.
            format!("{error} ({} or .blob)", FileName::sorted(*file))
        }
        _ => error.to_string(),
    }
}

/// Reads files one after the other, and waits for each: for start-up, for tools, and for what is needed at once.
pub struct FilesNow {
    dir: StoreDir,
    open: Option<StoreFile>,
}

impl FilesNow {
    /// Reads the files of `dir`.
    pub fn new(dir: StoreDir) -> Self {
        Self { dir, open: None }
    }
}

impl FileSource for FilesNow {
    fn list(&mut self) -> io::Result<Vec<(FileName, u64)>> {
        let found = self.dir.list().map_err(io::Error::other)?;
        Ok(found
            .into_iter()
            .map(|info| (in_engine(info.name), info.bytes))
            .collect())
    }

    fn read_at(&mut self, file: FileName, range: PageRange, buf: &mut AlignedBuf) -> io::Result<()> {
        let name = on_disk(file);
        let open = match self.open.take() {
            Some(open) if open.name == name => open,
            _ => self.dir.open(name).map_err(io::Error::other)?,
        };
        let open = self.open.insert(open);
        open.read_at(range.offset, range.bytes, buf).map_err(io::Error::other)?;
        if buf.len() < range.bytes {
            let text = format!(
                "{} ends at byte {}, before what is read at {}",
                open.path().display(),
                open.bytes,
                range.offset
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }
}
