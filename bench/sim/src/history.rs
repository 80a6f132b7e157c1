//! [`History`]: what was asked of the core, and what it may and must remember.
//!
//! Entry `i` of the log holds batch `i` (from 1). Of the batches issued, a first part was acknowledged; after a crash
//! some part at least as long as what was promised must be there, byte for byte, and nothing else.

use bytes::Bytes;
use slotcore_engine::log::LogPos;
use slotcore_rt::ids::{LogIndex, Term};

use crate::model::Model;
use crate::workload::Batch;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The machine lost power.
    PowerLost,
    /// The process ended, the machine went on.
    ProcessKilled,
    /// The process ended because the disk had refused a write; the machine went on.
    DeviceFailed,
}

struct Issued {
    batch: Batch,
    payload: Bytes,
    term: Term,
}

/// All batches that entered the log and are not known to be lost.
#[derive(Default)]
pub struct History {
    issued: Vec<Issued>,
    /// Applied, and answered unless the process ended before.
    acked: u64,
    /// Answered. What a process finds when it recovers, and whoever wrote it was never answered, counts only once that process
    /// has answered something itself: until then nobody has seen it.
    answered: u64,
    /// Batches the log has called durable.
    durable: u64,
    /// Batches handed to the disk, durable or not.
    submitted: u64,
    /// What clients have seen: the state after `acked` batches.
    model: Model,
}

impl History {
    /// A batch entered the log.
    pub fn issue(&mut self, batch: Batch, payload: Bytes, term: Term) {
        self.issued.push(Issued { batch, payload, term });
    }

    /// The index the next batch will have.
    pub fn next_index(&self) -> LogIndex {
        LogIndex(self.issued.len() as u64 + 1)
    }

    /// Batches that were answered.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Term and index of an issued batch.
    pub fn pos(&self, index: LogIndex) -> LogPos {
        LogPos {
            term: self.issued[index.0 as usize - 1].term,
            index,
        }
    }

    /// The batches with index 1 to `upto`.
    pub fn batches(&self, upto: u64) -> impl Iterator<Item = &Batch> {
        self.issued[..upto as usize].iter().map(|issued| &issued.batch)
    }

    /// Payload of a batch.
    pub fn payload(&self, index: LogIndex) -> &Bytes {
        &self.issued[index.0 as usize - 1].payload
    }

    /// The log called the frames of all batches up to `index` durable.
    pub fn mark_durable(&mut self, index: LogIndex) {
        self.durable = self.durable.max(index.0);
    }

    /// The log handed the frames of all batches up to `index` to the disk.
    pub fn mark_submitted(&mut self, index: LogIndex) {
        self.submitted = self.submitted.max(index.0);
    }

    /// The core answered the next batch with `answers`.
    ///
    /// # Errors
    /// The first answer that is wrong.
    pub fn acknowledge(&mut self, answers: &[String]) -> Result<(), String> {
        let batch = &self.issued[self.acked as usize].batch;
        self.acked += 1;
        self.answered = self.acked;
        let expected = self.model.apply(batch);
        for (command, (expected, answer)) in batch.commands.iter().zip(expected.iter().zip(answers)) {
            if expected != answer {
                let words: Vec<String> = command.iter().map(|word| word.escape_ascii().to_string()).collect();
                let words = words.join(" ");
                return Err(format!(
                    "entry {}: {words} answered {answer}, expected {expected}",
                    self.acked
                ));
            }
        }
        Ok(())
    }

    /// The expected state of what was answered.
    pub fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// After a crash the core has the batches up to `last`. `synced`: the mode promises that what was answered survives
    /// a loss of power.
    ///
    /// # Errors
    /// A promise broken. Otherwise the history now ends at `last`, all of it applied.
    pub fn recovered(&mut self, last: u64, crash: Crash, synced: bool) -> Result<(), String> {
        let promised = match (crash, synced) {
            (Crash::ProcessKilled, _) => self.acked.max(self.submitted),
            (_, true) => self.answered.max(self.durable),
            (_, false) => self.durable,
        };
        if last < promised {
            return Err(format!(
                "entries up to {promised} were promised ({} acknowledged, {} durable), only {last} recovered",
                self.answered, self.durable
            ));
        }
        if last > self.issued.len() as u64 {
            return Err(format!(
                "{last} entries recovered, only {} were ever issued",
                self.issued.len()
            ));
        }
        self.issued.truncate(last as usize);
        (self.acked, self.submitted) = (last, last);
        if crash == Crash::PowerLost {
            // What is there after a cut is there for good.
            self.durable = last;
            self.answered = self.answered.min(last);
        }
        let mut model = Model::default();
        self.issued.iter().for_each(|issued| drop(model.apply(&issued.batch)));
        self.model = model;
        Ok(())
    }
}
