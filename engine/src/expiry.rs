//! [`Wheel`]: the timers of volatile keys, a hierarchical timing wheel in the group clock's time.
//!
//! ```text
//! level 0: slots of 8 ms | 1: 2 s | 2: 9 min | 3: 37 h | 4: 397 days     256 slots make one slot of the level above
//! ```
//! A level has room for two slots of the level above, so that the timers of the next one can come down *before* their time:
//! [`Wheel::pop_due`] moves them with the budget that firing leaves over, and no call has to move them all at once. A timer
//! lies at the lowest level that reaches it. Arming and cancelling are constant time, a timer costs 16 bytes and is never
//! stale.
//!
//! A timer may fire early, never late: whoever owns it compares the expiry itself. So an expiry that moves to a later time
//! need not touch the wheel. Timers that lie beyond [`TICK_END`] do not fire.

/// Granularity, in milliseconds: keys are removed at most this long after they expired.
pub const TICK_MS: u64 = 8;

const LEVELS: usize = 5;
/// Bits by which a slot is narrower than one of the next level.
const LEVEL_BITS: usize = 8;
/// Slots of a level: twice what makes one slot of the next.
const SLOTS: usize = 2 << LEVEL_BITS;
/// The last tick, which is never reached: the year 2248.
const TICK_END: u64 = (1 << (LEVEL_BITS * LEVELS)) - 1;
const NONE: u32 = u32::MAX;
/// Marks, in a timer's `prev`, that it is the first of the slot in the low bits.
const FIRST: u32 = 1 << 31;
/// Marks a timer that lies in no slot.
const DETACHED: u32 = NONE - 1;
/// Timers in a block: the memory for timers grows without moving them.
const BLOCK: usize = 4096;
/// Timers looked at for one in use, from a random one on.
const PICK_STEPS: u32 = 4096;

/// A timer. Ids are reused after [`Wheel::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(pub u32);

#[derive(Clone, Copy)]
struct Timer {
    /// What to look at when the timer fires: a record reference.
    owner: u32,
    /// The low bits of the tick it fires at; the slot has the others.
    tick: u32,
    next: u32,
    prev: u32,
}

/// See the module's text.
pub struct Wheel {
    now: u64,
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    /// A bit for each slot that holds a timer.
    used: [[u64; SLOTS / 64]; LEVELS],
    blocks: Vec<Box<[Timer; BLOCK]>>,
    made: u32,
    free: u32,
    len: u64,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            now: 0,
            heads: Box::new([[NONE; SLOTS]; LEVELS]),
            used: [[0; SLOTS / 64]; LEVELS],
            blocks: Vec::new(),
            made: 0,
            free: NONE,
            len: 0,
        }
    }
}

/// The number of the slot of `level` in which `tick` lies, counted from tick 0.
fn slot_no(tick: u64, level: usize) -> u64 {
    tick >> (LEVEL_BITS * level)
}

impl Wheel {
    /// Number of timers.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<Timer>() + size_of_val(&*self.heads)
    }

    fn timer(&self, id: u32) -> &Timer {
        &self.blocks[id as usize / BLOCK][id as usize % BLOCK]
    }

    fn timer_mut(&mut self, id: u32) -> &mut Timer {
        &mut self.blocks[id as usize / BLOCK][id as usize % BLOCK]
    }

    /// Moves an empty wheel to the clock, so that the first timers need not come down level by level.
    pub fn skip_to(&mut self, clock_ms: u64) {
        if self.is_empty() {
            self.now = self.now.max(clock_ms / TICK_MS);
        }
    }

    /// A new timer that fires when the clock reaches `at_ms`.
    pub fn arm(&mut self, at_ms: u64, owner: u32) -> TimerId {
        let id = if self.free != NONE {
            let id = self.free;
            self.free = self.timer(id).next;
            id
        } else {
            let id = self.made;
            if id as usize == self.blocks.len() * BLOCK {
                self.blocks.push(Box::new(
                    [Timer {
                        owner: 0,
                        tick: 0,
                        next: NONE,
                        prev: DETACHED,
                    }; BLOCK],
                ));
            }
            self.made += 1;
            id
        };
        self.len += 1;
        self.timer_mut(id).owner = owner;
        self.place(id, at_ms.div_ceil(TICK_MS));
        TimerId(id)
    }

    /// Lets the timer fire at another time. It may have fired.
    pub fn rearm(&mut self, id: TimerId, at_ms: u64) {
        self.unlink(id.0);
        self.place(id.0, at_ms.div_ceil(TICK_MS));
    }

    /// Removes the timer. It may have fired.
    pub fn cancel(&mut self, id: TimerId) {
        self.unlink(id.0);
        let free = std::mem::replace(&mut self.free, id.0);
        self.timer_mut(id.0).next = free;
        self.len -= 1;
    }

    /// The timer's owner has moved.
    pub fn set_owner(&mut self, id: TimerId, owner: u32) {
        self.timer_mut(id.0).owner = owner;
    }

    /// The owner of a timer chosen by `seed`, each about equally likely; `None` when hardly any of the timers made so far is
    /// in use.
    pub fn pick(&self, seed: u64) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let first = (seed % u64::from(self.made)) as u32;
        let near =
            (0..self.made.min(PICK_STEPS)).map(|step| (u64::from(first) + u64::from(step)) % u64::from(self.made));
        let mut timers = near.map(|id| self.timer(id as u32));
        timers.find(|timer| timer.prev != DETACHED).map(|timer| timer.owner)
    }

    /// A timer that is due when the clock shows `clock_ms`, with its owner; it is in no slot any more and waits for
    /// [`Wheel::rearm`] or [`Wheel::cancel`]. `None` when none is due or `budget` is used up: each timer fired or moved
    /// down costs one.
    pub fn pop_due(&mut self, clock_ms: u64, budget: &mut usize) -> Option<(TimerId, u32)> {
        let target = (clock_ms / TICK_MS).min(TICK_END - 1);
        while *budget > 0 {
            if self.move_down(0) {
                *budget -= 1;
                continue;
            }
            let due = self.heads[0][self.now as usize % SLOTS];
            if due != NONE && self.now <= target {
                *budget -= 1;
                self.unlink(due);
                return Some((TimerId(due), self.timer(due).owner));
            }
            if let Some(tick) = self.next_tick().filter(|&tick| tick <= target) {
                self.now = tick;
                continue;
            }
            self.now = self.now.max(target);
            if !self.move_down(1) {
                return None;
            }
            *budget -= 1;
        }
        None
    }

    /// When [`Wheel::pop_due`] has something to do next, milliseconds since 1970: the earliest timer, or moving down
    /// those that come soon.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let pending = self.slot_with_timers(0).is_some() || self.heads[0][self.now as usize % SLOTS] != NONE;
        let soon = self.slot_with_timers(1).map(|_| self.now + 1);
        let tick = if pending {
            Some(self.now)
        } else {
            soon.or_else(|| self.next_tick())
        };
        tick.map(|t| t * TICK_MS)
    }

    /// The highest slot above level 0, `ahead` slots from the current one of its level, that holds timers.
    fn slot_with_timers(&self, ahead: u64) -> Option<(usize, u64)> {
        let slots = (1..LEVELS).rev().map(|level| (level, slot_no(self.now, level) + ahead));
        slots
            .into_iter()
            .find(|&(level, slot)| self.heads[level][slot as usize % SLOTS] != NONE)
    }

    /// Moves one timer of such a slot to a lower level; `false` when there is none.
    fn move_down(&mut self, ahead: u64) -> bool {
        let Some((level, slot)) = self.slot_with_timers(ahead) else {
            return false;
        };
        let id = self.heads[level][slot as usize % SLOTS];
        self.unlink(id);
        let shift = LEVEL_BITS * level;
        let low = u64::from(self.timer(id).tick) & ((1 << shift) - 1);
        self.place(id, slot << shift | low);
        true
    }

    /// The next tick after the current one at which a slot with timers begins.
    fn next_tick(&self) -> Option<u64> {
        let begin = |level: usize| {
            let current = slot_no(self.now, level);
            let ahead = self.next_used(level, current as usize % SLOTS)?;
            Some((current + ahead) << (LEVEL_BITS * level))
        };
        (0..LEVELS).filter_map(begin).min()
    }

    /// How many slots after `slot`, around the end, the next used one is.
    fn next_used(&self, level: usize, slot: usize) -> Option<u64> {
        let words = &self.used[level];
        let from = slot + 1;
        // One word more than there are: the first is looked at again for its low bits, which lie farthest.
        (0..=words.len()).find_map(|i| {
            let word = (from / 64 + i) % words.len();
            let mask = if i == 0 { u64::MAX << (from % 64) } else { u64::MAX };
            let bits = words[word] & mask;
            let found = word * 64 + bits.trailing_zeros() as usize;
            (bits != 0 && found != slot).then(|| ((found + SLOTS - slot) % SLOTS) as u64)
        })
    }

    fn place(&mut self, id: u32, tick: u64) {
        let tick = tick.clamp(self.now, TICK_END);
        let reaches = |&level: &usize| slot_no(tick, level + 1) - slot_no(self.now, level + 1) <= 1;
        let level = (0..LEVELS).find(reaches).expect("the highest level reaches TICK_END");
        let slot = slot_no(tick, level) as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[level][slot], id);
        let first = FIRST | (level * SLOTS + slot) as u32;
        let timer = self.timer_mut(id);
        (timer.tick, timer.next, timer.prev) = (tick as u32, head, first);
        if head != NONE {
            self.timer_mut(head).prev = id;
        }
        self.used[level][slot / 64] |= 1 << (slot % 64);
    }

    fn unlink(&mut self, id: u32) {
        let Timer { next, prev, .. } = *self.timer(id);
        if prev == DETACHED {
            return;
        }
        if next != NONE {
            self.timer_mut(next).prev = prev;
        }
        if prev & FIRST == 0 {
            self.timer_mut(prev).next = next;
        } else {
            let at = (prev & !FIRST) as usize;
            let (level, slot) = (at / SLOTS, at % SLOTS);
            self.heads[level][slot] = next;
            if next == NONE {
                self.used[level][slot / 64] &= !(1 << (slot % 64));
            }
        }
        let timer = self.timer_mut(id);
        (timer.next, timer.prev) = (NONE, DETACHED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn step(x: &mut u64) -> u64 {
        *x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *x >> 20
    }

    /// Fires everything due; owners in the order fired.
    fn fire(wheel: &mut Wheel, clock_ms: u64, budget: usize) -> Vec<u32> {
        let mut fired = Vec::new();
        loop {
            let mut left = budget;
            while let Some((id, owner)) = wheel.pop_due(clock_ms, &mut left) {
                fired.push(owner);
                wheel.cancel(id);
            }
            if left > 0 {
                return fired;
            }
        }
    }

    #[test]
    fn timers_fire_in_time_and_not_before() {
        let mut wheel = Wheel::default();
        let (mut rng, mut clock) = (7, 1_700_000_000_000u64);
        fire(&mut wheel, clock, 1);
        let mut model: BTreeMap<u32, (u64, TimerId)> = BTreeMap::new();
        for round in 0..8_000u32 {
            let r = step(&mut rng);
            let span = [20, 3_000, 600_000, 100_000_000, 50_000_000_000][r as usize % 5];
            let at = clock + step(&mut rng) % span;
            match r / 8 % 4 {
                0 | 1 => assert!(model.insert(round, (at, wheel.arm(at, round))).is_none()),
                2 => {
                    if let Some((&owner, &(_, id))) = model.range(step(&mut rng) as u32 % (round + 1)..).next() {
                        wheel.rearm(id, at);
                        model.insert(owner, (at, id));
                    }
                }
                _ => {
                    if let Some((&owner, &(_, id))) = model.range(step(&mut rng) as u32 % (round + 1)..).next() {
                        wheel.cancel(id);
                        model.remove(&owner);
                    }
                }
            }
            if r.is_multiple_of(16) {
                clock += step(&mut rng) % [10, 1_000, 2_000_000][step(&mut rng) as usize % 3];
                let mut fired = fire(&mut wheel, clock, 1 + r as usize % 7);
                fired.sort_unstable();
                let due = clock / TICK_MS * TICK_MS;
                let expected: Vec<u32> = model
                    .iter()
                    .filter(|(_, (at, _))| *at <= due)
                    .map(|(&o, _)| o)
                    .collect();
                assert_eq!(fired, expected, "at {clock}");
                fired.iter().for_each(|o| assert!(model.remove(o).is_some()));
                let earliest = model.values().map(|&(at, _)| at.div_ceil(TICK_MS) * TICK_MS).min();
                assert!(
                    wheel.next_deadline_ms() <= earliest && wheel.next_deadline_ms().is_some() == earliest.is_some()
                );
            }
            assert_eq!(wheel.len(), model.len() as u64);
        }
    }

    #[test]
    fn timers_of_years_come_down_level_by_level() {
        let mut wheel = Wheel::default();
        let far = [1u64 << 33, 3 << 33, (1 << 39) - 1].map(|tick| tick * TICK_MS + 3);
        for (i, &at) in far.iter().enumerate() {
            wheel.arm(at, i as u32);
        }
        wheel.arm(u64::MAX, 99);
        let mut fired = Vec::new();
        let mut clock = 0;
        while fired.len() < far.len() {
            clock = wheel.next_deadline_ms().expect("armed").max(clock + 1);
            let mut budget = 1;
            if let Some((id, owner)) = wheel.pop_due(clock, &mut budget) {
                assert!(
                    (far[owner as usize]..far[owner as usize] + TICK_MS + 2).contains(&clock),
                    "owner {owner} at {clock}"
                );
                fired.push(owner);
                wheel.cancel(id);
            }
        }
        assert_eq!(fired, [0, 1, 2]);
        assert_eq!(
            fire(&mut wheel, u64::MAX, 5),
            [0u32; 0],
            "the end of time is never reached"
        );
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    fn timers_come_down_before_they_are_due() {
        let mut wheel = Wheel::default();
        let block = TICK_MS << LEVEL_BITS;
        for i in 0..10_000 {
            wheel.arm(2 * block + i % block, i as u32);
        }
        // While the block before passes, spare budget moves them; then none is left to move at its start.
        (block / TICK_MS..2 * block / TICK_MS - 1).for_each(|tick| {
            let _ = wheel.pop_due(tick * TICK_MS, &mut 50);
        });
        assert!(wheel.slot_with_timers(0).or(wheel.slot_with_timers(1)).is_none());
        assert_eq!(fire(&mut wheel, 3 * block, 100).len(), 10_000);
    }

    #[test]
    fn memory_follows_the_number_of_timers_not_of_changes() {
        let mut wheel = Wheel::default();
        for i in 0..100_000u64 {
            let id = wheel.arm(1_000_000 + i, 0);
            wheel.rearm(id, 500_000 - i);
            wheel.cancel(id);
        }
        assert_eq!(wheel.blocks.len(), 1);
        assert!(wheel.is_empty() && wheel.next_deadline_ms().is_none());
    }
}
