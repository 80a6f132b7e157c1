//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! The core of a connection keeps what it sends behind MULTI ([`Queue`]). EXEC makes one operation of it
//! (`engine::cmd::transaction`), which goes to the core that owns the keys and there into the batch, like any command: so
//! it is one operation of one log entry, carried out at one moment, whole or not at all.
//!
//! Watched keys are no state of the group, only of the core that owns them ([`Watches`]): what is asked there of EXEC is
//! decided before the operation enters the log, when every write that was gathered earlier and may concern a watched key
//! has been applied ([`Gate`]). From the decision to the batch nothing can come between, and the order of batches is the
//! order of the log.
//!
//! Where keys of several cores are concerned the cores hold while each carries out its part: [`spanning`].
//!
//! `commands.rs`, `exec.rs` and `watching.rs` are the half of the connection, `owner.rs` that of the keys.

mod commands;
mod exec;
mod gate;
mod owner;
mod queue;
pub mod spanning;
mod watches;
mod watching;

pub(crate) use gate::Gate;
pub(crate) use owner::ABORTED_BECAUSE;
pub(crate) use queue::{Owner, Session, TransactionsKept};
pub(crate) use spanning::{Calls, Coordinated, Holds, SpanningWaits, Together, Verdict, WaitNote, Wanted};
pub(crate) use watches::Watches;
