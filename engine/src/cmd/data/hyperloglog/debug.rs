//! PFDEBUG: a look into a HyperLogLog.

use super::format::{CORRUPTED, HEADER_BYTES, check, is_sparse, make_dense, registers};
use super::sparse::describe;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::is;
use crate::cmd::resolve::one_line;
use crate::cmd::{Exec, Reply};
use crate::keyspace::Expire;

pub(in crate::cmd) fn pfdebug(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (what, key) = (x.args.get(1), x.args.get(2));
        let missing = CmdError::Other("ERR The specified key does not exist");
        let value = x.ks.get_str(key)?.ok_or(missing)?;
        check(value)?;
        let sparse = is_sparse(value);
        if is(what, "ENCODING") {
            reply.simple(if sparse { "sparse" } else { "dense" });
        } else if is(what, "DECODE") {
            if !sparse {
                return Err(CmdError::Other("ERR HLL encoding is not sparse"));
            }
            let text = describe(&value[HEADER_BYTES..]).ok_or(CORRUPTED)?;
            reply.bulk(text.as_bytes());
        } else if is(what, "GETREG") || is(what, "TODENSE") {
            let all = registers(value).ok_or(CORRUPTED)?;
            if sparse {
                let mut dense = value.to_vec();
                make_dense(&mut dense).ok_or(CORRUPTED)?;
                x.ks.set_str(key, &dense, Expire::Keep);
            }
            if is(what, "TODENSE") {
                reply.int(i64::from(sparse));
                return Ok(());
            }
            reply.array(all.len());
            all.into_iter().for_each(|register| reply.int(i64::from(register)));
        } else {
            reply.error(&format!("ERR Unknown PFDEBUG subcommand '{}'", one_line(what)));
        }
        Ok(())
    });
}
