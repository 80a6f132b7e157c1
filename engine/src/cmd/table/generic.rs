//! The commands about keys of any type.

use super::build::{
    ACCESS, DELETE, DENYOOM, FAST, INSERT, LOADING, NAMES_DATABASE, NONE, OW, READONLY, RM, RO, RW, STALE, UPDATE,
    WRITE, all, flags, one, sort_store, unknown,
};
use crate::cmd::data::{dump, expiry, keyspace, object, scan, sort};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

#[rustfmt::skip]
static OBJECT_SUBCOMMANDS: [CommandSpec; 5] = [
    CommandSpec::new(88, "object|encoding", 3, READONLY, Categories::KEYSPACE, &[one(2, &[RO])], Run::Data(object::encoding))
        .doc(Group::Generic, "2.2.3", "O(1)", "The name of a value's representation.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(89, "object|freq", 3, READONLY, Categories::KEYSPACE, &[one(2, &[RO])], Run::Data(object::freq))
        .doc(Group::Generic, "4.0.0", "O(1)", "How often a key is used.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(90, "object|help", 2, flags(&[LOADING, STALE]), Categories::KEYSPACE, &[], Run::Data(object::help))
        .doc(Group::Generic, "6.2.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(91, "object|idletime", 3, READONLY, Categories::KEYSPACE, &[one(2, &[RO])], Run::Data(object::idletime))
        .doc(Group::Generic, "2.2.3", "O(1)", "Seconds since a key was last used.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(92, "object|refcount", 3, READONLY, Categories::KEYSPACE, &[one(2, &[RO])], Run::Data(object::refcount))
        .doc(Group::Generic, "2.2.3", "O(1)", "The number of references to a value.")
        .tips(&["nondeterministic_output"]),
];

const SORT_PATTERNS: &str = "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the \
                             content of the key we sort";
const SORT_TARGET: &str = "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in \
                           the argument array";
/// SORT takes all of these.
const SORTABLE: Categories = Categories::SET
    .and(Categories::SORTEDSET)
    .and(Categories::LIST)
    .and(Categories::DANGEROUS);

/// Keys of any type.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 29] = [
    CommandSpec::new(64, "del", -2, WRITE, Categories::KEYSPACE, &[all(1, &[RM, DELETE])], Run::Data(keyspace::del))
        .doc(Group::Generic, "1.0.0", "O(N)", "Deletes keys.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    CommandSpec::new(65, "unlink", -2, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[all(1, &[RM, DELETE])], Run::Data(keyspace::del))
        .doc(Group::Generic, "4.0.0", "O(1)", "Deletes keys and frees their memory later.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    CommandSpec::new(66, "exists", -2, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[all(1, &[RO])], Run::Data(keyspace::exists))
        .doc(Group::Generic, "1.0.0", "O(N)", "How many of the given keys exist.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    CommandSpec::new(67, "expire", -3, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[one(1, &[RW, UPDATE])], Run::Data(expiry::expire))
        .doc(Group::Generic, "1.0.0", "O(1)", "Sets the lifetime of a key, in seconds."),
    CommandSpec::new(68, "pexpire", -3, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[one(1, &[RW, UPDATE])], Run::Data(expiry::pexpire))
        .doc(Group::Generic, "2.6.0", "O(1)", "Sets the lifetime of a key, in milliseconds."),
    CommandSpec::new(69, "expireat", -3, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[one(1, &[RW, UPDATE])], Run::Data(expiry::expireat))
        .doc(Group::Generic, "1.2.0", "O(1)", "Sets when a key expires, in seconds since 1970."),
    CommandSpec::new(70, "pexpireat", -3, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[one(1, &[RW, UPDATE])], Run::Data(expiry::pexpireat))
        .doc(Group::Generic, "2.6.0", "O(1)", "Sets when a key expires, in milliseconds since 1970."),
    CommandSpec::new(71, "ttl", 2, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[one(1, &[RO, ACCESS])], Run::Data(expiry::ttl))
        .doc(Group::Generic, "1.0.0", "O(1)", "The remaining lifetime of a key, in seconds.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(72, "pttl", 2, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[one(1, &[RO, ACCESS])], Run::Data(expiry::pttl))
        .doc(Group::Generic, "2.6.0", "O(1)", "The remaining lifetime of a key, in milliseconds.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(73, "expiretime", 2, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[one(1, &[RO, ACCESS])], Run::Data(expiry::expiretime))
        .doc(Group::Generic, "7.0.0", "O(1)", "When a key expires, in seconds since 1970."),
    CommandSpec::new(74, "pexpiretime", 2, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[one(1, &[RO, ACCESS])], Run::Data(expiry::pexpiretime))
        .doc(Group::Generic, "7.0.0", "O(1)", "When a key expires, in milliseconds since 1970."),
    CommandSpec::new(75, "persist", 2, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[one(1, &[RW, UPDATE])], Run::Data(expiry::persist))
        .doc(Group::Generic, "2.2.0", "O(1)", "Makes a key live until it is deleted."),
    CommandSpec::new(76, "type", 2, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[one(1, &[RO])], Run::Data(keyspace::type_of))
        .doc(Group::Generic, "1.0.0", "O(1)", "The type of the value at a key."),
    CommandSpec::new(77, "touch", -2, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[all(1, &[RO])], Run::Data(keyspace::touch))
        .doc(Group::Generic, "3.2.1", "O(N)", "How many of the given keys exist, which now count as just used.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    CommandSpec::new(78, "keys", 2, READONLY, Categories::KEYSPACE.and(Categories::DANGEROUS), &[], Run::Data(scan::keys))
        .doc(Group::Generic, "1.0.0", "O(N)", "All keys that match a pattern.")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    CommandSpec::new(79, "scan", -2, READONLY, Categories::KEYSPACE, &[], Run::Data(scan::scan))
        .doc(Group::Generic, "2.8.0", "O(1)", "Walks through all keys, step by step.")
        .tips(&["nondeterministic_output", "request_policy:special"]),
    CommandSpec::new(80, "randomkey", 1, READONLY, Categories::KEYSPACE, &[], Run::Data(keyspace::randomkey))
        .doc(Group::Generic, "1.0.0", "O(1)", "Any one key.")
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    CommandSpec::new(81, "rename", 3, WRITE, Categories::KEYSPACE, &[one(1, &[RW, ACCESS, DELETE]), one(2, &[OW, UPDATE])], Run::Data(keyspace::rename))
        .doc(Group::Generic, "1.0.0", "O(1)", "Gives a key another name."),
    CommandSpec::new(82, "renamenx", 3, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[one(1, &[RW, ACCESS, DELETE]), one(2, &[OW, INSERT])], Run::Data(keyspace::renamenx))
        .doc(Group::Generic, "1.0.0", "O(1)", "Gives a key another name, unless that name is taken."),
    CommandSpec::new(83, "copy", -3, flags(&[WRITE, DENYOOM, NAMES_DATABASE]), Categories::KEYSPACE, &[one(1, &[RO, ACCESS]), one(2, &[OW, UPDATE])], Run::Data(keyspace::copy))
        .doc(Group::Generic, "6.2.0", "O(N)", "Copies a value to another key."),
    CommandSpec::new(84, "dbsize", 1, flags(&[READONLY, FAST]), Categories::KEYSPACE, &[], Run::Data(keyspace::dbsize))
        .doc(Group::Server, "1.0.0", "O(1)", "The number of keys.")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    CommandSpec::new(85, "flushall", -1, WRITE, Categories::KEYSPACE.and(Categories::DANGEROUS), &[], Run::Data(keyspace::flushall))
        .doc(Group::Server, "1.0.0", "O(N)", "Deletes all keys of all databases.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(86, "flushdb", -1, WRITE, Categories::KEYSPACE.and(Categories::DANGEROUS), &[], Run::Data(keyspace::flushdb))
        .doc(Group::Server, "1.0.0", "O(N)", "Deletes all keys of the database.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(87, "object", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Generic, "2.2.3", "depends on the subcommand", "What is known of how a value is stored.")
        .subcommands(&OBJECT_SUBCOMMANDS),
    CommandSpec::new(95, "sort", -2, flags(&[WRITE, DENYOOM]), SORTABLE, &[one(1, &[RO, ACCESS]), unknown(&[RO, ACCESS]).noted(SORT_PATTERNS), sort_store(&[OW, UPDATE]).noted(SORT_TARGET)], Run::Data(sort::sort))
        .doc(Group::Generic, "1.0.0", "O(N+M*log(M))", "Sorts the elements of a list, a set or a sorted set.")
        .differs("`ALPHA` compares bytes, whatever the locale."),
    CommandSpec::new(96, "sort_ro", -2, READONLY, SORTABLE, &[one(1, &[RO, ACCESS]), unknown(&[RO, ACCESS]).noted(SORT_PATTERNS)], Run::Data(sort::sort_ro))
        .doc(Group::Generic, "7.0.0", "O(N+M*log(M))", "Sorts the elements of a list, a set or a sorted set, and stores nothing.")
        .differs("`ALPHA` compares bytes, whatever the locale."),
    CommandSpec::new(97, "dump", 2, READONLY, Categories::KEYSPACE, &[one(1, &[RO, ACCESS])], Run::Data(dump::dump))
        .doc(Group::Generic, "2.6.0", "O(N)", "A value as bytes that RESTORE takes.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(98, "restore", -4, flags(&[WRITE, DENYOOM]), Categories::KEYSPACE.and(Categories::DANGEROUS), &[one(1, &[OW, UPDATE])], Run::Data(dump::restore))
        .doc(Group::Generic, "2.6.0", "O(N)", "Gives a key a value that DUMP gave."),
    CommandSpec::new(101, "move", 3, flags(&[WRITE, FAST, NAMES_DATABASE]), Categories::KEYSPACE, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(keyspace::move_nowhere))
        .doc(Group::Generic, "1.0.0", "O(1)", "Moves a key to another database."),
];

/// Removes keys because the data set has reached its limit: decided by the leader, and found in the log by number only.
pub static EVICT: CommandSpec = CommandSpec::new(
    99,
    "evict",
    -2,
    WRITE,
    Categories::NONE,
    &[all(1, &[RM, DELETE])],
    Run::Data(keyspace::evict),
);

/// Names keys of which replicas compare what they have: found in the log by number only. Its arguments are the first order and the
/// weight of [`Keyspace::slice_digest`](crate::keyspace::Keyspace::slice_digest), 8 bytes each.
pub static COMPARE: CommandSpec = CommandSpec::new(
    971,
    "compare",
    3,
    WRITE,
    Categories::NONE,
    &[],
    Run::Data(keyspace::compare),
);

/// What a MOVE becomes once it is known where the key is going: an operation on both keys. No client can call it.
#[rustfmt::skip]
pub(super) static MOVED: CommandSpec =
    CommandSpec::new(100, "move", 3, flags(&[WRITE, FAST]), Categories::KEYSPACE, &[one(1, &[RW, ACCESS, UPDATE]), one(2, &[RW, INSERT])], Run::Data(keyspace::moved))
        .doc(Group::Generic, "", "", "A key that goes to another database.");
