//! Groups and their consumers: XGROUP.

use super::ids::{id, id_or_end};
use super::reply::no_group;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::introspect;
use crate::cmd::parse::{integer, is};
use crate::cmd::resolve::one_line;
use crate::cmd::{Exec, Reply};
use crate::collections::Collection;
use crate::collections::stream::{Group, StreamId};
use crate::keyspace::{EventClasses, Keyspace};

const NO_STREAM: CmdError = CmdError::Other(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.",
);

/// The error for options that are none.
pub(super) fn syntax_of_subcommand(x: &Exec<'_>, container: &str, reply: &mut dyn Reply) {
    reply.error(&format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {container} HELP.",
        one_line(x.args.get(1))
    ));
}

/// What stands behind the id.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    /// `None` when a word is no option.
    fn parse(x: &Exec<'_>, creates: bool) -> Result<Option<Self>, CmdError> {
        let (mut o, mut at) = (Options::default(), 5);
        while let Some(word) = x.args.try_get(at) {
            match x.args.try_get(at + 1) {
                _ if creates && is(word, "MKSTREAM") => {
                    o.make_stream = true;
                    at += 1;
                }
                Some(count) if is(word, "ENTRIESREAD") => {
                    o.entries_read = match integer(count)? {
                        -1 => None,
                        count => Some(
                            u64::try_from(count)
                                .map_err(|_| CmdError::Other("ERR value for ENTRIESREAD must be positive or -1"))?,
                        ),
                    };
                    at += 2;
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(o))
    }
}

/// XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD count]
pub(in crate::cmd) fn create(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(o) = Options::parse(x, true)? else {
            syntax_of_subcommand(x, "XGROUP", reply);
            return Ok(());
        };
        let key = x.args.get(2);
        let stream = x.ks.stream_mut(key)?;
        if stream.is_none() && !o.make_stream {
            return Err(NO_STREAM);
        }
        if x.args.len() > 8 {
            syntax_of_subcommand(x, "XGROUP", reply);
            return Ok(());
        }
        let last_id = match x.args.get(4) {
            b"$" => stream.map_or(StreamId::MIN, |stream| stream.last_id),
            arg => id(arg)?,
        };
        let stream = x.ks.stream_or_create(key)?;
        if !stream.add_group(x.args.get(3), Group::new(last_id, o.entries_read)) {
            return Err(CmdError::Other("BUSYGROUP Consumer Group name already exists"));
        }
        x.ks.note(EventClasses::STREAM, "xgroup-create", key);
        reply.ok();
        Ok(())
    });
}

/// XGROUP SETID key group id | $ [ENTRIESREAD count]
pub(in crate::cmd) fn set_id(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(o) = Options::parse(x, false)? else {
            syntax_of_subcommand(x, "XGROUP", reply);
            return Ok(());
        };
        let (key, name) = (x.args.get(2), x.args.get(3));
        let stream = x.ks.stream_mut(key)?.ok_or(NO_STREAM)?;
        if stream.group(name).is_none() {
            no_group(key, name, reply);
            return Ok(());
        }
        if x.args.len() != 5 && x.args.len() != 7 {
            syntax_of_subcommand(x, "XGROUP", reply);
            return Ok(());
        }
        let last_id = match x.args.get(4) {
            b"$" => stream.last_id,
            arg => id_or_end(arg, 0)?,
        };
        stream.with_group(name, |group, _| {
            (group.last_id, group.entries_read) = (last_id, o.entries_read);
        });
        x.ks.note(EventClasses::STREAM, "xgroup-setid", key);
        reply.ok();
        Ok(())
    });
}

/// XGROUP DESTROY key group
pub(in crate::cmd) fn destroy(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let stream = x.ks.stream_mut(x.args.get(2))?.ok_or(NO_STREAM)?;
        let taken = stream.take_group(x.args.get(3));
        reply.int(i64::from(taken.is_some()));
        if let Some(rest) = taken {
            x.ks.discard(Collection::Stream(rest.into()));
            x.ks.signal_ready(x.args.get(2));
            x.ks.note(EventClasses::STREAM, "xgroup-destroy", x.args.get(2));
        }
        Ok(())
    });
}

/// XGROUP CREATECONSUMER key group consumer
pub(in crate::cmd) fn create_consumer(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (key, name, now_ms) = (x.args.get(2), x.args.get(3), x.ks.now_ms());
        let stream = x.ks.stream_mut(key)?.ok_or(NO_STREAM)?;
        let created = stream.with_group(name, |group, _| {
            let consumer = x.args.get(4);
            let is_new = group.find(consumer).is_none();
            if is_new {
                group.add_consumer(consumer, now_ms);
            }
            is_new
        });
        match created {
            Some(created) => {
                if created {
                    x.ks.note(EventClasses::STREAM, CONSUMER_CREATED, key);
                }
                reply.int(i64::from(created));
            }
            None => no_group(key, name, reply),
        }
        Ok(())
    });
}

/// XGROUP DELCONSUMER key group consumer
pub(in crate::cmd) fn delete_consumer(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (key, name) = (x.args.get(2), x.args.get(3));
        let stream = x.ks.stream_mut(key)?.ok_or(NO_STREAM)?;
        let pending = stream.with_group(name, |group, _| group.remove_consumer(x.args.get(4)));
        match pending {
            Some(pending) => {
                if pending.is_some() {
                    x.ks.note(EventClasses::STREAM, "xgroup-delconsumer", key);
                }
                reply.int(pending.unwrap_or(0) as i64);
            }
            None => no_group(key, name, reply),
        }
        Ok(())
    });
}

/// What others hear when a consumer is met for the first time.
const CONSUMER_CREATED: &str = "xgroup-createconsumer";

/// Whether a group, which is there, knows the consumer.
pub(super) fn knows(ks: &mut Keyspace, key: &[u8], group: &[u8], consumer: &[u8]) -> Result<bool, CmdError> {
    let group = ks.stream_mut(key)?.and_then(|stream| stream.group(group));
    Ok(group.is_some_and(|group| group.find(consumer).is_some()))
}

/// A command may have met a consumer for the first time, who was not known before it.
pub(super) fn note_if_met(ks: &mut Keyspace, key: &[u8], group: &[u8], consumer: &[u8]) -> Result<(), CmdError> {
    if knows(ks, key, group, consumer)? {
        ks.note(EventClasses::STREAM, CONSUMER_CREATED, key);
    }
    Ok(())
}

/// XGROUP HELP
pub(in crate::cmd) fn help(_: &mut Exec<'_>, reply: &mut dyn Reply) {
    introspect::help(crate::cmd::lookup(b"xgroup").expect("in the table"), reply);
}
