//! LCS: the longest common subsequence of two strings, by the classic table of all prefix pairs.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Args, Exec, Reply};

/// Largest table, in cells of four bytes: half a gibibyte, as much as the largest string.
const CELLS_MAX: usize = 128 * 1024 * 1024;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: i64,
}

impl Options {
    fn parse(args: &Args<'_>) -> Result<Self, CmdError> {
        let (mut o, mut i) = (Options::default(), 3);
        while let Some(arg) = args.try_get(i) {
            match args.try_get(i + 1) {
                _ if is(arg, "IDX") => o.idx = true,
                _ if is(arg, "LEN") => o.len = true,
                _ if is(arg, "WITHMATCHLEN") => o.with_match_len = true,
                Some(number) if is(arg, "MINMATCHLEN") => {
                    o.min_match_len = integer(number)?;
                    i += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
            i += 1;
        }
        if o.idx && o.len {
            return Err(CmdError::Other(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(o)
    }
}

/// `cells[i * (b.len() + 1) + j]` is the length of the longest common subsequence of the first `i` bytes of `a` and the
/// first `j` of `b`.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    fn of(a: &[u8], b: &[u8]) -> Option<Self> {
        let width = b.len() + 1;
        let count = width.checked_mul(a.len() + 1).filter(|n| *n <= CELLS_MAX)?;
        let mut cells = vec![0; count];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                cells[i * width + j] = if a[i - 1] == b[j - 1] {
                    cells[(i - 1) * width + j - 1] + 1
                } else {
                    cells[(i - 1) * width + j].max(cells[i * width + j - 1])
                };
            }
        }
        Some(Self { cells, width })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// Matching stretches `(first in a, first in b, length)`, the last one first.
    fn stretches(&self, a: &[u8], b: &[u8]) -> Vec<(usize, usize, usize)> {
        let (mut i, mut j, mut found) = (a.len(), b.len(), Vec::new());
        let mut open: Option<(usize, usize, usize)> = None;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                open = Some((i, j, open.map_or(0, |(_, _, len)| len) + 1));
            } else {
                found.extend(open.take());
                if self.at(i - 1, j) > self.at(i, j - 1) {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
        }
        found.extend(open);
        found
    }
}

pub(in crate::cmd) fn lcs(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let wrong = |_| CmdError::Other("ERR The specified keys must contain string values");
        // A copy: the keyspace lends one value at a time.
        let a = x.ks.get_str(x.args.get(1)).map_err(wrong)?.unwrap_or_default().to_vec();
        let b = x.ks.get_str(x.args.get(2)).map_err(wrong)?.unwrap_or_default();
        let o = Options::parse(&x.args)?;
        let table = Lengths::of(&a, b).ok_or(CmdError::Other(
            "ERR Insufficient memory, failed allocating transient memory for LCS",
        ))?;
        let len = i64::from(table.at(a.len(), b.len()));
        if o.len {
            reply.int(len);
        } else if o.idx {
            let mut stretches = table.stretches(&a, b);
            stretches.retain(|(_, _, len)| *len as i64 >= o.min_match_len);
            reply.map(2);
            reply.bulk(b"matches");
            reply.array(stretches.len());
            for (i, j, len) in stretches {
                reply.array(if o.with_match_len { 3 } else { 2 });
                for first in [i, j] {
                    reply.array(2);
                    reply.int(first as i64);
                    reply.int((first + len - 1) as i64);
                }
                if o.with_match_len {
                    reply.int(len as i64);
                }
            }
            reply.bulk(b"len");
            reply.int(len);
        } else {
            let stretches = table.stretches(&a, b);
            let common: Vec<&[u8]> = stretches.iter().rev().map(|(i, _, len)| &a[*i..i + len]).collect();
            reply.bulk(&common.concat());
        }
        Ok(())
    });
}
