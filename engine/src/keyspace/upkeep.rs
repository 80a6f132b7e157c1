//! Work in the background of commands, in slices: removing expired keys, freeing memory. And how much there is.

use super::field_timers::FieldTimers;
use super::object::{CHUNK_STEPS, Objects};
use super::{EventClasses, Keyspace, KeyspaceStats, MemoryUse};
use crate::database::Counts;
use crate::expiry::{TimerId, Wheel};
use crate::table::{ObjTable, SlabRef};

/// A cleared table on its way out.
pub(super) struct Retired {
    table: ObjTable,
    objects: Objects,
}

impl Keyspace {
    /// Removes all keys, in constant time; the memory comes back through [`Keyspace::free_work`].
    pub fn clear(&mut self) {
        self.note(EventClasses::CLEARED, "cleared", b"");
        let table = std::mem::replace(&mut self.table, ObjTable::new(self.opts.hash_seed));
        let objects = std::mem::take(&mut self.objects);
        self.wheel = Wheel::default();
        self.volatile = Counts::default();
        self.field_timers = FieldTimers::default();
        self.retired.push(Retired { table, objects });
        self.clear_tier();
        self.forget_uses();
        self.waiters.signal_all_gone();
    }

    /// Removes keys and fields of hashes whose expiry the group clock has reached, at most `budget` steps of work. Returns the steps done;
    /// fewer than `budget` means that nothing is left to do now.
    pub fn expire_work(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while let Some((timer, owner)) = self.wheel.pop_due(self.clock_ms, &mut left) {
            self.timer_fired(timer, SlabRef(owner));
        }
        self.expire_fields(&mut left);
        budget - left
    }

    fn timer_fired(&mut self, timer: TimerId, owner: SlabRef) {
        let expire = self
            .table
            .rec(owner)
            .expire()
            .expect("a record with a timer is volatile");
        if expire > self.clock_ms {
            // The expiry moved to a later time, which leaves the timer alone.
            return self.wheel.rearm(timer, expire);
        }
        let (hash, spot) = self.table.locate(owner);
        let key = self.table.key(self.table.rec(spot.at)).to_vec();
        self.remove_expired(hash, spot, &key);
    }

    /// When [`Keyspace::expire_work`] should next be called, in milliseconds since 1970; `None` when nothing ever
    /// expires.
    pub fn next_deadline(&self) -> Option<u64> {
        let deadlines = [self.wheel.next_deadline_ms(), self.field_timers.next_deadline_ms()];
        deadlines.into_iter().flatten().min()
    }

    /// Frees memory of deleted values and of cleared tables, and moves records together where deletes left holes; about
    /// `budget` steps of work (a step is about 100 ns). Returns the steps done; fewer than `budget` means that nothing is
    /// left.
    pub fn free_work(&mut self, budget: usize) -> usize {
        let mut done = 0;
        while done < budget {
            let waiting = self.graveyard.len();
            let steps = self.graveyard.free_some(budget - done);
            self.stats.freed_in_slices += (waiting - self.graveyard.len()) as u64;
            done += if steps > 0 { steps } else { self.free_retired() };
            if steps == 0 && self.retired.is_empty() {
                break;
            }
        }
        if done >= budget {
            return done;
        }
        let Self { table, wheel, .. } = self;
        done + table.compact(budget - done, &mut |rec, at| {
            if rec.is_volatile() {
                wheel.set_owner(rec.timer(), at.0);
            }
        })
    }

    /// One step of freeing a cleared table. Returns the steps it counts for.
    fn free_retired(&mut self) -> usize {
        let Some(last) = self.retired.last_mut() else { return 0 };
        if let Some(object) = last.objects.pop() {
            self.graveyard.bury(object);
            return 1;
        }
        if !last.table.free_some() {
            self.retired.pop();
        }
        CHUNK_STEPS
    }

    /// Memory in use.
    pub fn memory(&self) -> MemoryUse {
        let retired = |r: &Retired| r.table.index_memory() + r.table.record_memory() + r.objects.memory();
        MemoryUse {
            index: self.table.index_memory(),
            records: self.table.record_memory(),
            objects: self.objects.memory() + self.tier.frozen_bytes(),
            timers: self.wheel.memory() + self.field_timers.memory(),
            garbage_objects: self.graveyard.len() + self.retired.len(),
            garbage: self.graveyard.memory() + self.retired.iter().map(retired).sum::<usize>(),
        }
    }

    /// Bytes that `key` and its value take, index included.
    pub fn key_memory(&mut self, key: &[u8]) -> Option<usize> {
        let spot = self.look(self.key_hash(key), key)?;
        let rec = self.table.rec(spot.at);
        Some(self.bytes_of(rec, spot.at))
    }

    /// Counters since the start.
    pub fn stats(&self) -> KeyspaceStats {
        self.stats
    }

    /// Sets the counters to zero (CONFIG RESETSTAT).
    pub fn reset_stats(&mut self) {
        self.stats = KeyspaceStats::default();
    }
}
