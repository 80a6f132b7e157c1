//! What scripts do besides changing keys, until the server takes it: lines for its log, messages for its subscribers, and
//! the commands they call, for those who monitor.

use super::caller::Denied;
use crate::cmd::{Args, CommandId, CommandSpec, Flags};
use crate::database::Database;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Lines, and denials, kept between two visits of the server; what comes beyond is lost.
const LINES_MAX: usize = 64;
/// Bytes of a line that are kept: what Redis writes of one.
const LINE_BYTES_MAX: usize = 1024;

/// Bytes of the commands that are kept for those who monitor, between two visits of the server: scripts may call millions of
/// them. What comes beyond is lost.
const SHOWN_BYTES_MAX: usize = 8 << 20;
/// What keeping a command takes besides the bytes of its words, and a word besides its own.
const SHOWN_BYTES_EACH: usize = 64;

/// How important a line is to its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Much detail.
    Debug,
    /// Less of it.
    Verbose,
    /// The usual.
    Notice,
    /// Something is wrong.
    Warning,
}

impl LogLevel {
    /// The level that scripts know by this number.
    pub(super) fn of(number: u8) -> Self {
        match number {
            0 => LogLevel::Debug,
            1 => LogLevel::Verbose,
            2 => LogLevel::Notice,
            _ => LogLevel::Warning,
        }
    }
}

/// A message that a script published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// By SPUBLISH.
    pub sharded: bool,
    /// Where to.
    pub channel: Vec<u8>,
    /// What.
    pub message: Vec<u8>,
}

/// A command that a script called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// Where it works.
    pub database: Database,
    /// Its name and arguments, as the script wrote them.
    pub words: Vec<Vec<u8>>,
}

/// How scripts called one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Its number.
    pub id: CommandId,
    /// Its name, with its container's.
    pub name: &'static str,
    /// How often it ran.
    pub ran: u32,
    /// How often that ended with an error.
    pub failed: u32,
    /// How often it was refused.
    pub rejected: u32,
}

/// See the module's text. To be taken behind each entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Lines in order.
    pub log: Vec<(LogLevel, String)>,
    /// Messages in order.
    pub published: Vec<Published>,
    /// What was denied.
    pub denied: Vec<Denied>,
    /// How often each command was called, in no order.
    pub calls: Vec<Calls>,
    /// First words of errors that commands answered with, each with how often, but for those that are a script's own answer, too.
    pub errors: Vec<(String, u32)>,
    /// What was called, in order, while [`Outbox::show_calls`] asks for it.
    pub shown: Vec<Called>,
}

/// Where the functions of an interpreter put them. Copies are the same one.
#[derive(Clone, Default)]
pub(super) struct Outbox(Rc<Inside>);

#[derive(Default)]
struct Inside {
    effects: RefCell<Effects>,
    shows_calls: Cell<bool>,
    shown_bytes: Cell<usize>,
}

impl Outbox {
    /// Whether the commands that scripts call are kept.
    pub(super) fn show_calls(&self, on: bool) {
        self.0.shows_calls.set(on);
    }

    /// A script calls a command that is not refused.
    #[inline]
    pub(super) fn show(&self, database: Database, spec: &CommandSpec, args: &Args<'_>) {
        if self.0.shows_calls.get() && !spec.flags.has(Flags::ADMIN) && !spec.flags.has(Flags::SKIP_MONITOR) {
            self.keep(database, args);
        }
    }

    #[cold]
    fn keep(&self, database: Database, args: &Args<'_>) {
        let words: Vec<Vec<u8>> = args.iter_from(0).map(<[u8]>::to_vec).collect();
        let bytes: usize = words.iter().map(|word| word.len() + SHOWN_BYTES_EACH).sum();
        let kept = self.0.shown_bytes.get() + bytes + SHOWN_BYTES_EACH;
        if kept <= SHOWN_BYTES_MAX {
            self.0.shown_bytes.set(kept);
            self.0.effects.borrow_mut().shown.push(Called { database, words });
        }
    }

    pub(super) fn log(&self, level: LogLevel, text: &[u8]) {
        let lines = &mut self.0.effects.borrow_mut().log;
        if lines.len() < LINES_MAX {
            let kept = &text[..text.len().min(LINE_BYTES_MAX)];
            lines.push((level, String::from_utf8_lossy(kept).into_owned()));
        }
    }

    pub(super) fn publish(&self, sharded: bool, channel: &[u8], message: &[u8]) {
        self.0.effects.borrow_mut().published.push(Published {
            sharded,
            channel: channel.to_vec(),
            message: message.to_vec(),
        });
    }

    /// Counts a call. `failed`: it was answered with an error, or refused with one if it did not run.
    pub(super) fn count(&self, spec: &'static CommandSpec, ran: bool, failed: bool) {
        let calls = &mut self.0.effects.borrow_mut().calls;
        let at = calls.iter().position(|calls| calls.id == spec.id).unwrap_or_else(|| {
            calls.push(Calls {
                id: spec.id,
                name: spec.full_name,
                ran: 0,
                failed: 0,
                rejected: 0,
            });
            calls.len() - 1
        });
        calls[at].ran += u32::from(ran);
        calls[at].failed += u32::from(ran && failed);
        calls[at].rejected += u32::from(!ran);
    }

    /// A call was answered with an error of this first word.
    #[cold]
    pub(super) fn count_error(&self, kind: &str) {
        let errors = &mut self.0.effects.borrow_mut().errors;
        match errors.iter_mut().find(|(other, _)| other == kind) {
            Some((_, count)) => *count += 1,
            None => errors.push((kind.to_string(), 1)),
        }
    }

    /// A script answers with an error that [`Outbox::count_error`] has counted: whoever sends it counts it again.
    #[cold]
    pub(super) fn pass_error_on(&self, text: &str) {
        let kind = text.split(' ').next().unwrap_or_default();
        let errors = &mut self.0.effects.borrow_mut().errors;
        if let Some((_, count)) = errors.iter_mut().find(|(other, _)| other == kind) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn deny(&self, denied: Denied) {
        let list = &mut self.0.effects.borrow_mut().denied;
        if list.len() < LINES_MAX {
            list.push(denied);
        }
    }

    /// All since the last call.
    pub(super) fn take(&self) -> Effects {
        self.0.shown_bytes.set(0);
        self.0.effects.take()
    }
}
