//! The commands: their table, and how each that touches keys is carried out.
//!
//! [`resolve`] finds the command a client called; [`CommandSpec::run`] says who carries it out. Those that touch keys are
//! functions of the keyspace, their arguments, the time and the seed of the entry they came in, and of nothing else, so
//! that every replica computes the same ([`Exec`]). [`op`] is how a command looks in the log.

pub mod args;
mod data;
mod error;
pub mod exec;
mod glob;
pub mod introspect;
pub mod keys;
mod needs;
pub mod once;
pub mod op;
mod parse;
pub mod reply;
pub mod resolve;
pub mod server_cmd;
pub mod spanning;
pub mod spec;
pub mod stored;
pub mod table;
pub mod together;
pub mod transaction;
pub mod waiting;

pub use args::Args;
pub use data::debug_protocol::debug_protocol;
pub use data::encoding::{EncodingLimits, Small};
pub use data::object::{debug_digest, debug_digest_value, debug_object};
pub use data::scripting::{CALLED_AS, CALLED_AS_RO, CallerText, encode_called_as, open_called_as};
pub use exec::{DataFn, Exec};
pub use glob::matches;
pub use keys::{for_each_key, keys};
pub use needs::{for_each_needed, for_each_needed_key, is_blind, is_rehearsed, prepare, rehearse};
pub use reply::{NoReply, Reply};
pub use resolve::{arity_error, resolve, unknown_command, unknown_subcommand};
pub use server_cmd::ServerCmd;
pub use spec::{Categories, CommandId, CommandSpec, Flags, Group, KeyFind, KeyFlags, KeySearch, KeySpec, Run};
pub use table::{COMPARE, END_WAIT, EVICT, as_asked, by_id, commands, lookup, when_scarce};
pub use waiting::Waiting;
