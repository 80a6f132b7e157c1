//! Sparse registers: runs of equal ones.
//!
//! ```text
//! 00llllll             l + 1 registers are 0
//! 01llllll llllllll    l + 1 registers are 0, high bits first
//! 1vvvvvll             l + 1 registers are v + 1
//! ```
//!
//! How runs are split and joined follows Redis step by step, so that the bytes are the same after the same elements.

use super::format::{HEADER_BYTES, REGISTERS, outdate_count};

/// Longest run of zeros in one byte.
const SHORT_ZEROS_MAX: usize = 64;
/// Longest run of a value.
const VALUES_MAX: usize = 4;
/// Largest value.
const VALUE_MAX: u8 = 32;
/// Larger ones become dense: Redis's `hll-sparse-max-bytes`.
const SPARSE_BYTES_MAX: usize = 3000;
/// Runs that are looked at to join neighbours after a change, from the one before it.
const JOIN_RUNS: usize = 5;

/// A run of equal registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) value: u8,
    /// Registers.
    pub(super) len: usize,
    /// Bytes that tell it: 1 or 2.
    pub(super) bytes: usize,
}

fn run_at(body: &[u8], at: usize) -> Option<Run> {
    let first = *body.get(at)?;
    Some(match first >> 6 {
        0 => Run {
            value: 0,
            len: usize::from(first & 63) + 1,
            bytes: 1,
        },
        1 => Run {
            value: 0,
            len: (usize::from(first & 63) << 8 | usize::from(*body.get(at + 1)?)) + 1,
            bytes: 2,
        },
        _ => Run {
            value: (first >> 2 & 31) + 1,
            len: usize::from(first & 3) + 1,
            bytes: 1,
        },
    })
}

/// The runs, up to the end or to one that is cut off.
pub(super) fn runs(body: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = run_at(body, at)?;
        at += run.bytes;
        Some(run)
    })
}

/// Appends a run of zeros; none of length 0.
pub(super) fn put_zeros(out: &mut Vec<u8>, len: usize) {
    let Some(code) = len.checked_sub(1) else { return };
    if len > SHORT_ZEROS_MAX {
        out.push(0x40 | (code >> 8) as u8);
    }
    out.push(code as u8);
}

fn values(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

fn put_run(out: &mut Vec<u8>, value: u8, len: usize) {
    match (value, len) {
        (_, 0) => {}
        (0, len) => put_zeros(out, len),
        (value, len) => out.push(values(value, len)),
    }
}

/// What became of a register.
pub(super) enum Raised {
    /// It was as high already.
    No,
    Yes,
    /// It does not fit; nothing changed.
    TooLarge,
}

/// Raises register `n` of a sparse HyperLogLog; `None` when its runs do not cover it.
pub(super) fn raise(value: &mut Vec<u8>, n: usize, count: u8) -> Option<Raised> {
    if count > VALUE_MAX {
        return Some(Raised::TooLarge);
    }
    // The run that covers the register, and the one before.
    let (mut at, mut before, mut first) = (HEADER_BYTES, HEADER_BYTES, 0);
    let run = loop {
        let run = run_at(value, at)?;
        if n < first + run.len {
            break run;
        }
        before = at;
        at += run.bytes;
        first += run.len;
    };
    if run.value >= count {
        return Some(Raised::No);
    }
    let mut new = Vec::with_capacity(5);
    put_run(&mut new, run.value, n - first);
    new.push(values(count, 1));
    put_run(&mut new, run.value, first + run.len - 1 - n);
    if new.len() > run.bytes && value.len() + new.len() - run.bytes > SPARSE_BYTES_MAX {
        return Some(Raised::TooLarge);
    }
    value.splice(at..at + run.bytes, new);
    join(value, before);
    outdate_count(value);
    Some(Raised::Yes)
}

/// Joins equal values next to each other, from the run at `at` on.
fn join(value: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_RUNS {
        let Some(run) = run_at(value, at) else { return };
        let next = run_at(value, at + run.bytes).filter(|next| run.value > 0 && next.value == run.value);
        match next.map(|next| run.len + next.len) {
            Some(len) if len <= VALUES_MAX => {
                value[at] = values(run.value, len);
                value.remove(at + 1);
            }
            _ => at += run.bytes,
        }
    }
}

/// A short description of the runs, as PFDEBUG DECODE prints it.
pub(super) fn describe(body: &[u8]) -> Option<String> {
    let (mut text, mut covered) = (Vec::new(), 0);
    for run in runs(body) {
        text.push(match run {
            Run {
                value: 0,
                bytes: 1,
                len,
            } => format!("z:{len}"),
            Run { value: 0, len, .. } => format!("Z:{len}"),
            Run { value, len, .. } => format!("v:{value},{len}"),
        });
        covered += run.len;
    }
    (covered == REGISTERS).then(|| text.join(" "))
}
