//! Scripts on their way into the log, and what they do besides changing keys.
//!
//! A script is logged as its text: `EVALSHA`, which names one that only this core knows, becomes the `EVAL` of it. One that
//! says that it writes nothing is not logged at all: it is carried out as a read. A new script is told to the other cores,
//! so that it can be called by its SHA-1 on whichever core the keys of the next call live.

use std::sync::Arc;

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::{Args, CommandSpec, Reply, Run, ServerCmd, lookup};
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::script::{LogLevel, NOSCRIPT, ScriptFlags};
use slotcore_netio::ConnId;

use crate::batch::Who;
use crate::core_state::{CoreState, lane_of};
use crate::dispatch::refuse;
use crate::logging::Event;
use crate::parcel::Note;
use crate::reply::RespReply;
use crate::window::{Parsed, Window};

/// What becomes of a command that runs a script.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// It is logged as it came.
    AsItCame,
    /// It is logged as the operation that was written into the buffer.
    Rewritten,
    /// It changes nothing: this command, with the same arguments, is carried out as a read.
    Read(&'static CommandSpec),
    /// It is answered with this error.
    Refused(&'static str),
}

/// Decides it. `op`: receives the operation of [`Form::Rewritten`].
pub(crate) fn form(keyspace: &mut Keyspace, spec: &'static CommandSpec, args: &Args<'_>, op: &mut Vec<u8>) -> Form {
    let scripts = keyspace.scripts_mut();
    let named = args.get(1);
    let flags = match spec.name {
        "eval" => scripts.flags_of(named),
        "evalsha" => {
            let Some(body) = scripts.by_sha(named).cloned() else {
                return Form::Refused(NOSCRIPT);
            };
            let flags = scripts.flags_of(&body);
            if !writes_nothing(flags) {
                let words: Vec<&[u8]> = [b"".as_slice(), &body].into_iter().chain(args.iter_from(2)).collect();
                encode_words(op, lookup(b"eval").expect("a command of the table"), &words);
                return Form::Rewritten;
            }
            flags
        }
        _ => scripts.libraries().function(named).map(|function| function.flags),
    };
    if !writes_nothing(flags) {
        return Form::AsItCame;
    }
    let twin: &[u8] = match spec.name {
        "eval" => b"eval_ro",
        "evalsha" => b"evalsha_ro",
        _ => b"fcall_ro",
    };
    Form::Read(lookup(twin).expect("a command of the table"))
}

fn writes_nothing(flags: Option<ScriptFlags>) -> bool {
    flags.is_some_and(|flags| flags.has(ScriptFlags::NO_WRITES))
}

fn encode_words(op: &mut Vec<u8>, spec: &CommandSpec, words: &[&[u8]]) {
    let mut at = 0;
    // A request as a whole is far below 4 GiB: the query buffer limit sees to that.
    let spans = words.iter().map(|word| {
        at += word.len() as u32;
        (at - word.len() as u32, word.len() as u32)
    });
    let spans: Vec<(u32, u32)> = spans.collect();
    op.clear();
    encode_op(op, spec.id, &Args::new(&words.concat(), &spans));
}

impl CoreState {
    /// Takes a command that runs a script from a connection of this core.
    #[cold]
    pub(crate) fn run_script(&mut self, window: &Window, c: &Parsed, spec: &'static CommandSpec) {
        let id = c.conn;
        let spans = &window.spans[c.spans.0 as usize..c.spans.1 as usize];
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        if let Some(text) = refuse(spec, client, self.write_barrier) {
            return self.refuse_here(id, spec, text);
        }
        let Some((input, _)) = self.net.io(id) else { return };
        let args = Args::new(&input[c.base..], spans);
        let mut op = std::mem::take(&mut self.script_op);
        match form(&mut self.keyspace, spec, &args, &mut op) {
            form @ (Form::AsItCame | Form::Rewritten) => {
                if !self.watches.is_empty() {
                    self.watches.gathered(spec, &args, self.next_batch);
                }
                match form {
                    Form::Rewritten => self.batch.push_encoded_write(Who::Client(id), &op),
                    _ => self.batch.push_write(id, spec.id, &args),
                }
                self.waits(id);
            }
            Form::Read(twin) => {
                let read = Parsed { spec: Ok(twin), ..*c };
                self.run_parsed(window, &read);
            }
            Form::Refused(text) => self.refuse_here(id, spec, text),
        }
        self.script_op = op;
    }

    fn refuse_here(&mut self, id: ConnId, spec: &'static CommandSpec, text: &str) {
        self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
        if lane_of(&mut self.lanes, id).waiting > 0 {
            self.batch.push_refusal(Who::Client(id), text);
            return self.waits(id);
        }
        let (Some(client), Some((_, out))) = (self.server.clients.get_mut(id.index()), self.net.io(id)) else {
            return;
        };
        client.begin_command(spec.full_name, self.now.tick);
        if client.wants_reply() {
            self.server.metrics.errors.count(text);
            RespReply::new(out, client.proto).error(text);
        }
        client.end_command();
    }

    /// A connection of this core sent a script, which may be carried out later or elsewhere: from now on all cores know
    /// it, so that what is sent next may call it by its SHA-1.
    #[cold]
    pub(crate) fn note_script_of(&mut self, window: &Window, c: &Parsed, spec: &'static CommandSpec) {
        let known = self
            .server
            .clients
            .get(c.conn.index())
            .is_some_and(|client| client.authenticated);
        let spans = &window.spans[c.spans.0 as usize..c.spans.1 as usize];
        let Some((input, _)) = self.net.io(c.conn).filter(|_| known) else {
            return;
        };
        let body = Args::new(&input[c.base..], spans).get(if spec.container().is_some() { 2 } else { 1 });
        if !self.keyspace.scripts_mut().note(body) || self.mesh.cores() == 1 {
            return;
        }
        let (me, body): (u16, Arc<[u8]>) = (self.mesh.me().0, body.into());
        for core in (0..self.mesh.cores() as u16).filter(|&core| core != me) {
            self.mesh.to(core).notes.push(Note::Script(body.clone()));
        }
    }

    /// Behind an entry: what its scripts wanted of the server.
    #[cold]
    pub(crate) fn carry_out_effects(&mut self) {
        let Some(effects) = self.keyspace.take_script_effects() else {
            return;
        };
        for (level, text) in &effects.log {
            Event::ScriptLog {
                warns: *level == LogLevel::Warning,
                text,
            }
            .log();
        }
        for published in &effects.published {
            let name: &[u8] = if published.sharded { b"spublish" } else { b"publish" };
            let spec = lookup(name).expect("a command of the table");
            let Run::Server(cmd @ (ServerCmd::Publish | ServerCmd::SPublish)) = spec.run else {
                continue;
            };
            let words = [name, &published.channel, &published.message].concat();
            let (first, second) = (name.len() as u32, published.channel.len() as u32);
            let spans = [
                (0, first),
                (first, second),
                (first + second, published.message.len() as u32),
            ];
            self.publish_for_nobody(spec, cmd, Args::new(&words, &spans));
        }
    }
}
