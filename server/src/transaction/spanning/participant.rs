//! Transactions over cores on a core concerned: it holds, carries out its part, keeps its copy, and goes on.

use std::iter;

use slotcore_engine::cmd::op::decode_op;
use slotcore_engine::cmd::transaction::{Step, carrier};
use slotcore_engine::cmd::{Run, by_id};
use slotcore_netio::ConnId;
use slotcore_rt::ids::FrameNo;

use super::super::watches::watcher;
use super::plan::SPANNING_BYTES_MAX;
use super::{Keep, Verdict, Wanted};
use crate::batch::Who;
use crate::commands::refusals::DISK_FULL;
use crate::core_state::CoreState;
use crate::dispatch::refuse_now;
use crate::parcel::{Asker, How, Note};
use crate::requests_ahead::Request;

/// Bytes that only files have, as far as is known without reading them, of a core that exchanges databases: it reads those of
/// the two databases at one moment, and nothing can be flushed and evicted meanwhile.
const SWAPPED_FROM_FILES_BYTES_MAX: u64 = SPANNING_BYTES_MAX as u64;
const TOO_MUCH_TO_SWAP: &str = "ERR SWAPDB exchanges what lies in memory: a core has more than 64 MiB in files alone";

impl CoreState {
    /// Takes in what a core says about a transaction over cores.
    pub(crate) fn take_note(&mut self, from: u16, note: Note) {
        match note {
            Note::Hold(wanted) => self.holds.want(wanted),
            Note::Held { part, verdict } => self.hold_answered(part, verdict),
            Note::Carry {
                part,
                conn,
                how,
                operation,
            } => self.carry_for(from, Asker { conn, part }, how, &operation),
            Note::Kept { part } => self.spanning_kept(part),
            Note::Release {
                part,
                conn,
                ends_watches,
            } => self.let_go(from, part, ends_watches.then_some(conn)),
            Note::Wait { part, what } => self.take_wait_note(from, part, what),
            Note::Arrival(_)
            | Note::HandOver(..)
            | Note::Script(_)
            | Note::WantSnapshot(_)
            | Note::Snapshot(..)
            | Note::WantCopies { .. }
            | Note::Copies { .. }
            | Note::EnoughCopies(_) => {
                unreachable!("not about transactions")
            }
        }
    }

    /// True while no commands are taken.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.holds.is_held()
    }

    /// True when a transaction over cores waits for nothing but the next turn.
    pub fn hold_is_due(&self) -> bool {
        self.holds.is_due(self.nothing_unapplied())
    }

    fn nothing_unapplied(&self) -> bool {
        self.proposed.is_empty() && self.batch.is_empty()
    }

    /// Goes on with the transaction that wants this core: from here on no commands are taken, and once all that were are
    /// applied its coordinator is told. `has_room`: whether the log takes an entry of that many bytes.
    pub fn advance_hold(&mut self, has_room: impl FnMut(usize) -> bool) {
        if !self.holds.is_wanted() {
            return;
        }
        let Some(wanted) = self.holds.next() else { return };
        if !self.nothing_unapplied() {
            return;
        }
        let verdict = self.judge(&wanted, has_room);
        self.holds.decide(verdict);
        let part = wanted.part;
        self.tell(wanted.from, Note::Held { part, verdict });
    }

    fn judge(&mut self, wanted: &Wanted, mut has_room: impl FnMut(usize) -> bool) -> Verdict {
        // All that happens while the core is held happens at this moment.
        self.last_stamp_ms = self.last_stamp_ms.max(self.now.wall_ms()).max(self.keyspace.now_ms());
        if wanted.watches {
            let who = watcher(wanted.from, wanted.conn);
            if !self.keyspace.is_complete() {
                self.watches.make_all_known(&mut self.keyspace);
            }
            let unchanged = self.watches.is_unchanged(&mut self.keyspace, who, self.last_stamp_ms);
            // Nothing was read.
            self.keyspace.take_needs_tick();
            if !unchanged {
                return Verdict::Changed;
            }
        }
        if !wanted.writes {
            return Verdict::Held { room: 0 };
        }
        if let Some(text) = refuse_now(carrier(true, wanted.grows), self.write_barrier) {
            return Verdict::Refused(text);
        }
        if wanted.swaps && self.bytes_in_files() > SWAPPED_FROM_FILES_BYTES_MAX {
            return Verdict::Refused(TOO_MUCH_TO_SWAP);
        }
        if !has_room(wanted.bytes) {
            return Verdict::Refused(DISK_FULL);
        }
        // What is brought together is measured against it once it is known.
        let mut sizes = iter::successors(Some(2 * SPANNING_BYTES_MAX), |bytes| {
            Some(bytes / 2).filter(|half| *half > 0)
        });
        Verdict::Held {
            room: sizes.find(|bytes| has_room(*bytes)).unwrap_or(0),
        }
    }

    /// Carries out this core's part, or puts it into the batch.
    fn carry_for(&mut self, from: u16, asker: Asker, how: How, operation: &[u8]) {
        let mut spans = Vec::new();
        let (number, _) = decode_op(operation, &mut spans).expect("encoded by a core of this process");
        let spec = by_id(number).expect("encoded by a core of this process");
        if matches!(spec.run, Run::Transaction(Step::CarryPart)) {
            // Another core may have it in its log already: it cannot be refused any more.
            self.batch.push_encoded_write(Who::Core(from, asker, how), operation);
            self.core_waits(from, asker, how);
            self.holds.gathered();
            return;
        }
        self.run_for_other(from, &Request::alone(asker, how, spec), operation, &spans);
    }

    /// The core is released. `watched_by`: the connection does not watch keys any more.
    fn let_go(&mut self, from: u16, part: u32, watched_by: Option<ConnId>) {
        self.holds.release(from, part);
        if let Some(conn) = watched_by
            && !self.watches.is_empty()
        {
            self.forget_here(watcher(from, conn));
        }
    }

    /// True when the oldest batch must not be refused: it holds a copy.
    pub fn holds_copy(&self) -> bool {
        self.holds.keep() != Keep::Nothing
    }

    /// Everything that was proposed is in the log up to `appended`: true when the log shall be made durable now.
    pub fn copy_appended(&mut self, appended: FrameNo) -> bool {
        let in_log = self.outbox.is_empty() && self.batch.is_empty();
        if self.holds.keep() != Keep::Gathered || !in_log {
            return false;
        }
        self.holds.in_frame(appended);
        true
    }

    /// The log is durable up to here.
    pub fn copy_durable(&mut self, durable: FrameNo) {
        if let Some(wanted) = self.holds.kept(durable) {
            let part = wanted.part;
            self.tell(wanted.from, Note::Kept { part });
        }
    }
}
