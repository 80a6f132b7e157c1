//! Strings combined bit by bit: BITOP, with the operations of Redis 8.2.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::is;
use crate::cmd::{Exec, Reply};
use crate::keyspace::{EventClasses, Expire, Keyspace};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In the first, and in none of the others.
    Diff,
    /// In any of the others, and not in the first.
    Diff1,
    /// In the first, and in any of the others.
    AndOr,
    /// In exactly one.
    One,
}

impl Operation {
    const NAMES: [(&'static str, Operation); 8] = [
        ("AND", Operation::And),
        ("OR", Operation::Or),
        ("XOR", Operation::Xor),
        ("NOT", Operation::Not),
        ("DIFF", Operation::Diff),
        ("DIFF1", Operation::Diff1),
        ("ANDOR", Operation::AndOr),
        ("ONE", Operation::One),
    ];

    /// Combines strings as if zeros followed the shorter ones; `len` bytes, the length of the longest.
    fn run(self, ks: &mut Keyspace, keys: &[&[u8]], len: usize) -> Result<Vec<u8>, CmdError> {
        let (first, others) = keys.split_first().expect("the arity asks for a source");
        let mut out = ks
            .str_to_change(ks.key_hash(first), first)?
            .unwrap_or_default()
            .to_vec();
        out.resize(len, 0);
        if matches!(self, Operation::Diff | Operation::Diff1 | Operation::AndOr) {
            let any = Operation::Or.run(ks, others, len)?;
            for (byte, any) in out.iter_mut().zip(any) {
                *byte = match self {
                    Operation::Diff => *byte & !any,
                    Operation::Diff1 => any & !*byte,
                    _ => *byte & any,
                };
            }
            return Ok(out);
        }
        let mut twice = vec![0; if self == Operation::One { len } else { 0 }];
        for key in others {
            let source = ks.str_to_change(ks.key_hash(key), key)?.unwrap_or_default();
            let pairs = out.iter_mut().zip(source);
            match self {
                Operation::And => {
                    pairs.for_each(|(byte, s)| *byte &= s);
                    out[source.len()..].fill(0);
                }
                Operation::Xor => pairs.for_each(|(byte, s)| *byte ^= s),
                Operation::One => pairs.zip(&mut twice).for_each(|((byte, s), twice)| {
                    *twice |= *byte & s;
                    *byte |= s;
                }),
                _ => pairs.for_each(|(byte, s)| *byte |= s),
            }
        }
        match self {
            Operation::Not => out.iter_mut().for_each(|byte| *byte = !*byte),
            Operation::One => out.iter_mut().zip(twice).for_each(|(byte, twice)| *byte &= !twice),
            _ => {}
        }
        Ok(out)
    }
}

pub(in crate::cmd) fn bitop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let found = Operation::NAMES.iter().find(|(name, _)| is(x.args.get(1), name));
        let (_, operation) = *found.ok_or(CmdError::Syntax)?;
        let keys: Vec<&[u8]> = x.args.iter_from(3).collect();
        if operation == Operation::Not && keys.len() != 1 {
            return Err(CmdError::Other(
                "ERR BITOP NOT must be called with a single source key.",
            ));
        }
        let compares = matches!(operation, Operation::Diff | Operation::Diff1 | Operation::AndOr);
        if compares && keys.len() < 2 {
            return Err(CmdError::Other(match operation {
                Operation::Diff => "ERR BITOP DIFF must be called with at least two source keys.",
                Operation::Diff1 => "ERR BITOP DIFF1 must be called with at least two source keys.",
                _ => "ERR BITOP ANDOR must be called with at least two source keys.",
            }));
        }
        let mut len = 0;
        for key in &keys {
            len = len.max(x.ks.get_str(key)?.map_or(0, <[u8]>::len));
        }
        let result = operation.run(x.ks, &keys, len)?;
        let target = x.args.get(2);
        if result.is_empty() {
            let existed = x.ks.del(target);
            x.ks.note_stored(EventClasses::STRING, "set", target, true, existed);
        } else {
            x.ks.set_str(target, &result, Expire::Clear);
            x.ks.note(EventClasses::STRING, "set", target);
        }
        reply.int(result.len() as i64);
        Ok(())
    });
}
