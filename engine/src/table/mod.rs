//! The object table of a group: an extendible hash table in ord order over records in a slab.
//!
//! [`ObjTable`] finds and keeps records; what values mean, when they expire and who may see them is the keyspace's
//! business. A lookup touches one cache line of the index ([`bucket`]) and the record ([`rec`]); [`directory`] fits the
//! nearer caches. Growth rebuilds or splits one segment of at most 128 buckets, never the whole table.

pub mod bucket;
pub mod directory;
mod growth;
pub mod objtable;
pub mod rec;
pub mod slab;
pub mod store;
mod walk;

pub use objtable::{ObjTable, Spot};
pub use rec::{Generation, Marks, Rec, RecKind, Shape, VALUE_INLINE_MAX};
pub use slab::SlabRef;
pub use store::{Id, Store};
