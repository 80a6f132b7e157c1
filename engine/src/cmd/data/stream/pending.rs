//! What was delivered and not acknowledged: XACK, XPENDING.

use super::ids::{id, range_end, range_start};
use super::reply::{no_key_or_group, put_id};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::stream::{Group, Pending, StreamId};

/// XACK key group id ...
pub(in crate::cmd) fn xack(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let stream = x.ks.stream_mut(x.args.get(1))?;
        let Some(stream) = stream.filter(|stream| stream.group(x.args.get(2)).is_some()) else {
            reply.int(0);
            return Ok(());
        };
        let ids = x.args.iter_from(3).map(id).collect::<Result<Vec<_>, _>>()?;
        let acknowledged = stream.with_group(x.args.get(2), |group, _| {
            ids.into_iter().filter(|id| group.acknowledge(*id)).count()
        });
        reply.int(acknowledged.unwrap_or(0) as i64);
        Ok(())
    });
}

/// The range of XPENDING.
struct Wanted<'a> {
    from: StreamId,
    to: StreamId,
    count: u64,
    /// How long ago the last delivery must be at least, in milliseconds.
    idle_min: i64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    fn parse(x: &Exec<'a>) -> Result<Self, CmdError> {
        let with_idle = is(x.args.get(3), "IDLE");
        let idle_min = if with_idle { integer(x.args.get(4))? } else { 0 };
        if with_idle && x.args.len() < 8 {
            return Err(CmdError::Syntax);
        }
        let first = if with_idle { 5 } else { 3 };
        Ok(Wanted {
            count: integer(x.args.get(first + 2))?.max(0) as u64,
            from: range_start(x.args.get(first))?,
            to: range_end(x.args.get(first + 1))?,
            idle_min,
            consumer: x.args.try_get(first + 3),
        })
    }

    fn put(&self, group: &Group, now_ms: u64, reply: &mut dyn Reply) {
        let consumer = self.consumer.map(|name| group.find(name));
        if consumer == Some(None) || self.from > self.to {
            return reply.array(0);
        }
        let idle = |pending: &Pending| (now_ms as i64).saturating_sub(pending.delivered_ms as i64);
        let matches = |pending: &Pending| self.idle_min == 0 || idle(pending) >= self.idle_min;
        let (range, count) = (self.from..=self.to, usize::try_from(self.count).unwrap_or(usize::MAX));
        let found: Vec<_> = match consumer.flatten() {
            None => group.pending(range).filter(|(_, p)| matches(p)).take(count).collect(),
            Some(no) => {
                let ids = group.consumer(no).pending(range);
                let entries = ids.filter_map(|id| Some((id, group.pending_entry(id)?)));
                entries.filter(|(_, p)| matches(p)).take(count).collect()
            }
        };
        reply.array(found.len());
        for (id, pending) in found {
            reply.array(4);
            put_id(id, reply);
            reply.bulk(group.consumer(pending.consumer).name());
            reply.int(idle(&pending).max(0));
            reply.int(pending.deliveries as i64);
        }
    }
}

/// How much is pending, between which ids, and with whom.
fn put_summary(group: &Group, reply: &mut dyn Reply) {
    reply.array(4);
    reply.int(group.pending_len() as i64);
    let mut all = group.pending(StreamId::MIN..=StreamId::MAX);
    let Some((first, _)) = all.next() else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    put_id(first, reply);
    put_id(all.next_back().map_or(first, |(id, _)| id), reply);
    let busy = group.consumers().filter(|consumer| consumer.pending_len() > 0);
    reply.array(busy.clone().count());
    for consumer in busy {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk(consumer.pending_len().to_string().as_bytes());
    }
}

/// XPENDING key group [[IDLE ms] start end count [consumer]]
pub(in crate::cmd) fn xpending(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let wanted = match x.args.len() {
            3 => None,
            6..=9 => Some(Wanted::parse(x)?),
            _ => return Err(CmdError::Syntax),
        };
        let (key, name, now_ms) = (x.args.get(1), x.args.get(2), x.ks.wall_ms());
        match (x.ks.stream(key)?.and_then(|stream| stream.group(name)), wanted) {
            (None, _) => no_key_or_group(key, name, "", reply),
            (Some(group), None) => put_summary(group, reply),
            (Some(group), Some(wanted)) => wanted.put(group, now_ms, reply),
        }
        Ok(())
    });
}
