//! Single bits and ranges of them: SETBIT, GETBIT, BITCOUNT, BITPOS.

use super::bit_offset;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::keyspace::EventClasses;
use crate::number::parse_i64;
use std::ops::Range;

pub(in crate::cmd) fn setbit(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let offset = bit_offset(x.args.get(2), 1)?;
        let bit = match parse_i64(x.args.get(3)) {
            Some(bit @ 0..=1) => bit as u8,
            _ => return Err(CmdError::Other("ERR bit is not an integer or out of range")),
        };
        let key = x.args.get(1);
        let old_len = x.ks.str_len(key)?;
        let value = x.ks.resize_str(key, old_len.max(offset / 8 + 1))?;
        let (byte, shift) = (&mut value[offset / 8], 7 - offset % 8);
        let old = *byte >> shift & 1;
        *byte = *byte & !(1 << shift) | bit << shift;
        if old != bit || old_len < offset / 8 + 1 {
            x.ks.note(EventClasses::STRING, "setbit", key);
        }
        reply.int(i64::from(old));
        Ok(())
    });
}

pub(in crate::cmd) fn getbit(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let offset = bit_offset(x.args.get(2), 1)?;
        let value = x.ks.get_str(x.args.get(1))?.unwrap_or_default();
        reply.int(
            value
                .get(offset / 8)
                .map_or(0, |byte| i64::from(byte >> (7 - offset % 8) & 1)),
        );
        Ok(())
    });
}

/// The range that arguments from `at` on name, `start end [BYTE|BIT]`, as positions of bits in a string of `len` bytes. An
/// end before the first bit means the first bit. BITCOUNT, but not BITPOS, looks whether the ends are swapped before it
/// looks at the unit, which BITPOS reads before the end.
fn bit_range(x: &Exec<'_>, at: usize, len: usize, is_count: bool) -> Result<Range<usize>, CmdError> {
    let unit = || match x.args.try_get(at + 2) {
        None => Ok(8),
        Some(word) if is(word, "BYTE") => Ok(8),
        Some(word) if is(word, "BIT") => Ok(1),
        Some(_) => Err(CmdError::Syntax),
    };
    let start = x.args.try_get(at).map_or(Ok(0), integer)?;
    if !is_count {
        unit()?;
    }
    let end = x.args.try_get(at + 1).map_or(Ok(-1), integer)?;
    if is_count && start < 0 && end < 0 && start > end {
        return Ok(0..0);
    }
    let unit = unit()?;
    if x.args.len() > at + 3 {
        return Err(CmdError::Syntax);
    }
    let count = (len * 8 / unit) as i64;
    let from_end = |i: i64| if i < 0 { i.saturating_add(count).max(0) } else { i };
    let (start, end) = (from_end(start), from_end(end).min(count - 1));
    if start > end {
        return Ok(0..0);
    }
    Ok(start as usize * unit..(end as usize + 1) * unit)
}

/// The bits of byte number `n` that lie inside `range`.
fn mask(n: usize, range: &Range<usize>) -> u8 {
    let mut mask = 0xff;
    if range.start > n * 8 {
        mask &= 0xff >> (range.start - n * 8);
    }
    if range.end < n * 8 + 8 {
        mask &= 0xff << (n * 8 + 8 - range.end);
    }
    mask
}

fn count_ones(value: &[u8], range: &Range<usize>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let (first, last) = (range.start / 8, (range.end - 1) / 8);
    if first == last {
        return u64::from((value[first] & mask(first, range)).count_ones());
    }
    let (words, rest) = value[first + 1..last].as_chunks::<8>();
    let words: u64 = words
        .iter()
        .map(|w| u64::from(u64::from_ne_bytes(*w).count_ones()))
        .sum();
    let rest = rest
        .iter()
        .copied()
        .chain([(value[first] & mask(first, range)), (value[last] & mask(last, range))]);
    words + rest.map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The first bit that is `bit` (0 or 1).
fn find(value: &[u8], bit: u8, range: &Range<usize>) -> Option<usize> {
    if range.is_empty() {
        return None;
    }
    let (first, last) = (range.start / 8, (range.end - 1) / 8);
    // A byte without the bit is passed over fast.
    let without = if bit == 1 { 0 } else { 0xff };
    let mut n = first;
    while n <= last {
        let wanted = (value[n] ^ without) & mask(n, range);
        if wanted != 0 {
            return Some(n * 8 + wanted.leading_zeros() as usize);
        }
        n += 1;
        n += value[n.min(last)..last]
            .iter()
            .take_while(|byte| **byte == without)
            .count();
    }
    None
}

pub(in crate::cmd) fn bitcount(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        // A missing key is answered before the range is looked at.
        let Some(len) = x.ks.get_str(key)?.map(<[u8]>::len) else {
            reply.int(0);
            return Ok(());
        };
        if x.args.len() == 3 || x.args.len() > 5 {
            return Err(CmdError::Syntax);
        }
        let range = bit_range(x, 2, len, true)?;
        let value = x.ks.get_str(key)?.unwrap_or_default();
        reply.int(count_ones(value, &range) as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn bitpos(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let bit = match integer(x.args.get(2))? {
            bit @ 0..=1 => bit as u8,
            _ => return Err(CmdError::Other("ERR The bit argument must be 1 or 0.")),
        };
        let key = x.args.get(1);
        let Some(len) = x.ks.get_str(key)?.map(<[u8]>::len) else {
            reply.int(-i64::from(bit));
            return Ok(());
        };
        if x.args.len() > 6 {
            return Err(CmdError::Syntax);
        }
        let range = bit_range(x, 3, len, false)?;
        let value = x.ks.get_str(key)?.unwrap_or_default();
        let found = find(value, bit, &range);
        // Behind a string that was not cut to a range there are zeros without end.
        let zeros_follow = bit == 0 && x.args.len() < 5 && !range.is_empty();
        reply.int(match found {
            Some(at) => at as i64,
            None if zeros_follow => range.end as i64,
            None => -1,
        });
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::{count_ones, find};
    use crate::cmd::op::op_seed;

    #[test]
    fn counts_and_positions_are_those_found_bit_by_bit() {
        for seed in 0..3000u64 {
            let r = |n: u64, limit: u64| op_seed(seed, n) % limit;
            let len = r(0, 40) as usize + 1;
            let fill = [0x00, 0xff][r(1, 2) as usize];
            let value: Vec<u8> = (0..len as u64)
                .map(|i| if r(9 + i, 4) == 0 { r(100 + i, 256) as u8 } else { fill })
                .collect();
            let start = r(2, len as u64 * 8) as usize;
            let range = start..start + 1 + r(3, (len * 8 - start) as u64) as usize;
            let bits = || range.clone().map(|i| (i, value[i / 8] >> (7 - i % 8) & 1));
            assert_eq!(
                count_ones(&value, &range),
                bits().filter(|(_, b)| *b == 1).count() as u64
            );
            for bit in [0, 1] {
                assert_eq!(
                    find(&value, bit, &range),
                    bits().find(|(_, b)| *b == bit).map(|(i, _)| i),
                    "{bit} {range:?} {value:?}"
                );
            }
        }
    }
}
