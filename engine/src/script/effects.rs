//! What scripts do besides changing keys, until the server takes it: lines for its log, messages for its subscribers.

use super::caller::Denied;
use crate::cmd::{CommandId, CommandSpec};
use std::cell::RefCell;
use std::rc::Rc;

/// Lines, and denials, kept between two visits of the server; what comes beyond is lost.
const LINES_MAX: usize = 64;
/// Bytes of a line that are kept: what Redis writes of one.
const LINE_BYTES_MAX: usize = 1024;

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
}

/// Where the functions of an interpreter put them. Copies are the same one.
#[derive(Clone, Default)]
pub(super) struct Outbox(Rc<RefCell<Effects>>);

impl Outbox {
    pub(super) fn log(&self, level: LogLevel, text: &[u8]) {
        let lines = &mut self.0.borrow_mut().log;
        if lines.len() < LINES_MAX {
            let kept = &text[..text.len().min(LINE_BYTES_MAX)];
            lines.push((level, String::from_utf8_lossy(kept).into_owned()));
        }
    }

    pub(super) fn publish(&self, sharded: bool, channel: &[u8], message: &[u8]) {
        self.0.borrow_mut().published.push(Published {
            sharded,
            channel: channel.to_vec(),
            message: message.to_vec(),
        });
    }

    /// Counts a call. `failed`: it was answered with an error, or refused with one if it did not run.
    pub(super) fn count(&self, spec: &'static CommandSpec, ran: bool, failed: bool) {
        let calls = &mut self.0.borrow_mut().calls;
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

    pub(super) fn deny(&self, denied: Denied) {
        let list = &mut self.0.borrow_mut().denied;
        if list.len() < LINES_MAX {
            list.push(denied);
        }
    }

    /// All since the last call.
    pub(super) fn take(&self) -> Effects {
        self.0.take()
    }
}
