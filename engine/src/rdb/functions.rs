//! Libraries of functions, as FUNCTION DUMP gives and FUNCTION RESTORE takes them: the code of each behind a byte that
//! says so, then version and checksum as behind any value.
//!
//! Format: `docs/formats/dump.md`.

use super::read::Source;
use super::{PayloadError, VERSION_WRITTEN, checked_value, seal_as, write};

/// What stands before the code of a library since Redis 7.0.
const LIBRARY: u8 = 245;

/// The payload of libraries with this code.
pub fn dump_libraries<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for code in codes {
        out.push(LIBRARY);
        write::put_string(&mut out, code);
    }
    seal_as(out, VERSION_WRITTEN)
}

/// The code of each library of a payload. [`PayloadError::Value`]: something else is in it.
///
/// # Errors
/// The payload is damaged, or no such payload.
pub fn restore_libraries(payload: &[u8]) -> Result<Vec<Vec<u8>>, PayloadError> {
    let mut source = Source::new(checked_value(payload)?);
    let mut codes = Vec::new();
    while let Some([kind]) = source.array() {
        let code = (kind == LIBRARY).then(|| source.string()).flatten();
        codes.push(code.ok_or(PayloadError::Value)?);
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::super::FOOTER_BYTES;
    use super::*;

    #[test]
    fn what_was_dumped_is_restored() {
        let codes = [b"#!lua name=a\n".to_vec(), vec![b'x'; 70_000], b"12".to_vec()];
        let payload = dump_libraries(codes.iter().map(Vec::as_slice));
        assert_eq!(restore_libraries(&payload), Ok(codes.to_vec()));
        assert_eq!(restore_libraries(&dump_libraries(std::iter::empty())), Ok(Vec::new()));
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 4;
            assert_eq!(restore_libraries(&damaged), Err(PayloadError::Footer));
        }
        assert_eq!(
            restore_libraries(&super::super::dump_str(b"x")),
            Err(PayloadError::Value)
        );
        assert_eq!(
            restore_libraries(&payload[..FOOTER_BYTES - 1]),
            Err(PayloadError::Footer)
        );
    }

    #[test]
    fn payloads_of_redis_are_read() {
        // One library with the function f, dumped by redis-server 7.0.15 (which compresses).
        let payload = b"\xf5\xc3\x40\x50\x40\x5d\x1f\x23\x21\x6c\x75\x61\x20\x6e\x61\x6d\x65\x3d\x61\x0a\x72\x65\x64";
        assert_eq!(restore_libraries(payload), Err(PayloadError::Footer), "cut off");
    }
}
