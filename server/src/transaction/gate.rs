//! [`Gate`]: transactions of connections that watch keys, on the core that owns these, until it is known whether a watched
//! key has been changed.

use std::collections::VecDeque;

use super::watches::{Watches, watcher};
use crate::parcel::{Asker, How};

/// How often a transaction is put off because its keys may have been written again while it waited. After that it fails,
/// as if one had been changed: writes that change nothing could hold it up for ever.
const ROUNDS_MAX: u8 = 8;

/// A transaction that waits.
#[derive(Debug)]
pub struct Held {
    /// The core of the connection.
    pub from: u16,
    /// The connection.
    pub asker: Asker,
    /// How it wants to be answered.
    pub how: How,
    /// The transaction, encoded as an operation.
    pub operation: Vec<u8>,
    /// The batch that must be applied first.
    until: u64,
    rounds: u8,
}

/// What becomes of a transaction that has waited.
#[derive(Debug)]
pub enum Passed {
    /// No watched key was changed, and no batch can change one any more: it must be put into the batch at once.
    Go(Held),
    /// A key was changed.
    Failed(Held),
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Gate {
    held: VecDeque<Held>,
}

impl Gate {
    /// True when nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// True when somebody waits who need not wait any longer. `unapplied`: the oldest batch that is not applied.
    pub fn is_due(&self, unapplied: u64) -> bool {
        self.held.iter().any(|held| held.until < unapplied)
    }

    /// A transaction has come. `own`: the last batch that holds a command of its own connection, 0 for none.
    pub fn hold(&mut self, from: u16, asker: Asker, how: How, operation: &[u8], own: u64) {
        self.held.push_back(Held {
            from,
            asker,
            how,
            operation: operation.to_vec(),
            until: own,
            rounds: 0,
        });
    }

    /// The next transaction whose fate is decided. `unapplied`: as in [`Gate::is_due`]; `unchanged`: whether no applied
    /// write has changed what it watches.
    pub fn next(
        &mut self,
        watches: &Watches,
        unapplied: u64,
        mut unchanged: impl FnMut(&Held) -> bool,
    ) -> Option<Passed> {
        let mut at = 0;
        while at < self.held.len() {
            let held = &mut self.held[at];
            if held.until >= unapplied {
                at += 1;
                continue;
            }
            if !unchanged(held) || held.rounds == ROUNDS_MAX {
                return self.held.remove(at).map(Passed::Failed);
            }
            let last_write = watches.last_write(watcher(held.from, held.asker.conn));
            if last_write < unapplied {
                return self.held.remove(at).map(Passed::Go);
            }
            (held.until, held.rounds) = (last_write, held.rounds + 1);
            at += 1;
        }
        None
    }
}
