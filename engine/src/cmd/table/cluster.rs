//! The commands about the cluster.

use super::build::{FAST, LOADING, NONE, STALE, flags};
use crate::cmd::server_cmd::ServerCmd;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

#[rustfmt::skip]
static CLUSTER_SUBCOMMANDS: [CommandSpec; 7] = [
    CommandSpec::new(769, "cluster|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterHelp))
        .doc(Group::Cluster, "5.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(770, "cluster|info", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterInfo))
        .doc(Group::Cluster, "3.0.0", "O(1)", "State of the cluster.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(771, "cluster|keyslot", 3, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterKeySlot))
        .doc(Group::Cluster, "3.0.0", "O(N)", "The slot of a key."),
    CommandSpec::new(772, "cluster|myid", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterMyId))
        .doc(Group::Cluster, "3.0.0", "O(1)", "This node's name."),
    CommandSpec::new(773, "cluster|nodes", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterNodes))
        .doc(Group::Cluster, "3.0.0", "O(N)", "All nodes, in the format of the nodes file.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(774, "cluster|shards", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterShards))
        .doc(Group::Cluster, "7.0.0", "O(N)", "Which nodes serve which slots.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(775, "cluster|slots", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterSlots))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Which nodes serve which slots, in the old form.")
        .deprecated("7.0.0", "`CLUSTER SHARDS`")
        .tips(&["nondeterministic_output"]),
];

/// The cluster.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 3] = [
    CommandSpec::new(768, "cluster", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Cluster, "3.0.0", "depends on the subcommand", "About the cluster.")
        .subcommands(&CLUSTER_SUBCOMMANDS),
    CommandSpec::new(776, "readonly", 1, flags(&[LOADING, STALE, FAST]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Readonly))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Allows reads from replicas on this connection."),
    CommandSpec::new(777, "readwrite", 1, flags(&[LOADING, STALE, FAST]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Readwrite))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Forbids reads from replicas on this connection."),
];
