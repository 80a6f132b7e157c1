//! The commands about sets.

use super::build::{
    ACCESS, DELETE, DENYOOM, FAST, INSERT, OW, READONLY, RO, RW, UPDATE, WRITE, all, counted, flags, one,
};
use crate::cmd::data::set::{combine, members, random};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Sets.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 17] = [
    CommandSpec::new(160, "sadd", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::SET, &[one(1, &[RW, INSERT])], Run::Data(members::sadd))
        .doc(Group::Set, "1.0.0", "O(1)", "Adds members."),
    CommandSpec::new(161, "spop", -2, flags(&[WRITE, FAST]), Categories::SET, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(random::spop))
        .doc(Group::Set, "1.0.0", "O(N)", "Takes random members away.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(162, "scard", 2, flags(&[READONLY, FAST]), Categories::SET, &[one(1, &[RO])], Run::Data(members::scard))
        .doc(Group::Set, "1.0.0", "O(1)", "The number of members."),
    CommandSpec::new(163, "smembers", 2, READONLY, Categories::SET, &[one(1, &[RO, ACCESS])], Run::Data(members::smembers))
        .doc(Group::Set, "1.0.0", "O(N)", "All members.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(164, "sismember", 3, flags(&[READONLY, FAST]), Categories::SET, &[one(1, &[RO])], Run::Data(members::sismember))
        .doc(Group::Set, "1.0.0", "O(1)", "Whether something is a member."),
    CommandSpec::new(165, "srem", -3, flags(&[WRITE, FAST]), Categories::SET, &[one(1, &[RW, DELETE])], Run::Data(members::srem))
        .doc(Group::Set, "1.0.0", "O(N)", "Removes members."),
    CommandSpec::new(166, "smismember", -3, flags(&[READONLY, FAST]), Categories::SET, &[one(1, &[RO, ACCESS])], Run::Data(members::smismember))
        .doc(Group::Set, "6.2.0", "O(N)", "Which of several things are members."),
    CommandSpec::new(167, "smove", 4, flags(&[WRITE, FAST]), Categories::SET, &[one(1, &[RW, ACCESS, DELETE]), one(2, &[RW, INSERT])], Run::Data(members::smove))
        .doc(Group::Set, "1.0.0", "O(1)", "Moves a member to another set."),
    CommandSpec::new(168, "srandmember", -2, READONLY, Categories::SET, &[one(1, &[RO, ACCESS])], Run::Data(random::srandmember))
        .doc(Group::Set, "1.0.0", "O(N)", "Random members.")
        .differs("No more than 1,048,576 members at once with repeats.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(169, "sscan", -3, READONLY, Categories::SET, &[one(1, &[RO, ACCESS])], Run::Data(members::sscan))
        .doc(Group::Set, "2.8.0", "O(1)", "Walks through all members, step by step.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(170, "sinter", -2, READONLY, Categories::SET, &[all(1, &[RO, ACCESS])], Run::Data(combine::sinter))
        .doc(Group::Set, "1.0.0", "O(N*M)", "The members that several sets have in common.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(171, "sintercard", -3, READONLY, Categories::SET, &[counted(1, &[RO, ACCESS])], Run::Data(combine::sintercard))
        .doc(Group::Set, "7.0.0", "O(N*M)", "The number of members that several sets have in common."),
    CommandSpec::new(172, "sinterstore", -3, flags(&[WRITE, DENYOOM]), Categories::SET, &[one(1, &[RW, UPDATE]), all(2, &[RO, ACCESS])], Run::Data(combine::sinterstore))
        .doc(Group::Set, "1.0.0", "O(N*M)", "Stores the members that several sets have in common."),
    CommandSpec::new(173, "sunion", -2, READONLY, Categories::SET, &[all(1, &[RO, ACCESS])], Run::Data(combine::sunion))
        .doc(Group::Set, "1.0.0", "O(N)", "The members of any of several sets.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(174, "sunionstore", -3, flags(&[WRITE, DENYOOM]), Categories::SET, &[one(1, &[OW, UPDATE]), all(2, &[RO, ACCESS])], Run::Data(combine::sunionstore))
        .doc(Group::Set, "1.0.0", "O(N)", "Stores the members of any of several sets."),
    CommandSpec::new(175, "sdiff", -2, READONLY, Categories::SET, &[all(1, &[RO, ACCESS])], Run::Data(combine::sdiff))
        .doc(Group::Set, "1.0.0", "O(N)", "The members of one set that others do not have.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(176, "sdiffstore", -3, flags(&[WRITE, DENYOOM]), Categories::SET, &[one(1, &[OW, UPDATE]), all(2, &[RO, ACCESS])], Run::Data(combine::sdiffstore))
        .doc(Group::Set, "1.0.0", "O(N)", "Stores the members of one set that others do not have."),
];
