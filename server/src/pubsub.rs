//! Publishing and subscribing, over all cores of the node.
//!
//! A subscriber lives on the core of its connection, in that core's [`Subscriptions`]. What a core's clients listen to is
//! told to the others by counters that they may read ([`Interest`]), so that a message goes exactly to the cores that may
//! have receivers, and to none when there are none: `docs/decisions/0007-who-hears-a-message.md`.
//!
//! `PUBLISH` is carried out on the publisher's core (`publish.rs`): its own subscribers are served at once, each other core
//! is sent the message as a command in its parcel, and the number of receivers is put together when all have answered.
//!
//! Order. A publisher's messages reach a subscriber in the order in which they were sent: they pass from core to core
//! through one ring. A confirmation of `SUBSCRIBE` stands before all messages of the channel, and whatever is pushed stands
//! between two replies, never inside one: commands that change what a connection hears are carried out when nothing else
//! of it is under way (`CoreState::must_wait`), and pushes are appended to the output between commands.

mod events;
mod interest;
mod message;
mod publish;
mod query;
mod subscribe;
mod subscriptions;

pub use interest::Interest;
pub use message::Encoded;
pub use query::answer;
pub use subscriptions::{Kind, Subscriptions};
