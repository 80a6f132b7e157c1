//! How many copies there are of what has been written, for `WAIT` and `WAITAOF`: [`Copies`], what a core was asked about
//! its own log ([`CopyAsks`]), and clients that wait for more of them ([`CopyWaits`]). Pure: told the time and the figures.
//!
//! Such a command is carried out when everything its connection has sent before is answered, thus executed, on whichever
//! cores. So each of these cores is asked about all that its log holds by now, and the least of their answers counts. A core
//! tells again whenever there are more copies than it told last, until it hears that there are enough.

use std::collections::{BTreeMap, BTreeSet};

use slotcore_netio::ConnId;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, LogIndex};

/// Where what was written can be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// It is durable on the node itself.
    pub local: bool,
    /// So many other nodes have it in their logs, durably in `always`.
    pub replicas: u16,
}

impl Copies {
    /// There are no fewer than these.
    pub fn reach(self, wanted: Copies) -> bool {
        self.local >= wanted.local && self.replicas >= wanted.replicas
    }

    /// What either says.
    fn or(self, other: Copies) -> Copies {
        Copies {
            local: self.local || other.local,
            replicas: self.replicas.max(other.replicas),
        }
    }

    /// What both say.
    fn and(self, other: Copies) -> Copies {
        Copies {
            local: self.local && other.local,
            replicas: self.replicas.min(other.replicas),
        }
    }
}

/// The number of a wait on the core of its client; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaitNo(u64);

struct Ask {
    from: u16,
    wait: WaitNo,
    /// Only durable copies count.
    durably: bool,
    flush: bool,
    /// How far the log went when it was asked: its last frame, and the last entry in it.
    upto: Option<(FrameNo, LogIndex)>,
    told: Option<Copies>,
}

/// See the module's text.
#[derive(Default)]
pub struct CopyAsks(Vec<Ask>);

impl CopyAsks {
    /// True when nobody asks.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `from` wants to know. `durably`: of durable copies. `flush`: the log is to be made durable for it.
    pub fn ask(&mut self, from: u16, wait: WaitNo, durably: bool, flush: bool) {
        self.0.push(Ask {
            from,
            wait,
            durably,
            flush,
            upto: None,
            told: None,
        });
    }

    /// `from` has heard enough.
    pub fn forget(&mut self, from: u16, wait: WaitNo) {
        self.0.retain(|ask| (ask.from, ask.wait) != (from, wait));
    }

    /// Those who asked since the last call ask about the log up to here. True when it is to be made durable.
    pub fn mark(&mut self, appended: FrameNo, last: LogIndex) -> bool {
        let mut flush = false;
        for ask in self.0.iter_mut().filter(|ask| ask.upto.is_none()) {
            ask.upto = Some((appended, last));
            flush |= ask.flush;
        }
        flush
    }

    /// Who is to be told what. `copies`: of the log up to a frame and an entry, all of them or only durable ones.
    pub fn news(&mut self, copies: impl Fn(FrameNo, LogIndex, bool) -> Copies) -> Vec<(u16, WaitNo, Copies)> {
        let mut news = Vec::new();
        for ask in &mut self.0 {
            let Some((frame, last)) = ask.upto else { continue };
            // Fewer may be known to another leader; what was said stays true.
            let now = copies(frame, last, ask.durably).or(ask.told.unwrap_or_default());
            if ask.told != Some(now) {
                ask.told = Some(now);
                news.push((ask.from, ask.wait, now));
            }
        }
        news
    }
}

/// A client that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct CopyWait {
    /// Its connection.
    pub conn: ConnId,
    /// It wants no reply.
    pub silent: bool,
    /// It wants to know of both kinds of copies (`WAITAOF`).
    pub both: bool,
    /// How many are enough.
    pub wanted: Copies,
    /// What each core has told that was asked; all of them when there are such.
    pub told: BTreeMap<u16, Option<Copies>>,
    /// When its time is up.
    pub deadline: Option<Tick>,
}

impl CopyWait {
    /// Copies of everything.
    pub fn known(&self) -> Copies {
        let mut told = self.told.values().map(|told| told.unwrap_or_default());
        told.next()
            .map_or(Copies::default(), |first| told.fold(first, Copies::and))
    }
}

/// See the module's text.
#[derive(Default)]
pub struct CopyWaits {
    last: u64,
    waits: BTreeMap<WaitNo, CopyWait>,
    deadlines: BTreeSet<(Tick, WaitNo)>,
}

impl CopyWaits {
    /// How many clients wait.
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// A client begins to wait.
    pub fn begin(&mut self, wait: CopyWait) -> WaitNo {
        self.last += 1;
        let number = WaitNo(self.last);
        if let Some(deadline) = wait.deadline {
            self.deadlines.insert((deadline, number));
        }
        self.waits.insert(number, wait);
        number
    }

    /// `core` has told. True when there are enough copies now.
    pub fn told(&mut self, number: WaitNo, core: u16, copies: Copies) -> bool {
        let Some(wait) = self.waits.get_mut(&number) else {
            return false;
        };
        wait.told.insert(core, Some(copies));
        wait.told.values().all(Option::is_some) && wait.known().reach(wait.wanted)
    }

    /// The wait of a connection.
    pub fn of(&self, conn: ConnId) -> Option<WaitNo> {
        let mut waits = self.waits.iter();
        waits.find(|(_, wait)| wait.conn == conn).map(|(number, _)| *number)
    }

    /// A wait is over.
    pub fn end(&mut self, number: WaitNo) -> Option<CopyWait> {
        let wait = self.waits.remove(&number)?;
        if let Some(deadline) = wait.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        Some(wait)
    }

    /// When somebody's time is up next.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Somebody whose time is up.
    pub fn next_due(&self, now: Tick) -> Option<WaitNo> {
        self.deadlines
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn copies(local: bool, replicas: u16) -> Copies {
        Copies { local, replicas }
    }

    fn at(ms: u64) -> Tick {
        Tick::ZERO + Duration::from_millis(ms)
    }

    fn wait(conn: u32, cores: u16, wanted: Copies, deadline: Option<Tick>) -> CopyWait {
        CopyWait {
            conn: ConnId::from_parts((conn, 1)),
            silent: false,
            both: true,
            wanted,
            told: (0..cores).map(|core| (core, None)).collect(),
            deadline,
        }
    }

    #[test]
    fn the_least_of_all_cores_counts_and_all_must_have_told() {
        let mut waits = CopyWaits::default();
        let number = waits.begin(wait(1, 2, copies(true, 1), None));
        assert!(!waits.told(number, 0, copies(true, 2)));
        assert!(!waits.told(number, 1, copies(false, 2)));
        assert_eq!(waits.waits[&number].known(), copies(false, 2));
        assert!(waits.told(number, 1, copies(true, 1)));
        assert_eq!(waits.end(number).map(|wait| wait.known()), Some(copies(true, 1)));
        assert!(!waits.told(number, 1, copies(true, 2)) && waits.end(number).is_none());
    }

    #[test]
    fn times_are_up_in_order_and_ended_waits_have_none() {
        let mut waits = CopyWaits::default();
        let [late, early, never] =
            [Some(at(20)), Some(at(10)), None].map(|deadline| waits.begin(wait(2, 0, copies(false, 1), deadline)));
        assert_eq!((waits.next_due(at(9)), waits.next_deadline()), (None, Some(at(10))));
        assert_eq!(waits.next_due(at(30)), Some(early));
        waits.end(early);
        assert_eq!(waits.next_due(at(30)), Some(late));
        waits.end(late);
        assert_eq!((waits.next_due(at(99)), waits.len()), (None, 1));
        assert_eq!(waits.of(ConnId::from_parts((2, 1))), Some(never));
        assert_eq!(waits.end(never).map(|wait| wait.known()), Some(Copies::default()));
    }

    #[test]
    fn who_asks_is_told_of_the_log_as_it_was_and_only_when_there_are_more() {
        let mut asks = CopyAsks::default();
        asks.ask(3, WaitNo(1), false, false);
        assert!(
            asks.news(|_, _, _| copies(true, 9)).is_empty(),
            "it is not known how far the log goes"
        );
        assert!(!asks.mark(FrameNo(5), LogIndex(50)));
        asks.ask(3, WaitNo(2), true, true);
        assert!(asks.mark(FrameNo(6), LogIndex(60)));
        assert!(!asks.mark(FrameNo(7), LogIndex(70)), "once is enough");
        let durable = |upto: u64| move |frame: FrameNo, _: LogIndex, _: bool| copies(frame.0 <= upto, 0);
        let first = asks.news(durable(5));
        assert_eq!(
            first,
            [(3, WaitNo(1), copies(true, 0)), (3, WaitNo(2), copies(false, 0))]
        );
        assert!(asks.news(durable(5)).is_empty());
        assert_eq!(asks.news(durable(6)), [(3, WaitNo(2), copies(true, 0))]);
        assert!(asks.news(durable(0)).is_empty(), "what was said stays true");
        asks.forget(3, WaitNo(1));
        asks.forget(3, WaitNo(2));
        assert!(asks.is_empty());
    }
}
