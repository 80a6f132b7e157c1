//! Space: which segments may be used again, and what to do when too many may not.

use slotcore_rt::ids::{FrameNo, GroupSlot, LogIndex};

use super::writer::{CoreLog, Held};

/// Share of a segment below which its live entries are cheaper to write again than to keep: 1/20.
const RESIDUE_DIVISOR: u64 = 20;

/// What would let the oldest segment go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GcAdvice {
    /// The log is within its target.
    Nothing,
    /// Little is left in the oldest segment: append these entries again as [`Record::Rewrite`](super::Record::Rewrite).
    Rewrite(Vec<(GroupSlot, LogIndex)>),
    /// This group keeps most of the oldest segment: make its state durable elsewhere, then purge up to `upto`.
    Purge {
        /// The group.
        group: GroupSlot,
        /// Its newest entry in that segment.
        upto: LogIndex,
    },
}

impl CoreLog {
    /// Bytes of all segments of the chain.
    pub fn live_bytes(&self) -> u64 {
        self.segments.live.len() as u64 * self.opts.segment_bytes
    }

    /// What the owner of the groups should do about a log above its target.
    pub fn gc_advice(&self) -> GcAdvice {
        if self.live_bytes() <= self.opts.log_bytes_target || self.segments.live.len() < 2 {
            return GcAdvice::Nothing;
        }
        let Some(oldest) = self.segments.live.front() else {
            return GcAdvice::Nothing;
        };
        if oldest.entries == 0 {
            return GcAdvice::Nothing;
        }
        if oldest.entry_bytes < self.opts.segment_bytes / RESIDUE_DIVISOR {
            let all = self
                .groups()
                .flat_map(|(slot, g)| g.indices_in(oldest.id).map(move |(index, _)| (slot, index)));
            return GcAdvice::Rewrite(all.collect());
        }
        let residue = |(slot, group): (GroupSlot, &super::GroupLog)| {
            let mut upto = None;
            let mut bytes = 0;
            for (index, loc) in group.indices_in(oldest.id) {
                (upto, bytes) = (Some(index), bytes + loc.payload_len());
            }
            Some((bytes, slot, upto?))
        };
        match self.groups().filter_map(residue).max_by_key(|&(bytes, ..)| bytes) {
            Some((_, group, upto)) => GcAdvice::Purge { group, upto },
            None => GcAdvice::Nothing,
        }
    }

    /// Gives back the oldest segments that nobody needs. One is free when no entry lives in it, when the records that
    /// made it so are durable, and when a later checkpoint is: only then can no recovery want to read it.
    pub(crate) fn free_segments(&mut self) {
        let durable = self.flights.durable();
        if matches!(self.held, Held::Until(ckpt_end) if durable >= ckpt_end) {
            self.held = Held::Nothing;
            self.segments.release_held();
        }
        while self.segments.live.len() > 1 {
            let later_ckpt = self.segments.live.iter().skip(1).any(|s| s.ckpt_end <= durable);
            let appended = self.builder.last_frame();
            let oldest = self.segments.live.front_mut().expect("just counted");
            if oldest.entries > 0 {
                return;
            }
            let after: FrameNo = *oldest.free_after.get_or_insert(appended);
            if durable < after || !later_ckpt {
                // With rare or no flushes space would otherwise never come back.
                self.flights.want_durable(appended);
                return;
            }
            self.segments.retire_oldest();
        }
    }
}
