//! The commands about lists.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, INSERT, READONLY, RO, RW, WRITE, flags, one};
use crate::cmd::data::list;
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Lists.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 6] = [
    CommandSpec::new(128, "lpush", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::LIST, &[one(1, &[RW, INSERT])], Run::Data(list::lpush))
        .doc(Group::List, "1.0.0", "O(1)", "Puts elements before the first."),
    CommandSpec::new(129, "rpush", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::LIST, &[one(1, &[RW, INSERT])], Run::Data(list::rpush))
        .doc(Group::List, "1.0.0", "O(1)", "Puts elements behind the last."),
    CommandSpec::new(130, "lpop", -2, flags(&[WRITE, FAST]), Categories::LIST, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(list::lpop))
        .doc(Group::List, "1.0.0", "O(N)", "Takes the first elements away."),
    CommandSpec::new(131, "rpop", -2, flags(&[WRITE, FAST]), Categories::LIST, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(list::rpop))
        .doc(Group::List, "1.0.0", "O(N)", "Takes the last elements away."),
    CommandSpec::new(132, "lrange", 4, READONLY, Categories::LIST, &[one(1, &[RO, ACCESS])], Run::Data(list::lrange))
        .doc(Group::List, "1.0.0", "O(S+N)", "A range of elements."),
    CommandSpec::new(133, "llen", 2, flags(&[READONLY, FAST]), Categories::LIST, &[one(1, &[RO])], Run::Data(list::llen))
        .doc(Group::List, "1.0.0", "O(1)", "The number of elements."),
];
