//! The commands about lists.

use super::build::{ACCESS, DELETE, DENYOOM, FAST, INSERT, READONLY, RO, RW, UPDATE, WRITE, counted, flags, one};
use crate::cmd::data::list::{edit, ends, read, transfer};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Lists.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 17] = [
    CommandSpec::new(128, "lpush", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::LIST, &[one(1, &[RW, INSERT])], Run::Data(ends::lpush))
        .doc(Group::List, "1.0.0", "O(1)", "Puts elements before the first."),
    CommandSpec::new(129, "rpush", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::LIST, &[one(1, &[RW, INSERT])], Run::Data(ends::rpush))
        .doc(Group::List, "1.0.0", "O(1)", "Puts elements behind the last."),
    CommandSpec::new(130, "lpop", -2, flags(&[WRITE, FAST]), Categories::LIST, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(ends::lpop))
        .doc(Group::List, "1.0.0", "O(N)", "Takes the first elements away."),
    CommandSpec::new(131, "rpop", -2, flags(&[WRITE, FAST]), Categories::LIST, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(ends::rpop))
        .doc(Group::List, "1.0.0", "O(N)", "Takes the last elements away."),
    CommandSpec::new(132, "lrange", 4, READONLY, Categories::LIST, &[one(1, &[RO, ACCESS])], Run::Data(read::lrange))
        .doc(Group::List, "1.0.0", "O(S+N)", "A range of elements."),
    CommandSpec::new(133, "llen", 2, flags(&[READONLY, FAST]), Categories::LIST, &[one(1, &[RO])], Run::Data(read::llen))
        .doc(Group::List, "1.0.0", "O(1)", "The number of elements."),
    CommandSpec::new(134, "lpushx", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::LIST, &[one(1, &[RW, INSERT])], Run::Data(ends::lpushx))
        .doc(Group::List, "2.2.0", "O(1)", "Puts elements before the first of a list that is there."),
    CommandSpec::new(135, "rpushx", -3, flags(&[WRITE, DENYOOM, FAST]), Categories::LIST, &[one(1, &[RW, INSERT])], Run::Data(ends::rpushx))
        .doc(Group::List, "2.2.0", "O(1)", "Puts elements behind the last of a list that is there."),
    CommandSpec::new(136, "lindex", 3, READONLY, Categories::LIST, &[one(1, &[RO, ACCESS])], Run::Data(read::lindex))
        .doc(Group::List, "1.0.0", "O(N)", "The element at a position."),
    CommandSpec::new(137, "linsert", 5, flags(&[WRITE, DENYOOM]), Categories::LIST, &[one(1, &[RW, INSERT])], Run::Data(edit::linsert))
        .doc(Group::List, "2.2.0", "O(N)", "Puts an element beside another."),
    CommandSpec::new(138, "lset", 4, flags(&[WRITE, DENYOOM]), Categories::LIST, &[one(1, &[RW, UPDATE])], Run::Data(edit::lset))
        .doc(Group::List, "1.0.0", "O(N)", "Replaces the element at a position."),
    CommandSpec::new(139, "lrem", 4, WRITE, Categories::LIST, &[one(1, &[RW, DELETE])], Run::Data(edit::lrem))
        .doc(Group::List, "1.0.0", "O(N+M)", "Removes elements that equal a given one."),
    CommandSpec::new(140, "ltrim", 4, WRITE, Categories::LIST, &[one(1, &[RW, DELETE])], Run::Data(edit::ltrim))
        .doc(Group::List, "1.0.0", "O(N)", "Removes all elements outside a range."),
    CommandSpec::new(141, "lpos", -3, READONLY, Categories::LIST, &[one(1, &[RO, ACCESS])], Run::Data(read::lpos))
        .doc(Group::List, "6.0.6", "O(N)", "The positions of elements that equal a given one."),
    CommandSpec::new(142, "lmove", 5, flags(&[WRITE, DENYOOM]), Categories::LIST, &[one(1, &[RW, ACCESS, DELETE]), one(2, &[RW, INSERT])], Run::Data(transfer::lmove))
        .doc(Group::List, "6.2.0", "O(1)", "Moves an element from an end of one list to an end of another."),
    CommandSpec::new(143, "rpoplpush", 3, flags(&[WRITE, DENYOOM]), Categories::LIST, &[one(1, &[RW, ACCESS, DELETE]), one(2, &[RW, INSERT])], Run::Data(transfer::rpoplpush))
        .doc(Group::List, "1.2.0", "O(1)", "Moves the last element of one list before the first of another.")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    CommandSpec::new(144, "lmpop", -4, WRITE, Categories::LIST, &[counted(1, &[RW, ACCESS, DELETE])], Run::Data(ends::lmpop))
        .doc(Group::List, "7.0.0", "O(N+M)", "Takes elements away from the first list that is there."),
];
