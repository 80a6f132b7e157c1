//! [`Set`]: a set.

use super::Elements;
use crate::digest::Digest;

/// A set.
#[derive(Clone, Debug, Default)]
pub struct Set;

impl Elements for Set {
    fn len(&self) -> usize {
        0
    }
    fn memory(&self) -> usize {
        size_of::<Self>()
    }
    fn digest_into(&self, _: &mut Digest) {}
    fn free_some(&mut self, _: usize) -> usize {
        0
    }
}
