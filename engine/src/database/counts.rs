//! [`Counts`]: how many keys each database has.

use super::{DATABASES, Database, begins_like_a_mark, split};

/// Number of keys of each database. Those of database 0 are what the others leave of the total, so that counting its keys
/// costs no more than one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    total: u64,
    /// By number; 0 at place 0.
    others: [u64; DATABASES as usize],
}

impl Counts {
    /// So many keys in each database.
    pub fn new(keys: [u64; DATABASES as usize]) -> Self {
        let mut others = keys;
        others[0] = 0;
        Self {
            total: keys.iter().sum(),
            others,
        }
    }

    /// Keys of all databases.
    #[inline]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Keys of one.
    pub fn of(&self, database: Database) -> u64 {
        match database {
            Database::ZERO => self.total.saturating_sub(self.others.iter().sum()),
            other => self.others[usize::from(other.number())],
        }
    }

    /// The key `stored` has come.
    #[inline]
    pub(crate) fn add(&mut self, stored: &[u8]) {
        self.total += 1;
        if begins_like_a_mark(stored) {
            self.count_other(stored, 1);
        }
    }

    /// The key `stored` has gone. A number may be too small by keys that were taken to have existed: see
    /// [`Keyspace::len`](crate::keyspace::Keyspace::len).
    #[inline]
    pub(crate) fn remove(&mut self, stored: &[u8]) {
        self.total = self.total.saturating_sub(1);
        if begins_like_a_mark(stored) {
            self.count_other(stored, -1);
        }
    }

    /// With as many keys of each database more.
    pub fn join(&mut self, more: &Counts) {
        self.total += more.total;
        for (count, more) in self.others.iter_mut().zip(more.others) {
            *count += more;
        }
    }

    /// Without as many keys of each database; none is counted below 0.
    pub fn subtract(&mut self, gone: &Counts) {
        self.total = self.total.saturating_sub(gone.total);
        for (count, gone) in self.others.iter_mut().zip(gone.others) {
            *count = count.saturating_sub(gone);
        }
    }

    #[cold]
    fn count_other(&mut self, stored: &[u8], change: i64) {
        let (database, _) = split(stored);
        if database != Database::ZERO {
            let count = &mut self.others[usize::from(database.number())];
            *count = count.saturating_add_signed(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_has_its_own_count() {
        let database = |number| Database::new(number).unwrap();
        let mut counts = Counts::default();
        for key in [&b"a"[..], b"b", b"\0\0\0a", b"\0\x02a", b"\0\x02b", b"\0\x0fa"] {
            counts.add(key);
        }
        counts.remove(b"\0\x02b");
        let of = |number| counts.of(database(number));
        assert_eq!((counts.total(), of(0), of(1), of(2), of(15)), (5, 3, 0, 1, 1));
        let mut keys = [0; 16];
        (keys[0], keys[2], keys[15]) = (3, 1, 1);
        assert_eq!(Counts::new(keys).of(Database::ZERO), 3);
    }
}
