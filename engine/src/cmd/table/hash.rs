//! The commands about hashes.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, READONLY, RO, RW, UPDATE, WRITE, flags, one};
use crate::cmd::data::hash;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Hashes.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 5] = [
    CommandSpec::new(192, "hset", -4, flags(&[WRITE, DENYOOM, FAST]), Categories::HASH, &[one(1, &[RW, UPDATE])], Run::Data(hash::hset))
        .doc(Group::Hash, "2.0.0", "O(1)", "Sets fields."),
    CommandSpec::new(193, "hget", 3, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(hash::hget))
        .doc(Group::Hash, "2.0.0", "O(1)", "The value of a field."),
    CommandSpec::new(194, "hgetall", 2, READONLY, Categories::HASH, &[one(1, &[RO, ACCESS])], Run::Data(hash::hgetall))
        .doc(Group::Hash, "2.0.0", "O(N)", "All fields and values.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(195, "hdel", -3, flags(&[WRITE, FAST]), Categories::HASH, &[one(1, &[RW, DELETE])], Run::Data(hash::hdel))
        .doc(Group::Hash, "2.0.0", "O(N)", "Deletes fields."),
    CommandSpec::new(196, "hlen", 2, flags(&[READONLY, FAST]), Categories::HASH, &[one(1, &[RO])], Run::Data(hash::hlen))
        .doc(Group::Hash, "2.0.0", "O(1)", "The number of fields."),
];
