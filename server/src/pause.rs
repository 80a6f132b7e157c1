//! [`Pause`]: `CLIENT PAUSE`: for some time no commands of clients are taken, or none that write.
//!
//! A command that is held is left in its connection's input, with all that follows it. Each core holds the commands of its
//! own connections, whatever core would carry them out; what is under way already is carried out and answered. Nothing
//! expires by itself meanwhile.

use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{CommandSpec, Flags, Run};
use slotcore_netio::ConnId;
use slotcore_rt::clock::Tick;

use crate::core_state::{CoreState, Now, lane_of};
use crate::dispatch::refuse;
use crate::scripts;
use crate::window::Window;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself.
    pub until: Tick,
    /// Reads are held, too.
    pub all: bool,
}

/// Commands that are held with the writes although they write no key: others are told of what they do.
const HELD_WITH_WRITES: [&str; 3] = ["pfcount", "publish", "spublish"];

/// Whether a command has to wait while writes do. A transaction has to when one of its commands has to.
pub fn waits_with_writes(spec: &CommandSpec) -> bool {
    spec.is_write() || HELD_WITH_WRITES.contains(&spec.full_name)
}

/// What becomes of a command while a pause is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is carried out.
    Not,
    /// It has to wait.
    Now,
    /// That is known when what its connection sent before has been carried out.
    AskAgain,
}

impl Pause {
    /// This one and another, begun while it was in force: the later end, the wider reach.
    fn and(self, other: Pause) -> Pause {
        Pause {
            until: self.until.max(other.until),
            all: self.all || other.all,
        }
    }

    /// Whether a command has to wait. `QUIT` never does.
    fn holds(self, spec: &CommandSpec) -> bool {
        match self.all {
            true => spec.name != "quit",
            false => waits_with_writes(spec),
        }
    }
}

impl CoreState {
    /// `CLIENT PAUSE`.
    pub(crate) fn begin_pause(&mut self, pause: Pause) {
        self.pause = Some(self.pause.map_or(pause, |old| old.and(pause)));
    }

    /// `CLIENT UNPAUSE`, and the end of a pause: whoever was held goes on, in the order in which they came.
    pub(crate) fn end_pause(&mut self) {
        self.pause = None;
        for id in std::mem::take(&mut self.paused) {
            self.net.mark_ready(id);
        }
        self.count_blocked();
    }

    /// Ends a pause whose time is up.
    pub fn end_due_pause(&mut self, now: Now) {
        if self.pause.is_some_and(|pause| pause.until <= now.tick) {
            self.end_pause();
        }
    }

    /// What becomes of the last command of the window, which was just found while a pause is in force.
    #[cold]
    pub(crate) fn held(&mut self, window: &Window) -> Held {
        let (Some(pause), Some(found)) = (self.pause, window.commands.last()) else {
            return Held::Not;
        };
        // What is refused is refused at once.
        let (Ok(spec), id) = (found.spec, found.conn) else {
            return Held::Not;
        };
        let client = self.server.clients.get(id.index());
        if client.is_none_or(|client| refuse(spec, client, self.write_barrier).is_some()) {
            return Held::Not;
        }
        let lane = lane_of(&mut self.lanes, id);
        let held = match spec.run {
            Run::Transaction(Step::Exec) if !pause.all => {
                if window.commands.iter().filter(|other| other.conn == id).count() > 1 {
                    return Held::AskAgain;
                }
                let queue = lane.session.queue.as_ref();
                queue.is_some_and(|queue| queue.waits_with_writes)
            }
            _ if !pause.all && spec.flags.has(Flags::RUNS_SCRIPT) => {
                let args = window.args(found, self.net.input(id));
                !scripts::only_reads(&mut self.keyspace, spec, &args)
            }
            _ => pause.holds(spec),
        };
        if !held {
            return Held::Not;
        }
        lane.blocks = None;
        if !self.paused.contains(&id) {
            self.paused.push(id);
            self.count_blocked();
        }
        Held::Now
    }

    /// A connection is gone from this core.
    pub(crate) fn forget_paused(&mut self, id: ConnId) {
        if let Some(at) = self.paused.iter().position(|paused| *paused == id) {
            self.paused.remove(at);
            self.count_blocked();
        }
    }

    /// When something happens by itself next: a wait or a pause ends.
    pub fn next_deadline(&self) -> Option<Tick> {
        let pause = self.pause.map(|pause| pause.until);
        let waits = [
            self.blocked.next_deadline(),
            self.copy_waits.next_deadline(),
            self.spanning_waits.next_deadline(),
            pause,
        ];
        waits.into_iter().flatten().min()
    }

    /// Brings what `INFO` shows up to date.
    pub(crate) fn count_blocked(&mut self) {
        let wait = self.blocked.len() + self.copy_waits.len() + self.spanning_waits.len();
        self.server.facts.blocked_clients = (wait + self.paused.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slotcore_engine::cmd::lookup;

    use super::*;

    fn held(pause: Pause) -> Vec<&'static str> {
        let all =
            ["get", "set", "blpop", "publish", "eval", "ping", "client", "quit"].map(|name| lookup(name.as_bytes()));
        let held = all.into_iter().flatten().filter(|spec| pause.holds(spec));
        held.map(|spec| spec.name).collect()
    }

    #[test]
    fn a_pause_of_writes_lets_reads_pass_and_the_wider_pause_wins() {
        let at = |ms| Tick::ZERO + Duration::from_millis(ms);
        let writes = Pause {
            until: at(9),
            all: false,
        };
        let all = Pause {
            until: at(5),
            all: true,
        };
        assert_eq!(held(writes), ["set", "blpop", "publish", "eval"]);
        assert_eq!(held(all), ["get", "set", "blpop", "publish", "eval", "ping", "client"]);
        let both = Pause { all: true, ..writes };
        assert_eq!((writes.and(all), all.and(writes)), (both, both));
    }
}
