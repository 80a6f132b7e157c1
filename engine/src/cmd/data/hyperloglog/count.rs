//! PFADD, PFCOUNT, PFMERGE.

use super::estimate::estimate;
use super::format::{
    CORRUPTED, REGISTERS, cached_count, check, dense_raise, empty, is_sparse, make_dense, outdate_count, place, raise,
    registers,
};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::{Exec, Reply};
use crate::keyspace::{EventClasses, Expire, Keyspace};

/// The HyperLogLog at `key`, copied.
fn copy_of(ks: &mut Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, CmdError> {
    let hash = ks.key_hash(key);
    let Some(value) = ks.str_to_change(hash, key)? else {
        return Ok(None);
    };
    check(value)?;
    Ok(Some(value.to_vec()))
}

/// Raises the registers of `maxima` to those of the HyperLogLog at `key`, which may not exist.
fn join(ks: &mut Keyspace, key: &[u8], maxima: &mut [u8]) -> Result<Option<Sparse>, CmdError> {
    let Some(value) = ks.get_str(key)? else { return Ok(None) };
    check(value)?;
    let others = registers(value).ok_or(CORRUPTED)?;
    maxima
        .iter_mut()
        .zip(others)
        .for_each(|(m, other)| *m = (*m).max(other));
    Ok(Some(Sparse(is_sparse(value))))
}

/// Whether a HyperLogLog is sparse.
struct Sparse(bool);

pub(in crate::cmd) fn pfadd(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let hash = x.ks.key_hash(key);
        let present = x.ks.str_to_change(hash, key)?;
        present.map_or(Ok(()), check)?;
        if let Some(dense) = present.filter(|value| !is_sparse(value)).map(<[u8]>::len) {
            // In place: nothing can go wrong any more.
            let value = x.ks.resize_str(key, dense)?;
            let mut raised = 0;
            for element in x.args.iter_from(2) {
                let (n, count) = place(element);
                raised += usize::from(dense_raise(value, n, count));
            }
            if raised > 0 {
                outdate_count(value);
                x.ks.note(EventClasses::STRING, "pfadd", key);
            }
            reply.int(i64::from(raised > 0));
            return Ok(());
        }
        let mut changed = present.is_none();
        let mut value = present.map_or_else(empty, <[u8]>::to_vec);
        for element in x.args.iter_from(2) {
            let (n, count) = place(element);
            changed |= raise(&mut value, n, count).ok_or(CORRUPTED)?;
        }
        if changed {
            outdate_count(&mut value);
            x.ks.set_str(key, &value, Expire::Keep);
            x.ks.note(EventClasses::STRING, "pfadd", key);
        }
        reply.int(i64::from(changed));
        Ok(())
    });
}

pub(in crate::cmd) fn pfcount(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        if x.args.len() == 2 {
            let Some(value) = x.ks.get_str(x.args.get(1))? else {
                reply.int(0);
                return Ok(());
            };
            check(value)?;
            let count = match cached_count(value) {
                Some(count) => count,
                None => estimate(&registers(value).ok_or(CORRUPTED)?),
            };
            reply.int(count as i64);
            return Ok(());
        }
        let mut maxima = vec![0; REGISTERS];
        for key in x.args.iter_from(1) {
            join(x.ks, key, &mut maxima)?;
        }
        reply.int(estimate(&maxima) as i64);
        Ok(())
    });
}

/// PFMERGE target [source ...]: the target counts, too.
pub(in crate::cmd) fn pfmerge(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (mut maxima, mut any_dense) = (vec![0; REGISTERS], false);
        for key in x.args.iter_from(1) {
            any_dense |= join(x.ks, key, &mut maxima)?.is_some_and(|Sparse(sparse)| !sparse);
        }
        let key = x.args.get(1);
        let mut value = copy_of(x.ks, key)?.unwrap_or_else(empty);
        if any_dense && is_sparse(&value) {
            make_dense(&mut value).ok_or(CORRUPTED)?;
        }
        for (n, count) in maxima.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            raise(&mut value, n, count).ok_or(CORRUPTED)?;
        }
        outdate_count(&mut value);
        x.ks.set_str(key, &value, Expire::Keep);
        x.ks.note(EventClasses::STRING, "pfadd", key);
        reply.ok();
        Ok(())
    });
}
