//! The commands about the cluster.

use super::build::{ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NONE, NOSCRIPT, STALE, flags};
use crate::cmd::server_cmd::ServerCmd;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

#[rustfmt::skip]
static CLUSTER_SUBCOMMANDS: [CommandSpec; 31] = [
    CommandSpec::new(793, "cluster|addslots", -3, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterAddSlots))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Assigns slots to this node.")
        .differs("Always refused: all slots are served from the beginning, an equal part by each core."),
    CommandSpec::new(794, "cluster|addslotsrange", -4, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterAddSlots))
        .doc(Group::Cluster, "7.0.0", "O(N)", "Assigns ranges of slots to this node.")
        .differs("Always refused: all slots are served from the beginning, an equal part by each core."),
    CommandSpec::new(795, "cluster|bumpepoch", 2, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterBumpEpoch))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Advances the epoch of the configuration.")
        .differs("Epochs of masters always differ, so none is advanced.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(778, "cluster|count-failure-reports", 3, flags(&[ADMIN, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterCountFailureReports))
        .doc(Group::Cluster, "3.0.0", "O(N)", "How many nodes report that a node has failed.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(779, "cluster|countkeysinslot", 3, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterCountKeysInSlot))
        .doc(Group::Cluster, "3.0.0", "O(N)", "How many keys a slot holds."),
    CommandSpec::new(796, "cluster|delslots", -3, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterDelSlots))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Takes slots from this node.")
        .differs("Always refused: all slots are served from the beginning, an equal part by each core."),
    CommandSpec::new(797, "cluster|delslotsrange", -4, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterDelSlots))
        .doc(Group::Cluster, "7.0.0", "O(N)", "Takes ranges of slots from this node.")
        .differs("Always refused: all slots are served from the beginning, an equal part by each core."),
    CommandSpec::new(790, "cluster|drain", -3, flags(&[ADMIN, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterDrain))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Has a node's replicas move to other nodes.")
        .differs("Redis does not have it."),
    CommandSpec::new(787, "cluster|failover", -2, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterFailover))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Makes this replica take over from its master."),
    CommandSpec::new(798, "cluster|flushslots", 2, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterFlushSlots))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Takes all slots from this node.")
        .differs("Always refused: all slots are served from the beginning, an equal part by each core."),
    CommandSpec::new(799, "cluster|forget", 3, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterForget))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Removes a node from the cluster.")
        .differs("Only a node that was drained, for ever, and on all nodes."),
    CommandSpec::new(780, "cluster|getkeysinslot", 4, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterGetKeysInSlot))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Some keys of a slot.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(769, "cluster|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterHelp))
        .doc(Group::Cluster, "5.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(770, "cluster|info", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterInfo))
        .doc(Group::Cluster, "3.0.0", "O(1)", "State of the cluster.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(771, "cluster|keyslot", 3, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterKeySlot))
        .doc(Group::Cluster, "3.0.0", "O(N)", "The slot of a key."),
    CommandSpec::new(781, "cluster|links", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterLinks))
        .doc(Group::Cluster, "7.0.0", "O(N)", "The connections between this node and the others.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(800, "cluster|meet", -4, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterMeet))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Has a node join the cluster.")
        .differs("`OK` for a node that is one of the cluster; others join when they are started with `--join`."),
    CommandSpec::new(772, "cluster|myid", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterMyId))
        .doc(Group::Cluster, "3.0.0", "O(1)", "This node's name."),
    CommandSpec::new(782, "cluster|myshardid", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterMyShardId))
        .doc(Group::Cluster, "7.2.0", "O(1)", "The name of the shard this node belongs to.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(773, "cluster|nodes", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterNodes))
        .doc(Group::Cluster, "3.0.0", "O(N)", "All nodes, in the format of the nodes file.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(791, "cluster|remove-node", 3, flags(&[ADMIN, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterRemoveNode))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Removes a node that was drained from the cluster.")
        .differs("Redis does not have it."),
    CommandSpec::new(788, "cluster|replicas", 3, flags(&[ADMIN, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterReplicas))
        .doc(Group::Cluster, "5.0.0", "O(N)", "The replicas of a master, in the format of the nodes file.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(801, "cluster|replicate", 3, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterReplicate))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Makes this node the replica of a master.")
        .differs("Always refused: `CLUSTER SET-REPLICAS` and `CLUSTER DRAIN` say how many replicas there are and where."),
    CommandSpec::new(802, "cluster|reset", -2, flags(&[ADMIN, NOSCRIPT, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterReset))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Has this node forget the cluster.")
        .differs("Always refused: a node leaves by `CLUSTER DRAIN` and `CLUSTER FORGET`."),
    CommandSpec::new(803, "cluster|saveconfig", 2, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterSaveConfig))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Writes the list of nodes to disk.")
        .differs("It is there before it is used."),
    CommandSpec::new(804, "cluster|set-config-epoch", 3, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterSetConfigEpoch))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Sets the epoch of a new node.")
        .differs("Always refused: elections give epochs."),
    CommandSpec::new(792, "cluster|set-replicas", 3, flags(&[ADMIN, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterSetReplicas))
        .doc(Group::Cluster, "3.0.0", "O(N)", "How many nodes shall have each key.")
        .differs("Redis does not have it."),
    CommandSpec::new(805, "cluster|setslot", -4, flags(&[ADMIN, STALE, NO_ASYNC_LOADING]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterSetSlot))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Binds a slot to a node.")
        .differs("Always refused: `CLUSTER DRAIN` empties a node, and one that joins gets its share."),
    CommandSpec::new(774, "cluster|shards", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterShards))
        .doc(Group::Cluster, "7.0.0", "O(N)", "Which nodes serve which slots.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(789, "cluster|slaves", 3, flags(&[ADMIN, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::ClusterReplicas))
        .doc(Group::Cluster, "3.0.0", "O(N)", "The replicas of a master, in the format of the nodes file.")
        .deprecated("5.0.0", "`CLUSTER REPLICAS`")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(775, "cluster|slots", 2, STALE, Categories::NONE, &[], Run::Server(ServerCmd::ClusterSlots))
        .doc(Group::Cluster, "3.0.0", "O(N)", "Which nodes serve which slots, in the old form.")
        .deprecated("7.0.0", "`CLUSTER SHARDS`")
        .tips(&["nondeterministic_output"]),
];

/// The cluster.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 4] = [
    CommandSpec::new(783, "asking", 1, FAST, Categories::CONNECTION, &[], Run::Server(ServerCmd::Asking))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Follows an ASK: the next command may touch a slot on its way here."),
    CommandSpec::new(768, "cluster", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Cluster, "3.0.0", "depends on the subcommand", "About the cluster.")
        .subcommands(&CLUSTER_SUBCOMMANDS),
    CommandSpec::new(776, "readonly", 1, flags(&[LOADING, STALE, FAST]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Readonly))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Allows reads from replicas on this connection."),
    CommandSpec::new(777, "readwrite", 1, flags(&[LOADING, STALE, FAST]), Categories::CONNECTION, &[], Run::Server(ServerCmd::Readwrite))
        .doc(Group::Cluster, "3.0.0", "O(1)", "Forbids reads from replicas on this connection."),
];
