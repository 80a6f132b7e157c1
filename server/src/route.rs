//! Where a command is carried out: on this core, on another one, on several, or by the client's next try elsewhere.
//!
//! Pure: from the command's keys, the map of slots, and the kind of port it came in by.

use slotcore_engine::cmd::stored::swaps_databases;
use slotcore_engine::cmd::together::works_on_copies;
use slotcore_engine::cmd::{Args, CommandId, CommandSpec, Flags, Run, ServerCmd, keys, lookup};
use slotcore_engine::ord::{SLOT_SHIFT, SLOTS, slot_of, slot_of_bytes};
use slotcore_rt::ids::CoreId;

use crate::clients::Endpoint;
use crate::cluster_map::ClusterMap;
use crate::commands::{shows_all_cores, slot_asked};
use crate::tracking::TrackingMode;

/// What Redis Cluster answers when keys of one command lie in several slots.
pub const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// What it answers who would exchange databases.
pub const NOT_IN_CLUSTER: &str = "ERR SWAPDB is not allowed in cluster mode";

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Here.
    Here,
    /// On the core that owns its keys.
    Core(CoreId),
    /// Key by key, each on the core that owns it.
    ByKey(ByKey),
    /// On every core.
    Everywhere(Everywhere),
    /// `SCAN`: on the core whose keys the cursor stands in.
    Scan(CoreId),
    /// Not here: the client is told who owns the slot.
    Moved(u16, CoreId),
    /// Here, when everything else of the connection is done.
    Wait,
    /// Here, and answered when there are enough copies: `WAIT`, `WAITAOF`.
    Copies,
    /// Here, and about the course of the connection: MULTI and its like.
    Session,
    /// Here, on what the owners of its keys bring together: it cannot be taken apart.
    Together,
    /// On every core at one moment, as a transaction: `SWAPDB`.
    AllAtOnce,
    /// Nowhere: a node of a cluster has one database.
    OneDatabase,
    /// Nowhere: the keys have several owners, or slots where that is not allowed.
    CrossSlot,
}

/// Commands that are the same whether they are given all keys at once or in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByKey {
    /// Keys; an array with one value for each (`MGET`).
    Values,
    /// Keys; a count (`DEL`, `UNLINK`, `EXISTS`, `TOUCH`).
    Count,
    /// Keys with values; OK (`MSET`).
    Pairs,
    /// Keys; OK (`WATCH`).
    Keys,
}

/// How the answers of all cores become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Everywhere {
    /// Arrays, one behind the other (`KEYS`).
    Concat,
    /// Numbers, added (`DBSIZE`).
    Sum,
    /// What all say, if none fails (`FLUSHALL`, `SCRIPT LOAD`).
    AllOk,
    /// Any that is not nil (`RANDOMKEY`).
    AnyOf,
    /// Lines, by client number (`CLIENT LIST`).
    ClientList,
    /// For each place of the arrays, the least number (`SCRIPT EXISTS`).
    Least,
    /// OK when one says so (`CLIENT KILL addr`).
    OneOk,
    /// The different elements of all arrays (`PUBSUB CHANNELS`).
    Union,
    /// How many different elements all arrays have (`PUBSUB NUMPAT`).
    UnionLen,
    /// Names with numbers: the numbers are added (`PUBSUB NUMSUB`).
    SumByName,
    /// Digests, added (`DEBUG DIGEST`).
    Digest,
    /// Not the answers are put together but what the cores have counted (`INFO`).
    Counters,
    /// Nor these: one of them may know a client that this core needs to know of (`CLIENT TRACKING on REDIRECT id`).
    Whereabouts,
}

impl Everywhere {
    /// True when what a core tells of itself differs from what it would answer a client.
    pub fn is_of_parts(self) -> bool {
        matches!(self, Self::Union | Self::UnionLen | Self::SumByName)
    }
}

/// What is known of commands beforehand, by their numbers.
pub struct Router {
    by_key: Vec<Option<ByKey>>,
    everywhere: Vec<Option<Everywhere>>,
    scan: CommandId,
}

impl Router {
    /// Reads the command table.
    pub fn new() -> Self {
        let mut router = Self {
            by_key: Vec::new(),
            everywhere: Vec::new(),
            scan: id_of("scan"),
        };
        for (name, how) in [
            ("mget", ByKey::Values),
            ("del", ByKey::Count),
            ("unlink", ByKey::Count),
            ("exists", ByKey::Count),
            ("touch", ByKey::Count),
            ("mset", ByKey::Pairs),
            ("watch", ByKey::Keys),
        ] {
            put(&mut router.by_key, id_of(name), how);
        }
        for (name, how) in [
            ("keys", Everywhere::Concat),
            ("dbsize", Everywhere::Sum),
            ("flushall", Everywhere::AllOk),
            ("flushdb", Everywhere::AllOk),
            ("randomkey", Everywhere::AnyOf),
        ] {
            put(&mut router.everywhere, id_of(name), how);
        }
        for (container, name, how) in [
            ("script", "load", Everywhere::AllOk),
            ("script", "flush", Everywhere::AllOk),
            ("script", "exists", Everywhere::Least),
            ("function", "load", Everywhere::AllOk),
            ("function", "delete", Everywhere::AllOk),
            ("function", "flush", Everywhere::AllOk),
            ("function", "restore", Everywhere::AllOk),
        ] {
            put(&mut router.everywhere, id_of_sub(container, name), how);
        }
        router
    }

    /// Where a command goes. `numbers`: a buffer for the numbers of its keys.
    #[inline]
    pub fn route(
        &self,
        map: &ClusterMap,
        me: CoreId,
        endpoint: Endpoint,
        spec: &CommandSpec,
        args: &Args<'_>,
        numbers: &mut Vec<u32>,
    ) -> Route {
        self.route_of(map, me, endpoint, spec, args, None, numbers)
    }

    /// The same of a command whose first key has this slot, if that is known.
    #[inline]
    #[allow(clippy::too_many_arguments)] // The facts of one command, on the path of each.
    pub fn route_of(
        &self,
        map: &ClusterMap,
        me: CoreId,
        endpoint: Endpoint,
        spec: &CommandSpec,
        args: &Args<'_>,
        first_slot: Option<u16>,
        numbers: &mut Vec<u32>,
    ) -> Route {
        if spec.first_key == 0 {
            return self.route_without_keys(map, me, endpoint, spec, args, numbers);
        }
        if spec.first_key != spec.last_key || spec.flags.has_any(Flags::MOVABLE_KEYS.and(Flags::PUBSUB)) {
            return self.route_many_keys(map, me, endpoint, spec, args, numbers);
        }
        let slot = first_slot.unwrap_or_else(|| slot_of(args.get(spec.first_key as usize)));
        one_owner(map, me, endpoint, slot)
    }

    fn route_many_keys(
        &self,
        map: &ClusterMap,
        me: CoreId,
        endpoint: Endpoint,
        spec: &CommandSpec,
        args: &Args<'_>,
        numbers: &mut Vec<u32>,
    ) -> Route {
        if spec.flags.has(Flags::PUBSUB) {
            return route_channels(map, me, endpoint, spec, args);
        }
        numbers.clear();
        keys(spec, args, numbers);
        let mut slots = numbers.iter().map(|&number| slot_of(args.get(number as usize)));
        let Some(first) = slots.next() else { return Route::Here };
        match endpoint {
            Endpoint::Core if slots.any(|slot| slot != first) => Route::CrossSlot,
            Endpoint::AnySlot if slots.any(|slot| map.owner_of(slot) != map.owner_of(first)) => {
                match get(&self.by_key, spec.id) {
                    // A key without a value: the command says so itself.
                    Some(ByKey::Pairs) if args.len().is_multiple_of(2) => Route::Here,
                    Some(how) => Route::ByKey(how),
                    None if works_on_copies(spec, args) => Route::Together,
                    None => Route::CrossSlot,
                }
            }
            _ => one_owner(map, me, endpoint, first),
        }
    }

    fn route_without_keys(
        &self,
        map: &ClusterMap,
        me: CoreId,
        endpoint: Endpoint,
        spec: &CommandSpec,
        args: &Args<'_>,
        numbers: &mut Vec<u32>,
    ) -> Route {
        if !spec.key_specs.is_empty() {
            // Keys that have to be looked for: numbered, or behind a word.
            return self.route_many_keys(map, me, endpoint, spec, args, numbers);
        }
        if swaps_databases(spec) {
            return match endpoint {
                Endpoint::Core => Route::OneDatabase,
                Endpoint::AnySlot => Route::AllAtOnce,
            };
        }
        // A core that is alone is all cores.
        if endpoint == Endpoint::Core || map.nodes.len() == 1 {
            return Route::Here;
        }
        if spec.id == self.scan {
            return match std::str::from_utf8(args.get(1)).ok().and_then(|text| text.parse().ok()) {
                Some(cursor) => Route::Scan(scan_owner(map, cursor)),
                None => Route::Here,
            };
        }
        match spec.run {
            Run::Data(_) => get(&self.everywhere, spec.id).map_or(Route::Here, Route::Everywhere),
            Run::Server(cmd) => match slot_asked(cmd, args) {
                Some(slot) => one_owner(map, me, endpoint, slot),
                None if cmd == ServerCmd::Debug && args.len() == 3 && is_about_a_key(args) => {
                    one_owner(map, me, endpoint, slot_of(args.get(2)))
                }
                None => server_route(cmd, args).map_or(Route::Here, Route::Everywhere),
            },
            Run::Transaction(_) | Run::Container => Route::Here,
        }
    }
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn one_owner(map: &ClusterMap, me: CoreId, endpoint: Endpoint, slot: u16) -> Route {
    let owner = map.owner_of(slot);
    if owner == me {
        Route::Here
    } else if endpoint == Endpoint::Core {
        Route::Moved(slot, owner)
    } else {
        Route::Core(owner)
    }
}

/// Sharded channels: a subscriber is served by the core it is connected to, which as a node of a cluster must own them.
fn route_channels(map: &ClusterMap, me: CoreId, endpoint: Endpoint, spec: &CommandSpec, args: &Args<'_>) -> Route {
    let end = if spec.last_key < 0 {
        args.len()
    } else {
        spec.last_key as usize + 1
    };
    let mut slots = (1..end).map(|number| slot_of_bytes(args.get(number)));
    match (endpoint, slots.next()) {
        (Endpoint::Core, Some(first)) if slots.any(|slot| slot != first) => Route::CrossSlot,
        (Endpoint::Core, Some(first)) => one_owner(map, me, endpoint, first),
        _ => Route::Here,
    }
}

/// `DEBUG` looks at one key.
fn is_about_a_key(args: &Args<'_>) -> bool {
    is_word(args, 1, "object") || is_word(args, 1, "digest-value")
}

fn is_word(args: &Args<'_>, number: usize, word: &str) -> bool {
    args.try_get(number)
        .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

/// Which commands about the server are about all cores of it.
fn server_route(cmd: ServerCmd, args: &Args<'_>) -> Option<Everywhere> {
    use ServerCmd as C;
    Some(match cmd {
        cmd if shows_all_cores(cmd) => Everywhere::Counters,
        C::AclSetUser | C::AclLoad | C::Save | C::BgSave | C::BgRewriteAof => Everywhere::AllOk,
        C::Backup if is_word(args, 1, "state") => Everywhere::Concat,
        C::Backup => Everywhere::AllOk,
        C::AclDelUser => Everywhere::AnyOf,
        C::AclLog if args.len() > 2 && is_word(args, 2, "reset") => Everywhere::AllOk,
        C::AclLog => Everywhere::Concat,
        C::ClientPause | C::ClientUnpause | C::ConfigSet | C::ConfigResetStat | C::SlowlogReset | C::MemoryPurge => {
            Everywhere::AllOk
        }
        C::LatencyReset => Everywhere::Sum,
        C::Debug if is_word(args, 1, "set-active-expire") || is_word(args, 1, "diverge") => Everywhere::AllOk,
        C::Debug if is_word(args, 1, "digest") => Everywhere::Digest,
        C::PubsubChannels | C::PubsubShardChannels if args.len() < 4 => Everywhere::Union,
        C::PubsubNumPat => Everywhere::UnionLen,
        C::PubsubNumSub | C::PubsubShardNumSub => Everywhere::SumByName,
        C::ClientList => Everywhere::ClientList,
        C::ClientTracking if TrackingMode::redirect_asked(args).is_some() => Everywhere::Whereabouts,
        C::ClientKill if args.len() == 3 => Everywhere::OneOk,
        C::ClientKill | C::ClientUnblock => Everywhere::Sum,
        _ => return None,
    })
}

/// The core that goes on with a scan.
pub fn scan_owner(map: &ClusterMap, cursor: u64) -> CoreId {
    map.owner_of((cursor >> SLOT_SHIFT) as u16)
}

/// Where a scan goes on that has come to the end of a core; 0 when that was the last one.
pub fn scan_next(map: &ClusterMap, core: CoreId) -> u64 {
    match map.range_of(core).end() + 1 {
        SLOTS => 0,
        slot => u64::from(slot) << SLOT_SHIFT,
    }
}

fn id_of(name: &str) -> CommandId {
    lookup(name.as_bytes()).expect("a command of the table").id
}

fn id_of_sub(container: &str, name: &str) -> CommandId {
    let container = lookup(container.as_bytes()).expect("a command of the table");
    container
        .subcommand(name.as_bytes())
        .expect("a subcommand of the table")
        .id
}

fn put<T: Copy>(table: &mut Vec<Option<T>>, id: CommandId, value: T) {
    let at = usize::from(id.0);
    if at >= table.len() {
        table.resize(at + 1, None);
    }
    table[at] = Some(value);
}

fn get<T: Copy>(table: &[Option<T>], id: CommandId) -> Option<T> {
    table.get(usize::from(id.0)).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_map::{CoreNode, node_id};

    fn map(cores: u16) -> ClusterMap {
        let nodes = (0..cores).map(|core| CoreNode {
            id: node_id(1, CoreId(core)),
            port: 7000 + core,
        });
        ClusterMap {
            host: "h".into(),
            any_slot_port: 6379,
            nodes: nodes.collect(),
        }
    }

    fn route(endpoint: Endpoint, cores: u16, me: u16, words: &[&str]) -> Route {
        let mut buf = Vec::new();
        let mut spans = Vec::new();
        for word in words {
            spans.push((buf.len() as u32, word.len() as u32));
            buf.extend_from_slice(word.as_bytes());
        }
        let args = Args::new(&buf, &spans);
        let spec = slotcore_engine::cmd::resolve(&args).unwrap();
        Router::new().route(&map(cores), CoreId(me), endpoint, spec, &args, &mut Vec::new())
    }

    // Slots: a 15495, b 3300, c 7365, foo 12182.

    #[test]
    fn one_key_goes_to_its_owner() {
        use Endpoint::{AnySlot, Core};
        assert_eq!(route(AnySlot, 2, 1, &["get", "a"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["get", "a"]), Route::Core(CoreId(1)));
        assert_eq!(route(Core, 2, 0, &["set", "a", "1"]), Route::Moved(15495, CoreId(1)));
        assert_eq!(route(Core, 2, 1, &["set", "a", "1"]), Route::Here);
        assert_eq!(route(Core, 2, 0, &["ping"]), Route::Here);
    }

    #[test]
    fn several_keys_are_taken_apart_only_where_that_changes_nothing() {
        use Endpoint::{AnySlot, Core};
        assert_eq!(route(AnySlot, 2, 0, &["mget", "a", "b"]), Route::ByKey(ByKey::Values));
        assert_eq!(route(AnySlot, 2, 0, &["mget", "a", "foo"]), Route::Core(CoreId(1)));
        assert_eq!(route(AnySlot, 2, 0, &["mset", "b", "1", "c", "2"]), Route::Here);
        assert_eq!(
            route(AnySlot, 2, 0, &["mset", "b", "1", "a", "2"]),
            Route::ByKey(ByKey::Pairs)
        );
        assert_eq!(route(AnySlot, 2, 0, &["mset", "b", "1", "a"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["msetnx", "a", "1", "b", "2"]), Route::Together);
        assert_eq!(route(AnySlot, 2, 0, &["rename", "a", "b"]), Route::Together);
        assert_eq!(route(AnySlot, 1, 0, &["rename", "a", "b"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["zunionstore", "b", "1", "a"]), Route::Together);
        assert_eq!(route(AnySlot, 2, 0, &["zunionstore", "b", "1", "c"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["sort", "b", "store", "a"]), Route::Together);
        assert_eq!(
            route(AnySlot, 2, 0, &["sort", "b", "by", "*", "store", "a"]),
            Route::CrossSlot
        );
        assert_eq!(route(AnySlot, 2, 0, &["blpop", "a", "b", "0"]), Route::Together);
        assert_eq!(route(Core, 2, 0, &["rename", "b", "c"]), Route::CrossSlot);
        assert_eq!(route(Core, 2, 0, &["mget", "b", "c"]), Route::CrossSlot);
        assert_eq!(
            route(Core, 2, 0, &["mget", "{a}1", "{a}2"]),
            Route::Moved(15495, CoreId(1))
        );
        assert_eq!(route(Core, 1, 0, &["mget", "b", "c"]), Route::CrossSlot);
        // Keys that are counted.
        assert_eq!(route(Core, 2, 1, &["zunion", "2", "{a}1", "{a}2"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 1, &["zunion", "2", "{a}1", "{a}2"]), Route::Here);
        assert_eq!(
            route(AnySlot, 2, 0, &["eval", "x", "2", "{a}1", "{a}2", "b"]),
            Route::Core(CoreId(1))
        );
        assert_eq!(route(AnySlot, 2, 0, &["eval", "x", "0", "a"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["fcall", "f", "2", "a", "b"]), Route::Together);
        assert_eq!(
            route(AnySlot, 2, 0, &["zunion", "2", "{a}1", "{a}2"]),
            Route::Core(CoreId(1))
        );
        assert_eq!(
            route(AnySlot, 2, 0, &["del", "a", "b", "c"]),
            Route::ByKey(ByKey::Count)
        );
    }

    #[test]
    fn sharded_channels_belong_to_a_core_on_its_own_port_only() {
        use Endpoint::{AnySlot, Core};
        assert_eq!(route(AnySlot, 2, 0, &["spublish", "a", "x"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["ssubscribe", "a", "b"]), Route::Here);
        assert_eq!(
            route(Core, 2, 0, &["spublish", "a", "x"]),
            Route::Moved(15495, CoreId(1))
        );
        assert_eq!(route(Core, 2, 1, &["spublish", "a", "b"]), Route::Here);
        assert_eq!(route(Core, 2, 0, &["ssubscribe", "a"]), Route::Moved(15495, CoreId(1)));
        assert_eq!(route(Core, 2, 0, &["ssubscribe", "b", "c"]), Route::CrossSlot);
        assert_eq!(route(Core, 2, 0, &["ssubscribe", "b"]), Route::Here);
        assert_eq!(route(Core, 2, 0, &["sunsubscribe"]), Route::Here);
        assert_eq!(route(Core, 2, 0, &["publish", "a", "x"]), Route::Here);
    }

    #[test]
    fn what_concerns_all_keys_goes_everywhere_but_from_a_cores_own_port() {
        use Endpoint::{AnySlot, Core};
        assert_eq!(route(AnySlot, 2, 0, &["dbsize"]), Route::Everywhere(Everywhere::Sum));
        assert_eq!(route(Core, 2, 0, &["dbsize"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["client", "id"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["info"]), Route::Everywhere(Everywhere::Counters));
        assert_eq!(route(Core, 2, 0, &["info"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["debug", "object", "a"]), Route::Core(CoreId(1)));
        let count = ["cluster", "countkeysinslot", "15495"];
        assert_eq!(route(AnySlot, 2, 0, &count), Route::Core(CoreId(1)));
        assert_eq!(route(AnySlot, 2, 1, &count), Route::Here);
        assert_eq!(route(Core, 2, 0, &count), Route::Here);
        assert_eq!(
            route(AnySlot, 2, 0, &["cluster", "getkeysinslot", "x", "1"]),
            Route::Here
        );
        assert_eq!(route(AnySlot, 2, 0, &["scan", "0"]), Route::Scan(CoreId(0)));
        assert_eq!(route(AnySlot, 2, 0, &["scan", "x"]), Route::Here);
        assert_eq!(
            route(AnySlot, 2, 0, &["script", "exists", "x"]),
            Route::Everywhere(Everywhere::Least)
        );
        assert_eq!(
            route(AnySlot, 2, 0, &["function", "load", "x"]),
            Route::Everywhere(Everywhere::AllOk)
        );
        assert_eq!(route(Core, 2, 0, &["function", "load", "x"]), Route::Here);
        assert_eq!(route(AnySlot, 2, 0, &["function", "list"]), Route::Here);
        assert_eq!(
            route(AnySlot, 2, 0, &["pubsub", "numpat"]),
            Route::Everywhere(Everywhere::UnionLen)
        );
        assert_eq!(route(Core, 2, 0, &["pubsub", "numpat"]), Route::Here);
        let second = scan_next(&map(2), CoreId(0));
        assert_eq!(
            route(AnySlot, 2, 0, &["scan", &second.to_string()]),
            Route::Scan(CoreId(1))
        );
        assert_eq!(scan_next(&map(2), CoreId(1)), 0);
    }
}
