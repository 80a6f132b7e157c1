//! The commands about hashes.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, INSERT, READONLY, RO, RW, UPDATE, WRITE, flags, one};
use crate::cmd::data::hash::{expiry, fields, numbers, read, with_expiry};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Hashes.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 28] = [
    CommandSpec::new(192, "hset", -4, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(fields::hset))
        .doc(Group::Hash, "2.0.0", "O(1)", "Sets fields."),
    CommandSpec::new(193, "hget", 3, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(read::hget))
        .doc(Group::Hash, "2.0.0", "O(1)", "The value of a field."),
    CommandSpec::new(194, "hgetall", 2, READONLY, Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(read::hgetall))
        .doc(Group::Hash, "2.0.0", "O(N)", "All fields and values.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(195, "hdel", -3, flags(&[WRITE, FAST]), Categories::HASH, &[one(1, &[RW, DELETE])], Run::Data(fields::hdel))
        .doc(Group::Hash, "2.0.0", "O(N)", "Deletes fields."),
    CommandSpec::new(196, "hlen", 2, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO])], Run::Data(read::hlen))
        .doc(Group::Hash, "2.0.0", "O(1)", "The number of fields."),
    CommandSpec::new(197, "hsetnx", 4, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, INSERT])], Run::Data(fields::hsetnx))
        .doc(Group::Hash, "2.0.0", "O(1)", "Sets a field, unless it is there."),
    CommandSpec::new(198, "hmset", -4, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(fields::hmset))
        .doc(Group::Hash, "2.0.0", "O(N)", "Sets fields.")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs"),
    CommandSpec::new(199, "hincrby", 4, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(numbers::hincrby))
        .doc(Group::Hash, "2.0.0", "O(1)", "Adds to the integer in a field."),
    CommandSpec::new(200, "hincrbyfloat", 4, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(numbers::hincrbyfloat))
        .doc(Group::Hash, "2.6.0", "O(1)", "Adds to the number in a field."),
    CommandSpec::new(201, "hmget", -3, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(read::hmget))
        .doc(Group::Hash, "2.0.0", "O(N)", "The values of several fields."),
    CommandSpec::new(202, "hkeys", 2, READONLY, Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(read::hkeys))
        .doc(Group::Hash, "2.0.0", "O(N)", "All fields.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(203, "hvals", 2, READONLY, Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(read::hvals))
        .doc(Group::Hash, "2.0.0", "O(N)", "All values.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(204, "hexists", 3, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO])], Run::Data(read::hexists))
        .doc(Group::Hash, "2.0.0", "O(1)", "Whether a field is there."),
    CommandSpec::new(205, "hstrlen", 3, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO])], Run::Data(read::hstrlen))
        .doc(Group::Hash, "3.2.0", "O(1)", "The length of a value, in bytes."),
    CommandSpec::new(206, "hscan", -3, READONLY, Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(read::hscan))
        .doc(Group::Hash, "2.8.0", "O(1)", "Walks through all fields, step by step.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(207, "hrandfield", -2, READONLY, Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(read::hrandfield))
        .doc(Group::Hash, "6.2.0", "O(N)", "Random fields.")
        .differs("No more than 1,048,576 fields at once with repeats.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(208, "hexpire", -6, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(expiry::hexpire))
        .doc(Group::Hash, "7.4.0", "O(N)", "Sets the lifetime of fields, in seconds."),
    CommandSpec::new(209, "hpexpire", -6, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(expiry::hpexpire))
        .doc(Group::Hash, "7.4.0", "O(N)", "Sets the lifetime of fields, in milliseconds."),
    CommandSpec::new(210, "hexpireat", -6, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(expiry::hexpireat))
        .doc(Group::Hash, "7.4.0", "O(N)", "Sets when fields expire, in seconds since 1970."),
    CommandSpec::new(211, "hpexpireat", -6, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(expiry::hpexpireat))
        .doc(Group::Hash, "7.4.0", "O(N)", "Sets when fields expire, in milliseconds since 1970."),
    CommandSpec::new(212, "httl", -5, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(expiry::httl))
        .doc(Group::Hash, "7.4.0", "O(N)", "The remaining lifetime of fields, in seconds.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(213, "hpttl", -5, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(expiry::hpttl))
        .doc(Group::Hash, "7.4.0", "O(N)", "The remaining lifetime of fields, in milliseconds.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(214, "hexpiretime", -5, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(expiry::hexpiretime))
        .doc(Group::Hash, "7.4.0", "O(N)", "When fields expire, in seconds since 1970."),
    CommandSpec::new(215, "hpexpiretime", -5, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(expiry::hpexpiretime))
        .doc(Group::Hash, "7.4.0", "O(N)", "When fields expire, in milliseconds since 1970."),
    CommandSpec::new(216, "hpersist", -5, flags(&[WRITE, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(expiry::hpersist))
        .doc(Group::Hash, "7.4.0", "O(N)", "Makes fields live until they are deleted."),
    CommandSpec::new(217, "hgetex", -5, flags(&[WRITE, FAST]), Categories::HASH, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(with_expiry::hgetex))
        .doc(Group::Hash, "8.0.0", "O(N)", "The values of fields, whose expiry is changed."),
    CommandSpec::new(218, "hsetex", -6, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(with_expiry::hsetex))
        .doc(Group::Hash, "8.0.0", "O(N)", "Sets fields and their expiry."),
    CommandSpec::new(219, "hgetdel", -5, flags(&[WRITE, FAST]), Categories::HASH, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(with_expiry::hgetdel))
        .doc(Group::Hash, "8.0.0", "O(N)", "The values of fields, which are deleted."),
];
