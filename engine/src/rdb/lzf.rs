//! LZF, the compression of strings in RDB files: reading alone.
//!
//! ```text
//! 000lllll                    l + 1 bytes follow as they are
//! lllooooo oooooooo           l + 2 bytes again from o + 1 bytes back
//! 111ooooo llllllll oooooooo  l + 9 bytes again
//! ```

/// Unpacks to exactly `len` bytes; `None` when that is not what the bytes say.
pub(super) fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    // No length is believed before its bytes are there: nothing packs better than 264 to 3.
    if len / 88 > packed.len() {
        return None;
    }
    let (mut out, mut at) = (Vec::with_capacity(len), 0);
    while let Some(control) = packed.get(at).map(|c| usize::from(*c)) {
        at += 1;
        if control < 32 {
            out.extend_from_slice(packed.get(at..at + control + 1)?);
            at += control + 1;
        } else {
            let mut run = control >> 5;
            if run == 7 {
                run += usize::from(*packed.get(at)?);
                at += 1;
            }
            let back = (control & 31) << 8 | usize::from(*packed.get(at)?);
            at += 1;
            let from = out.len().checked_sub(back + 1)?;
            // A run may repeat bytes that it has just written.
            (from..from + run + 2).for_each(|i| out.push(out[i]));
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}
