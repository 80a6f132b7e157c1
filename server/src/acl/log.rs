//! [`AclLog`]: what was denied of late.

use std::collections::VecDeque;

/// Denials of the same kind within so many milliseconds are one entry.
const SAME_WITHIN_MS: u64 = 60_000;

/// Where a command stood that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// By itself.
    TopLevel,
    /// In a transaction.
    Multi,
    /// In a script.
    Lua,
}

impl Context {
    /// As the log shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// One kind of denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Counts entries since the start.
    pub id: u64,
    /// How often.
    pub count: u64,
    /// `command`, `key`, `channel` or `auth`.
    pub reason: &'static str,
    /// Where.
    pub context: Context,
    /// The command, key or channel; for `auth` the command that brought the password.
    pub object: Vec<u8>,
    /// Who.
    pub user: Vec<u8>,
    /// His connection, as CLIENT LIST shows it.
    pub client: String,
    /// When it happened first and last, milliseconds since 1970.
    pub first_ms: u64,
    /// See `first_ms`.
    pub last_ms: u64,
}

/// Newest first.
#[derive(Clone, Debug, Default)]
pub struct AclLog {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl AclLog {
    /// Notes a denial; `entry.id`, `count` and `first_ms` are set here. At most `longest` entries are kept.
    pub fn note(&mut self, mut entry: LogEntry, longest: usize) {
        let is_same = |old: &LogEntry| {
            old.reason == entry.reason
                && old.context == entry.context
                && old.object == entry.object
                && old.user == entry.user
                && entry.last_ms.saturating_sub(old.last_ms) <= SAME_WITHIN_MS
        };
        if let Some(at) = self.entries.iter().position(is_same)
            && let Some(mut old) = self.entries.remove(at)
        {
            old.count += 1;
            (old.last_ms, old.client) = (entry.last_ms, entry.client);
            self.entries.push_front(old);
        } else {
            (entry.id, entry.count, entry.first_ms) = (self.next_id, 1, entry.last_ms);
            self.next_id += 1;
            self.entries.push_front(entry);
        }
        self.entries.truncate(longest);
    }

    /// Newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
