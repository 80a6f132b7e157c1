//! Transactions that span cores: `docs/decisions/0011-transactions-over-cores.md`.
//!
//! The core of the connection coordinates (`coordinator.rs`): it plans which core carries out what ([`Plan`]), makes them
//! hold, one by one in the order of their numbers, has them carry out their parts, and releases them. A single command over
//! cores goes the same way, with copies of the values in between ([`Together`]), or with questions where an element is all
//! that moves ([`Choice`]); one that waits rests meanwhile (`waiting.rs`). On a core concerned
//! (`participant.rs`) [`Holds`] says whether it is held, and for whom. What a crash has left unfinished is found by
//! [`recovery`] when the node starts.

mod calls;
mod choice;
mod coordinator;
mod holds;
mod participant;
mod plan;
pub mod recovery;
mod together;
mod waiting;
mod waits;

pub(crate) use calls::{Calls, WaitedFor};
pub(crate) use choice::{Choice, Chosen};
pub(crate) use coordinator::Coordinated;
pub(crate) use holds::{Holds, Keep, Verdict, Wanted};
pub(crate) use plan::Plan;
pub(crate) use together::{Carried, Together};
pub(crate) use waiting::WaitNote;
pub(crate) use waits::SpanningWaits;
