//! `MONITOR`: shows a client every command that any client has sent, when it is taken from its connection.
//!
//! Each core shows the commands of its own connections: to its own monitors, and, as a finished line, to the cores that
//! have some. Lines of one connection are in order; between connections of different cores there is none but the times in
//! them. As in Redis commands of administrators are not shown, nor what was refused before it was carried out; passwords
//! are hidden; what MULTI keeps is shown at EXEC. What a script calls is shown by the core that carries it out, when it has.
//!
//! While nobody monitors, this costs one test of a flag a command.

use std::io::Write as _;

use slotcore_engine::cmd::op::decode_op;
use slotcore_engine::cmd::stored::{selected, users_words};
use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Run, ServerCmd, by_id};
use slotcore_engine::database::Database;
use slotcore_engine::script::Called;
use slotcore_netio::ConnId;

use crate::core_state::{CoreState, lane_of};
use crate::dispatch::refuse;
use crate::metrics::slow_log;
use crate::parcel::Cast;
use crate::window::{Parsed, Window};

/// Who monitors.
#[derive(Debug, Default)]
pub struct Monitors {
    /// Some client of some core does, as last seen.
    pub(crate) is_on: bool,
    /// Connections of this core that do.
    here: Vec<ConnId>,
}

/// One line as Redis writes it: the time in seconds and microseconds, the database, who, and the words.
fn line(wall_us: u64, database: Database, peer: &str, words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + words.iter().map(|word| word.len() + 3).sum::<usize>());
    let (seconds, rest) = (wall_us / 1_000_000, wall_us % 1_000_000);
    write!(out, "+{seconds}.{rest:06} [{database} {peer}]").expect("a Vec takes whatever is written to it");
    for word in words {
        out.push(b' ');
        quote(&mut out, word);
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// A word between quotes, with everything that cannot be printed in Redis's notation.
fn quote(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b'"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => write!(out, "\\x{byte:02x}").expect("a Vec takes whatever is written to it"),
        }
    }
    out.push(b'"');
}

/// Whether a command is shown that is carried out by itself.
fn is_shown(spec: &CommandSpec) -> bool {
    let own = matches!(spec.run, Run::Transaction(Step::Exec))
        || spec.flags.has(Flags::LOGGED)
        || spec.flags.has(Flags::RUNS_SCRIPT);
    !spec.flags.has(Flags::ADMIN) && (own || !spec.flags.has(Flags::SKIP_MONITOR))
}

impl CoreState {
    /// `MONITOR`, and its end.
    pub(crate) fn set_monitors(&mut self, id: ConnId, monitors: bool) {
        let was = self.monitors.here.contains(&id);
        if was == monitors {
            return;
        }
        if monitors {
            self.monitors.here.push(id);
        } else {
            self.monitors.here.retain(|other| *other != id);
        }
        self.pubsub.interest().count_monitor(self.mesh.me(), monitors);
        self.tend_monitors();
        if let Some(client) = self.server.clients.get_mut(id.index()) {
            client.monitors = monitors;
            self.net.set_gets_pushes(id, client.gets_pushes());
        }
    }

    /// To be called in each turn, before commands are taken.
    #[inline]
    pub(crate) fn tend_monitors(&mut self) {
        let is_on = self.pubsub.interest().anybody_monitors();
        let was_on = std::mem::replace(&mut self.monitors.is_on, is_on);
        if is_on || was_on {
            // Each time: the scripts may be others, after a snapshot.
            self.keyspace.scripts_mut().show_calls(is_on);
        }
    }

    /// Scripts have called these.
    #[cold]
    pub(crate) fn show_calls(&mut self, calls: &[Called]) {
        let mut lines = Vec::new();
        for call in calls {
            let words: Vec<&[u8]> = call.words.iter().map(Vec::as_slice).collect();
            lines.extend(line(self.now.wall_us, call.database, "lua", &words));
        }
        self.show(&lines);
    }

    /// A command is about to be carried out.
    #[cold]
    pub(crate) fn show_command(&mut self, window: &Window, c: &Parsed) {
        let Ok(spec) = c.spec else { return };
        let Some(client) = self.server.clients.get(c.conn.index()) else {
            return;
        };
        if refuse(spec, client, self.write_barrier).is_some() || !is_shown(spec) {
            return;
        }
        let (peer, mut database) = (client.peer.to_string(), client.database);
        if let Some(queue) = &lane_of(&mut self.lanes, c.conn).session.queue {
            match spec.run {
                Run::Transaction(Step::Exec) if !queue.broken => {
                    let (mut spans, mut lines) = (Vec::new(), Vec::new());
                    for operation in queue.operations() {
                        let (id, _) = decode_op(operation, &mut spans).expect("encoded by the queue");
                        let kept = by_id(id).expect("encoded by the queue");
                        let args = Args::new(operation, &spans);
                        if is_shown(kept) {
                            lines.extend(shown(self.now.wall_us, database, &peer, kept, &args));
                        }
                        if matches!(kept.run, Run::Server(ServerCmd::Select)) {
                            database = selected(args.get(1)).unwrap_or(database);
                        }
                    }
                    self.show(&lines);
                }
                Run::Transaction(Step::Exec | Step::Discard) => {}
                _ => return,
            }
        }
        let Some((input, _)) = self.net.io(c.conn) else { return };
        let args = window.args(c, input);
        let mut words = vec![args.get(0)];
        words.extend(users_words(spec, &args));
        slow_log::redact(spec, &mut words);
        let line = line(self.now.wall_us, database, &peer, &words);
        if matches!(spec.run, Run::Server(ServerCmd::Reset)) {
            // A monitor that ends monitoring by it is not shown it.
            self.set_monitors(c.conn, false);
        }
        self.show(&line);
    }

    /// Shows finished lines to the monitors of all cores.
    fn show(&mut self, lines: &[u8]) {
        let me = self.mesh.me().0;
        for core in 0..self.mesh.cores() as u16 {
            if core == me {
                self.show_here(lines);
            } else if self.pubsub.interest().monitors(core) {
                self.mesh.to(core).push_cast(Cast::Commands, lines, b"");
            }
        }
    }

    /// Shows lines, of whatever core, to the monitors of this one.
    pub(crate) fn show_here(&mut self, lines: &[u8]) {
        for id in &self.monitors.here {
            if let Some((_, out)) = self.net.io(*id) {
                out.extend_from_slice(lines);
            }
        }
    }
}

/// The line of a command that MULTI has kept: the log does not keep how its name was written.
fn shown(wall_us: u64, database: Database, peer: &str, spec: &CommandSpec, args: &Args<'_>) -> Vec<u8> {
    let name = spec.container().unwrap_or(spec.name);
    let mut words: Vec<&[u8]> = vec![name.as_bytes()];
    words.extend(users_words(spec, args));
    slow_log::redact(spec, &mut words);
    line(wall_us, database, peer, &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_redis() {
        let words: [&[u8]; 4] = [b"SET", b"a \"b\"\\", b"\r\n\t\x07\x08\x00\xff", b""];
        let found = String::from_utf8(line(1_339_518_083_007_412, Database::ZERO, "127.0.0.1:60866", &words));
        let found = found.unwrap();
        assert_eq!(
            found,
            "+1339518083.007412 [0 127.0.0.1:60866] \"SET\" \"a \\\"b\\\"\\\\\" \"\\r\\n\\t\\a\\b\\x00\\xff\" \"\"\r\n"
        );
    }
}
