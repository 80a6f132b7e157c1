//! [`List`]: a list.

use super::Elements;
use crate::digest::Digest;

/// A list.
#[derive(Clone, Debug, Default)]
pub struct List;

impl Elements for List {
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
