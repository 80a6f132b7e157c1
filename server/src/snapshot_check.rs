//! [`Checking`]: a snapshot whose files have come is looked at before anything counts on it.
//!
//! Its files become durable, are opened, and every key is read from them, under the names that they have while they come: this
//! replica's own files are not touched, and it goes on with them if others are damaged. Each step takes little time.

use std::collections::BTreeMap;
use std::io;

use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_engine::sst::PageRange;
use slotcore_engine::store::{Adoption, FileName, FileSource, Loading};
use slotcore_raft_shard::Applied;
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::disk::SnapshotWriter;

use crate::boot::take_over_side;
use crate::store_files::describe;

/// Bytes of keys that are taken in at once: thousands of small keys, well below a millisecond.
const KEYS_BYTES: usize = 64 << 10;

/// A file that has come.
pub struct SentFile {
    /// Its length.
    pub bytes: u64,
    /// It, under the name that it has while it comes.
    pub writer: SnapshotWriter,
}

/// Files that have come, which go when nobody has them any more.
#[derive(Default)]
pub struct SentFiles(pub BTreeMap<FileName, SentFile>);

impl FileSource for SentFiles {
    fn list(&mut self) -> io::Result<Vec<(FileName, u64)>> {
        Ok(self.0.iter().map(|(name, file)| (*name, file.bytes)).collect())
    }

    fn read_at(&mut self, file: FileName, range: PageRange, buf: &mut AlignedBuf) -> io::Result<()> {
        let file = self.0.get(&file).ok_or(io::ErrorKind::NotFound)?;
        let read = file.writer.read_at(range.offset, range.bytes, buf);
        read.map_err(io::Error::other)?;
        match buf.len() < range.bytes {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        }
    }
}

/// A snapshot with which everything is in order.
pub struct Checked {
    /// Durable.
    pub files: SentFiles,
    /// Of them.
    pub adoption: Adoption,
    /// All that is in the files.
    pub keys: Box<Keyspace>,
}

/// See the module's text.
pub struct Checking {
    files: SentFiles,
    manifest: Vec<u8>,
    hash_seed: u64,
    at: Stage,
}

enum Stage {
    /// The next file to be made durable is the first behind this one.
    Syncing(Option<FileName>),
    Opening(Adoption),
    Loading {
        adoption: Adoption,
        loading: Box<Loading>,
        keys: Box<Keyspace>,
    },
}

/// How far it has come.
pub enum Look {
    /// To be called again.
    More(Box<Checking>),
    /// This is it.
    Done(Box<Checked>),
}

impl Checking {
    /// Of the snapshot with this `manifest`, whose keys are hashed with `hash_seed`.
    pub fn new(files: SentFiles, manifest: Vec<u8>, hash_seed: u64) -> Self {
        let at = Stage::Syncing(None);
        Self {
            files,
            manifest,
            hash_seed,
            at,
        }
    }

    /// One step of it; it is to stand for `at`.
    ///
    /// # Errors
    /// Those of the device; or a file is damaged, or is not what the manifest says.
    pub fn step(mut self, at: &Applied) -> Result<Look, String> {
        let damaged = |error| format!("what was sent is damaged: {}", describe(&error));
        self.at = match self.at {
            Stage::Syncing(done) => {
                let mut left = self
                    .files
                    .0
                    .iter()
                    .filter(|(name, _)| done.is_none_or(|done| **name > done));
                match left.next() {
                    Some((name, file)) => {
                        file.writer.sync().map_err(|error| error.to_string())?;
                        Stage::Syncing(Some(*name))
                    }
                    None => {
                        let adoption = Adoption::new(&self.manifest, &mut self.files).map_err(damaged)?;
                        if (adoption.flushed().index, adoption.flushed().term) != (at.index, at.term) {
                            return Err("its manifest stands for another entry than was said".into());
                        }
                        Stage::Opening(adoption)
                    }
                }
            }
            Stage::Opening(mut adoption) => match adoption.open_next(&mut self.files).map_err(damaged)? {
                true => Stage::Opening(adoption),
                false => {
                    let hash_seed = self.hash_seed;
                    let mut keys = Box::new(Keyspace::new(KeyspaceOptions { hash_seed }));
                    let loading = Box::new(adoption.loading(&mut keys));
                    Stage::Loading {
                        adoption,
                        loading,
                        keys,
                    }
                }
            },
            Stage::Loading {
                adoption,
                mut loading,
                mut keys,
            } => {
                let more = loading.step(&mut keys, &mut self.files, KEYS_BYTES);
                if !more.map_err(damaged)? {
                    take_over_side(adoption.side(), &mut keys)?;
                    let files = self.files;
                    return Ok(Look::Done(Box::new(Checked { files, adoption, keys })));
                }
                Stage::Loading {
                    adoption,
                    loading,
                    keys,
                }
            }
        };
        Ok(Look::More(Box::new(self)))
    }
}
