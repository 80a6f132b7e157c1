//! What the commands about expiring fields share: their `FIELDS numfields field [field ...]`, and moments.

use crate::cmd::data::expiry::Unit;
use crate::cmd::error::CmdError;
use crate::cmd::parse::{at_least_one, integer, is};
use crate::cmd::{Args, Exec};
use crate::collections::{FIELD_EXPIRY_MS_MAX, HashObj};

/// What most of these commands say to a number of fields that is none.
pub(super) const COUNT_ERROR: &str = "ERR Number of fields must be a positive integer";

/// The argument number of the first field, where argument `at` must be FIELDS. All that follows are fields.
pub(super) fn first_field(args: &Args<'_>, at: usize, count_error: &'static str) -> Result<usize, CmdError> {
    let count = args.try_get(at).filter(|word| is(word, "FIELDS"));
    let count = count.and_then(|_| args.try_get(at + 1)).ok_or(CmdError::Other(
        "ERR Mandatory argument FIELDS is missing or not at the right position",
    ))?;
    if at_least_one(count, count_error)? != args.len() - at - 2 {
        return Err(CmdError::Other(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(at + 2)
}

/// The moment that `number` means, in milliseconds since 1970.
pub(super) fn moment(x: &Exec<'_>, unit: Unit, number: &[u8], command: &'static str) -> Result<u64, CmdError> {
    let number = integer(number)?;
    let number = u64::try_from(number).map_err(|_| CmdError::Other("ERR invalid expire time, must be >= 0"))?;
    let base = if unit.is_relative() { x.ks.now_ms() } else { 0 };
    let millis = if unit.in_seconds() {
        number.checked_mul(1000)
    } else {
        Some(number)
    };
    millis
        .and_then(|ms| ms.checked_add(base))
        .filter(|ms| *ms <= FIELD_EXPIRY_MS_MAX)
        .ok_or(CmdError::InvalidExpire(command))
}

/// Lets a field that is there expire at `moment`; deletes it if that has passed, and says so.
pub(super) fn expire_field(hash: &mut HashObj, field: &[u8], moment: u64, now_ms: u64) -> bool {
    let passed = moment <= now_ms;
    if passed {
        hash.remove(field);
    } else {
        hash.set_expire(field, Some(moment), now_ms);
    }
    passed
}

/// To be called after fields of the hash at `key` were deleted or got other expiries.
pub(super) fn settle(x: &mut Exec<'_>, key: &[u8]) {
    if !x.ks.drop_if_empty(key) {
        x.ks.field_expiry_changed(key);
    }
}
