//! [`SpanningWaits`]: connections of this core that wait for keys of several cores, and until when. Pure: it is told the
//! time.
//!
//! A wait is at rest, or is being tried again: then its command is among those that the core coordinates, and what ends the
//! wait meanwhile is noted for when the try has failed.

use std::collections::{BTreeMap, BTreeSet};

use slotcore_netio::ConnId;
use slotcore_rt::clock::Tick;

use super::Coordinated;
use crate::blocked::Ending;

#[derive(Debug)]
struct Wait {
    conn: ConnId,
    deadline: Option<Tick>,
    /// The command, while the wait is at rest.
    rests: Option<Coordinated>,
    /// It ends as soon as it is at rest.
    ending: Option<Ending>,
}

/// See the module's text. Waits are named as their commands among the core's commands in parts.
#[derive(Debug, Default)]
pub struct SpanningWaits {
    waits: BTreeMap<u32, Wait>,
    /// How many of them are at rest.
    resting: usize,
    by_conn: BTreeMap<(u32, u32), u32>,
    deadlines: BTreeSet<(Tick, u32)>,
}

impl SpanningWaits {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// How many of them are at rest: nothing of them is under way.
    pub fn at_rest(&self) -> usize {
        self.resting
    }

    /// The command of `conn` waits from now on. It is not at rest yet.
    pub fn begin(&mut self, part: u32, conn: ConnId, deadline: Option<Tick>) {
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, part));
        }
        self.by_conn.insert(conn.parts(), part);
        let wait = Wait {
            conn,
            deadline,
            rests: None,
            ending: None,
        };
        self.waits.insert(part, wait);
    }

    /// Nothing was there: the wait is at rest.
    pub fn rest(&mut self, part: u32, command: Coordinated) {
        if let Some(wait) = self.waits.get_mut(&part) {
            wait.rests = Some(command);
            self.resting += 1;
        }
    }

    /// The command of a wait that is at rest, which it is no more; `None`: it is being tried, or waits no more.
    pub fn take(&mut self, part: u32) -> Option<Coordinated> {
        let command = self.waits.get_mut(&part)?.rests.take()?;
        self.resting -= 1;
        Some(command)
    }

    /// The wait shall end. True when it is at rest: now.
    pub fn end(&mut self, part: u32, ending: Ending) -> bool {
        let Some(wait) = self.waits.get_mut(&part) else {
            return false;
        };
        wait.ending.get_or_insert(ending);
        wait.rests.is_some()
    }

    /// Why the wait shall end, if so.
    pub fn ending_of(&self, part: u32) -> Option<Ending> {
        self.waits.get(&part)?.ending
    }

    /// It has ended. False when there is no such wait.
    pub fn forget(&mut self, part: u32) -> bool {
        let Some(wait) = self.waits.remove(&part) else {
            return false;
        };
        if let Some(deadline) = wait.deadline {
            self.deadlines.remove(&(deadline, part));
        }
        self.by_conn.remove(&wait.conn.parts());
        self.resting -= usize::from(wait.rests.is_some());
        true
    }

    /// The wait of a connection.
    pub fn of(&self, conn: ConnId) -> Option<u32> {
        self.by_conn.get(&conn.parts()).copied()
    }

    /// The next moment at which somebody's time is up.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A wait whose time is up, once.
    pub fn next_due(&mut self, now: Tick) -> Option<u32> {
        let &(at, part) = self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.deadlines.remove(&(at, part));
        Some(part)
    }
}
