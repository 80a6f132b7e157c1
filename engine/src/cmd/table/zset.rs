//! The commands about sorted sets.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, OW, READONLY, RO, RW, UPDATE, WRITE, counted, flags, one};
use crate::cmd::data::zset::{add, combine, pop, range, read};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Sorted sets.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 32] = [
    CommandSpec::new(224, "zadd", -4, flags(&[WRITE, DENYOOM, FAST]), Categories::SORTEDSET, &[one(1, &[RW, UPDATE])], Run::Data(add::zadd))
        .doc(Group::SortedSet, "1.2.0", "O(log(N))", "Adds members or changes their scores.")
        .differs("A score of -0 becomes 0."),
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
    CommandSpec::new(231, "zincrby", 4, flags(&[WRITE, DENYOOM, FAST]), Categories::SORTEDSET, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(add::zincrby))
        .doc(Group::SortedSet, "1.2.0", "O(log(N))", "Adds to the score of a member.")
        .differs("A score of -0 becomes 0."),
    CommandSpec::new(232, "zrem", -3, flags(&[WRITE, FAST]), Categories::SORTEDSET, &[one(1, &[RW, DELETE])], Run::Data(add::zrem))
        .doc(Group::SortedSet, "1.2.0", "O(M*log(N))", "Removes members."),
    CommandSpec::new(233, "zmscore", -3, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(read::zmscore))
        .doc(Group::SortedSet, "6.2.0", "O(N)", "The scores of several members."),
    CommandSpec::new(234, "zrank", -3, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(read::zrank))
        .doc(Group::SortedSet, "2.0.0", "O(log(N))", "The position of a member, lowest score first."),
    CommandSpec::new(235, "zrevrank", -3, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(read::zrevrank))
        .doc(Group::SortedSet, "2.0.0", "O(log(N))", "The position of a member, highest score first."),
    CommandSpec::new(236, "zrandmember", -2, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(read::zrandmember))
        .doc(Group::SortedSet, "6.2.0", "O(N)", "Random members.")
        .differs("No more than 1,048,576 members at once with repeats.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(237, "zscan", -3, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(read::zscan))
        .doc(Group::SortedSet, "2.8.0", "O(1)", "Walks through all members, step by step.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(238, "zcount", 4, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zcount))
        .doc(Group::SortedSet, "2.0.0", "O(log(N))", "The number of members in a range of scores."),
    CommandSpec::new(239, "zlexcount", 4, flags(&[READONLY, FAST]), Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zlexcount))
        .doc(Group::SortedSet, "2.8.9", "O(log(N))", "The number of members in a range of names."),
    CommandSpec::new(240, "zrevrange", -4, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zrevrange))
        .doc(Group::SortedSet, "1.2.0", "O(log(N)+M)", "A range of members, highest score first.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
    CommandSpec::new(241, "zrangebyscore", -4, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zrangebyscore))
        .doc(Group::SortedSet, "1.0.5", "O(log(N)+M)", "The members in a range of scores.")
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    CommandSpec::new(242, "zrevrangebyscore", -4, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zrevrangebyscore))
        .doc(Group::SortedSet, "2.2.0", "O(log(N)+M)", "The members in a range of scores, highest first.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    CommandSpec::new(243, "zrangebylex", -4, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zrangebylex))
        .doc(Group::SortedSet, "2.8.9", "O(log(N)+M)", "The members in a range of names.")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    CommandSpec::new(244, "zrevrangebylex", -4, READONLY, Categories::SORTEDSET, &[one(1, &[RO, ACCESS])], Run::Data(range::zrevrangebylex))
        .doc(Group::SortedSet, "2.8.9", "O(log(N)+M)", "The members in a range of names, last first.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    CommandSpec::new(245, "zrangestore", -5, flags(&[WRITE, DENYOOM]), Categories::SORTEDSET, &[one(1, &[OW, UPDATE]), one(2, &[RO, ACCESS])], Run::Data(range::zrangestore))
        .doc(Group::SortedSet, "6.2.0", "O(log(N)+M)", "Stores a range of members."),
    CommandSpec::new(246, "zremrangebylex", 4, WRITE, Categories::SORTEDSET, &[one(1, &[RW, DELETE])], Run::Data(range::zremrangebylex))
        .doc(Group::SortedSet, "2.8.9", "O(M*log(N))", "Removes the members in a range of names."),
    CommandSpec::new(247, "zremrangebyrank", 4, WRITE, Categories::SORTEDSET, &[one(1, &[RW, DELETE])], Run::Data(range::zremrangebyrank))
        .doc(Group::SortedSet, "2.0.0", "O(M*log(N))", "Removes the members in a range of positions."),
    CommandSpec::new(248, "zremrangebyscore", 4, WRITE, Categories::SORTEDSET, &[one(1, &[RW, DELETE])], Run::Data(range::zremrangebyscore))
        .doc(Group::SortedSet, "1.2.0", "O(M*log(N))", "Removes the members in a range of scores."),
    CommandSpec::new(249, "zunion", -3, READONLY, Categories::SORTEDSET, &[counted(1, &[RO, ACCESS])], Run::Data(combine::zunion))
        .doc(Group::SortedSet, "6.2.0", "O(N*log(N))", "The members of any of several sorted sets."),
    CommandSpec::new(250, "zinter", -3, READONLY, Categories::SORTEDSET, &[counted(1, &[RO, ACCESS])], Run::Data(combine::zinter))
        .doc(Group::SortedSet, "6.2.0", "O(N*K)+O(M*log(M))", "The members that several sorted sets have in common."),
    CommandSpec::new(251, "zintercard", -3, READONLY, Categories::SORTEDSET, &[counted(1, &[RO, ACCESS])], Run::Data(combine::zintercard))
        .doc(Group::SortedSet, "7.0.0", "O(N*K)", "The number of members that several sorted sets have in common."),
    CommandSpec::new(252, "zdiff", -3, READONLY, Categories::SORTEDSET, &[counted(1, &[RO, ACCESS])], Run::Data(combine::zdiff))
        .doc(Group::SortedSet, "6.2.0", "O(N*K)+O(M*log(M))", "The members of one sorted set that others do not have."),
    CommandSpec::new(253, "zunionstore", -4, flags(&[WRITE, DENYOOM]), Categories::SORTEDSET, &[one(1, &[OW, UPDATE]), counted(2, &[RO, ACCESS])], Run::Data(combine::zunionstore))
        .doc(Group::SortedSet, "2.0.0", "O(N*log(N))", "Stores the members of any of several sorted sets."),
    CommandSpec::new(254, "zinterstore", -4, flags(&[WRITE, DENYOOM]), Categories::SORTEDSET, &[one(1, &[OW, UPDATE]), counted(2, &[RO, ACCESS])], Run::Data(combine::zinterstore))
        .doc(Group::SortedSet, "2.0.0", "O(N*K)+O(M*log(M))", "Stores the members that several sorted sets have in common."),
    CommandSpec::new(255, "zdiffstore", -4, flags(&[WRITE, DENYOOM]), Categories::SORTEDSET, &[one(1, &[OW, UPDATE]), counted(2, &[RO, ACCESS])], Run::Data(combine::zdiffstore))
        .doc(Group::SortedSet, "6.2.0", "O(N*K)+O(M*log(M))", "Stores the members of one sorted set that others do not have."),
];
