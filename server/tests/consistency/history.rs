//! [`History`]: what all clients asked and were told, key by key; and [`Shared`], what they have in common meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::wait_until;
use crate::support::linearizable::Model;
use crate::support::models::{Counter, List, Register};
use crate::support::{Op, check};

/// Moments after which clients go on with other keys: histories of a key stay short.
const MOMENTS_OF_A_KEY: u64 = 1_500;

/// Calls by key.
pub type Calls<M> = BTreeMap<String, Vec<Op<<M as Model>::Call>>>;

/// See the module.
#[derive(Default)]
pub struct History {
    pub registers: Calls<Register>,
    pub counters: Calls<Counter>,
    pub lists: Calls<List>,
    /// Elements that were added to sets nobody takes from, by key: told that they are there.
    pub added: BTreeMap<String, BTreeSet<u32>>,
    /// The same without an answer.
    pub perhaps_added: BTreeMap<String, BTreeSet<u32>>,
}

fn merge<C>(into: &mut BTreeMap<String, Vec<Op<C>>>, from: BTreeMap<String, Vec<Op<C>>>) {
    for (key, calls) in from {
        into.entry(key).or_default().extend(calls);
    }
}

fn violations<M: Model>(calls: &Calls<M>, found: &mut Vec<String>) {
    found.extend(
        calls
            .iter()
            .filter_map(|(key, calls)| check::<M>(calls).err().map(|why| format!("{key}: {why}"))),
    );
}

impl History {
    /// Takes over another client's.
    pub fn take(&mut self, other: History) {
        merge(&mut self.registers, other.registers);
        merge(&mut self.counters, other.counters);
        merge(&mut self.lists, other.lists);
        for (key, elements) in other.added {
            self.added.entry(key).or_default().extend(elements);
        }
        for (key, elements) in other.perhaps_added {
            self.perhaps_added.entry(key).or_default().extend(elements);
        }
    }

    /// The set under `key` in the end.
    pub fn check_added(&self, key: &str, there: &BTreeSet<u32>) -> Result<(), String> {
        let none = BTreeSet::new();
        let added = self.added.get(key).unwrap_or(&none);
        let perhaps = self.perhaps_added.get(key).unwrap_or(&none);
        let lost: Vec<_> = added.difference(there).collect();
        let unknown: Vec<_> = there
            .iter()
            .filter(|one| !added.contains(one) && !perhaps.contains(one))
            .collect();
        match lost.is_empty() && unknown.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{key}: acknowledged and not there {lost:?}, there and never added {unknown:?}"
            )),
        }
    }

    /// Everything that no order explains.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        violations::<Register>(&self.registers, &mut found);
        violations::<Counter>(&self.counters, &mut found);
        violations::<List>(&self.lists, &mut found);
        found
    }

    /// Calls, and those of them that were never answered.
    pub fn counts(&self) -> (usize, usize) {
        fn of<C>(calls: &BTreeMap<String, Vec<Op<C>>>) -> (usize, usize) {
            let all = || calls.values().flatten();
            (all().count(), all().filter(|op| op.answered.is_none()).count())
        }
        let ((a, b), (c, d), (e, f)) = (of(&self.registers), of(&self.counters), of(&self.lists));
        let sizes = |sets: &BTreeMap<String, BTreeSet<u32>>| sets.values().map(BTreeSet::len).sum::<usize>();
        let (added, perhaps) = (sizes(&self.added), sizes(&self.perhaps_added));
        (a + c + e + added + perhaps, b + d + f + perhaps)
    }
}

/// The writes of one core's keys: when the last one was acknowledged, and the longest time without.
#[derive(Default)]
struct Acknowledged {
    last_us: AtomicU64,
    longest_us: AtomicU64,
}

/// What clients share. A moment is a number that is never given out twice.
pub struct Shared {
    moment: AtomicU64,
    value: AtomicU32,
    ended: AtomicBool,
    began: Instant,
    cores: Vec<Acknowledged>,
}

impl Shared {
    pub fn new(cores: u16) -> Self {
        Self {
            moment: AtomicU64::new(0),
            // 0 is nobody's.
            value: AtomicU32::new(1),
            ended: AtomicBool::new(false),
            began: Instant::now(),
            cores: (0..cores).map(|_| Acknowledged::default()).collect(),
        }
    }

    pub fn now(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// A value that nobody else writes.
    pub fn value(&self) -> u32 {
        self.value.fetch_add(1, Ordering::SeqCst)
    }

    /// Which keys are in use now.
    pub fn epoch(&self) -> u64 {
        self.moment.load(Ordering::SeqCst) / MOMENTS_OF_A_KEY
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Waits until clients have got on.
    pub fn let_pass(&self, moments: u64) {
        let until = self.moment.load(Ordering::SeqCst) + moments;
        wait_until("clients get on", || {
            thread::yield_now();
            self.moment.load(Ordering::SeqCst) >= until
        });
    }

    fn since_began_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// A write of a key of `core` was acknowledged just now.
    pub fn acknowledged(&self, core: u16) {
        let acknowledged = &self.cores[usize::from(core)];
        let now = self.since_began_us();
        let before = acknowledged.last_us.swap(now, Ordering::SeqCst);
        acknowledged
            .longest_us
            .fetch_max(now.saturating_sub(before), Ordering::SeqCst);
    }

    /// The longest time without an acknowledged write of a key of `core` in which `blow` lies, once there is one again.
    pub fn silence_around(&self, core: u16, blow: impl FnOnce()) -> Duration {
        let acknowledged = &self.cores[usize::from(core)];
        acknowledged.longest_us.store(0, Ordering::SeqCst);
        blow();
        let since = self.since_began_us();
        wait_until("writes are acknowledged again", || {
            thread::yield_now();
            acknowledged.last_us.load(Ordering::SeqCst) > since
        });
        Duration::from_micros(acknowledged.longest_us.load(Ordering::SeqCst))
    }
}
