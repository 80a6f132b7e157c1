//! [`ColdReader`]: brings what only files know into memory at once, while everything else waits.
//!
//! Commands are put off until what they need is in memory, before they are proposed. What is not there when they are executed
//! nevertheless comes this way: keys evicted since, keys named by contents that changed since, keys of commands that wait, of
//! scripts, and walks within a transaction or a script. That is exact, and rare.

use super::super::Keyspace;
use super::{FileKeys, Missed, Residency};

/// Reads files at once. See the module's text.
pub trait ColdReader {
    /// Makes `key` known, which only the files know.
    fn make_known(&mut self, ks: &mut Keyspace, key: &[u8]);

    /// `key` is about to be overwritten whatever it holds: when it is certain without a read that no file has it, that is
    /// noted, so that keys are counted.
    fn foresee(&mut self, ks: &mut Keyspace, key: &[u8]);

    /// All keys that files have from `from_ord` on, `count` of them or a few more. `None`: they cannot be read, which the
    /// reader has noted.
    fn range(&mut self, ks: &Keyspace, from_ord: u64, count: usize) -> Option<FileKeys>;
}

impl Keyspace {
    /// From now on `reader` reads what is needed at once.
    pub fn read_with(&mut self, reader: Box<dyn ColdReader>) {
        self.tier.reader = Some(reader);
    }

    /// From now on whoever did so for `before` reads what is needed at once, what was pinned there is pinned here, and what was
    /// fetched for it is void.
    pub(in crate::keyspace) fn read_from_files_as(&mut self, before: &mut Keyspace) {
        self.tier.reader = before.tier.reader.take();
        self.tier.pins = std::mem::take(&mut before.tier.pins);
        self.tier.clears = before.tier.clears;
    }

    /// Makes `key` known, if somebody reads.
    #[cold]
    pub fn make_known(&mut self, key: &[u8]) {
        let hash = self.table.hash(key);
        if self.residency(hash, key) == Residency::Unknown {
            self.with_reader(|reader, ks| reader.make_known(ks, key));
        }
    }

    /// See [`ColdReader::foresee`].
    #[cold]
    pub fn foresee(&mut self, key: &[u8]) {
        self.with_reader(|reader, ks| reader.foresee(ks, key));
    }

    /// Gets what the last command has missed. True: it is to be repeated, which only one that reads can be. Keys lent for it
    /// are to be taken back when nothing is missed any more.
    #[cold]
    pub fn supply_missed(&mut self) -> bool {
        let Some(missed) = self.take_missed() else {
            return false;
        };
        let supplied = match &missed {
            Missed::Key(key) => {
                self.make_known(key);
                self.residency(self.table.hash(key), key) != Residency::Unknown
            }
            Missed::Range { from_ord, count } => self.supply_range(*from_ord, *count),
        };
        if !supplied {
            self.tier.missed = Some(missed);
        }
        supplied
    }

    fn supply_range(&mut self, from_ord: u64, count: usize) -> bool {
        let before = self.take_lent().filter(|lent| lent.to_ord == Some(from_ord));
        // Ever more at once: a command that looks at everything begins anew each time.
        let count = count.max(before.as_ref().map_or(0, |lent| lent.keys.len()));
        let Some(Some(more)) = self.with_reader(|reader, ks| reader.range(ks, from_ord, count)) else {
            return false;
        };
        let lent = match before {
            Some(mut lent) => {
                lent.keys.extend(more.keys);
                lent.to_ord = more.to_ord;
                lent
            }
            None => more,
        };
        self.lend_keys(Some(lent));
        true
    }

    fn with_reader<T>(&mut self, f: impl FnOnce(&mut dyn ColdReader, &mut Keyspace) -> T) -> Option<T> {
        let mut reader = self.tier.reader.take()?;
        let done = f(&mut *reader, self);
        self.tier.reader = Some(reader);
        Some(done)
    }
}
