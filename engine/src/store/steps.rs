//! What moves a store on: slices of work, answers to effects, changes of the manifest.

use super::effect::{Done, FileName, StoreEffect, Ticket};
use super::error::StoreError;
use super::options::{Budget, Worked};
use super::outbox::{Flight, Job};
use super::runs::Runs;
use super::{EditUnderWay, Store};
use crate::keyspace::Keyspace;
use crate::manifest::{Edit, EditError};
use crate::sst::{FileId, SstReader};
use bytes::Bytes;
use slotcore_rt::buf::AlignedBuf;
use std::rc::Rc;

impl Store {
    /// One slice of the flush and the merge under way, or the beginning of a merge.
    ///
    /// # Errors
    /// A file is damaged: the process must end.
    pub fn step(&mut self, ks: &mut Keyspace, mut budget: Budget) -> Result<Worked, StoreError> {
        self.notice_clear(ks);
        let merge_bytes = budget.merge_bytes;
        // Somebody waits for these; but memory may wait for the others, however many reads there are.
        let is_shared = self.flush.is_some() || self.merging.is_some();
        let for_reads = if is_shared {
            budget.work.div_ceil(2)
        } else {
            budget.work
        };
        let mut reading = Budget {
            work: for_reads,
            merge_bytes,
        };
        let reads = self.step_fetches(ks, &mut reading)?;
        budget.work -= for_reads - reading.work;
        let more = self.step_flush(ks, &mut budget);
        let more = self.step_merge(ks, &mut budget)? || more || reads;
        Ok(Worked {
            idle: !more,
            merge_bytes: merge_bytes - budget.merge_bytes,
        })
    }

    /// Whether a failure of the device is no reason to end: what was to be read, nobody needs now.
    pub fn bears_failure(&self, ticket: Ticket) -> bool {
        self.outbox.is_scrub(ticket)
    }

    /// Takes what became of an effect.
    ///
    /// # Errors
    /// A device failed, or a file is damaged: the process must end. The error names file and place.
    pub fn on_done(&mut self, ks: &mut Keyspace, ticket: Ticket, done: Done) -> Result<(), StoreError> {
        self.notice_clear(ks);
        let Some(flight) = self.outbox.land(ticket) else {
            return Ok(());
        };
        match done {
            Done::Ok(buf) => self.landed(ks, flight, buf),
            Done::NoSpace(buf) => {
                self.no_room(ticket, flight, buf);
                Ok(())
            }
            Done::Failed(errno) => {
                if let Flight::Scrub { file, offset } = flight {
                    self.scrub_failed(file, offset, errno);
                    return Ok(());
                }
                let (file, offset) = flight.place();
                Err(StoreError::Device { file, offset, errno })
            }
        }
    }

    fn landed(&mut self, ks: &mut Keyspace, flight: Flight, buf: Option<AlignedBuf>) -> Result<(), StoreError> {
        let pages = || buf.as_deref().expect("a read is answered with its pages");
        match flight {
            Flight::Write { job, file, .. } => {
                if let Some((output, outbox)) = self.output(job) {
                    output.on_written(file, outbox);
                }
            }
            Flight::Finish { job, file, .. } => {
                if let Some((output, outbox)) = self.output(job) {
                    output.on_finished(file, outbox)?;
                }
                self.files_done(job);
            }
            Flight::Open { job, file } => {
                if let Some((output, outbox)) = self.output(job) {
                    output.on_opened(file, pages(), outbox)?;
                }
                self.files_done(job);
            }
            Flight::Doomed { file } => self.doom(file),
            Flight::Manifest if self.adoption_is_durable() => {}
            Flight::Manifest => self.edit_is_durable(ks),
            Flight::Fetch { id, .. } => self.fetched(ks, id, buf.expect("a read is answered with its pages"))?,
            Flight::MergePages { source, .. } => {
                self.merge_pages(source, buf.expect("a read is answered with its pages"))?;
            }
            Flight::MergeBlob { .. } => self.merge_blob(pages())?,
            Flight::Scrub { .. } => self.scrubbed(pages()),
        }
        Ok(())
    }

    pub(super) fn doom(&mut self, file: FileName) {
        if !self.outbox.is_doomed(file) && !self.doomed.contains(&file) {
            self.doomed.push(file);
        }
    }

    fn output(&mut self, job: Job) -> Option<(&mut super::output::Output, &mut super::outbox::Outbox)> {
        let output = match job {
            Job::Flush => self.flush.as_mut().map(|flush| &mut flush.output),
            Job::Merge => self.merging.as_mut().map(|merging| &mut merging.output),
        };
        output.map(|output| (output, &mut self.outbox))
    }

    fn files_done(&mut self, job: Job) {
        match job {
            Job::Flush => self.flush_files_done(),
            Job::Merge => self.merge_files_done(),
        }
    }

    /// There was no room. What a flush writes is kept until there is; a merge is given up, which makes room.
    fn no_room(&mut self, ticket: Ticket, flight: Flight, buf: Option<AlignedBuf>) {
        self.no_space = true;
        match flight {
            Flight::Write {
                job: Job::Flush,
                file,
                offset,
            } => {
                self.outbox.relaunch(ticket, flight);
                self.held.push(StoreEffect::Write {
                    ticket,
                    file,
                    offset,
                    buf: buf.expect("a write that found no room gives its bytes back"),
                });
            }
            Flight::Finish {
                job: Job::Flush,
                file,
                file_bytes,
            } => {
                self.outbox.relaunch(ticket, flight);
                self.held.push(StoreEffect::Finish {
                    ticket,
                    file,
                    file_bytes,
                });
            }
            Flight::Write { file, .. } | Flight::Finish { file, .. } => {
                self.give_up_merge();
                self.doom(file);
            }
            Flight::Doomed { file } => self.doom(file),
            Flight::Open { .. }
            | Flight::Manifest
            | Flight::Fetch { .. }
            | Flight::MergePages { .. }
            | Flight::MergeBlob { .. }
            | Flight::Scrub { .. } => unreachable!("reads need no room, and the log waits for its own"),
        }
    }

    /// Sends the next version to the log.
    ///
    /// # Errors
    /// The edit does not fit: nothing happened.
    pub(super) fn tell_manifest(&mut self, job: Job, edit: Edit, readers: Vec<Rc<SstReader>>) -> Result<(), EditError> {
        debug_assert!(self.edit.is_none(), "one edit after the other");
        let (next, gone) = self.version.apply(edit)?;
        self.outbox.manifest(Bytes::from(next.encode()));
        self.edit = Some(EditUnderWay {
            job,
            next,
            gone,
            readers,
        });
        Ok(())
    }

    fn edit_is_durable(&mut self, ks: &mut Keyspace) {
        let edit = self.edit.take().expect("a manifest was on its way");
        let old = std::mem::replace(&mut self.version, Rc::new(edit.next));
        self.readers
            .extend(edit.readers.into_iter().map(|reader| (reader.file(), reader)));
        let name = |&file: &FileId| match old.blobs.binary_search_by_key(&file, |blob| blob.file) {
            Ok(_) => FileName::blob(file),
            Err(_) => FileName::sorted(file),
        };
        for file in &edit.gone {
            self.doom(name(file));
            self.readers.remove(file);
        }
        self.outbox.handed_over(edit.job);
        self.at_rest = false;
        match edit.job {
            Job::Flush => self.flush_is_durable(ks),
            Job::Merge => self.merge_is_durable(ks),
        }
        if !self.cleared {
            let runs = Runs::of(&self.version, &self.readers);
            self.set_runs(runs);
        }
        // Another job may have waited for its turn.
        self.flush_files_done();
        self.merge_files_done();
    }
}
