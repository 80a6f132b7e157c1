//! `PUBSUB`: who listens to what.

use slotcore_engine::cmd::{Args, Reply, ServerCmd, matches};

use super::{Kind, Subscriptions};

/// Answers a `PUBSUB` command from this core's tables. False: it is another command. `part`: the answer will be put
/// together with those of other cores, so `NUMPAT` tells the patterns themselves, of which each counts once.
pub fn answer(subs: &Subscriptions, cmd: ServerCmd, args: Args<'_>, part: bool, out: &mut dyn Reply) -> bool {
    match cmd {
        ServerCmd::PubsubChannels => active(subs, Kind::Channel, args, out),
        ServerCmd::PubsubShardChannels => active(subs, Kind::Shard, args, out),
        ServerCmd::PubsubNumSub => numbers(subs, Kind::Channel, args, out),
        ServerCmd::PubsubShardNumSub => numbers(subs, Kind::Shard, args, out),
        ServerCmd::PubsubNumPat if part => all(subs.active(Kind::Pattern), out),
        ServerCmd::PubsubNumPat => out.int(subs.active_len(Kind::Pattern) as i64),
        _ => return false,
    }
    true
}

/// `PUBSUB CHANNELS [pattern]`, `PUBSUB SHARDCHANNELS [pattern]`
fn active(subs: &Subscriptions, kind: Kind, args: Args<'_>, out: &mut dyn Reply) {
    match (args.len(), args.try_get(2)) {
        (_, None) => all(subs.active(kind), out),
        (3, Some(pattern)) => all(subs.active(kind).filter(|name| matches(pattern, name)), out),
        _ => {
            let name = String::from_utf8_lossy(args.get(1)).replace(['\r', '\n'], " ");
            out.error(&format!(
                "ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP."
            ));
        }
    }
}

fn all<'a>(names: impl Iterator<Item = &'a [u8]>, out: &mut dyn Reply) {
    let names: Vec<&[u8]> = names.collect();
    out.array(names.len());
    names.iter().for_each(|name| out.bulk(name));
}

/// `PUBSUB NUMSUB [channel ...]`, `PUBSUB SHARDNUMSUB [channel ...]`
fn numbers(subs: &Subscriptions, kind: Kind, args: Args<'_>, out: &mut dyn Reply) {
    out.array((args.len() - 2) * 2);
    for name in args.iter_from(2) {
        out.bulk(name);
        out.int(subs.listeners(kind, name).len() as i64);
    }
}
