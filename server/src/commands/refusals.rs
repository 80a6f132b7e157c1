//! What a client hears when a command is refused before it runs. Clients tell these apart by their first word.

use slotcore_engine::cmd::{CommandSpec, Flags};

use crate::clients::ClientState;

/// The connection has not given the password.
pub const NOAUTH: &str = "NOAUTH Authentication required.";
/// Answered within a transaction to commands about the server that look at keys, while some of those are only in files: they
/// would have to wait, and nothing within a transaction does.
pub const NOT_IN_MEMORY: &str = "ERR some keys are not in memory: ask outside of a transaction";
/// The data has reached `--memory`, and the command might need more. Nothing was executed.
pub const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
/// The disk is full. Nothing was executed; reads go on, and writes will when there is space again.
pub const DISK_FULL: &str =
    "MISCONF Errors writing to the log: No space left on device. Writes are refused until there is space; reads go on.";
/// The end of what a connection hears that listens in RESP2; the command's name stands in front.
pub const ONLY_LISTENS: &str =
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
/// The log is still being read. Nothing was executed.
pub const LOADING: &str = "LOADING Redis is loading the dataset in memory";
/// There are `--maxclients` connections already; said to a new one before it is closed.
pub const MAX_CLIENTS: &str = "ERR max number of clients reached";

/// What decides whether commands may run now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The log is still being read.
    pub loading: bool,
    /// The data has reached `--memory`.
    pub out_of_memory: bool,
    /// The log cannot grow.
    pub disk_full: bool,
}

/// Why this client may not run this command now; `None` when it may.
#[inline]
pub fn refusal(spec: &CommandSpec, client: &ClientState, now: Conditions) -> Option<&'static str> {
    let lacks = |flag| !spec.flags.has(flag);
    if !client.authenticated && lacks(Flags::NO_AUTH) {
        return Some(NOAUTH);
    }
    if now == Conditions::default() {
        return None;
    }
    if now.loading && lacks(Flags::LOADING) {
        return Some(LOADING);
    }
    if now.out_of_memory && spec.flags.has(Flags::DENYOOM) {
        return Some(OOM);
    }
    (now.disk_full && spec.flags.has(Flags::WRITE)).then_some(DISK_FULL)
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::lookup;
    use slotcore_rt::clock::Tick;

    use super::*;
    use crate::clients::ClientId;

    #[test]
    fn each_condition_stops_what_it_must_and_nothing_else() {
        let any = "127.0.0.1:1".parse().unwrap();
        let client = |stranger| ClientState::new(ClientId(1), any, any, 0, Tick::ZERO, stranger);
        let (friend, stranger) = (client(false), client(true));
        let said = |name: &str, who: &ClientState, now| refusal(lookup(name.as_bytes()).unwrap(), who, now);
        let fine = Conditions::default();
        assert_eq!(said("set", &friend, fine), None);
        assert_eq!(said("set", &stranger, fine), Some(NOAUTH));
        assert_eq!(said("auth", &stranger, fine), None);
        let full = Conditions {
            disk_full: true,
            ..fine
        };
        assert_eq!(
            (said("set", &friend, full), said("get", &friend, full)),
            (Some(DISK_FULL), None)
        );
        assert_eq!(said("del", &friend, full), Some(DISK_FULL));
        let oom = Conditions {
            out_of_memory: true,
            ..fine
        };
        assert_eq!(
            (said("set", &friend, oom), said("del", &friend, oom)),
            (Some(OOM), None)
        );
        let loading = Conditions { loading: true, ..fine };
        assert_eq!(
            (said("get", &friend, loading), said("info", &friend, loading)),
            (Some(LOADING), None)
        );
    }
}
