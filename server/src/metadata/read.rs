//! Reading what the metadata group writes: numbers and texts, each checked.

use slotcore_engine::varint::{put_bytes, put_u64, take, take_bytes, take_u64};

/// Bytes that are not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not an entry or a state of the metadata group that this version knows")
    }
}

impl std::error::Error for Malformed {}

/// Reads on from `at`.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(take(self.bytes, &mut self.at, 1).map_err(|_| Malformed)?[0])
    }

    /// A number that fits into `T`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        let number = take_u64(self.bytes, &mut self.at).map_err(|_| Malformed)?;
        T::try_from(number).map_err(|_| Malformed)
    }

    pub(super) fn id(&mut self) -> Result<u128, Malformed> {
        let bytes = take(self.bytes, &mut self.at, 16).map_err(|_| Malformed)?;
        Ok(u128::from_le_bytes(bytes.try_into().expect("sixteen bytes were taken")))
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let bytes = take_bytes(self.bytes, &mut self.at).map_err(|_| Malformed)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
    }

    /// How many items follow: no more than there are bytes left, so that nothing is reserved for a lie.
    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        let count: usize = self.number()?;
        if count > self.bytes.len() - self.at {
            return Err(Malformed);
        }
        Ok(count)
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

pub(super) fn put_id(out: &mut Vec<u8>, id: u128) {
    out.extend_from_slice(&id.to_le_bytes());
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(super) fn put_number(out: &mut Vec<u8>, number: impl Into<u64>) {
    put_u64(out, number.into());
}
