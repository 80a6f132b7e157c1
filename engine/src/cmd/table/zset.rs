//! The commands about sorted sets.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, READONLY, RO, RW, UPDATE, WRITE, counted, flags, one};
use crate::cmd::data::zset::{add, pop, range, read};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Sorted sets.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 7] = [
    CommandSpec::new(224, "zadd", -4, flags(&[WRITE, DENYOOM, FAST]), Categories::SORTEDSET, &[one(1, &[RW, UPDATE])], Run::Data(add::zadd))
        .doc(Group::SortedSet, "1.2.0", "O(log(N))", "Adds members or changes their scores."),
    CommandSpec::new(225, "zpopmin", -2, flags(&[WRITE, FAST]), Categories::SORTEDSET, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(pop::zpopmin))
        .doc(Group::SortedSet, "5.0.0", "O(log(N)", "Takes the members with the lowest scores away."),
    CommandSpec::new(226, "zcard", 2, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO])], Run::Data(read::zcard))
        .doc(Group::SortedSet, "1.2.0", "O(1)", "The number of members."),
    CommandSpec::new(227, "zscore", 3, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(read::zscore))
        .doc(Group::SortedSet, "1.2.0", "O(1)", "The score of a member."),
    CommandSpec::new(228, "zrange", -4, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zrange))
        .doc(Group::SortedSet, "1.2.0", "O(log(N)", "A range of members."),
    CommandSpec::new(229, "zpopmax", -2, flags(&[WRITE, FAST]), Categories::SORTEDSET, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(pop::zpopmax))
        .doc(Group::SortedSet, "5.0.0", "O(log(N))", "Takes the members with the highest scores away."),
    CommandSpec::new(230, "zmpop", -4, WRITE, Categories::SORTEDSET, &[counted(1, &[RW, ACCESS, DELETE])], Run::Data(pop::zmpop))
        .doc(Group::SortedSet, "7.0.0", "O(log(N))", "Takes members away from the first sorted set that has any."),
];
