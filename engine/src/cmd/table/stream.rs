//! The commands about streams.

use super::build::{
    ACCESS, BLOCKING, DELETE, DENYOOM, FAST, INSERT, LOADING, NONE, READONLY, RO, RW, STALE, UPDATE, WRITE,
    first_half_behind, flags, one,
};
use crate::cmd::data::stream::{add, claim, groups, info, pending, range, read, trim};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

#[rustfmt::skip]
static XGROUP_SUBCOMMANDS: [CommandSpec; 6] = [
    CommandSpec::new(318, "xgroup|create", -5, flags(&[WRITE, DENYOOM]), Categories::STREAM, &[one(2, &[RW, INSERT])], Run::Data(groups::create))
        .doc(Group::Stream, "5.0.0", "O(1)", "Makes a group."),
    CommandSpec::new(319, "xgroup|setid", -5, WRITE, Categories::STREAM, &[one(2, &[RW, UPDATE])], Run::Data(groups::set_id))
        .doc(Group::Stream, "5.0.0", "O(1)", "Sets the last id that a group was given."),
    CommandSpec::new(320, "xgroup|destroy", 4, WRITE, Categories::STREAM, &[one(2, &[RW, DELETE])], Run::Data(groups::destroy))
        .doc(Group::Stream, "5.0.0", "O(N)", "Removes a group."),
    CommandSpec::new(321, "xgroup|createconsumer", 5, flags(&[WRITE, DENYOOM]), Categories::STREAM, &[one(2, &[RW, INSERT])], Run::Data(groups::create_consumer))
        .doc(Group::Stream, "6.2.0", "O(1)", "Makes a consumer of a group."),
    CommandSpec::new(322, "xgroup|delconsumer", 5, WRITE, Categories::STREAM, &[one(2, &[RW, DELETE])], Run::Data(groups::delete_consumer))
        .doc(Group::Stream, "5.0.0", "O(1)", "Removes a consumer with all that is pending with it."),
    CommandSpec::new(323, "xgroup|help", 2, flags(&[LOADING, STALE]), Categories::STREAM, &[], Run::Data(groups::help))
        .doc(Group::Stream, "5.0.0", "O(1)", "The subcommands."),
];

#[rustfmt::skip]
static XINFO_SUBCOMMANDS: [CommandSpec; 4] = [
    CommandSpec::new(324, "xinfo|stream", -3, READONLY, Categories::STREAM, &[one(2, &[RO, ACCESS])], Run::Data(info::stream))
        .doc(Group::Stream, "5.0.0", "O(1)", "What is known of a stream."),
    CommandSpec::new(325, "xinfo|groups", 3, READONLY, Categories::STREAM, &[one(2, &[RO, ACCESS])], Run::Data(info::groups))
        .doc(Group::Stream, "5.0.0", "O(1)", "The groups of a stream."),
    CommandSpec::new(326, "xinfo|consumers", 4, READONLY, Categories::STREAM, &[one(2, &[RO, ACCESS])], Run::Data(info::consumers))
        .doc(Group::Stream, "5.0.0", "O(1)", "The consumers of a group.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(327, "xinfo|help", 2, flags(&[LOADING, STALE]), Categories::STREAM, &[], Run::Data(info::help))
        .doc(Group::Stream, "5.0.0", "O(1)", "The subcommands."),
];

/// Streams.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 15] = [
    CommandSpec::new(304, "xadd", -5, flags(&[WRITE, DENYOOM, FAST]), Categories::STREAM, &[one(1, &[RW, UPDATE]).noted("UPDATE instead of INSERT because of the optional trimming feature")], Run::Data(add::xadd))
        .doc(Group::Stream, "5.0.0", "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.", "Adds an entry.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(305, "xlen", 2, flags(&[READONLY, FAST]), Categories::STREAM, &[one(1, &[RO])], Run::Data(trim::xlen))
        .doc(Group::Stream, "5.0.0", "O(1)", "The number of entries."),
    CommandSpec::new(306, "xrange", -4, READONLY, Categories::STREAM, &[one(1, &[RO, ACCESS])], Run::Data(range::xrange))
        .doc(Group::Stream, "5.0.0", "O(N)", "The entries in a range of ids."),
    CommandSpec::new(307, "xrevrange", -4, READONLY, Categories::STREAM, &[one(1, &[RO, ACCESS])], Run::Data(range::xrevrange))
        .doc(Group::Stream, "5.0.0", "O(N)", "The entries in a range of ids, last first."),
    CommandSpec::new(308, "xread", -4, flags(&[READONLY, BLOCKING]), Categories::STREAM, &[first_half_behind("STREAMS", 1, &[RO, ACCESS])], Run::Data(read::xread))
        .doc(Group::Stream, "5.0.0", "O(N)", "The entries behind given ids, of several streams; can wait for some."),
    CommandSpec::new(309, "xdel", -3, flags(&[WRITE, FAST]), Categories::STREAM, &[one(1, &[RW, DELETE])], Run::Data(trim::xdel))
        .doc(Group::Stream, "5.0.0", "O(1)", "Removes entries."),
    CommandSpec::new(310, "xtrim", -4, WRITE, Categories::STREAM, &[one(1, &[RW, DELETE])], Run::Data(trim::xtrim))
        .doc(Group::Stream, "5.0.0", "O(N)", "Removes the first entries.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(311, "xsetid", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::STREAM, &[one(1, &[RW, UPDATE])], Run::Data(trim::xsetid))
        .doc(Group::Stream, "5.0.0", "O(1)", "Sets the last id of a stream."),
    CommandSpec::new(312, "xreadgroup", -7, flags(&[WRITE, BLOCKING]), Categories::STREAM, &[first_half_behind("STREAMS", 4, &[RO, ACCESS])], Run::Data(read::xreadgroup))
        .doc(Group::Stream, "5.0.0", "O(M)", "New entries for a consumer of a group, of several streams; can wait for some."),
    CommandSpec::new(313, "xack", -4, flags(&[WRITE, FAST]), Categories::STREAM, &[one(1, &[RW, UPDATE])], Run::Data(pending::xack))
        .doc(Group::Stream, "5.0.0", "O(1)", "Says that entries were dealt with."),
    CommandSpec::new(314, "xclaim", -6, flags(&[WRITE, FAST]), Categories::STREAM, &[one(1, &[RW, UPDATE])], Run::Data(claim::xclaim))
        .doc(Group::Stream, "5.0.0", "O(log N)", "Gives pending entries to another consumer.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(315, "xautoclaim", -6, flags(&[WRITE, FAST]), Categories::STREAM, &[one(1, &[RW, DELETE])], Run::Data(claim::xautoclaim))
        .doc(Group::Stream, "6.2.0", "O(1)", "Gives entries that are pending for long to another consumer.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(316, "xpending", -3, READONLY, Categories::STREAM, &[one(1, &[RO, ACCESS])], Run::Data(pending::xpending))
        .doc(Group::Stream, "5.0.0", "O(N)", "The entries that were delivered and not acknowledged.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new(317, "xgroup", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Stream, "5.0.0", "depends on the subcommand", "Groups and their consumers.")
        .subcommands(&XGROUP_SUBCOMMANDS),
    CommandSpec::new(328, "xinfo", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Stream, "5.0.0", "depends on the subcommand", "What is known of streams.")
        .subcommands(&XINFO_SUBCOMMANDS),
];
