//! [`KeyWalk`]: a command that looks at all keys while some are only in files: KEYS, a range at a time.

use slotcore_engine::cmd::{CommandSpec, Reply, matches};
use slotcore_engine::database::split;
use slotcore_engine::keyspace::{FileKeys, Keyspace, Missed};

use crate::batch::Who;
use crate::cold::{ColdLane, Waiter};
use crate::core_state::{CoreState, lane_of};
use crate::reply::RespReply;

/// Keys of one step: what is read for it is a few hundred kilobytes, and going through it a slice of work.
const STEP_KEYS: usize = 1024;

/// See the module's text.
pub(crate) struct KeyWalk {
    /// Who is answered.
    pub who: Who,
    /// In its stored form.
    pattern: Vec<u8>,
    cursor: u64,
    bytes: Vec<u8>,
    /// Where each key found ends in `bytes`.
    ends: Vec<usize>,
}

impl KeyWalk {
    /// KEYS with this pattern, in its stored form.
    pub fn new(who: Who, pattern: Vec<u8>) -> Self {
        Self {
            who,
            pattern,
            cursor: 0,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// What is to be fetched for the next step.
    pub fn needs(&self) -> Missed {
        Missed::Range {
            from_ord: self.cursor,
            count: STEP_KEYS,
        }
    }

    /// Goes as far as what was fetched reaches; `None`: nothing that still holds. True when the end was reached.
    pub fn step(&mut self, ks: &mut Keyspace, keys: Option<FileKeys>) -> bool {
        ks.lend_keys(keys);
        loop {
            let (database, pattern) = split(&self.pattern);
            let next = ks.scan(self.cursor, STEP_KEYS, &mut |stored, _| {
                let (found_in, key) = split(stored);
                if found_in == database && matches(pattern, key) {
                    self.bytes.extend_from_slice(key);
                    self.ends.push(self.bytes.len());
                }
            });
            let missed = ks.take_missed().is_some();
            let ended = next == 0 && !missed;
            let stuck = missed || next == self.cursor;
            self.cursor = next;
            if ended || stuck {
                ks.lend_keys(None);
                return ended;
            }
        }
    }

    /// Answers with what was found.
    pub fn answer(&self, reply: &mut dyn Reply) {
        reply.array(self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            reply.bulk(&self.bytes[start..end]);
            start = end;
        }
    }
}

impl CoreState {
    /// A command that looks at all keys, some of which are in files, goes step by step from here on.
    pub(crate) fn begin_walk(&mut self, who: Who, spec: &'static CommandSpec, pattern: Vec<u8>) {
        match who {
            Who::Client(id) => lane_of(&mut self.lanes, id).cold.get_or_insert_default().awaited += 1,
            Who::Core(from, asker, _) => {
                let cold = ColdLane {
                    awaited: 1,
                    ..ColdLane::default()
                };
                self.open_queue(from, asker, cold);
            }
            // Nobody waits for what looks at all keys.
            Who::Waiter(_) | Who::Nobody => return,
        }
        self.tally.note(spec);
        self.go_on_walking(KeyWalk::new(who, pattern));
    }

    fn go_on_walking(&mut self, walk: KeyWalk) {
        let walk = self.cold.walks.insert(walk);
        self.next_step(walk);
    }

    fn next_step(&mut self, walk: u32) {
        let needs = self.cold.walks.get(walk).needs();
        let asked = self.store.borrow_mut().fetch_missed(&mut self.keyspace, needs);
        if !self.awaits(asked, Waiter::Walk(walk)) {
            self.walk_got(walk, None);
        }
    }

    pub(crate) fn walk_got(&mut self, number: u32, keys: Option<FileKeys>) {
        if !self.cold.walks.get(number).step(&mut self.keyspace, keys) {
            return self.next_step(number);
        }
        let walk = self.cold.walks.remove(number);
        match walk.who {
            Who::Client(id) => {
                if let Some(client) = self.server.clients.get(id.index())
                    && client.wants_reply()
                    && let Some((_, out)) = self.net.io(id)
                {
                    walk.answer(&mut RespReply::new(out, client.proto));
                }
                self.client_got(id, None);
            }
            Who::Core(from, asker, how) => {
                self.mesh.to(from).push_reply(asker, |out| {
                    if !how.silent {
                        walk.answer(&mut RespReply::new(out, how.proto));
                    }
                });
                self.core_got(from, asker.conn, None);
            }
            Who::Waiter(_) | Who::Nobody => {}
        }
    }
}
