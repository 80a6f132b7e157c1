//! [`StoreDriver`]: does what a [`Store`] asks: reads and writes on the core's ring, files through the store worker, the
//! manifest in the core's log.

use std::collections::VecDeque;
use std::io;

use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::log::{AppendError, CoreLog, LogPos, Record};
use slotcore_engine::store::{Done, FileName, Store, StoreEffect, StoreError, Ticket, Urgency};
use slotcore_rt::disk::{ReadUrgency, StoreFileName, StoreIo, StoreOutcome, StoreTicket};
use slotcore_rt::ids::FrameNo;
use slotcore_rt::ring::{Completion, Ring};

use crate::boot::FIRST_GROUP;
use crate::store_files::{describe, on_disk};

/// Why a store cannot go on: the process ends, as nothing it would answer could be relied on.
#[derive(Debug)]
pub enum StoreFailure {
    /// A file is damaged, or the engine says why not.
    Store(StoreError),
    /// A write, a sync or a read failed.
    File(slotcore_rt::disk::StoreFailure),
}

impl std::fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => f.write_str(&describe(error)),
            Self::File(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for StoreFailure {}

/// See the module's text.
pub struct StoreDriver {
    io: StoreIo,
    effects: Vec<StoreEffect>,
    outcomes: Vec<StoreOutcome>,
    /// Manifests in the log, oldest first, and the frames that make them durable.
    manifests: VecDeque<(FrameNo, Ticket)>,
    /// Manifests that found no room in the log.
    unwritten: VecDeque<(Ticket, bytes::Bytes)>,
    /// What the log may forget.
    flushed: Option<LogPos>,
    /// The store was told of something.
    told: bool,
    /// A backup reads the files: none is deleted.
    keeps_files: bool,
    /// Files to be deleted when it is done.
    kept: Vec<FileName>,
}

impl StoreDriver {
    /// Over these files.
    pub fn new(io: StoreIo) -> Self {
        Self {
            io,
            effects: Vec::new(),
            outcomes: Vec::new(),
            manifests: VecDeque::new(),
            unwritten: VecDeque::new(),
            flushed: None,
            told: false,
            keeps_files: false,
            kept: Vec::new(),
        }
    }

    /// While `keep` holds, no file is deleted. What was to be deleted meanwhile is deleted afterwards; if the process ends
    /// before, the next start does it.
    pub fn keep_files(&mut self, keep: bool, store: &Store) {
        self.keeps_files = keep;
        if !keep {
            // What has come from another replica meanwhile may have the name of one.
            for file in self.kept.drain(..).filter(|file| !store.names(*file)) {
                self.io.delete(on_disk(file));
            }
        }
    }

    /// The file of this name is another one now, with the same contents.
    pub fn replaced(&mut self, name: StoreFileName) {
        self.io.replaced(name);
    }

    /// Whether files that were to be deleted may still be there.
    pub fn is_deleting(&self) -> bool {
        self.io.is_deleting()
    }

    /// Starts what the store wants.
    ///
    /// # Errors
    /// The ring's.
    pub fn step(&mut self, store: &mut Store, log: &mut CoreLog, ring: &mut Ring) -> io::Result<()> {
        let mut effects = std::mem::take(&mut self.effects);
        store.effects(&mut effects);
        for effect in effects.drain(..) {
            self.start(effect, ring)?;
        }
        self.effects = effects;
        while let Some((ticket, bytes)) = self.unwritten.pop_front() {
            let record = Record::Manifest {
                group: FIRST_GROUP,
                bytes: bytes.clone(),
            };
            match log.append(record) {
                Ok(frame) => {
                    // Whatever the policy: files wait to be deleted, and the log to be purged.
                    log.request_sync();
                    self.manifests.push_back((frame, ticket));
                }
                Err(AppendError::NotReady | AppendError::Backlog | AppendError::NoSpace) => {
                    self.unwritten.push_front((ticket, bytes));
                    break;
                }
                Err(error @ AppendError::TooLarge { .. }) => {
                    let text = format!(
                        "the manifest of the files does not go into the log: {error}; start with a larger --segment-bytes"
                    );
                    return Err(io::Error::other(text));
                }
                // The log has ended or failed, which others notice and tell.
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn start(&mut self, effect: StoreEffect, ring: &mut Ring) -> io::Result<()> {
        match effect {
            StoreEffect::Write {
                ticket,
                file,
                offset,
                buf,
            } => self.io.write(ring, StoreTicket(ticket.0), on_disk(file), offset, buf),
            StoreEffect::Finish {
                ticket,
                file,
                file_bytes,
            } => {
                self.io.finish(StoreTicket(ticket.0), on_disk(file), file_bytes);
                Ok(())
            }
            StoreEffect::Read {
                ticket,
                file,
                range,
                urgency,
            } => {
                let urgency = match urgency {
                    Urgency::Fetch => ReadUrgency::Fetch,
                    Urgency::Background => ReadUrgency::Background,
                };
                let ticket = StoreTicket(ticket.0);
                self.io
                    .read(ring, ticket, on_disk(file), range.offset, range.bytes, urgency)
            }
            StoreEffect::Manifest { ticket, bytes } => {
                self.unwritten.push_back((ticket, bytes));
                Ok(())
            }
            StoreEffect::Flushed { at } => {
                self.flushed = Some(at);
                Ok(())
            }
            StoreEffect::Delete { file } if self.keeps_files => {
                self.kept.push(file);
                Ok(())
            }
            StoreEffect::Delete { file } => {
                self.io.delete(on_disk(file));
                Ok(())
            }
        }
    }

    /// Takes in one completion of class [`Class::Store`](slotcore_rt::ring::Class::Store).
    ///
    /// # Errors
    /// See [`StoreFailure`].
    pub fn on_completion(
        &mut self,
        store: &mut Store,
        ks: &mut Keyspace,
        ring: &mut Ring,
        c: Completion,
    ) -> Result<(), DriverError> {
        let outcome = self.io.on_completion(ring, c)?;
        self.tell(store, ks, outcome)
    }

    /// Takes in what the worker has done.
    ///
    /// # Errors
    /// See [`StoreFailure`].
    pub fn take_reports(&mut self, store: &mut Store, ks: &mut Keyspace, ring: &mut Ring) -> Result<(), DriverError> {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.io.take_reports(ring, &mut outcomes)?;
        for outcome in outcomes.drain(..) {
            self.tell(store, ks, outcome)?;
        }
        self.outcomes = outcomes;
        Ok(())
    }

    /// Tells the store which of its manifests have become durable.
    ///
    /// # Errors
    /// See [`StoreFailure`].
    pub fn advance(&mut self, store: &mut Store, ks: &mut Keyspace, durable: FrameNo) -> Result<(), DriverError> {
        while let Some((_, ticket)) = self.manifests.pop_front_if(|(frame, _)| *frame <= durable) {
            self.told = true;
            store.on_done(ks, ticket, Done::Ok(None)).map_err(StoreFailure::Store)?;
        }
        Ok(())
    }

    fn tell(&mut self, store: &mut Store, ks: &mut Keyspace, outcome: StoreOutcome) -> Result<(), DriverError> {
        self.told = true;
        let ticket = Ticket(outcome.ticket.0);
        let done = match outcome.result {
            Ok(()) => Done::Ok(outcome.buf),
            Err(failure) if failure.is_no_space() => Done::NoSpace(outcome.buf),
            Err(failure) if store.bears_failure(ticket) => Done::Failed(failure.errno),
            // A failed write or sync must not be tried again: the kernel may have dropped what it could not write.
            Err(failure) => return Err(StoreFailure::File(failure).into()),
        };
        store.on_done(ks, ticket, done).map_err(StoreFailure::Store)?;
        Ok(())
    }

    /// Up to where the state is in files, since this was last asked.
    pub fn take_flushed(&mut self) -> Option<LogPos> {
        self.flushed.take()
    }

    /// Whether the store was told of something since this was last asked.
    pub fn take_told(&mut self) -> bool {
        std::mem::take(&mut self.told)
    }

    /// True when nothing is under way on the device or in the log.
    pub fn is_idle(&self) -> bool {
        self.io.is_idle() && self.manifests.is_empty() && self.unwritten.is_empty()
    }

    /// Reads and writes in the kernel's hands.
    pub fn in_flight(&self) -> usize {
        self.io.in_flight()
    }
}

/// Why the driver cannot go on.
#[derive(Debug)]
pub enum DriverError {
    /// See there.
    Failed(Box<StoreFailure>),
    /// The ring failed.
    Ring(io::Error),
}

impl From<StoreFailure> for DriverError {
    fn from(failure: StoreFailure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<io::Error> for DriverError {
    fn from(error: io::Error) -> Self {
        Self::Ring(error)
    }
}
