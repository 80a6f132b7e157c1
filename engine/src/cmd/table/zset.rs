//! The commands about sorted sets.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, READONLY, RO, RW, UPDATE, WRITE, flags, one};
use crate::cmd::data::zset;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Sorted sets.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 5] = [
    CommandSpec::new(224, "zadd", -4, flags(&[WRITE, DENYOOM, FAST]), Categories::SORTEDSET, &[one(1, &[RW, UPDATE])], Run::Data(zset::zadd))
        .doc(Group::SortedSet, "1.2.0", "O(log(N))", "Adds members or changes their scores."),
    CommandSpec::new(225, "zpopmin", -2, flags(&[WRITE, FAST]), Categories::SORTEDSET, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(zset::zpopmin))
        .doc(Group::SortedSet, "5.0.0", "O(log(N)", "Takes the members with the lowest scores away."),
    CommandSpec::new(226, "zcard", 2, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO])], Run::Data(zset::zcard))
        .doc(Group::SortedSet, "1.2.0", "O(1)", "The number of members."),
    CommandSpec::new(227, "zscore", 3, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(zset::zscore))
        .doc(Group::SortedSet, "1.2.0", "O(1)", "The score of a member."),
    CommandSpec::new(228, "zrange", -4, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(zset::zrange))
        .doc(Group::SortedSet, "1.2.0", "O(log(N)", "A range of members."),
];
