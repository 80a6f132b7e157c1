//! The commands about the connection.

use super::build::{ADMIN, ALLOW_BUSY, FAST, LOADING, NO_AUTH, NONE, NOSCRIPT, STALE, flags};
use crate::cmd::server_cmd::ServerCmd;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

#[rustfmt::skip]
static CLIENT_SUBCOMMANDS: [CommandSpec; 19] = [
    CommandSpec::new(911, "client|caching", 3, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientCaching))
        .doc(Group::Connection, "6.0.0", "O(1)", "Says whether the next command's keys are tracked."),
    CommandSpec::new(912, "client|getredir", 2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientGetRedir))
        .doc(Group::Connection, "6.0.0", "O(1)", "Who is told of changed keys in place of this connection."),
    CommandSpec::new(913, "client|tracking", -3, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientTracking))
        .doc(Group::Connection, "6.0.0", "O(1). Some options may introduce additional complexity.", "Has the connection told of changes of the keys it has read."),
    CommandSpec::new(914, "client|trackinginfo", 2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientTrackingInfo))
        .doc(Group::Connection, "6.2.0", "O(1)", "How the connection is told of changed keys."),
    CommandSpec::new(520, "client|getname", 2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientGetName))
        .doc(Group::Connection, "2.6.9", "O(1)", "The connection's name."),
    CommandSpec::new(521, "client|help", 2, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientHelp))
        .doc(Group::Connection, "5.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(522, "client|id", 2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientId))
        .doc(Group::Connection, "5.0.0", "O(1)", "The connection's number."),
    CommandSpec::new(523, "client|info", 2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientInfo))
        .doc(Group::Connection, "6.2.0", "O(1)", "What is known of this connection.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(524, "client|kill", -3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientKill))
        .doc(Group::Connection, "2.4.0", "O(N)", "Closes connections."),
    CommandSpec::new(525, "client|list", -2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientList))
        .doc(Group::Connection, "2.4.0", "O(N)", "What is known of all connections.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(526, "client|no-evict", 3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientNoEvict))
        .doc(Group::Connection, "7.0.0", "O(1)", "Exempts the connection from being closed for its memory."),
    CommandSpec::new(527, "client|no-touch", 3, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientNoTouch))
        .doc(Group::Connection, "7.2.0", "O(1)", "Makes the connection's commands not count as use of keys."),
    CommandSpec::new(1009, "client|readmode", -2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientReadMode))
        .doc(Group::Connection, "7.2.0", "O(1)", "Says how fresh what the connection reads has to be.")
        .differs("Redis does not have it."),
    CommandSpec::new(528, "client|reply", 3, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientReply))
        .doc(Group::Connection, "3.2.0", "O(1)", "Turns replies off and on."),
    CommandSpec::new(529, "client|setinfo", 4, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientSetInfo))
        .doc(Group::Connection, "7.2.0", "O(1)", "Names the client's library."),
    CommandSpec::new(531, "client|unblock", -3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientUnblock))
        .doc(Group::Connection, "5.0.0", "O(log N) where N is the number of client connections", "Ends the wait of a client that is blocked."),
    CommandSpec::new(532, "client|pause", -3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientPause))
        .doc(Group::Connection, "2.9.50", "O(1)", "Holds the commands of clients for some time."),
    CommandSpec::new(533, "client|unpause", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientUnpause))
        .doc(Group::Connection, "6.2.0", "O(N) where N is the number of paused clients", "Lets clients that are paused go on."),
    CommandSpec::new(530, "client|setname", 3, flags(&[NOSCRIPT, LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::ClientSetName))
        .doc(Group::Connection, "2.6.9", "O(1)", "Names the connection."),
];

/// The connection.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 10] = [
    CommandSpec::new(916, "wait", 3, NOSCRIPT, Categories::CONNECTION, &[], Run::Server(ServerCmd::Wait))
        .doc(Group::Generic, "3.0.0", "O(1)", "Waits until replicas have acknowledged this connection's writes.")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    CommandSpec::new(917, "waitaof", 4, NOSCRIPT, Categories::CONNECTION, &[], Run::Server(ServerCmd::WaitAof))
        .doc(Group::Generic, "7.2.0", "O(1)", "Waits until this connection's writes are durable, here and on replicas.")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    CommandSpec::new(512, "ping", -1, FAST, Categories::CONNECTION, &[], Run::Server(ServerCmd::Ping))
        .doc(Group::Connection, "1.0.0", "O(1)", "Answers that the server is there.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(513, "echo", 2, flags(&[LOADING, STALE, FAST]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Echo))
        .doc(Group::Connection, "1.0.0", "O(1)", "Answers what was sent."),
    CommandSpec::new(514, "hello", -1, flags(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Hello))
        .doc(Group::Connection, "6.0.0", "O(1)", "Greets, agrees on the protocol, authenticates."),
    CommandSpec::new(515, "auth", -2, flags(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Auth))
        .doc(Group::Connection, "1.0.0", "O(N)", "Authenticates the connection."),
    CommandSpec::new(516, "select", 2, flags(&[LOADING, STALE, FAST]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Select))
        .doc(Group::Connection, "1.0.0", "O(1)", "Chooses one of 16 databases.")
        .differs("A core's own port has number 0 only."),
    CommandSpec::new(517, "quit", -1, flags(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Quit))
        .doc(Group::Connection, "1.0.0", "O(1)", "Closes the connection."),
    CommandSpec::new(518, "reset", 1, flags(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Reset))
        .doc(Group::Connection, "6.2.0", "O(1)", "Makes the connection as new."),
    CommandSpec::new(519, "client", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Connection, "2.4.0", "depends on the subcommand", "About client connections.")
        .subcommands(&CLIENT_SUBCOMMANDS),
];
