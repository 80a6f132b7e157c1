//! Sets: SADD, SPOP and the like.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::op::op_seed;
use crate::cmd::parse::count;
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;

pub(in crate::cmd) fn sadd(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let set = x.ks.set_or_create(x.args.get(1))?;
        reply.int(x.args.iter_from(2).filter(|member| set.insert(member)).count() as i64);
        Ok(())
    });
}

/// Takes members by the entry's seed: replicas hold the same members in the same order and so take the same ones.
pub(in crate::cmd) fn spop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        if x.args.len() > 3 {
            return Err(CmdError::Syntax);
        }
        let wanted = x.args.try_get(2).map(count).transpose()?;
        let key = x.args.get(1);
        let Some(set) = x.ks.set_mut(key)? else {
            if wanted.is_some() {
                reply.set(0)
            } else {
                reply.null()
            }
            return Ok(());
        };
        let taken = wanted.unwrap_or(1).min(set.len());
        if wanted.is_some() {
            reply.set(taken);
        }
        for i in 0..taken {
            // The remainder's bias is below 2^-32 for any set that fits into memory.
            let n = op_seed(x.seed, i as u64) % set.len() as u64;
            set.take_nth(n as usize, |member| reply.bulk(member));
        }
        if set.is_empty() {
            x.ks.drop_if_empty(key);
        }
        Ok(())
    });
}

pub(in crate::cmd) fn scard(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.set(x.args.get(1))?.map_or(0, |set| set.len()) as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn smembers(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        match x.ks.set(x.args.get(1))? {
            Some(set) => {
                reply.set(set.len());
                set.for_each(|member| reply.bulk(member));
            }
            None => reply.set(0),
        }
        Ok(())
    });
}

pub(in crate::cmd) fn sismember(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let set = x.ks.set(x.args.get(1))?;
        reply.int(i64::from(set.is_some_and(|set| set.contains(x.args.get(2)))));
        Ok(())
    });
}
