//! [`Outbox`]: effects on their way out, and what each answer is for.

use super::effect::{FileName, StoreEffect, Ticket, Urgency};
use super::fetch::FetchId;
use crate::log::LogPos;
use crate::sst::{FileId, PageRange};
use bytes::Bytes;
use slotcore_rt::buf::AlignedBuf;
use std::collections::BTreeMap;

/// Who writes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Flush,
    Merge,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flight {
    Write {
        job: Job,
        file: FileName,
        offset: u64,
    },
    Finish {
        job: Job,
        file: FileName,
        file_bytes: u64,
    },
    Open {
        job: Job,
        file: FileName,
    },
    /// A write to a file that nobody wants any more: it is deleted after its last one.
    Doomed {
        file: FileName,
    },
    Manifest,
    Fetch {
        id: FetchId,
        file: FileName,
        offset: u64,
    },
    MergePages {
        source: usize,
        file: FileName,
        offset: u64,
    },
    MergeBlob {
        file: FileName,
        offset: u64,
    },
    Scrub {
        file: FileName,
        offset: u64,
    },
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) effects: Vec<StoreEffect>,
    flights: BTreeMap<Ticket, Flight>,
    next_ticket: u64,
    /// Id of the next file.
    next_file: u64,
    /// Files that a job has begun, and not yet handed over to the manifest.
    begun: Vec<(Job, FileName)>,
}

impl Outbox {
    /// `next_file`: no file has this id or a higher one.
    pub(super) fn new(next_file: u64) -> Self {
        Self {
            next_file,
            ..Self::default()
        }
    }

    fn ticket(&mut self, flight: Flight) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.flights.insert(ticket, flight);
        ticket
    }

    /// What an answer is for; `None` when nobody waits for it any more.
    pub(super) fn land(&mut self, ticket: Ticket) -> Option<Flight> {
        self.flights.remove(&ticket)
    }

    /// Whether the answer is for the scrubber.
    pub(super) fn is_scrub(&self, ticket: Ticket) -> bool {
        matches!(self.flights.get(&ticket), Some(Flight::Scrub { .. }))
    }

    /// The answer was that it has to be done again, under the same ticket.
    pub(super) fn relaunch(&mut self, ticket: Ticket, flight: Flight) {
        self.flights.insert(ticket, flight);
    }

    /// No file has this id or a higher one, of those that are made here.
    pub(super) fn next_file(&self) -> u64 {
        self.next_file
    }

    pub(super) fn new_file(&mut self) -> FileId {
        self.next_file += 1;
        FileId(self.next_file - 1)
    }

    pub(super) fn write(&mut self, job: Job, file: FileName, offset: u64, buf: AlignedBuf) {
        // The first chunk is not always the first to be written: see `BlobBuilder::begin`.
        if !self.begun.contains(&(job, file)) {
            self.begun.push((job, file));
        }
        let ticket = self.ticket(Flight::Write { job, file, offset });
        self.effects.push(StoreEffect::Write {
            ticket,
            file,
            offset,
            buf,
        });
    }

    pub(super) fn finish(&mut self, job: Job, file: FileName, file_bytes: u64) {
        let ticket = self.ticket(Flight::Finish { job, file, file_bytes });
        self.effects.push(StoreEffect::Finish {
            ticket,
            file,
            file_bytes,
        });
    }

    pub(super) fn read(&mut self, flight: Flight, file: FileName, range: PageRange) {
        debug_assert_eq!(flight.place().0, Some(file));
        let urgency = match flight {
            Flight::Fetch { .. } => Urgency::Fetch,
            _ => Urgency::Background,
        };
        let ticket = self.ticket(flight);
        self.effects.push(StoreEffect::Read {
            ticket,
            file,
            range,
            urgency,
        });
    }

    pub(super) fn manifest(&mut self, bytes: Bytes) {
        let ticket = self.ticket(Flight::Manifest);
        self.effects.push(StoreEffect::Manifest { ticket, bytes });
    }

    pub(super) fn flushed(&mut self, at: LogPos) {
        self.effects.push(StoreEffect::Flushed { at });
    }

    /// The manifest names the job's files now.
    pub(super) fn handed_over(&mut self, job: Job) {
        self.begun.retain(|&(of, _)| of != job);
    }

    /// No fetch is waited for any more.
    pub(super) fn forget_fetches(&mut self) {
        self.flights.retain(|_, flight| !matches!(flight, Flight::Fetch { .. }));
    }

    /// Takes effects back that were not handed out.
    fn withdraw(&mut self, job: Job) {
        let Self { effects, flights, .. } = self;
        effects.retain(|effect| {
            let Some(ticket) = effect.ticket() else { return true };
            let withdrawn = flights.get(&ticket).is_some_and(|flight| flight.is_of(job));
            if withdrawn {
                flights.remove(&ticket);
            }
            !withdrawn
        });
    }

    /// Ends a job. Returns its files that can be deleted now: for those to which writes are under way that comes later, by
    /// [`Outbox::is_doomed`].
    pub(super) fn give_up(&mut self, job: Job) -> Vec<FileName> {
        self.withdraw(job);
        for flight in self.flights.values_mut() {
            if let Flight::Write { job: of, file, .. } | Flight::Finish { job: of, file, .. } = *flight
                && of == job
            {
                *flight = Flight::Doomed { file };
            }
        }
        self.flights.retain(|_, flight| !flight.is_of(job));
        let files: Vec<FileName> = self
            .begun
            .iter()
            .filter(|(of, _)| *of == job)
            .map(|&(_, f)| f)
            .collect();
        self.handed_over(job);
        files.into_iter().filter(|&file| !self.is_doomed(file)).collect()
    }

    /// Whether a write is under way to a file that nobody wants.
    pub(super) fn is_doomed(&self, file: FileName) -> bool {
        self.flights
            .values()
            .any(|flight| matches!(flight, Flight::Doomed { file: f } if *f == file))
    }
}

impl Flight {
    fn is_of(&self, job: Job) -> bool {
        match self {
            Flight::Write { job: of, .. } | Flight::Finish { job: of, .. } | Flight::Open { job: of, .. } => *of == job,
            Flight::MergePages { .. } | Flight::MergeBlob { .. } => job == Job::Merge,
            Flight::Doomed { .. } | Flight::Manifest | Flight::Fetch { .. } | Flight::Scrub { .. } => false,
        }
    }

    /// The file and place it concerns.
    pub(super) fn place(&self) -> (Option<FileName>, u64) {
        match *self {
            Flight::Write { file, offset, .. }
            | Flight::Fetch { file, offset, .. }
            | Flight::MergePages { file, offset, .. }
            | Flight::MergeBlob { file, offset }
            | Flight::Scrub { file, offset } => (Some(file), offset),
            Flight::Finish { file, .. } | Flight::Open { file, .. } | Flight::Doomed { file } => (Some(file), 0),
            Flight::Manifest => (None, 0),
        }
    }
}
