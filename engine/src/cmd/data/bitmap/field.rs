//! Integers of any width within a string: BITFIELD, BITFIELD_RO.

use super::bit_offset;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::keyspace::EventClasses;
use crate::number::parse_i64;

/// A kind of integer: `i` or `u`, and its width.
#[derive(Clone, Copy)]
struct FieldType {
    signed: bool,
    /// 1 to 64, or 63 without sign.
    bits: u32,
}

impl FieldType {
    fn parse(text: &[u8]) -> Result<Self, CmdError> {
        let (signed, width) = match text {
            [b'i', width @ ..] => (true, width),
            [b'u', width @ ..] => (false, width),
            _ => (false, &b""[..]),
        };
        let most = if signed { 64 } else { 63 };
        match parse_i64(width) {
            Some(bits) if (1..=most).contains(&bits) => Ok(FieldType {
                signed,
                bits: bits as u32,
            }),
            _ => Err(CmdError::Other(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )),
        }
    }

    /// The position of a field; `#3` means that of the third field of this width.
    fn offset(self, text: &[u8]) -> Result<usize, CmdError> {
        match text {
            [b'#', number @ ..] => bit_offset(number, i64::from(self.bits)),
            number => bit_offset(number, 1),
        }
    }

    fn min(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn max(self) -> i128 {
        (1 << (if self.signed { self.bits - 1 } else { self.bits })) - 1
    }

    /// The value that the field's lowest bits make.
    fn wrap(self, n: i128) -> i128 {
        let span = 1i128 << self.bits;
        let low = n.rem_euclid(span);
        if low > self.max() { low - span } else { low }
    }

    /// Reads the field; zeros follow the string.
    fn read(self, value: &[u8], offset: usize) -> i128 {
        let bit = |at: usize| value.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        let bits = (offset..offset + self.bits as usize).fold(0, |n, at| n << 1 | i128::from(bit(at)));
        self.wrap(bits)
    }

    fn write(self, value: &mut [u8], offset: usize, n: i128) {
        for i in 0..self.bits as usize {
            let (at, bit) = (offset + i, (n >> (self.bits as usize - 1 - i)) as u8 & 1);
            let (byte, shift) = (&mut value[at / 8], 7 - at % 8);
            *byte = *byte & !(1 << shift) | bit << shift;
        }
    }
}

/// What becomes of a number that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    /// It becomes the nearest that does.
    Saturate,
    /// Nothing is written.
    Fail,
}

impl Overflow {
    fn parse(word: &[u8]) -> Result<Self, CmdError> {
        match () {
            () if is(word, "WRAP") => Ok(Overflow::Wrap),
            () if is(word, "SAT") => Ok(Overflow::Saturate),
            () if is(word, "FAIL") => Ok(Overflow::Fail),
            () => Err(CmdError::Other("ERR Invalid OVERFLOW type specified")),
        }
    }

    fn fit(self, n: i128, kind: FieldType) -> Option<i128> {
        if (kind.min()..=kind.max()).contains(&n) {
            return Some(n);
        }
        match self {
            Overflow::Wrap => Some(kind.wrap(n)),
            Overflow::Saturate => Some(n.clamp(kind.min(), kind.max())),
            Overflow::Fail => None,
        }
    }
}

enum Action {
    Get,
    /// Gives the old value.
    Set(i64, Overflow),
    /// Gives the new value.
    Add(i64, Overflow),
}

struct Step {
    action: Action,
    kind: FieldType,
    offset: usize,
}

fn parse(x: &Exec<'_>) -> Result<Vec<Step>, CmdError> {
    let (mut steps, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while let Some(word) = x.args.try_get(at) {
        let left = x.args.len() - at - 1;
        if is(word, "OVERFLOW") && left >= 1 {
            overflow = Overflow::parse(x.args.get(at + 1))?;
            at += 2;
            continue;
        }
        let (is_get, is_set) = (is(word, "GET") && left >= 2, is(word, "SET") && left >= 3);
        let is_add = is(word, "INCRBY") && left >= 3;
        if !(is_get || is_set || is_add) {
            return Err(CmdError::Syntax);
        }
        let kind = FieldType::parse(x.args.get(at + 1))?;
        let offset = kind.offset(x.args.get(at + 2))?;
        let action = match () {
            () if is_get => Action::Get,
            () if is_set => Action::Set(integer(x.args.get(at + 3))?, overflow),
            () => Action::Add(integer(x.args.get(at + 3))?, overflow),
        };
        at += if is_get { 3 } else { 4 };
        steps.push(Step { action, kind, offset });
    }
    Ok(steps)
}

impl Step {
    /// One past the last bit written, 0 for a read.
    fn written_end(&self) -> usize {
        match self.action {
            Action::Get => 0,
            Action::Set(..) | Action::Add(..) => self.offset + self.kind.bits as usize,
        }
    }

    /// Writes the field; what to answer, if the number could be written.
    fn change(&self, value: &mut [u8]) -> Option<i128> {
        let old = self.kind.read(value, self.offset);
        let (new, overflow) = match self.action {
            Action::Get => return Some(old),
            // Redis takes the number for a field without sign as one without sign, too: -1 is too large, not too small.
            Action::Set(n, overflow) if !self.kind.signed => (i128::from(n as u64), overflow),
            Action::Set(n, overflow) => (i128::from(n), overflow),
            Action::Add(n, overflow) => (old + i128::from(n), overflow),
        };
        let fitting = overflow.fit(new, self.kind)?;
        self.kind.write(value, self.offset, fitting);
        Some(if matches!(self.action, Action::Set(..)) {
            old
        } else {
            fitting
        })
    }
}

fn run(x: &mut Exec<'_>, reply: &mut dyn Reply, may_write: bool) -> Result<(), CmdError> {
    let steps = parse(x)?;
    let key = x.args.get(1);
    let old_len = if may_write { x.ks.str_len(key)? } else { 0 };
    let end = steps.iter().map(Step::written_end).max().unwrap_or(0);
    if end == 0 {
        let value = x.ks.get_str(key)?.unwrap_or_default();
        reply.array(steps.len());
        steps
            .iter()
            .for_each(|step| reply.int(step.kind.read(value, step.offset) as i64));
        return Ok(());
    }
    if !may_write {
        return Err(CmdError::Other("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let value = x.ks.resize_str(key, old_len.max(end.div_ceil(8)))?;
    let mut changed = value.len() > old_len;
    reply.array(steps.len());
    for step in &steps {
        let old = step.kind.read(value, step.offset);
        match step.change(value) {
            Some(n) => reply.int(n as i64),
            None => reply.null(),
        }
        changed |= step.kind.read(value, step.offset) != old;
    }
    if changed {
        x.ks.note(EventClasses::STRING, "setbit", key);
    }
    Ok(())
}

pub(in crate::cmd) fn bitfield(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| run(x, reply, true));
}

pub(in crate::cmd) fn bitfield_ro(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| run(x, reply, false));
}
