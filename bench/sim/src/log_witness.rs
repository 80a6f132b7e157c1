//! [`LogWitness`]: sees the logs of all replicas grow, and says where they break what Raft promises of them.
//!
//! Log matching: two entries of one index and one term are the same, and so is everything before them. Leader completeness:
//! whoever begins to lead has everything that was committed in earlier terms. What is committed never changes.

use std::collections::BTreeMap;

use slotcore_engine::log::{CoreLog, EntryRead};
use slotcore_rt::ids::{GroupSlot, LogIndex, Term};

/// What an index and a term stand for, whoever has them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Of the entry before.
    term_before: Option<Term>,
    /// Of the payload; `None`: nobody had it in memory yet.
    digest: Option<u32>,
}

/// See the module.
#[derive(Default)]
pub struct LogWitness {
    entries: BTreeMap<(LogIndex, Term), Known>,
    committed: BTreeMap<LogIndex, Term>,
    /// Terms of each replica's log when it was last looked at, from index 1.
    logs: BTreeMap<u64, Vec<Term>>,
    newest_term: Term,
}

impl LogWitness {
    /// `node` has lost its memory: its log is looked at from its beginning.
    pub fn restarted(&mut self, node: u64) {
        self.logs.remove(&node);
    }

    /// The log of `node` as it is now; must not have been purged.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn looked_at(&mut self, node: u64, log: &CoreLog, slot: GroupSlot) -> Result<(), String> {
        let Some(group) = log.group(slot) else { return Ok(()) };
        let seen = self.logs.entry(node).or_default();
        let last = group.last();
        let len = last.index.0 as usize;
        if seen.len() == len && seen.last().is_none_or(|term| *term == last.term) {
            return Ok(());
        }
        // Entries that were replaced have other terms than those before.
        seen.truncate(len);
        while let Some(&term) = seen.last()
            && group.term_of(LogIndex(seen.len() as u64)) != Some(term)
        {
            seen.pop();
        }
        let from = LogIndex(seen.len() as u64 + 1);
        let mut found = Vec::new();
        log.entries(slot, from, LogIndex(last.index.0 + 1), u64::MAX, &mut found);
        for entry in found {
            let (pos, digest) = match entry {
                EntryRead::Cached { pos, payload } => (pos, Some(crc32c::crc32c(&payload))),
                EntryRead::Cold(cold) => (cold.pos, None),
            };
            let known = Known {
                term_before: seen.last().copied(),
                digest,
            };
            seen.push(pos.term);
            let held = self.entries.entry((pos.index, pos.term)).or_insert(known);
            let differs = held.digest.is_some() && digest.is_some() && held.digest != digest;
            if held.term_before != known.term_before || differs {
                return Err(format!(
                    "node {node} has another entry {} of {} than somebody else had",
                    pos.index, pos.term
                ));
            }
            held.digest = held.digest.or(digest);
        }
        Ok(())
    }

    /// `node` has executed everything up to `index`, whose term is `term`.
    ///
    /// # Errors
    /// Something else was committed there.
    pub fn executed(&mut self, node: u64, index: LogIndex, term: Term) -> Result<(), String> {
        if index.0 == 0 {
            return Ok(());
        }
        let held = *self.committed.entry(index).or_insert(term);
        match held == term {
            true => Ok(()),
            false => Err(format!(
                "node {node} executed entry {index} of {term}, where one of {held} had been executed"
            )),
        }
    }

    /// `node` leads in `term`; its log has been [looked at](LogWitness::looked_at).
    ///
    /// # Errors
    /// It lacks something that was committed.
    pub fn leads(&mut self, node: u64, term: Term) -> Result<(), String> {
        if term <= self.newest_term {
            return Ok(());
        }
        self.newest_term = term;
        let log = self.logs.get(&node).map_or(&[][..], Vec::as_slice);
        for (index, committed_in) in self.committed.iter().filter(|(_, in_term)| **in_term < term) {
            if log.get(index.0 as usize - 1) != Some(committed_in) {
                return Err(format!(
                    "node {node} leads in {term} without entry {index} of {committed_in}, which was committed"
                ));
            }
        }
        Ok(())
    }
}
