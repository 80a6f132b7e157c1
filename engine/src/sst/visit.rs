//! Going through a sorted file block by block, for audits: a damaged block hides nothing of the others.

use super::block::{Cursor, unpack};
use super::record::SstKey;
use super::{Damage, Record, SstError, SstReader};

impl SstReader {
    /// First and last order that a record of the block can have, both inclusive.
    ///
    /// # Panics
    /// When there are not so many blocks.
    pub fn block_ords(&self, block: usize) -> (u64, u64) {
        let first = self.index.ord(block);
        let last = if block + 1 < self.blocks() {
            self.index.ord(block + 1)
        } else {
            self.props().ord_max
        };
        (first, last.max(first))
    }

    /// Shows every record of a block, in order. `pages`: the block as it was read.
    ///
    /// # Errors
    /// The block is damaged; records before the damaged one were shown.
    pub fn visit_block(&self, block: usize, pages: &[u8], visit: &mut dyn FnMut(Record<'_>)) -> Result<(), SstError> {
        self.check_block(block, pages)?;
        let nonsense = |_| self.corrupt(block, Damage::Contents);
        let mut raw = Vec::new();
        let body = match unpack(pages, &mut raw).map_err(nonsense)? {
            Some(range) => &pages[range],
            None => &raw,
        };
        let mut cursor = Cursor::start(body, self.index.ord(block), None).map_err(nonsense)?;
        let mut tail = Vec::new();
        while let Some(entry) = cursor.next(body, &mut tail).map_err(nonsense)? {
            visit(entry.record(body, &tail));
        }
        Ok(())
    }

    /// Whether the record at this place is inside what the file says about itself.
    pub fn covers(&self, key: SstKey<'_>) -> bool {
        (self.props().ord_min..=self.props().ord_max).contains(&key.ord)
    }
}
