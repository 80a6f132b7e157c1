//! Publishing and subscribing.

use super::build::{FAST, LOADING, NONE, NOSCRIPT, NOT_KEY, PUBSUB, STALE, all, flags, one};
use crate::cmd::server_cmd::ServerCmd;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

#[rustfmt::skip]
static PUBSUB_SUBCOMMANDS: [CommandSpec; 6] = [
    CommandSpec::new(905, "pubsub|channels", -2, flags(&[PUBSUB, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PubsubChannels))
        .doc(Group::PubSub, "2.8.0", "O(N)", "The channels that somebody has subscribed to."),
    CommandSpec::new(906, "pubsub|help", 2, flags(&[LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PubsubHelp))
        .doc(Group::PubSub, "6.2.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(907, "pubsub|numpat", 2, flags(&[PUBSUB, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PubsubNumPat))
        .doc(Group::PubSub, "2.8.0", "O(1)", "The number of different patterns that somebody has subscribed to."),
    CommandSpec::new(908, "pubsub|numsub", -2, flags(&[PUBSUB, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PubsubNumSub))
        .doc(Group::PubSub, "2.8.0", "O(N)", "How many have subscribed to each of some channels."),
    CommandSpec::new(909, "pubsub|shardchannels", -2, flags(&[PUBSUB, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PubsubShardChannels))
        .doc(Group::PubSub, "7.0.0", "O(N)", "The sharded channels that somebody has subscribed to."),
    CommandSpec::new(910, "pubsub|shardnumsub", -2, flags(&[PUBSUB, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PubsubShardNumSub))
        .doc(Group::PubSub, "7.0.0", "O(N)", "How many have subscribed to each of some sharded channels."),
];

/// Publishing and subscribing.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 9] = [
    CommandSpec::new(896, "subscribe", -2, flags(&[PUBSUB, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::Subscribe))
        .doc(Group::PubSub, "2.0.0", "O(N)", "Listens to channels."),
    CommandSpec::new(897, "unsubscribe", -1, flags(&[PUBSUB, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::Unsubscribe))
        .doc(Group::PubSub, "2.0.0", "O(N)", "Listens to channels no longer."),
    CommandSpec::new(898, "psubscribe", -2, flags(&[PUBSUB, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PSubscribe))
        .doc(Group::PubSub, "2.0.0", "O(N)", "Listens to all channels that match patterns."),
    CommandSpec::new(899, "punsubscribe", -1, flags(&[PUBSUB, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[], Run::Server(ServerCmd::PUnsubscribe))
        .doc(Group::PubSub, "2.0.0", "O(N)", "Listens to patterns no longer."),
    CommandSpec::new(900, "ssubscribe", -2, flags(&[PUBSUB, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[all(1, &[NOT_KEY])], Run::Server(ServerCmd::SSubscribe))
        .doc(Group::PubSub, "7.0.0", "O(N)", "Listens to sharded channels."),
    CommandSpec::new(901, "sunsubscribe", -1, flags(&[PUBSUB, NOSCRIPT, LOADING, STALE]), Categories::NONE, &[all(1, &[NOT_KEY])], Run::Server(ServerCmd::SUnsubscribe))
        .doc(Group::PubSub, "7.0.0", "O(N)", "Listens to sharded channels no longer."),
    CommandSpec::new(902, "publish", 3, flags(&[PUBSUB, LOADING, STALE, FAST]), Categories::NONE, &[], Run::Server(ServerCmd::Publish))
        .doc(Group::PubSub, "2.0.0", "O(N+M)", "Sends a message to all who listen to a channel."),
    CommandSpec::new(903, "spublish", 3, flags(&[PUBSUB, LOADING, STALE, FAST]), Categories::NONE, &[one(1, &[NOT_KEY])], Run::Server(ServerCmd::SPublish))
        .doc(Group::PubSub, "7.0.0", "O(N)", "Sends a message to all who listen to a sharded channel."),
    CommandSpec::new(904, "pubsub", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::PubSub, "2.8.0", "depends on the subcommand", "Who listens to what.")
        .subcommands(&PUBSUB_SUBCOMMANDS),
];
