//! Strings as arrays of bits: bit 0 is the highest bit of the first byte.

pub(in crate::cmd) mod bits;
pub(in crate::cmd) mod field;
pub(in crate::cmd) mod op;

use crate::cmd::error::{CmdError, STRING_BYTES_MAX};
use crate::number::parse_i64;

/// The position of a bit. A string of the largest size must hold it.
fn bit_offset(text: &[u8], unit: i64) -> Result<usize, CmdError> {
    parse_i64(text)
        .and_then(|n| usize::try_from(n.checked_mul(unit)?).ok())
        .filter(|n| n / 8 < STRING_BYTES_MAX)
        .ok_or(CmdError::Other("ERR bit offset is not an integer or out of range"))
}
