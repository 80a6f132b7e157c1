//! [`FileKeys`]: the keys of a range that files have, lent to a walk over an incomplete keyspace.

use super::super::{Keyspace, Kind};
use super::Missed;
use crate::table::{Rec, SlabRef};

/// A key in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileKey {
    /// Its order.
    pub ord: u64,
    /// The key.
    pub key: Box<[u8]>,
    /// Its type.
    pub kind: Kind,
    /// When it expires, in milliseconds since 1970.
    pub expire_ms: Option<u64>,
}

/// All keys that files have from `from_ord` on until before `to_ord`, in order, each once; of those in memory, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileKeys {
    /// First order covered.
    pub from_ord: u64,
    /// Order behind the last one covered; `None`: everything behind `from_ord` is covered.
    pub to_ord: Option<u64>,
    /// The keys.
    pub keys: Vec<FileKey>,
}

impl FileKeys {
    fn covers(&self, ord: u64) -> bool {
        self.from_ord <= ord && self.to_ord.is_none_or(|to| ord < to)
    }

    /// The keys of these orders.
    fn between(&self, from: u64, to: Option<u64>) -> &[FileKey] {
        let start = self.keys.partition_point(|k| k.ord < from);
        let end = to.map_or(self.keys.len(), |to| self.keys.partition_point(|k| k.ord < to));
        &self.keys[start..end.max(start)]
    }
}

/// A key that a walk came to: in memory, or only in files.
pub(in super::super) enum Met<'a> {
    Resident(Rec),
    File(&'a FileKey),
}

impl Keyspace {
    /// Lends the keys that a fetch of [`Missed::Range`] found to the next command, or takes them back. They must be of the
    /// present state of the store: no flush became durable since they were read.
    pub fn lend_keys(&mut self, keys: Option<FileKeys>) {
        self.tier.lent = keys;
    }

    /// Whether keys of files are lent.
    pub(in super::super) fn has_lent(&self) -> bool {
        self.tier.lent.is_some()
    }

    /// Takes back what was lent.
    pub fn take_lent(&mut self) -> Option<FileKeys> {
        self.tier.lent.take()
    }

    /// Walks keys in the order from `cursor` on, resident ones and those only files have, one home bucket after the other,
    /// until `go_on` says `false` at the end of one. Shows every record, absent and expired ones too; a key of files that has
    /// no record is shown as it is there. Returns where to go on, 0 at the end. When the files would have to be asked, notes
    /// that as [`Missed`], with `count`, and returns `cursor` or what it came to.
    pub(in super::super) fn walk_tiers(
        &self,
        cursor: u64,
        show: &mut dyn FnMut(Met<'_>),
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Walked {
        if self.tier.complete {
            let next = self.table.walk_ordered(cursor, &mut |records| {
                records
                    .iter()
                    .for_each(|&(_, at)| show(Met::Resident(self.table.rec(at))));
                go_on(records.len())
            });
            return Walked::Upto(next);
        }
        let Some(lent) = self.tier.lent.as_ref().filter(|lent| lent.covers(cursor)) else {
            return Walked::Unknown(cursor);
        };
        let mut from = cursor;
        loop {
            // One home bucket at a time, to know its bounds.
            let mut resident: Vec<(u64, SlabRef)> = Vec::new();
            let next = self.table.walk_ordered(from, &mut |records| {
                resident.extend_from_slice(records);
                false
            });
            let end = match (lent.to_ord, next) {
                (Some(to), 0) => Some(to),
                (Some(to), next) => Some(to.min(next)),
                (None, 0) => None,
                (None, next) => Some(next),
            };
            resident.retain(|&(ord, _)| end.is_none_or(|end| ord < end));
            let cold = lent.between(from, end);
            self.show_merged(&resident, cold, show);
            let shown = resident.len() + cold.len();
            match end {
                None => return Walked::Upto(0),
                Some(end) if !go_on(shown) || !lent.covers(end) => return Walked::Upto(end),
                Some(end) => from = end,
            }
        }
    }

    /// Shows resident records and the keys of files that have none, in the order of keys.
    fn show_merged(&self, resident: &[(u64, SlabRef)], cold: &[FileKey], show: &mut dyn FnMut(Met<'_>)) {
        let mut cold = cold
            .iter()
            .filter(|k| self.table.find(self.table.hash(&k.key), &k.key).is_none())
            .peekable();
        for &(ord, at) in resident {
            while let Some(key) = cold.next_if(|k| k.ord < ord) {
                show(Met::File(key));
            }
            show(Met::Resident(self.table.rec(at)));
        }
        cold.for_each(|key| show(Met::File(key)));
    }

    /// Whether something was looked for that only the files know.
    pub fn has_missed(&self) -> bool {
        self.tier.missed.is_some()
    }

    /// Notes that a walk needs the files from `from_ord` on.
    pub(in super::super) fn miss_range(&mut self, from_ord: u64, count: usize) {
        self.tier.missed.get_or_insert(Missed::Range { from_ord, count });
    }
}

/// Where a walk ended.
pub(in super::super) enum Walked {
    /// Go on here; 0: the end.
    Upto(u64),
    /// What files have from here on has to be fetched first.
    Unknown(u64),
}
