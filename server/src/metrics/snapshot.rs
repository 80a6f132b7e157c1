//! [`CoreSnapshot`]: a core's metrics at one moment, and [`SnapshotSlot`], where the core leaves it for others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use slotcore_rt::ids::CoreId;

use crate::group_facts::GroupFacts;

use super::{ConnFacts, CoreFacts, CoreMetrics, DataFacts};

/// A core's metrics at one moment.
#[derive(Clone, Debug)]
pub struct CoreSnapshot {
    /// Which core.
    pub core: CoreId,
    /// What it counted.
    pub metrics: CoreMetrics,
    /// What others counted for it.
    pub facts: CoreFacts,
    /// What its keyspace told.
    pub data: DataFacts,
    /// What its connections held.
    pub conns: ConnFacts,
    /// What it knows of its group; `None` in one that a core gives to another.
    pub group: Option<GroupFacts>,
}

/// Where one core leaves its newest snapshot, and where others ask for one.
///
/// The core looks at a flag once a turn ([`SnapshotSlot::wanted`], one relaxed load) and takes the lock only to leave a
/// snapshot; readers hold it only to copy a pointer.
#[derive(Debug, Default)]
pub struct SnapshotSlot {
    wanted: AtomicBool,
    newest: Mutex<Newest>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Newest {
    snapshot: Option<Arc<CoreSnapshot>>,
    /// How many were left so far: tells a new one from an old one.
    count: u64,
}

impl SnapshotSlot {
    /// True when somebody waits for a snapshot: the core then makes one and calls [`SnapshotSlot::publish`].
    #[inline]
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Leaves a snapshot.
    pub fn publish(&self, snapshot: CoreSnapshot) {
        self.wanted.store(false, Ordering::Relaxed);
        // A panic while holding the lock cannot leave half a pointer: what is there is whole.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.snapshot = Some(Arc::new(snapshot));
        newest.count += 1;
        self.came.notify_all();
    }

    /// Asks for a fresh snapshot and waits at most `patience` for it. `wake` is called once, after the wish is visible, to
    /// get a sleeping core to look; it must not publish itself.
    pub fn request(&self, wake: &dyn Fn(), patience: Duration) -> Requested {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = newest.count;
        self.wanted.store(true, Ordering::Relaxed);
        wake();
        let waited = self
            .came
            .wait_timeout_while(newest, patience, |newest| newest.count == before);
        let newest = waited.unwrap_or_else(PoisonError::into_inner).0;
        match newest.snapshot.clone() {
            Some(snapshot) if newest.count != before => Requested::Fresh(snapshot),
            Some(snapshot) => Requested::Old(snapshot),
            None => Requested::Nothing,
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Requested {
    /// The core answered.
    Fresh(Arc<CoreSnapshot>),
    /// It did not answer in time; this is its last one.
    Old(Arc<CoreSnapshot>),
    /// It has never answered.
    Nothing,
}

impl Requested {
    /// Whatever there is.
    pub fn into_snapshot(self) -> Option<Arc<CoreSnapshot>> {
        match self {
            Self::Fresh(snapshot) | Self::Old(snapshot) => Some(snapshot),
            Self::Nothing => None,
        }
    }

    /// True when the core answered.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(core: u16) -> CoreSnapshot {
        CoreSnapshot {
            core: CoreId(core),
            metrics: CoreMetrics::default(),
            facts: CoreFacts::default(),
            data: DataFacts::default(),
            conns: ConnFacts::default(),
            group: None,
        }
    }

    #[test]
    fn who_asks_gets_a_fresh_one_or_the_last_one() {
        let slot = SnapshotSlot::default();
        assert!(slot.request(&|| {}, Duration::ZERO).into_snapshot().is_none());
        assert!(slot.wanted());
        slot.publish(snapshot(1));
        assert!(!slot.wanted());
        let last = slot.request(&|| assert!(slot.wanted()), Duration::ZERO);
        assert!(matches!(last, Requested::Old(snapshot) if snapshot.core == CoreId(1)));
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| slot.request(&|| {}, Duration::from_secs(60)));
            while !asked.is_finished() {
                slot.publish(snapshot(2));
                std::thread::yield_now();
            }
            assert!(matches!(asked.join().unwrap(), Requested::Fresh(snapshot) if snapshot.core == CoreId(2)));
        });
    }
}
