//! Members of one set: SADD, SREM, SMOVE, SISMEMBER, SMISMEMBER, SCARD, SMEMBERS, SSCAN.

use crate::cmd::data::scan::ElementScan;
use crate::cmd::error::answer;
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;
use crate::keyspace::EventClasses;

pub(in crate::cmd) fn sadd(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let set = x.ks.set_or_create(x.args.get(1))?;
        let added = x.args.iter_from(2).filter(|member| set.insert(member)).count();
        if added > 0 {
            x.ks.note(EventClasses::SET, "sadd", x.args.get(1));
        }
        reply.int(added as i64);
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

pub(in crate::cmd) fn smismember(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let set = x.ks.set(x.args.get(1))?;
        reply.array(x.args.len() - 2);
        for member in x.args.iter_from(2) {
            reply.int(i64::from(set.is_some_and(|set| set.contains(member))));
        }
        Ok(())
    });
}

pub(in crate::cmd) fn srem(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let key = x.args.get(1);
        let Some(set) = x.ks.set_mut(key)? else {
            reply.int(0);
            return Ok(());
        };
        let removed = x.args.iter_from(2).filter(|member| set.remove(member)).count();
        let is_empty = set.is_empty();
        if removed > 0 {
            x.ks.note(EventClasses::SET, "srem", key);
        }
        reply.int(removed as i64);
        if is_empty {
            x.ks.drop_if_empty(key);
        }
        Ok(())
    });
}

/// SMOVE source destination member. Nothing moves if either key is no set.
pub(in crate::cmd) fn smove(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (source, target, member) = (x.args.get(1), x.args.get(2), x.args.get(3));
        let found = match x.ks.set_to_change(source)? {
            Some(set) => set.contains(member),
            None => {
                reply.int(0);
                return Ok(());
            }
        };
        x.ks.set_to_change(target)?;
        if found && source != target {
            let set = x.ks.set_mut(source)?.expect("it was found above");
            set.remove(member);
            let is_empty = set.is_empty();
            x.ks.note(EventClasses::SET, "srem", source);
            if is_empty {
                x.ks.drop_if_empty(source);
            }
            if x.ks.set_or_create(target)?.insert(member) {
                x.ks.note(EventClasses::SET, "sadd", target);
            }
        }
        reply.int(i64::from(found));
        Ok(())
    });
}

pub(in crate::cmd) fn sscan(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let mut scan = ElementScan::parse(&x.args)?;
        let mut next = 0;
        if let Some(set) = x.ks.set(x.args.get(1))? {
            scan.parse_options(&x.args)?;
            next = set.scan(scan.cursor, scan.count, |member| {
                if scan.wants(member) {
                    scan.found.push(member);
                }
            });
        }
        scan.reply(next, reply);
        Ok(())
    });
}
