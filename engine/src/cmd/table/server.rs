//! The commands about the server.

use super::build::{
    ADMIN, ALLOW_BUSY, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NONE, NOSCRIPT, READONLY, RO, STALE, WRITE, flags,
    one,
};
use crate::cmd::data::{keyspace, object};
use crate::cmd::server_cmd::ServerCmd;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

#[rustfmt::skip]
static CONFIG_SUBCOMMANDS: [CommandSpec; 5] = [
    CommandSpec::new(642, "config|get", -3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ConfigGet))
        .doc(Group::Server, "2.0.0", "O(N)", "The values of settings."),
    CommandSpec::new(643, "config|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ConfigHelp))
        .doc(Group::Server, "5.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(644, "config|resetstat", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ConfigResetStat))
        .doc(Group::Server, "2.0.0", "O(1)", "Sets the counters of INFO to zero."),
    CommandSpec::new(645, "config|rewrite", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ConfigRewrite))
        .doc(Group::Server, "2.8.0", "O(1)", "Writes the settings to the configuration file."),
    CommandSpec::new(646, "config|set", -4, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ConfigSet))
        .doc(Group::Server, "2.0.0", "O(N)", "Changes settings.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

#[rustfmt::skip]
static COMMAND_SUBCOMMANDS: [CommandSpec; 7] = [
    CommandSpec::new(648, "command|count", 2, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::CommandCount))
        .doc(Group::Server, "2.8.13", "O(1)", "The number of commands."),
    CommandSpec::new(649, "command|docs", -2, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::CommandDocs))
        .doc(Group::Server, "7.0.0", "O(N)", "The documentation of commands.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(650, "command|getkeys", -4, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::CommandGetKeys))
        .doc(Group::Server, "2.8.13", "O(N)", "The keys of a command given in full."),
    CommandSpec::new(651, "command|getkeysandflags", -4, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::CommandGetKeysAndFlags))
        .doc(Group::Server, "7.0.0", "O(N)", "The keys of a command given in full, and what it does with them."),
    CommandSpec::new(652, "command|help", 2, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::CommandHelp))
        .doc(Group::Server, "5.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(653, "command|info", -2, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::CommandInfo))
        .doc(Group::Server, "2.8.13", "O(N)", "Describes some commands.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(654, "command|list", -2, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::CommandList))
        .doc(Group::Server, "7.0.0", "O(N)", "The names of commands.")
        .tips(&["nondeterministic_output_order"]),
];

#[rustfmt::skip]
static MODULE_SUBCOMMANDS: [CommandSpec; 2] = [
    CommandSpec::new(1007, "module|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ModuleHelp))
        .doc(Group::Server, "5.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(1008, "module|list", 2, flags(&[ADMIN, NOSCRIPT]), Categories::NONE, &[], Run::Server(ServerCmd::ModuleList))
        .doc(Group::Server, "4.0.0", "O(N)", "Lists loaded modules.")
        .tips(&["nondeterministic_output_order"])
        .differs("Always empty: there are none."),
];

static SLOWLOG_SUBCOMMANDS: [CommandSpec; 4] = [
    CommandSpec::new(
        660,
        "slowlog|get",
        -2,
        flags(&[ADMIN, LOADING, STALE]),
        Categories::NONE,
        &[],
        Run::Server(ServerCmd::SlowlogGet),
    )
    .doc(Group::Server, "2.2.12", "O(N)", "Entries of the log.")
    .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
    CommandSpec::new(
        661,
        "slowlog|help",
        2,
        flags(&[LOADING, STALE]),
        Categories::NONE,
        &[],
        Run::Server(ServerCmd::SlowlogHelp),
    )
    .doc(Group::Server, "6.2.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(
        662,
        "slowlog|len",
        2,
        flags(&[ADMIN, LOADING, STALE]),
        Categories::NONE,
        &[],
        Run::Server(ServerCmd::SlowlogLen),
    )
    .doc(Group::Server, "2.2.12", "O(1)", "The number of entries.")
    .tips(&[
        "request_policy:all_nodes",
        "response_policy:agg_sum",
        "nondeterministic_output",
    ]),
    CommandSpec::new(
        663,
        "slowlog|reset",
        2,
        flags(&[ADMIN, LOADING, STALE]),
        Categories::NONE,
        &[],
        Run::Server(ServerCmd::SlowlogReset),
    )
    .doc(Group::Server, "2.2.12", "O(N)", "Empties the log.")
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

#[rustfmt::skip]
static LATENCY_SUBCOMMANDS: [CommandSpec; 7] = [
    CommandSpec::new(665, "latency|doctor", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::LatencyDoctor))
        .doc(Group::Server, "2.8.13", "O(1)", "A report for people.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    CommandSpec::new(666, "latency|graph", 3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::LatencyGraph))
        .doc(Group::Server, "2.8.13", "O(1)", "A picture of one event's records.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    CommandSpec::new(667, "latency|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::LatencyHelp))
        .doc(Group::Server, "2.8.13", "O(1)", "Explains the subcommands."),
    CommandSpec::new(668, "latency|histogram", -2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::LatencyHistogram))
        .doc(Group::Server, "7.0.0", "O(N)", "How long commands took.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    CommandSpec::new(669, "latency|history", 3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::LatencyHistory))
        .doc(Group::Server, "2.8.13", "O(1)", "The records of one event.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    CommandSpec::new(670, "latency|latest", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::LatencyLatest))
        .doc(Group::Server, "2.8.13", "O(1)", "The last record of every event.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    CommandSpec::new(671, "latency|reset", -2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::LatencyReset))
        .doc(Group::Server, "2.8.13", "O(1)", "Forgets records.")
        .differs("With several cores an event counts once for each.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

#[rustfmt::skip]
static MEMORY_SUBCOMMANDS: [CommandSpec; 6] = [
    CommandSpec::new(673, "memory|doctor", 2, NONE, Categories::NONE, &[], Run::Server(ServerCmd::MemoryDoctor))
        .doc(Group::Server, "4.0.0", "O(1)", "A report for people.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    CommandSpec::new(674, "memory|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::MemoryHelp))
        .doc(Group::Server, "4.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(675, "memory|malloc-stats", 2, NONE, Categories::NONE, &[], Run::Server(ServerCmd::MemoryMallocStats))
        .doc(Group::Server, "4.0.0", "O(N)", "Figures of the allocator.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    CommandSpec::new(676, "memory|purge", 2, NONE, Categories::NONE, &[], Run::Server(ServerCmd::MemoryPurge))
        .doc(Group::Server, "4.0.0", "O(N)", "Gives free memory back to the system.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(677, "memory|stats", 2, NONE, Categories::NONE, &[], Run::Server(ServerCmd::MemoryStats))
        .doc(Group::Server, "4.0.0", "O(1)", "Where the memory is.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    CommandSpec::new(94, "memory|usage", -3, READONLY, Categories::NONE, &[one(2, &[RO])], Run::Data(object::memory_usage))
        .doc(Group::Server, "4.0.0", "O(N)", "Bytes that a key and its value take."),
];

#[rustfmt::skip]
static ACL_SUBCOMMANDS: [CommandSpec; 13] = [
    CommandSpec::new(980, "acl|cat", -2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclCat))
        .doc(Group::Server, "6.0.0", "O(N)", "The categories of commands, or the commands of one."),
    CommandSpec::new(981, "acl|deluser", -3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclDelUser))
        .doc(Group::Server, "6.0.0", "O(N)", "Removes users and closes their connections."),
    CommandSpec::new(982, "acl|dryrun", -4, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclDryRun))
        .doc(Group::Server, "7.0.0", "O(1)", "Whether a user could run a command."),
    CommandSpec::new(983, "acl|genpass", -2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclGenPass))
        .doc(Group::Server, "6.0.0", "O(1)", "A random password."),
    CommandSpec::new(984, "acl|getuser", 3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclGetUser))
        .doc(Group::Server, "6.0.0", "O(N)", "What a user may do."),
    CommandSpec::new(985, "acl|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclHelp))
        .doc(Group::Server, "6.0.0", "O(1)", "What ACL can do."),
    CommandSpec::new(986, "acl|list", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclList))
        .doc(Group::Server, "6.0.0", "O(N)", "All users with their rules."),
    CommandSpec::new(987, "acl|load", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclLoad))
        .doc(Group::Server, "6.0.0", "O(N)", "Reads the users from the ACL file."),
    CommandSpec::new(988, "acl|log", -2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclLog))
        .doc(Group::Server, "6.0.0", "O(N)", "What was denied of late.")
        .differs("Lists core after core."),
    CommandSpec::new(989, "acl|save", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclSave))
        .doc(Group::Server, "6.0.0", "O(N)", "Writes the users to the ACL file."),
    CommandSpec::new(990, "acl|setuser", -3, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclSetUser))
        .doc(Group::Server, "6.0.0", "O(N)", "Changes a user, or makes one."),
    CommandSpec::new(991, "acl|users", 2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclUsers))
        .doc(Group::Server, "6.0.0", "O(N)", "The names of all users."),
    CommandSpec::new(679, "acl|whoami", 2, flags(&[NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::AclWhoami))
        .doc(Group::Server, "6.0.0", "O(1)", "The name of the connection's user."),
];

/// The server.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 22] = [
    CommandSpec::new(640, "info", -1, flags(&[LOADING, STALE]), Categories::DANGEROUS, &[], Run::Server(ServerCmd::Info))
        .doc(Group::Server, "1.0.0", "O(1)", "Figures about the server.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    CommandSpec::new(641, "config", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Server, "2.0.0", "depends on the subcommand", "Settings.")
        .subcommands(&CONFIG_SUBCOMMANDS),
    CommandSpec::new(647, "command", -1, flags(&[LOADING, STALE]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Command))
        .doc(Group::Server, "2.8.13", "O(N)", "Describes all commands.")
        .tips(&["nondeterministic_output_order"])
        .subcommands(&COMMAND_SUBCOMMANDS),
    CommandSpec::new(655, "time", 1, flags(&[LOADING, STALE, FAST]), Categories::NONE, &[], Run::Server(ServerCmd::Time))
        .doc(Group::Server, "2.6.0", "O(1)", "The server's clock.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(656, "lastsave", 1, flags(&[LOADING, STALE, FAST]), Categories::ADMIN.and(Categories::DANGEROUS), &[], Run::Server(ServerCmd::LastSave))
        .doc(Group::Server, "1.0.0", "O(1)", "When the data was last written, in seconds since 1970.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(784, "save", 1, flags(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI]), Categories::NONE, &[], Run::Server(ServerCmd::Save))
        .doc(Group::Server, "1.0.0", "O(1)", "Answers when everything acknowledged is on disk.")
        .differs("No file is made: the log is the data. `slotcore backup` copies it."),
    CommandSpec::new(785, "bgsave", -1, flags(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::BgSave))
        .doc(Group::Server, "1.0.0", "O(1)", "Brings everything acknowledged to disk, and does not wait.")
        .differs("No file is made: the log is the data. `slotcore backup` copies it."),
    CommandSpec::new(1001, "bgrewriteaof", 1, flags(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::BgRewriteAof))
        .doc(Group::Server, "1.0.0", "O(1)", "Brings everything acknowledged to disk, and does not wait.")
        .differs("The log forgets by itself what files hold: there is nothing to rewrite."),
    CommandSpec::new(786, "backup", 2, flags(&[ADMIN, NOSCRIPT, NO_MULTI]), Categories::NONE, &[], Run::Server(ServerCmd::Backup))
        .doc(Group::Server, "1.0.0", "O(1)", "Keeps files unchanged for `slotcore backup`.")
        .differs("Redis does not have it."),
    CommandSpec::new(680, "swapdb", 3, flags(&[WRITE, FAST]), Categories::KEYSPACE.and(Categories::DANGEROUS), &[], Run::Data(keyspace::swapdb))
        .doc(Group::Server, "4.0.0", "O(N)", "Exchanges the keys of two databases.")
        .differs("Each key is moved: it takes time for every key of both databases. Scripts may not call it."),
    CommandSpec::new(657, "shutdown", -1, flags(&[ADMIN, NOSCRIPT, LOADING, STALE, NO_MULTI, ALLOW_BUSY]), Categories::NONE, &[], Run::Server(ServerCmd::Shutdown))
        .doc(Group::Server, "1.0.0", "O(N)", "Ends the server.")
        .differs("`SAVE` and `NOSAVE` make no difference: the log is the data."),
    CommandSpec::new(1002, "role", 1, flags(&[NOSCRIPT, LOADING, STALE, FAST]), Categories::ADMIN.and(Categories::DANGEROUS), &[], Run::Server(ServerCmd::Role))
        .doc(Group::Server, "2.8.12", "O(1)", "Whether this is a master, and of whom.")
        .differs("Of the core that answers; offsets are positions in its group's log. The any-slot port is that of a master."),
    CommandSpec::new(1003, "replicaof", 3, flags(&[ADMIN, NOSCRIPT, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ReplicaOf))
        .doc(Group::Server, "5.0.0", "O(1)", "Whom to replicate from.")
        .differs("Only `NO ONE`: nodes replicate as a cluster."),
    CommandSpec::new(1004, "slaveof", 3, flags(&[ADMIN, NOSCRIPT, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ReplicaOf))
        .doc(Group::Server, "1.0.0", "O(1)", "Whom to replicate from.")
        .deprecated("5.0.0", "`REPLICAOF`")
        .differs("Only `NO ONE`: nodes replicate as a cluster."),
    CommandSpec::new(1005, "lolwut", -1, flags(&[READONLY, FAST]), Categories::NONE, &[], Run::Server(ServerCmd::Lolwut))
        .doc(Group::Server, "5.0.0", "O(1)", "Shows the version.")
        .differs("No picture."),
    CommandSpec::new(1006, "module", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Server, "4.0.0", "depends on the subcommand", "Loaded modules.")
        .subcommands(&MODULE_SUBCOMMANDS),
    CommandSpec::new(915, "monitor", 1, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::Monitor))
        .doc(Group::Server, "1.0.0", "O(1)", "Shows all commands as they come."),
    CommandSpec::new(658, "debug", -2, flags(&[ADMIN, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::Debug))
        .doc(Group::Server, "1.0.0", "depends on the subcommand", "For tests of the server."),
    CommandSpec::new(659, "slowlog", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Server, "2.2.12", "depends on the subcommand", "The log of slow commands.")
        .subcommands(&SLOWLOG_SUBCOMMANDS),
    CommandSpec::new(664, "latency", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Server, "2.8.13", "depends on the subcommand", "Records of slow events.")
        .subcommands(&LATENCY_SUBCOMMANDS),
    CommandSpec::new(672, "memory", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Server, "4.0.0", "depends on the subcommand", "Memory in use.")
        .subcommands(&MEMORY_SUBCOMMANDS),
    CommandSpec::new(678, "acl", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Server, "6.0.0", "depends on the subcommand", "Users and their rights.")
        .subcommands(&ACL_SUBCOMMANDS),
];
