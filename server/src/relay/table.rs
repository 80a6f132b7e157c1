//! [`RelayTable`]: commands that another node carries out, until they are answered. Pure: it is told the time.
//!
//! A command waits here from the moment it is asked for until its answer has come. As long as nobody leads it is held;
//! then it goes to the leader, with a number of its own that the answer carries. When the link or the leader is lost, what
//! was not answered goes to the next leader, again in order, under other numbers, so that a late answer finds nobody. A
//! write that is sent twice counts once ([`Once`]).
//!
//! Order: of one connection, commands are sent in the order in which they were asked for, and when one must be sent again
//! so must all behind it. Connections do not wait for each other.
//!
//! What must not be sent twice and has no such number (a command that blocks, an EXEC that rests on watched keys) goes
//! alone, and when its leader is lost its client is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use slotcore_engine::sessions::{Once, SessionId};
use slotcore_netio::ConnId;
use slotcore_rt::clock::Tick;

use crate::parcel::{Asker, How};

/// How long a command is held while nobody leads: several elections.
pub const HELD_MAX: Duration = Duration::from_secs(5);
/// How long a leader may take that is there: longer than any command should run.
pub const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Commands in the table above which no more are taken, and bytes of them.
pub const ENTRIES_MAX: usize = 64 << 10;
/// See [`ENTRIES_MAX`].
pub const BYTES_MAX: usize = 64 << 20;
/// Bytes of commands that may be under way: a leader has as much to keep for each of its peers.
pub const UNDER_WAY_BYTES_MAX: usize = 4 << 20;
/// When the one who was asked says that it cannot, it is asked again after this time: it does not lead, which both will
/// hear of.
const PAUSE: Duration = Duration::from_millis(5);

/// A connection of this node: its core, and what it is there.
pub type Lane = (u16, (u32, u32));

/// What may be done with a command whose answer does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changes nothing, and may be carried out any number of times.
    Read,
    /// It may be sent again: it counts once.
    Write,
    /// It may block, and must not be sent again.
    Blocking,
    /// It rests on what its leader knows of watched keys, and must not be sent again.
    Watching,
}

impl Kind {
    fn goes_alone(self) -> bool {
        matches!(self, Self::Blocking | Self::Watching)
    }
}

/// A command for another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The core of this node that asks.
    pub from: u16,
    /// Who waits there.
    pub asker: Asker,
    /// How it is answered.
    pub how: How,
    /// What may be done with it.
    pub kind: Kind,
    /// The command, encoded as an operation.
    pub op: Box<[u8]>,
}

impl Asked {
    /// Whose it is.
    pub fn lane(&self) -> Lane {
        lane(self.from, self.asker.conn)
    }
}

/// Names a connection of a core.
pub fn lane(core: u16, conn: ConnId) -> Lane {
    (core, conn.parts())
}

/// What is known of a command that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not carried out, and will not be.
    NotExecuted,
    /// It may have been, or may yet be.
    Unknown,
    /// It may have been, and if it waited, it does not any more.
    Unblocked,
}

/// What the end of a wait is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// No command of this connection that may block is here.
    Nothing,
    /// It was not sent yet; now it is gone from the table.
    Held(Asked),
    /// Its leader is to be told.
    UnderWay,
}

struct Entry {
    asked: Asked,
    /// Under which it is under way; 0: it is not.
    number: u32,
    /// Since when it is, or is held.
    since: Tick,
    /// It has been under way before, or is.
    was_sent: bool,
}

/// See the module's text.
pub struct RelayTable {
    session: SessionId,
    /// In the order in which they were asked for; the keys are the serials of writes.
    entries: BTreeMap<u64, Entry>,
    by_number: BTreeMap<u32, u64>,
    lanes: BTreeMap<Lane, VecDeque<u64>>,
    /// Not under way.
    held: BTreeSet<u64>,
    next_serial: u64,
    next_number: u32,
    bytes: usize,
    under_way_bytes: usize,
    paused_until: Tick,
}

impl RelayTable {
    /// Nothing asked for yet. `session`: a name that nobody else has.
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            entries: BTreeMap::new(),
            by_number: BTreeMap::new(),
            lanes: BTreeMap::new(),
            held: BTreeSet::new(),
            next_serial: 1,
            next_number: 1,
            bytes: 0,
            under_way_bytes: 0,
            paused_until: Tick::ZERO,
        }
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True while no more should be asked for.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES_MAX || self.bytes >= BYTES_MAX
    }

    /// True when something of this connection waits.
    pub fn has(&self, lane: Lane) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// A command is to be carried out elsewhere.
    pub fn ask(&mut self, asked: Asked, now: Tick) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.bytes += asked.op.len();
        self.lanes.entry(asked.lane()).or_default().push_back(serial);
        self.held.insert(serial);
        let entry = Entry {
            asked,
            number: 0,
            since: now,
            was_sent: false,
        };
        self.entries.insert(serial, entry);
    }

    /// There is somebody to send to: calls `send` with what goes now, its number, and what makes it count once.
    pub fn send(&mut self, now: Tick, mut send: impl FnMut(&Asked, u32, Option<Once>)) {
        if now < self.paused_until {
            return;
        }
        self.paused_until = Tick::ZERO;
        let floor = self.entries.first_key_value().map_or(0, |(serial, _)| *serial);
        let mut from = 0;
        while self.under_way_bytes < UNDER_WAY_BYTES_MAX
            && let Some(&serial) = self.held.range(from..).next()
        {
            from = serial + 1;
            let Some((after, ready)) = self.place_of(serial) else {
                continue;
            };
            if !ready {
                continue;
            }
            let number = self.free_number();
            let Some(entry) = self.entries.get_mut(&serial) else {
                continue;
            };
            (entry.number, entry.since, entry.was_sent) = (number, now, true);
            self.by_number.insert(number, serial);
            self.held.remove(&serial);
            self.under_way_bytes += entry.asked.op.len();
            let how = entry.asked.how;
            let once = (entry.asked.kind == Kind::Write).then_some(Once {
                session: self.session,
                serial,
                floor,
                after,
                proto: if how.silent { 0 } else { how.proto },
            });
            send(&entry.asked, number, once);
        }
    }

    /// When [`RelayTable::send`] is to be called because a pause ends.
    pub fn next_try(&self) -> Option<Tick> {
        (self.paused_until > Tick::ZERO && !self.held.is_empty()).then_some(self.paused_until)
    }

    /// The write of its connection that is under way before this one, 0 for none, or when it is none itself; and whether it may be sent
    /// now.
    fn place_of(&self, serial: u64) -> Option<(u64, bool)> {
        let entry = self.entries.get(&serial)?;
        let queue = self.lanes.get(&entry.asked.lane())?;
        let at = queue.binary_search(&serial).ok()?;
        if at == 0 {
            return Some((0, true));
        }
        let before = self.entries.get(&queue[at - 1])?;
        let ready = before.number != 0 && !entry.asked.kind.goes_alone() && !before.asked.kind.goes_alone();
        if entry.asked.kind != Kind::Write {
            // Many reads in a row would each look through all before them.
            return Some((0, ready));
        }
        let earlier = queue.range(..at).rev();
        let mut writes = earlier.filter(|serial| self.entries.get(serial).is_some_and(|e| e.asked.kind == Kind::Write));
        Some((writes.next().copied().unwrap_or(0), ready))
    }

    fn free_number(&mut self) -> u32 {
        loop {
            let number = self.next_number;
            self.next_number = number.checked_add(1).unwrap_or(1);
            if !self.by_number.contains_key(&number) {
                return number;
            }
        }
    }

    /// The command with this number was carried out. `None`: nobody waits for it any more under this number.
    pub fn answered(&mut self, number: u32) -> Option<Asked> {
        let serial = *self.by_number.get(&number)?;
        self.remove(serial)
    }

    /// Whoever got the command with this number says that it was not carried out, and that somebody else is to be asked: it
    /// goes again, with all behind it.
    pub fn refused(&mut self, number: u32, now: Tick) {
        let Some(serial) = self.by_number.get(&number).copied() else {
            return;
        };
        let Some(lane) = self.entries.get(&serial).map(|entry| entry.asked.lane()) else {
            return;
        };
        let behind: Vec<u64> = self.lanes.get(&lane).map_or(Vec::new(), |queue| {
            queue.iter().copied().filter(|other| *other >= serial).collect()
        });
        for serial in behind {
            self.hold(serial, now);
        }
        self.paused_until = now + PAUSE;
    }

    fn hold(&mut self, serial: u64, now: Tick) {
        let Some(entry) = self.entries.get_mut(&serial) else {
            return;
        };
        if entry.number != 0 {
            self.by_number.remove(&entry.number);
            self.under_way_bytes -= entry.asked.op.len();
            (entry.number, entry.since) = (0, now);
            self.held.insert(serial);
        }
    }

    /// Whoever has what is under way is lost, or does not lead any more. What may not be sent again is given up: it goes to
    /// `given_up`.
    pub fn recall(&mut self, now: Tick, mut given_up: impl FnMut(Asked, Fate)) {
        self.paused_until = Tick::ZERO;
        let under_way: Vec<u64> = self.by_number.values().copied().collect();
        for serial in under_way {
            match self.entries.get(&serial).map(|entry| entry.asked.kind) {
                Some(Kind::Read | Kind::Write) => self.hold(serial, now),
                Some(kind) => {
                    let fate = if kind == Kind::Blocking {
                        Fate::Unblocked
                    } else {
                        Fate::Unknown
                    };
                    if let Some(asked) = self.remove(serial) {
                        given_up(asked, fate);
                    }
                }
                None => {}
            }
        }
    }

    /// Gives up what has waited for too long, of each connection in order.
    pub fn expire(&mut self, now: Tick, mut given_up: impl FnMut(Asked, Fate)) {
        let firsts: Vec<u64> = self.lanes.values().filter_map(|queue| queue.front().copied()).collect();
        for first in firsts {
            let mut next = Some(first);
            while let Some(serial) = next
                && let Some(fate) = self.entries.get(&serial).and_then(|entry| entry.fate(now))
                && let Some(asked) = self.remove(serial)
            {
                next = self.lanes.get(&asked.lane()).and_then(|queue| queue.front().copied());
                given_up(asked, fate);
            }
        }
    }

    /// The wait of a connection shall end. `at_once`: it is gone, and hears no answer.
    pub fn end_wait(&mut self, lane: Lane, at_once: bool) -> Waiting {
        let Some(queue) = self.lanes.get(&lane) else {
            return Waiting::Nothing;
        };
        let Some(&serial) = queue.back() else {
            return Waiting::Nothing;
        };
        let is_first = queue.len() == 1;
        match self.entries.get(&serial) {
            Some(entry) if entry.asked.kind != Kind::Blocking => Waiting::Nothing,
            Some(entry) if entry.number != 0 => Waiting::UnderWay,
            // What comes before must be answered first.
            Some(_) if is_first || at_once => self.remove(serial).map_or(Waiting::Nothing, Waiting::Held),
            _ => Waiting::Nothing,
        }
    }

    fn remove(&mut self, serial: u64) -> Option<Asked> {
        let entry = self.entries.remove(&serial)?;
        let bytes = entry.asked.op.len();
        self.bytes -= bytes;
        self.held.remove(&serial);
        if entry.number != 0 {
            self.by_number.remove(&entry.number);
            self.under_way_bytes -= bytes;
        }
        let lane = entry.asked.lane();
        if let Some(queue) = self.lanes.get_mut(&lane) {
            if let Ok(at) = queue.binary_search(&serial) {
                queue.remove(at);
            }
            if queue.is_empty() {
                self.lanes.remove(&lane);
            }
        }
        Some(entry.asked)
    }
}

impl Entry {
    /// What is known of it if it has waited for too long.
    fn fate(&self, now: Tick) -> Option<Fate> {
        let waited = now.since(self.since);
        match (self.number, self.asked.kind) {
            (0, Kind::Write) if self.was_sent && waited > HELD_MAX => Some(Fate::Unknown),
            (0, _) if waited > HELD_MAX => Some(Fate::NotExecuted),
            (0, _) | (_, Kind::Blocking) => None,
            (_, Kind::Read) if waited > ANSWER_MAX => Some(Fate::NotExecuted),
            (_, _) if waited > ANSWER_MAX => Some(Fate::Unknown),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use slotcore_engine::sessions::{Sessions, Verdict};
    use slotcore_rt::rng::SeededRng;

    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::ZERO + Duration::from_millis(ms)
    }

    fn asked(conn: u32, part: u32, kind: Kind) -> Asked {
        Asked {
            from: 0,
            asker: Asker {
                conn: ConnId::from_parts((conn, 1)),
                part,
            },
            how: How::unheard(),
            kind,
            op: b"operation".as_slice().into(),
        }
    }

    fn table() -> RelayTable {
        RelayTable::new(SessionId(7))
    }

    /// What is sent now: which part, and its number.
    fn sent(table: &mut RelayTable, ms: u64) -> Vec<(u32, u32)> {
        let mut sent = Vec::new();
        table.send(at(ms), |asked, number, _| sent.push((asked.asker.part, number)));
        sent
    }

    /// What is under way to a leader, and back.
    #[derive(Default)]
    struct Link {
        there: VecDeque<(Lane, u32, u32, Option<Once>)>,
        /// With what was answered; `None`: that it was not executed.
        back: VecDeque<(u32, Option<u64>)>,
    }

    #[test]
    fn whatever_is_lost_each_write_counts_once_and_each_connection_keeps_its_order() {
        for seed in 0..300 {
            let mut rng = SeededRng::new(seed);
            let (mut table, mut sessions) = (table(), Sessions::default());
            let mut link = Link::default();
            // Writes in the log of leaders that were lost: they may yet come out of it.
            let mut lost: Vec<(Lane, u32, Once)> = Vec::new();
            let (mut next, mut executions) = (0u32, 0u64);
            let mut executed: BTreeMap<u32, u64> = BTreeMap::new();
            let mut last_executed: BTreeMap<Lane, u32> = BTreeMap::new();
            let mut last_answered: BTreeMap<Lane, u32> = BTreeMap::new();
            let mut ms = 0;
            while next < 120 || !table.is_empty() {
                ms += 1;
                assert!(ms < 100_000, "seed {seed}: something is never answered");
                let mut execute = |lane: Lane, part: u32, once: &Once| {
                    let answer = match sessions.admit(once, ms) {
                        Verdict::Execute => {
                            executions += 1;
                            assert_eq!(executed.insert(part, executions), None, "seed {seed}: twice");
                            let last = last_executed.insert(lane, part);
                            assert!(last < Some(part), "seed {seed}: {part} out of order");
                            Some(executions)
                        }
                        Verdict::Known(answer) => {
                            let answer = answer.expect("short answers are kept");
                            return Some(u64::from_le_bytes(answer.try_into().unwrap()));
                        }
                        Verdict::Early => None,
                        Verdict::Settled => return Some(u64::MAX),
                    };
                    if let Some(answer) = answer {
                        sessions.executed(once, &answer.to_le_bytes());
                    }
                    answer
                };
                match rng.next_u64() % 12 {
                    0..=2 if next < 120 => {
                        next += 1;
                        let kind = if rng.chance(2, 3) { Kind::Write } else { Kind::Read };
                        table.ask(asked((rng.next_u64() % 3) as u32, next, kind), at(ms));
                    }
                    3 => table.send(at(ms), |asked, number, once| {
                        link.there.push_back((asked.lane(), asked.asker.part, number, once));
                    }),
                    4..=6 => {
                        if let Some((lane, part, number, once)) = link.there.pop_front() {
                            let answer = match once {
                                _ if rng.chance(1, 12) => None,
                                None => Some(u64::MAX),
                                Some(once) => execute(lane, part, &once),
                            };
                            link.back.push_back((number, answer));
                        }
                    }
                    7..=9 => {
                        if let Some((number, answer)) = link.back.pop_front() {
                            match answer {
                                None => table.refused(number, at(ms)),
                                Some(answer) => {
                                    if let Some(asked) = table.answered(number) {
                                        let part = asked.asker.part;
                                        let last = last_answered.insert(asked.lane(), part);
                                        assert!(last < Some(part), "seed {seed}: answered out of order");
                                        if asked.kind == Kind::Write {
                                            assert_eq!(executed.get(&part), Some(&answer), "seed {seed}");
                                        }
                                    }
                                }
                            }
                        }
                    }
                    10 if rng.chance(1, 4) => {
                        let there = link.there.drain(..);
                        lost.extend(there.filter_map(|(lane, part, _, once)| Some((lane, part, once?))));
                        link.back.clear();
                        table.recall(at(ms), |asked, _| panic!("{asked:?} may be sent again"));
                    }
                    11 if !lost.is_empty() => {
                        let nth = rng.next_u64() as usize % lost.len();
                        let (lane, part, once) = lost.swap_remove(nth);
                        execute(lane, part, &once);
                    }
                    _ => {}
                }
            }
            assert_eq!((table.bytes, table.under_way_bytes), (0, 0), "seed {seed}");
            assert!(table.lanes.is_empty() && table.held.is_empty() && table.by_number.is_empty());
        }
    }

    #[test]
    fn what_may_not_be_sent_twice_goes_alone_and_is_given_up_with_its_leader() {
        let mut table = table();
        for (part, kind) in [(1, Kind::Write), (2, Kind::Blocking)] {
            table.ask(asked(5, part, kind), at(0));
        }
        table.ask(asked(6, 3, Kind::Watching), at(0));
        let first = sent(&mut table, 1);
        assert_eq!(first.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [1, 3]);
        assert!(table.answered(first[0].1).is_some());
        assert_eq!(sent(&mut table, 2).len(), 1);
        assert_eq!(table.end_wait((0, (5, 1)), false), Waiting::UnderWay);
        let mut given_up = Vec::new();
        table.recall(at(3), |asked, fate| given_up.push((asked.asker.part, fate)));
        assert_eq!(given_up, [(3, Fate::Unknown), (2, Fate::Unblocked)]);
        assert!(table.is_empty());
    }

    #[test]
    fn a_wait_that_nobody_knows_of_yet_ends_here() {
        let mut table = table();
        let lane = (0, (5, 1));
        assert_eq!(table.end_wait(lane, false), Waiting::Nothing);
        table.ask(asked(5, 1, Kind::Read), at(0));
        assert_eq!(table.end_wait(lane, false), Waiting::Nothing);
        table.ask(asked(5, 2, Kind::Blocking), at(0));
        // The answer to what comes before must come first, unless nobody hears it.
        assert_eq!(table.end_wait(lane, false), Waiting::Nothing);
        assert!(matches!(table.end_wait(lane, true), Waiting::Held(asked) if asked.asker.part == 2));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn what_waits_for_too_long_is_given_up_in_order_and_its_client_told_what_is_known() {
        let held = HELD_MAX.as_millis() as u64;
        let mut table = table();
        table.ask(asked(1, 1, Kind::Write), at(0));
        table.ask(asked(2, 2, Kind::Read), at(0));
        assert_eq!(sent(&mut table, 1).len(), 2);
        table.recall(at(10), |_, _| ());
        table.ask(asked(1, 3, Kind::Write), at(0));
        let mut given_up = Vec::new();
        table.expire(at(held + 5), |asked, fate| given_up.push((asked.asker.part, fate)));
        assert_eq!(
            given_up,
            [],
            "the first of its connection does not wait for so long yet"
        );
        table.expire(at(held + 11), |asked, fate| given_up.push((asked.asker.part, fate)));
        assert_eq!(
            given_up,
            [(1, Fate::Unknown), (3, Fate::NotExecuted), (2, Fate::NotExecuted)]
        );
        assert!(table.is_empty());
    }

    #[test]
    fn who_is_told_to_ask_elsewhere_pauses_and_late_answers_find_nobody() {
        let mut table = table();
        table.ask(asked(1, 1, Kind::Read), at(0));
        table.ask(asked(1, 2, Kind::Write), at(0));
        let first = sent(&mut table, 1);
        table.refused(first[0].1, at(2));
        assert_eq!(table.answered(first[1].1), None);
        assert_eq!(sent(&mut table, 3), []);
        let again = sent(&mut table, 2 + PAUSE.as_millis() as u64);
        assert_eq!(again.len(), 2);
        assert!(
            again
                .iter()
                .all(|(_, number)| first.iter().all(|(_, old)| old != number))
        );
        assert!(table.answered(again[0].1).is_some() && table.answered(again[1].1).is_some());
    }

    #[test]
    fn no_more_goes_than_a_leader_has_room_for() {
        let mut table = table();
        let long = Asked {
            op: vec![0; UNDER_WAY_BYTES_MAX / 2].into(),
            ..asked(1, 1, Kind::Write)
        };
        for part in 0..4 {
            let mut one = long.clone();
            one.asker.part = part;
            table.ask(one, at(0));
        }
        let first = sent(&mut table, 1);
        assert_eq!(first.len(), 2);
        table.answered(first[0].1);
        assert_eq!(sent(&mut table, 2).len(), 1);
        assert!(!table.is_full());
        while !table.is_full() {
            table.ask(long.clone(), at(3));
        }
        assert!(table.bytes >= BYTES_MAX);
    }
}
