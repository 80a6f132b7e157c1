//! What must hold of every run: the properties Raft promises, watched from outside.

use std::collections::{BTreeMap, BTreeSet};

use slotcore_rt::ids::{LogIndex, Term};

/// Sees everything that becomes visible anywhere, and collects what should not have.
#[derive(Default)]
pub struct Oracle {
    /// What each position turned out to hold, forever.
    by_index: BTreeMap<LogIndex, u64>,
    leaders: BTreeMap<Term, u64>,
    /// Writes whose proposer has executed them: their clients have an answer.
    acknowledged: BTreeSet<u64>,
    proposed: BTreeMap<u64, u64>,
    /// The newest position any replica has executed: somebody may have read it.
    visible: LogIndex,
    pub violations: Vec<String>,
}

impl Oracle {
    /// `node` proposes `write`, which no one else ever does.
    pub fn proposed(&mut self, node: u64, write: u64) {
        self.proposed.insert(write, node);
    }

    /// `node` has executed `write` at `index`.
    pub fn executed(&mut self, node: u64, index: LogIndex, write: u64) {
        let held = *self.by_index.entry(index).or_insert(write);
        if held != write {
            self.violations.push(format!(
                "node {node} executed {write} at {index}, where {held} had been executed"
            ));
        }
        self.visible = self.visible.max(index);
        if self.proposed.get(&write) == Some(&node) {
            self.acknowledged.insert(write);
        }
    }

    /// `node` has taken over a whole state.
    pub fn installed(&mut self, node: u64, state: &[(LogIndex, u64)]) {
        state
            .iter()
            .for_each(|&(index, write)| self.executed(node, index, write));
    }

    /// `node` says that it leads in `term`.
    pub fn leads(&mut self, node: u64, term: Term) {
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader != node {
            self.violations
                .push(format!("nodes {leader} and {node} both lead in term {term}"));
        }
    }

    /// What somebody was told of, or could have been shown.
    pub fn visible(&self) -> LogIndex {
        self.visible
    }

    /// `node`, which has executed up to `at`, would answer a read right now that was asked when `visible` was.
    pub fn would_read(&mut self, node: u64, at: LogIndex, visible: LogIndex, how: &str) {
        if at < visible {
            self.violations.push(format!(
                "node {node} would read its state at {at} {how}; {visible} was visible"
            ));
        }
    }

    /// Acknowledged writes missing in a final state.
    pub fn missing_in(&self, state: &[(LogIndex, u64)]) -> Vec<u64> {
        let held: BTreeSet<u64> = state.iter().map(|(_, write)| *write).collect();
        self.acknowledged.difference(&held).copied().collect()
    }

    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }
}
