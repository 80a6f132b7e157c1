//! The values that hold many elements. They are plain structures; the keyspace owns them and asks only what
//! [`Elements`] offers.

mod codec;
mod field_expiry;
pub mod hash;
mod kept;
pub mod list;
mod members;
mod ordered;
mod packed;
mod packed_or;
pub mod set;
pub mod stream;
mod table;
mod thin_bytes;
pub mod zset;

pub use codec::{DecodeError, Decoded, Decoder, EncodedKind};
pub use field_expiry::FIELD_EXPIRY_MS_MAX;
pub use hash::HashObj;
pub use list::{End, List};
pub use set::Set;
pub use stream::Stream;
pub use table::seed_hashes;
pub use zset::ZSet;

use crate::digest::Digest;

/// What the keyspace needs to know of any collection.
pub trait Elements: Clone + Default {
    /// Number of elements (fields of a hash).
    fn len(&self) -> usize;
    /// Whether the keyspace removes the key: when there is no element, but for streams.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes of memory held, the struct itself included; constant time.
    fn memory(&self) -> usize;
    /// Feeds the contents. Equal contents feed equal bytes, whatever history and encoding they have.
    fn digest_into(&self, digest: &mut Digest);
    /// Drops about `budget` elements, so that a huge collection can be freed in slices. Returns how many are left.
    fn free_some(&mut self, budget: usize) -> usize;
}

impl<T: Elements> Elements for Box<T> {
    fn len(&self) -> usize {
        T::len(self)
    }

    fn is_empty(&self) -> bool {
        T::is_empty(self)
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + T::memory(self)
    }

    fn digest_into(&self, digest: &mut Digest) {
        T::digest_into(self, digest);
    }

    fn free_some(&mut self, budget: usize) -> usize {
        T::free_some(self, budget)
    }
}

/// Any collection, in two words: what is small is many.
#[derive(Clone, Debug)]
pub enum Collection {
    /// A list.
    List(Box<list::List>),
    /// A set.
    Set(set::Set),
    /// A hash.
    Hash(hash::HashObj),
    /// A sorted set.
    ZSet(zset::ZSet),
    /// A stream.
    Stream(Box<stream::Stream>),
}

macro_rules! each {
    ($self:expr, $x:ident => $body:expr) => {
        match $self {
            Collection::List($x) => $body,
            Collection::Set($x) => $body,
            Collection::Hash($x) => $body,
            Collection::ZSet($x) => $body,
            Collection::Stream($x) => $body,
        }
    };
}

impl Collection {
    /// See [`Elements::len`].
    pub fn len(&self) -> usize {
        each!(self, x => Elements::len(x))
    }

    /// See [`Elements::is_empty`].
    pub fn is_empty(&self) -> bool {
        each!(self, x => Elements::is_empty(x))
    }

    /// See [`Elements::memory`].
    pub fn memory(&self) -> usize {
        each!(self, x => Elements::memory(x))
    }

    /// The same without the struct, which whoever keeps it counts.
    pub fn memory_outside(&self) -> usize {
        each!(self, x => Elements::memory(x) - size_of_val(x))
    }

    /// See [`Elements::digest_into`].
    pub fn digest_into(&self, digest: &mut Digest) {
        each!(self, x => Elements::digest_into(x, digest));
    }

    /// See [`Elements::free_some`].
    pub fn free_some(&mut self, budget: usize) -> usize {
        each!(self, x => Elements::free_some(x, budget))
    }
}

#[cfg(test)]
mod testing {
    /// Seeded random numbers (splitmix64).
    pub(super) struct Random(pub(super) u64);

    impl Random {
        /// A number from 0 to `limit - 1`.
        pub(super) fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            crate::cmd::op::op_seed(self.0, 0) % limit
        }
    }
}
