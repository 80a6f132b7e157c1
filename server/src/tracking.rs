//! Clients that keep copies of values are told when those change (`CLIENT TRACKING`).
//!
//! Whoever executes a read for such a client notes its keys, on the key's core ([`TrackedKeys`]); whoever changes a key, on
//! that same core, tells those who hold it, once: whoever reads it again is noted again. A client in broadcast mode is not
//! noted; it is told of every change of the keys with its prefixes, once a turn, by its own core, to which the others send
//! the names of changed keys.
//!
//! Nothing is noted, and no change is looked at, while no client of any core tracks: a counter that all cores may read says
//! so (`Interest`), and is looked at once a turn, before the turn's commands are.
//!
//! Order. A client must not be told of a change before it has the value that is out of date by it. What a core tells
//! another's client goes behind the replies of the same parcel, and takes its place behind everything that the connection
//! still waits for (`ReplyOrder`).
//!
//! A client that redirects what it is told names another one, which stays on its core from then on. Messages go there by
//! way of the client's own core, which is told in turn when that other one is gone.

mod commands;
mod mode;
mod note;
mod tell;
mod tracked_keys;

pub use mode::TrackingMode;
pub use note::Tracking;
pub use tracked_keys::{Holder, TrackedKeys};
