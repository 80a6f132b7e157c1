//! [`ErrorStats`]: how many error replies of each kind clients got (`INFO errorstats`).

use std::collections::BTreeMap;

/// Kinds told apart; more are counted in the total only. A kind is the reply's first word, and a client can make some of
/// them up (through a command that echoes its argument), so their number is bounded.
const KINDS_MAX: usize = 128;

/// Error replies by their first word.
#[derive(Clone, Debug, Default)]
pub struct ErrorStats {
    kinds: BTreeMap<String, u64>,
    total: u64,
}

impl ErrorStats {
    /// Counts an error reply, given as sent but without the leading `-`.
    pub fn count(&mut self, reply: &str) {
        self.total += 1;
        self.add(reply.split(' ').next().unwrap_or_default(), 1);
    }

    /// Counts errors that commands of a script were answered with, by their first word.
    pub fn count_called(&mut self, kind: &str, times: u32) {
        self.total += u64::from(times);
        self.add(kind, u64::from(times));
    }

    /// Adds the error replies of another core.
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        for (kind, count) in other.iter() {
            self.add(kind, count);
        }
    }

    fn add(&mut self, kind: &str, times: u64) {
        if let Some(count) = self.kinds.get_mut(kind) {
            *count += times;
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.insert(kind.to_string(), times);
        }
    }

    /// All error replies.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Each kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.kinds.iter().map(|(kind, &count)| (kind.as_str(), count))
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_first_words_and_bounded() {
        let mut errors = ErrorStats::default();
        errors.count("ERR no");
        errors.count("ERR never");
        errors.count("WRONGTYPE x");
        assert_eq!(errors.iter().collect::<Vec<_>>(), [("ERR", 2), ("WRONGTYPE", 1)]);
        for i in 0..1000 {
            errors.count(&format!("E{i}"));
        }
        assert_eq!((errors.iter().count(), errors.total()), (KINDS_MAX, 1003));
    }
}
