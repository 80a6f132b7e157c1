//! The commands that wait for keys, and the operation that ends a wait.

use super::build::{
    ACCESS, BLOCKING, DELETE, DENYOOM, FAST, INSERT, NOSCRIPT, RW, WRITE, all_but_last, counted, flags, one,
};
use crate::cmd::data::list::blocking as list;
use crate::cmd::data::zset::blocking as zset;
use crate::cmd::spec::{Categories, CommandSpec, Group, KeySpec, Run};
use crate::cmd::waiting;

const POP: [KeySpec; 1] = [all_but_last(1, &[RW, ACCESS, DELETE])];
const COUNTED: [KeySpec; 1] = [counted(2, &[RW, ACCESS, DELETE])];
const MOVE: [KeySpec; 2] = [one(1, &[RW, ACCESS, DELETE]), one(2, &[RW, INSERT])];

/// Blocking commands.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 8] = [
    CommandSpec::new(448, "blpop", -3, flags(&[WRITE, NOSCRIPT, BLOCKING]), Categories::LIST, &POP, Run::Data(list::blpop))
        .doc(Group::List, "2.0.0", "O(N) where N is the number of provided keys.", "Takes the first element of a list away, or waits for one."),
    CommandSpec::new(449, "brpop", -3, flags(&[WRITE, NOSCRIPT, BLOCKING]), Categories::LIST, &POP, Run::Data(list::brpop))
        .doc(Group::List, "2.0.0", "O(N) where N is the number of provided keys.", "Takes the last element of a list away, or waits for one."),
    CommandSpec::new(450, "blmove", 6, flags(&[WRITE, DENYOOM, NOSCRIPT, BLOCKING]), Categories::LIST, &MOVE, Run::Data(list::blmove))
        .doc(Group::List, "6.2.0", "O(1)", "Moves an element from an end of one list to an end of another, or waits for one."),
    CommandSpec::new(451, "brpoplpush", 4, flags(&[WRITE, DENYOOM, NOSCRIPT, BLOCKING]), Categories::LIST, &MOVE, Run::Data(list::brpoplpush))
        .doc(Group::List, "2.2.0", "O(1)", "Moves the last element of one list before the first of another, or waits for one.")
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    CommandSpec::new(452, "blmpop", -5, flags(&[WRITE, BLOCKING]), Categories::LIST, &COUNTED, Run::Data(list::blmpop))
        .doc(Group::List, "7.0.0", "O(N+M)", "Takes elements away from the first list that is there, or waits for one."),
    CommandSpec::new(453, "bzpopmin", -3, flags(&[WRITE, NOSCRIPT, FAST, BLOCKING]), Categories::SORTEDSET, &POP, Run::Data(zset::bzpopmin))
        .doc(Group::SortedSet, "5.0.0", "O(log(N))", "Takes the member with the lowest score away, or waits for one."),
    CommandSpec::new(454, "bzpopmax", -3, flags(&[WRITE, NOSCRIPT, FAST, BLOCKING]), Categories::SORTEDSET, &POP, Run::Data(zset::bzpopmax))
        .doc(Group::SortedSet, "5.0.0", "O(log(N))", "Takes the member with the highest score away, or waits for one."),
    CommandSpec::new(455, "bzmpop", -5, flags(&[WRITE, BLOCKING]), Categories::SORTEDSET, &COUNTED, Run::Data(zset::bzmpop))
        .doc(Group::SortedSet, "7.0.0", "O(K)+O(M*log(N))", "Takes members away from the first sorted set that is there, or waits for one."),
];

/// Ends a wait: its time is up, the client is gone or was unblocked. One argument, [`waiting::id_to_bytes`]. Not a
/// command: found by number only.
pub static END_WAIT: CommandSpec = CommandSpec::new(
    463,
    "end-wait",
    2,
    WRITE,
    Categories::NONE,
    &[],
    Run::Data(waiting::end_wait),
);
