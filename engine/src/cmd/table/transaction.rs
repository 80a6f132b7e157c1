//! The commands of transactions, and the operations that transactions are in the log.

use super::build::{
    ALLOW_BUSY, DENYOOM, FAST, LOADING, NOSCRIPT, READONLY, RO, SKIP_SLOWLOG, STALE, WRITE, all, flags,
};
use crate::cmd::spec::{Categories, CommandSpec, Flags, Group, Run};
use crate::cmd::transaction::Step;

const SESSION: Flags = flags(&[NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY]);

/// Transactions.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 5] = [
    CommandSpec::new(960, "multi", 1, SESSION, Categories::TRANSACTION, &[], Run::Transaction(Step::Multi))
        .doc(Group::Transactions, "1.2.0", "O(1)", "Begins a transaction: the commands that follow are kept until EXEC."),
    CommandSpec::new(961, "exec", 1, flags(&[NOSCRIPT, LOADING, STALE, SKIP_SLOWLOG]), Categories::TRANSACTION, &[], Run::Transaction(Step::Exec))
        .doc(Group::Transactions, "1.2.0", "that of the commands in it", "Carries out the commands of a transaction, all at one moment."),
    CommandSpec::new(962, "discard", 1, SESSION, Categories::TRANSACTION, &[], Run::Transaction(Step::Discard))
        .doc(Group::Transactions, "2.0.0", "O(N) for N commands kept", "Gives a transaction up."),
    CommandSpec::new(963, "watch", -2, SESSION, Categories::TRANSACTION, &[all(1, &[RO])], Run::Transaction(Step::Watch))
        .doc(Group::Transactions, "2.2.0", "O(1) for every key", "Makes the next EXEC depend on keys not being changed.")
        .differs("A few commands that change nothing count as a change ([protocol.md](protocol.md#transactions))."),
    CommandSpec::new(964, "unwatch", 1, SESSION, Categories::TRANSACTION, &[], Run::Transaction(Step::Unwatch))
        .doc(Group::Transactions, "2.2.0", "O(1)", "Forgets the watched keys."),
];

/// What a transaction becomes: one operation, whose arguments are the encoded operations in it. Found by number only; see
/// [`crate::cmd::transaction`].
#[rustfmt::skip]
pub(super) static OPERATIONS: [CommandSpec; 4] = [
    CommandSpec::new(965, "exec", -1, flags(&[READONLY]), Categories::TRANSACTION, &[], Run::Transaction(Step::Carry))
        .doc(Group::Transactions, "", "", "A transaction that only reads; not in the log."),
    CommandSpec::new(966, "exec", -1, flags(&[WRITE]), Categories::TRANSACTION, &[], Run::Transaction(Step::Carry))
        .doc(Group::Transactions, "", "", "A transaction that writes."),
    CommandSpec::new(967, "exec", -1, flags(&[WRITE, DENYOOM]), Categories::TRANSACTION, &[], Run::Transaction(Step::Carry))
        .doc(Group::Transactions, "", "", "A transaction that may need more memory."),
    CommandSpec::new(970, "exec", -4, flags(&[WRITE]), Categories::TRANSACTION, &[], Run::Transaction(Step::CarryPart))
        .doc(Group::Transactions, "", "", "One core's copy of a transaction that spans several."),
];
