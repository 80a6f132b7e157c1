//! The commands about hashes.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, INSERT, READONLY, RO, RW, UPDATE, WRITE, flags, one};
use crate::cmd::data::hash::{fields, numbers, read};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Hashes.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 16] = [
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
        .tips(&["nondeterministic_output"]),
];
