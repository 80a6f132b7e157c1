//! [`Interest`]: what the clients of each core listen to, as counters that all cores may read.
//!
//! A core writes its own counters and reads everybody's. Channels are counted by their slot: a counter above zero says
//! that the core may have a receiver, zero says that it has none. Who subscribes is counted before the confirmation is
//! sent, so whoever publishes after having heard of that confirmation finds the counter raised. Who leaves is counted off
//! at any time later, which costs at most a message that nobody there wants.

use std::sync::atomic::{AtomicU32, Ordering};

use slotcore_engine::ord::{SLOTS, slot_of_bytes};
use slotcore_rt::ids::CoreId;

use super::Kind;

/// See the module's text.
#[derive(Debug)]
pub struct Interest {
    /// Clients of all cores that are told of changes of keys (`CLIENT TRACKING`).
    trackers: AtomicU32,
    /// Clients of all cores that are shown all commands (`MONITOR`).
    monitors: AtomicU32,
    cores: Box<[OfCore]>,
}

/// On cache lines of its own: it is written when a client of that core subscribes, and read at every message.
#[derive(Debug)]
#[repr(align(128))]
struct OfCore {
    /// Different patterns, each of which may match anything.
    patterns: AtomicU32,
    /// Clients that are told of changes of keys that they did not read.
    broadcasts: AtomicU32,
    /// Those of the core that monitor.
    monitors: AtomicU32,
    /// Different channels, sharded or not, by slot.
    channels: Box<[AtomicU32]>,
}

impl Interest {
    /// Of so many cores, none of which has a subscriber.
    pub fn new(cores: usize) -> Self {
        let of_core = |_| OfCore {
            patterns: AtomicU32::new(0),
            broadcasts: AtomicU32::new(0),
            monitors: AtomicU32::new(0),
            channels: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
        };
        Self {
            trackers: AtomicU32::new(0),
            monitors: AtomicU32::new(0),
            cores: (0..cores).map(of_core).collect(),
        }
    }

    /// The first client of core `me` listens to `name`.
    pub fn add(&self, me: CoreId, kind: Kind, name: &[u8]) {
        // Before the confirmation: it leaves by a system call, behind which nobody can have seen the old value.
        self.counter(me, kind, name).fetch_add(1, Ordering::Release);
    }

    /// The last client of core `me` that listened to `name` does not any more.
    pub fn remove(&self, me: CoreId, kind: Kind, name: &[u8]) {
        self.counter(me, kind, name).fetch_sub(1, Ordering::Release);
    }

    /// Whether a message on a channel of this slot may have a receiver on `core`.
    #[inline]
    pub fn may_hear(&self, core: u16, sharded: bool, slot: u16) -> bool {
        let of_core = &self.cores[usize::from(core)];
        of_core.channels[usize::from(slot)].load(Ordering::Acquire) > 0
            || !sharded && of_core.patterns.load(Ordering::Acquire) > 0
    }

    /// One more client of core `me` tracks. It is told so after this, and whoever has heard of it finds the counters raised.
    pub fn begin_tracking(&self, me: CoreId, broadcast: bool) {
        let broadcasts = &self.cores[usize::from(me.0)].broadcasts;
        broadcasts.fetch_add(u32::from(broadcast), Ordering::Release);
        self.trackers.fetch_add(1, Ordering::Release);
    }

    /// One client less.
    pub fn end_tracking(&self, me: CoreId, broadcast: bool) {
        let broadcasts = &self.cores[usize::from(me.0)].broadcasts;
        broadcasts.fetch_sub(u32::from(broadcast), Ordering::Release);
        self.trackers.fetch_sub(1, Ordering::Release);
    }

    /// Whether some client of some core tracks.
    #[inline]
    pub fn anybody_tracks(&self) -> bool {
        self.trackers.load(Ordering::Acquire) > 0
    }

    /// Whether a client of `core` wants to be told of keys that it did not read.
    #[inline]
    pub fn broadcasts(&self, core: u16) -> bool {
        self.cores[usize::from(core)].broadcasts.load(Ordering::Acquire) > 0
    }

    /// One more client of core `me` monitors, or one less.
    pub fn count_monitor(&self, me: CoreId, more: bool) {
        for counter in [&self.cores[usize::from(me.0)].monitors, &self.monitors] {
            if more {
                counter.fetch_add(1, Ordering::Release);
            } else {
                counter.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Whether some client of some core monitors.
    #[inline]
    pub fn anybody_monitors(&self) -> bool {
        self.monitors.load(Ordering::Acquire) > 0
    }

    /// Whether a client of `core` does.
    #[inline]
    pub fn monitors(&self, core: u16) -> bool {
        self.cores[usize::from(core)].monitors.load(Ordering::Acquire) > 0
    }

    fn counter(&self, me: CoreId, kind: Kind, name: &[u8]) -> &AtomicU32 {
        let of_core = &self.cores[usize::from(me.0)];
        match kind {
            Kind::Pattern => &of_core.patterns,
            Kind::Channel | Kind::Shard => &of_core.channels[usize::from(slot_of_bytes(name))],
        }
    }
}
