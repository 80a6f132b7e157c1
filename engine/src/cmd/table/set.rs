//! The commands about sets.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, INSERT, READONLY, RO, RW, WRITE, flags, one};
use crate::cmd::data::set;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Sets.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 5] = [
    CommandSpec::new(160, "sadd", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::SET, &[one(1, &[RW, INSERT])], Run::Data(set::sadd))
        .doc(Group::Set, "1.0.0", "O(1)", "Adds members."),
    CommandSpec::new(161, "spop", -2, flags(&[WRITE, FAST]), Categories::SET, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(set::spop))
        .doc(Group::Set, "1.0.0", "O(N)", "Takes random members away.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(162, "scard", 2, flags(&[READONLY, FAST]), Categories::SET, &[one(1, &[RO])], Run::Data(set::scard))
        .doc(Group::Set, "1.0.0", "O(1)", "The number of members."),
    CommandSpec::new(163, "smembers", 2, READONLY, Categories::SET, &[one(1, &[RO, ACCESS])], Run::Data(set::smembers))
        .doc(Group::Set, "1.0.0", "O(N)", "All members.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(164, "sismember", 3, flags(&[READONLY, FAST]), Categories::SET, &[one(1, &[RO])], Run::Data(set::sismember))
        .doc(Group::Set, "1.0.0", "O(1)", "Whether something is a member."),
];
