//! The commands about HyperLogLogs.

use super::build::{ACCESS, ADMIN, DENYOOM, FAST, INSERT, READONLY, RO, RW, WRITE, all, flags, one};
use crate::cmd::data::hyperloglog::{count, debug};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// HyperLogLogs.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 4] = [
    CommandSpec::new(272, "pfadd", -2, flags(&[WRITE, DENYOOM, FAST]), Categories::HYPERLOGLOG, &[one(1, &[RW, INSERT])], Run::Data(count::pfadd))
        .doc(Group::HyperLogLog, "2.8.9", "O(1)", "Counts elements."),
    CommandSpec::new(273, "pfcount", -2, READONLY, Categories::HYPERLOGLOG, &[all(1, &[RW, ACCESS]).noted("RW because it may change the internal representation of the key, and propagate to replicas")], Run::Data(count::pfcount))
        .doc(Group::HyperLogLog, "2.8.9", "O(N)", "How many different elements were counted, by estimate.")
        .differs("Caches nothing, so it never writes."),
    CommandSpec::new(274, "pfmerge", -2, flags(&[WRITE, DENYOOM]), Categories::HYPERLOGLOG, &[one(1, &[RW, ACCESS, INSERT]), all(2, &[RO, ACCESS])], Run::Data(count::pfmerge))
        .doc(Group::HyperLogLog, "2.8.9", "O(N)", "Makes one HyperLogLog of several."),
    CommandSpec::new(275, "pfdebug", 3, flags(&[WRITE, DENYOOM, ADMIN]), Categories::HYPERLOGLOG, &[one(2, &[RW, ACCESS])], Run::Data(debug::pfdebug))
        .doc(Group::HyperLogLog, "2.8.9", "O(N)", "A look into a HyperLogLog."),
];
