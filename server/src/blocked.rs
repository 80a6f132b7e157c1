//! [`BlockedClients`]: whose connections wait for keys of this core, and until when. Pure: it is told the time.
//!
//! That a command waits, and for which keys, is replicated state ([`slotcore_engine::waiters`]). Whom to answer, and when
//! its time is up, is known here only: to the process that proposed the command. It never answers on its own authority that
//! a wait is over, but proposes an operation that ends it, and answers when that is executed: a push may come first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slotcore_engine::waiters::WaiterId;
use slotcore_netio::ConnId;
use slotcore_rt::clock::Tick;

use crate::batch::Who;

/// When the end of a wait could not be written to the log, it is tried again after this time.
const RETRY: Duration = Duration::from_millis(100);

/// Why a wait ends without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its time is up.
    TimeUp,
    /// `CLIENT UNBLOCK id ERROR`.
    Unblocked,
    /// The client is gone.
    Gone,
}

impl Ending {
    /// As cores tell each other.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::TimeUp => 0,
            Self::Unblocked => 1,
            Self::Gone => 2,
        }
    }

    /// What [`Ending::to_byte`] gave.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::TimeUp,
            1 => Self::Unblocked,
            _ => Self::Gone,
        }
    }
}

struct Blocked {
    who: Who,
    /// Version of RESP it speaks.
    proto: u8,
    deadline: Option<Tick>,
}

/// See the module's text.
#[derive(Default)]
pub struct BlockedClients {
    waits: BTreeMap<WaiterId, Blocked>,
    deadlines: BTreeSet<(Tick, WaiterId)>,
    /// By core and place of a connection: its generation, and what its last blocking command is called, be it executed or
    /// not. A connection sends nothing behind one that is not answered.
    last: BTreeMap<(u16, u32), (u32, WaiterId)>,
    /// Ends of waits that were proposed, and why.
    endings: BTreeMap<WaiterId, Ending>,
}

impl BlockedClients {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// A command that may block was put into a batch, for a connection of `core`.
    pub fn note(&mut self, core: u16, conn: ConnId, id: WaiterId) {
        let (index, generation) = conn.parts();
        self.last.insert((core, index), (generation, id));
    }

    /// A command was executed and waits.
    pub fn begin(&mut self, id: WaiterId, who: Who, proto: u8, deadline: Option<Tick>) {
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
        self.waits.insert(id, Blocked { who, proto, deadline });
    }

    /// Version of RESP of whoever waits; `None`: nobody here does.
    pub fn proto_of(&self, id: WaiterId) -> Option<u8> {
        self.waits.get(&id).map(|blocked| blocked.proto)
    }

    /// A waiter was served: who it is.
    pub fn served(&mut self, id: WaiterId) -> Option<Who> {
        let blocked = self.waits.remove(&id)?;
        if let Some(deadline) = blocked.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(blocked.who)
    }

    /// Somebody who waits, and waits no more: who, and which version of RESP it speaks.
    pub fn take_any(&mut self) -> Option<(Who, u8)> {
        let (&id, blocked) = self.waits.first_key_value()?;
        let proto = blocked.proto;
        self.endings.remove(&id);
        Some((self.served(id)?, proto))
    }

    /// The next moment at which somebody's time is up.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Somebody whose time is up: the end of the wait is to be proposed.
    pub fn next_due(&mut self, now: Tick) -> Option<WaiterId> {
        while let Some(&(at, id)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            if let Some(blocked) = self.waits.get_mut(&id) {
                blocked.deadline = None;
                self.endings.entry(id).or_insert(Ending::TimeUp);
                return Some(id);
            }
        }
        None
    }

    /// The wait of a connection shall end. The waiter whose end is to be proposed; `None`: that is under way.
    pub fn end(&mut self, core: u16, conn: ConnId, ending: Ending) -> Option<WaiterId> {
        let (index, generation) = conn.parts();
        let (of, id) = *self.last.get(&(core, index))?;
        if of != generation {
            return None;
        }
        self.endings.insert(id, ending).is_none().then_some(id)
    }

    /// The waits of all connections of `core` shall end. The waiters whose ends are to be proposed.
    pub fn end_all_of(&mut self, core: u16, ending: Ending) -> Vec<WaiterId> {
        let of_core = |blocked: &Blocked| matches!(blocked.who, Who::Core(from, ..) if from == core);
        let theirs: Vec<WaiterId> = self
            .waits
            .iter()
            .filter(|(_, blocked)| of_core(blocked))
            .map(|(id, _)| *id)
            .collect();
        theirs
            .into_iter()
            .filter(|id| self.endings.insert(*id, ending).is_none())
            .collect()
    }

    /// The proposed end of a wait was executed. Who is to be told why; `None`: whoever it was has been served before.
    pub fn ended(&mut self, id: WaiterId) -> Option<(Who, u8, Ending)> {
        let ending = self.endings.remove(&id)?;
        let proto = self.proto_of(id)?;
        Some((self.served(id)?, proto, ending))
    }

    /// The proposed end of a wait could not be written to the log: it is proposed again, later.
    pub fn refused(&mut self, id: WaiterId, now: Tick) {
        if let Some(blocked) = self.waits.get_mut(&id) {
            let again = now + RETRY;
            if let Some(deadline) = blocked.deadline.replace(again) {
                self.deadlines.remove(&(deadline, id));
            }
            self.deadlines.insert((again, id));
        } else {
            self.endings.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(op: u32) -> WaiterId {
        WaiterId { batch: 1, op }
    }

    fn conn(n: u32) -> ConnId {
        ConnId::from_parts((n, 7))
    }

    fn at(ms: u64) -> Tick {
        Tick::ZERO + Duration::from_millis(ms)
    }

    /// Three connections of core 0 that wait, for 10 ms, for ever, for 20 ms.
    fn three() -> BlockedClients {
        let mut blocked = BlockedClients::default();
        for (n, deadline) in [(0, Some(at(10))), (1, None), (2, Some(at(20)))] {
            blocked.note(0, conn(n), id(n));
            blocked.begin(id(n), Who::Client(conn(n)), 2, deadline);
        }
        blocked
    }

    #[test]
    fn whoever_is_served_has_no_deadline_any_more() {
        let mut blocked = three();
        assert_eq!((blocked.len(), blocked.next_deadline()), (3, Some(at(10))));
        assert_eq!(blocked.served(id(0)), Some(Who::Client(conn(0))));
        assert_eq!((blocked.served(id(0)), blocked.proto_of(id(0))), (None, None));
        assert_eq!(
            (blocked.next_due(at(15)), blocked.next_deadline()),
            (None, Some(at(20)))
        );
    }

    #[test]
    fn a_wait_ends_when_that_is_executed_and_not_before() {
        let mut blocked = three();
        assert_eq!((blocked.next_due(at(9)), blocked.next_due(at(10))), (None, Some(id(0))));
        assert_eq!((blocked.next_due(at(10)), blocked.len()), (None, 3));
        assert_eq!(blocked.ended(id(0)), Some((Who::Client(conn(0)), 2, Ending::TimeUp)));
        // A push came first.
        assert_eq!(blocked.next_due(at(30)), Some(id(2)));
        assert!(blocked.served(id(2)).is_some());
        assert_eq!(blocked.ended(id(2)), None);
    }

    #[test]
    fn a_connection_is_unblocked_once() {
        let mut blocked = three();
        assert_eq!(blocked.end(0, conn(1), Ending::Unblocked), Some(id(1)));
        assert_eq!(blocked.end(0, conn(1), Ending::Unblocked), None);
        assert_eq!(blocked.end(1, conn(1), Ending::Unblocked), None);
        let later = ConnId::from_parts((1, 8));
        assert_eq!(blocked.end(0, later, Ending::Unblocked), None);
        // The client is gone before it could be told.
        assert_eq!(blocked.end(0, conn(1), Ending::Gone), None);
        assert_eq!(blocked.ended(id(1)), Some((Who::Client(conn(1)), 2, Ending::Gone)));
    }

    #[test]
    fn an_end_that_was_not_written_is_proposed_again() {
        let mut blocked = three();
        assert!(blocked.end(0, conn(1), Ending::Unblocked).is_some());
        blocked.refused(id(1), at(5));
        assert_eq!(blocked.next_due(at(12)), Some(id(0)));
        blocked.refused(id(0), at(12));
        assert_eq!(blocked.next_due(at(104)), Some(id(2)));
        assert_eq!(
            (blocked.next_due(at(112)), blocked.next_due(at(112))),
            (Some(id(1)), Some(id(0)))
        );
        assert_eq!(blocked.ended(id(1)), Some((Who::Client(conn(1)), 2, Ending::Unblocked)));
        assert_eq!(blocked.ended(id(0)), Some((Who::Client(conn(0)), 2, Ending::TimeUp)));
    }
}
