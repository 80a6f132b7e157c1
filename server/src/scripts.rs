//! Scripts on their way into the log, and what they do besides changing keys.
//!
//! A script is logged as its text: `EVALSHA`, which names one that only this core knows, becomes the `EVAL` of it. One that
//! says that it writes nothing is not logged at all: it is carried out as a read. A new script is told to the other cores,
//! so that it can be called by its SHA-1 on whichever core the keys of the next call live.
//!
//! A script of a user who may not do everything is wrapped into an operation that tells his rights, on the core of his
//! connection: what the script may do is decided when it is proposed, not where or when it runs.

use std::sync::Arc;

use slotcore_engine::cmd::op::{decode_op, encode_op};
use slotcore_engine::cmd::{
    Args, CALLED_AS_RO, CallerText, CommandSpec, Flags, Reply, Run, ServerCmd, by_id, encode_called_as, lookup,
    open_called_as, when_scarce,
};
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::script::{Denial, Denied, Effects, LogLevel, NOSCRIPT, ScriptFlags};
use slotcore_netio::ConnId;

use crate::acl::{Context, LogEntry, rights_text};
use crate::batch::Who;
use crate::commands::Around;
use crate::core_state::{CoreState, NetBuffers, lane_of};
use crate::dispatch::refuse;
use crate::logging::Event;
use crate::parcel::{Asker, How, Note};
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
    /// The same, carried out as the operation that was written into the buffer.
    RewrittenRead,
    /// It is answered with this error.
    Refused(&'static str),
}

/// Decides it. `caller`: who calls it, if he may not do everything. `scarce`: memory is exhausted, which the log tells whoever
/// carries it out. `op`: receives the operation of [`Form::Rewritten`] and [`Form::RewrittenRead`].
pub(crate) fn form(
    keyspace: &mut Keyspace,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    caller: Option<&CallerText>,
    scarce: bool,
    op: &mut Vec<u8>,
) -> Form {
    if let Some((inner_spec, inner, spans)) = opened(spec, args) {
        let caller = open_called_as(spec, args).map(|(caller, _)| caller);
        return form(
            keyspace,
            inner_spec,
            &Args::new(inner, &spans),
            caller.as_ref(),
            scarce,
            op,
        );
    }
    let mut plain = form_of_anybody(keyspace, spec, args, scarce, op);
    if scarce
        && matches!(plain, Form::AsItCame)
        && let Some(twin) = when_scarce(spec)
    {
        op.clear();
        encode_op(op, twin.id, args);
        plain = Form::Rewritten;
    }
    let Some(caller) = caller else { return plain };
    let writes = match plain {
        Form::Refused(_) => return plain,
        Form::AsItCame => {
            op.clear();
            encode_op(op, spec.id, args);
            true
        }
        Form::Rewritten => true,
        Form::Read(twin) => {
            op.clear();
            encode_op(op, twin.id, args);
            false
        }
        Form::RewrittenRead => false,
    };
    let inner = std::mem::take(op);
    encode_called_as(op, caller, writes, &inner);
    if writes { Form::Rewritten } else { Form::RewrittenRead }
}

/// A command, the bytes of its arguments, and where each lies.
pub(crate) type Opened<'a> = (&'static CommandSpec, &'a [u8], Vec<(u32, u32)>);

/// What an operation with a caller's rights is around; `None`: the command is another.
#[cold]
pub(crate) fn opened<'a>(spec: &CommandSpec, args: &Args<'a>) -> Option<Opened<'a>> {
    let (_, inner) = open_called_as(spec, args)?;
    let mut spans = Vec::new();
    let (id, _) = decode_op(inner, &mut spans).ok()?;
    Some((by_id(id)?, inner, spans))
}

/// The command that carries out an operation of [`Form::RewrittenRead`].
pub(crate) fn reads_as() -> &'static CommandSpec {
    by_id(CALLED_AS_RO).expect("the table has it")
}

/// Whether a command runs a script that says that it writes nothing.
#[cold]
pub(crate) fn only_reads(keyspace: &mut Keyspace, spec: &'static CommandSpec, args: &Args<'_>) -> bool {
    let runs = spec.flags.has(Flags::RUNS_SCRIPT);
    runs && matches!(
        form_of_anybody(keyspace, spec, args, false, &mut Vec::new()),
        Form::Read(_)
    )
}

/// Whether a command runs a script that may touch keys it is not given, by what its text shows, and whose caller does not keep
/// them on one core by a hash tag.
#[cold]
pub(crate) fn may_wander(keyspace: &mut Keyspace, spec: &CommandSpec, args: &Args<'_>) -> bool {
    let scripts = keyspace.scripts_mut();
    let names_all = match spec.name {
        "eval" | "eval_ro" => scripts.names_all_keys(args.get(1)),
        "evalsha" | "evalsha_ro" => {
            let body = scripts.by_sha(args.get(1)).cloned();
            body.is_none_or(|body| scripts.names_all_keys(&body))
        }
        // Of a function only its own text is known to name keys, not that of its library.
        _ => true,
    };
    !names_all && !first_key_has_tag(args)
}

fn first_key_has_tag(args: &Args<'_>) -> bool {
    let key = args.try_get(3).filter(|_| args.get(2) != b"0");
    key.is_some_and(|key| {
        key.iter()
            .position(|byte| *byte == b'{')
            .is_some_and(|open| key[open..].contains(&b'}'))
    })
}

fn form_of_anybody(
    keyspace: &mut Keyspace,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    scarce: bool,
    op: &mut Vec<u8>,
) -> Form {
    if !spec.flags.has(Flags::LOGGED) {
        return Form::Read(spec);
    }
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
                let eval = lookup(b"eval").expect("a command of the table");
                let spec = if scarce { when_scarce(eval) } else { None };
                encode_words(op, spec.unwrap_or(eval), &words);
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
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        if let Some(text) = refuse(spec, client, self.write_barrier) {
            return self.refuse_here(id, spec, text);
        }
        let (caller, scarce) = (self.caller(id), self.is_scarce());
        let Some((input, _)) = self.net.io(id) else { return };
        let args = window.args(c, input);
        let mut op = std::mem::take(&mut self.script_op);
        match form(&mut self.keyspace, spec, &args, caller.as_ref(), scarce, &mut op) {
            form @ (Form::AsItCame | Form::Rewritten) => {
                if !self.watches.is_empty() {
                    let waiters = !self.keyspace.waiters().is_empty();
                    self.watches.gathered(spec, &args, self.next_batch, waiters);
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
            Form::RewrittenRead => {
                self.batch.push_encoded_aside(Who::Client(id), &op);
                self.waits(id);
            }
            Form::Refused(text) => self.refuse_here(id, spec, text),
        }
        self.script_op = op;
    }

    /// Who sends on this connection, if he may not do everything.
    #[cold]
    pub(crate) fn caller(&self, id: ConnId) -> Option<CallerText> {
        let client = self
            .server
            .clients
            .get(id.index())
            .filter(|client| client.is_restricted)?;
        let rights = self.server.acl.get(&client.user).map(rights_text);
        Some(CallerText {
            // Whoever is gone has no rights.
            rights: rights.unwrap_or_default(),
            user: client.user.clone(),
            client: client.id.0,
        })
    }

    /// Sends a script of a user who may not do everything to the core of its keys.
    #[cold]
    pub(crate) fn send_script(&mut self, window: &Window, c: &Parsed, how: How, spec: &CommandSpec, core: u16) {
        let id = c.conn;
        let Some(caller) = self.caller(id) else { return };
        let args = window.args(c, self.net.input(id));
        let (mut inner, mut op, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        encode_op(&mut inner, spec.id, &args);
        let writes = spec.flags.has(Flags::LOGGED);
        encode_called_as(&mut op, &caller, writes, &inner);
        let (number, _) = decode_op(&op, &mut spans).expect("just encoded");
        self.mesh
            .to(core)
            .push_request(Asker::whole(id), how, number, &Args::new(&op, &spans));
    }

    pub(crate) fn refuse_here(&mut self, id: ConnId, spec: &'static CommandSpec, text: &str) {
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
        let Some((input, _)) = self.net.io(c.conn).filter(|_| known) else {
            return;
        };
        let body = window
            .args(c, input)
            .get(if spec.container().is_some() { 2 } else { 1 });
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
        if let Some(effects) = self.keyspace.take_script_effects() {
            self.perform_effects(effects);
        }
    }

    /// Does what scripts wanted of the server.
    pub(crate) fn perform_effects(&mut self, effects: Effects) {
        for (level, text) in &effects.log {
            Event::ScriptLog {
                warns: *level == LogLevel::Warning,
                text,
            }
            .log();
        }
        if !effects.shown.is_empty() {
            self.show_calls(&effects.shown);
        }
        for calls in &effects.calls {
            let (stats, id) = (&mut self.server.metrics.commands, calls.id.0);
            if calls.ran > 0 {
                // What it took is part of the script's time.
                stats.ran(id, calls.name, 0, calls.ran);
            }
            (0..calls.failed).for_each(|_| stats.failed(id, calls.name));
            (0..calls.rejected).for_each(|_| stats.rejected(id, calls.name));
        }
        for (kind, times) in effects.errors.iter().filter(|(_, times)| *times > 0) {
            self.server.metrics.errors.count_called(kind, *times);
        }
        for denied in effects.denied {
            self.note_script_denial(denied);
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

    /// For the log of denials.
    fn note_script_denial(&mut self, denied: Denied) {
        let counters = &mut self.server.metrics.net.denials;
        let reason = match denied.what {
            Denial::Command => {
                counters.commands += 1;
                "command"
            }
            Denial::Key(_) => {
                counters.keys += 1;
                "key"
            }
            Denial::Channel(_) => {
                counters.channels += 1;
                "channel"
            }
        };
        let around = Around {
            keyspace: &mut self.keyspace,
            buffers: &NetBuffers(&self.net),
            now: self.now.tick,
            wall_us: self.now.wall_us,
        };
        let client = self.server.line_of_client(denied.client, around);
        let longest = self.server.config.settings().acl_log_len_max;
        let entry = LogEntry {
            id: 0,
            count: 1,
            reason,
            context: Context::Lua,
            object: denied.object,
            user: denied.user,
            client,
            first_ms: 0,
            last_ms: self.now.wall_us / 1000,
        };
        self.server.acl_log.note(entry, longest);
    }
}
