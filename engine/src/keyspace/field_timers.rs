//! [`FieldTimers`]: when to look for due fields in which hash.
//!
//! A timer a hash, at the earliest moment of its fields: it may fire early, never late, like those of the [`Wheel`] it lies
//! in, so a field that lives longer or is deleted need not touch it. A hash is named by its object, which never moves, and
//! its key is kept beside, so that a hash whose last field went can be removed.

use crate::expiry::{TimerId, Wheel};
use crate::table::Id;
use std::collections::BTreeMap;

struct Timed {
    timer: TimerId,
    /// What the timer was armed for, milliseconds since 1970.
    at_ms: u64,
    key: Box<[u8]>,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct FieldTimers {
    /// Made with the first timer.
    wheel: Option<Box<Wheel>>,
    by_object: BTreeMap<u32, Timed>,
    /// Bytes of all keys.
    key_bytes: usize,
}

impl FieldTimers {
    /// The earliest moment in the hash `id`, which is at `key`, may have become `at_ms`. `clock_ms`: the group's clock.
    pub(super) fn set(&mut self, id: Id, key: &[u8], at_ms: u64, clock_ms: u64) {
        let wheel = self.wheel.get_or_insert_default();
        if let Some(timed) = self.by_object.get_mut(&id.0) {
            if *timed.key != *key {
                self.key_bytes = self.key_bytes - timed.key.len() + key.len();
                timed.key = key.into();
            }
            if at_ms < timed.at_ms {
                wheel.rearm(timed.timer, at_ms);
                timed.at_ms = at_ms;
            }
            return;
        }
        wheel.skip_to(clock_ms);
        let timed = Timed {
            timer: wheel.arm(at_ms, id.0),
            at_ms,
            key: key.into(),
        };
        self.key_bytes += key.len();
        self.by_object.insert(id.0, timed);
    }

    /// The hash `id` is gone, or has no field that expires.
    pub(super) fn forget(&mut self, id: Id) {
        if let (Some(timed), Some(wheel)) = (self.by_object.remove(&id.0), &mut self.wheel) {
            wheel.cancel(timed.timer);
            self.key_bytes -= timed.key.len();
        }
    }

    /// A hash that may have due fields; it waits for [`FieldTimers::again`] or [`FieldTimers::forget`]. Costs one of `budget`,
    /// as does preparing later ones.
    pub(super) fn pop_due(&mut self, clock_ms: u64, budget: &mut usize) -> Option<Id> {
        let (_, owner) = self.wheel.as_mut()?.pop_due(clock_ms, budget)?;
        Some(Id(owner))
    }

    /// The hash `id`, which [`FieldTimers::pop_due`] gave, is to be looked at again at `at_ms`.
    pub(super) fn again(&mut self, id: Id, at_ms: u64) {
        if let (Some(timed), Some(wheel)) = (self.by_object.get_mut(&id.0), &mut self.wheel) {
            wheel.rearm(timed.timer, at_ms);
            timed.at_ms = at_ms;
        }
    }

    /// The key of the hash `id`.
    pub(super) fn key(&self, id: Id) -> Option<&[u8]> {
        self.by_object.get(&id.0).map(|timed| &*timed.key)
    }

    /// When [`FieldTimers::pop_due`] has something to do next, milliseconds since 1970.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.wheel.as_ref()?.next_deadline_ms()
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let wheel = self.wheel.as_ref().map_or(0, |wheel| wheel.memory());
        wheel + self.by_object.len() * (size_of::<u32>() + size_of::<Timed>()) + self.key_bytes
    }
}
