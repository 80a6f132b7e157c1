//! COMMAND: what the table says, as replies in Redis 7.0's shape.

use super::keys::for_each_key;
use super::spec::{CommandSpec, Flags, KeyFind, KeyFlags, KeySearch, KeySpec};
use super::{Args, Reply};

/// Names as a set of status lines.
fn names(list: impl Iterator<Item = &'static str> + Clone, reply: &mut dyn Reply) {
    reply.set(list.clone().count());
    list.for_each(|name| reply.simple(name));
}

/// One command as COMMAND and COMMAND INFO describe it.
pub fn command_info(spec: &CommandSpec, reply: &mut dyn Reply) {
    reply.array(10);
    reply.bulk(spec.full_name.as_bytes());
    reply.int(i64::from(spec.arity));
    names(spec.flags.names(), reply);
    for number in [spec.first_key, spec.last_key, spec.key_step] {
        reply.int(i64::from(number));
    }
    names(spec.categories.names(), reply);
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.key_specs.len());
    spec.key_specs.iter().for_each(|keys| key_spec(keys, reply));
    // Redis, too, has an array of subcommands but an empty set where there is none.
    match spec.subcommands.len() {
        0 => reply.set(0),
        count => reply.array(count),
    }
    spec.subcommands.iter().for_each(|sub| command_info(sub, reply));
}

fn key_spec(keys: &KeySpec, reply: &mut dyn Reply) {
    reply.map(if keys.notes.is_empty() { 3 } else { 4 });
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    names(keys.flags.names(), reply);
    reply.bulk(b"begin_search");
    match keys.search {
        KeySearch::Index(index) => typed_spec("index", &[("index", index)], reply),
        KeySearch::Keyword { word, from } => {
            spec_head("keyword", 2, reply);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.int(i64::from(from));
        }
        KeySearch::SortStore | KeySearch::Unknown => typed_spec("unknown", &[], reply),
    }
    reply.bulk(b"find_keys");
    match keys.find {
        KeyFind::Range { last, step } => {
            typed_spec("range", &[("lastkey", last), ("keystep", step), ("limit", 0)], reply);
        }
        KeyFind::Counted { step } => {
            typed_spec("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", step)], reply);
        }
        KeyFind::FirstHalf => {
            typed_spec("range", &[("lastkey", -1), ("keystep", 1), ("limit", 2)], reply);
        }
        KeyFind::Unknown => typed_spec("unknown", &[], reply),
    }
}

fn spec_head(kind: &str, fields: usize, reply: &mut dyn Reply) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn typed_spec(kind: &str, fields: &[(&str, i32)], reply: &mut dyn Reply) {
    spec_head(kind, fields.len(), reply);
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.int(i64::from(*value));
    }
}

/// One command's name and its documentation as COMMAND DOCS gives them: two values, of a map or an array. The arguments
/// of commands are not described.
pub fn command_docs(spec: &CommandSpec, reply: &mut dyn Reply) {
    let text = |reply: &mut dyn Reply, name: &str, value: &str| {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    };
    reply.bulk(spec.full_name.as_bytes());
    let has_subcommands = !spec.subcommands.is_empty();
    reply.map(4 + if spec.deprecated.is_some() { 3 } else { 0 } + usize::from(has_subcommands));
    text(reply, "summary", spec.summary);
    text(reply, "since", spec.since);
    text(reply, "group", spec.group.name());
    text(reply, "complexity", spec.complexity);
    if let Some((since, replaced_by)) = spec.deprecated {
        reply.bulk(b"doc_flags");
        names(std::iter::once("deprecated"), reply);
        text(reply, "deprecated_since", since);
        text(reply, "replaced_by", replaced_by);
    }
    if has_subcommands {
        reply.bulk(b"subcommands");
        reply.map(spec.subcommands.len());
        spec.subcommands.iter().for_each(|sub| command_docs(sub, reply));
    }
}

/// HELP of a container command: how to call it, and a line for each subcommand.
pub(super) fn help(container: &CommandSpec, reply: &mut dyn Reply) {
    reply.array(1 + 2 * container.subcommands.len());
    let name = container.name.to_ascii_uppercase();
    reply.simple(&format!(
        "{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for sub in container.subcommands {
        reply.simple(&sub.name.to_ascii_uppercase());
        reply.simple(&format!("    {}", sub.summary));
    }
}

/// COMMAND GETKEYS and, with flags, COMMAND GETKEYSANDFLAGS: `call` is the command in full.
pub fn command_getkeys(call: &Args<'_>, with_flags: bool, reply: &mut dyn Reply) {
    let spec = match super::lookup(call.get(0)) {
        Some(spec) => call.try_get(1).and_then(|name| spec.subcommand(name)).unwrap_or(spec),
        None => return reply.error("ERR Invalid command specified"),
    };
    if spec.key_specs.is_empty() {
        return reply.error("ERR The command has no key arguments");
    }
    if !spec.accepts(call.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let mut count = 0;
    for_each_key(spec, call, |_, _| count += 1);
    if count == 0 && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return reply.error("ERR Invalid arguments specified for command");
    }
    reply.array(count);
    for_each_key(spec, call, |keys, at| {
        if with_flags {
            reply.array(2);
            reply.bulk(call.get(at));
            names(flags_in(keys, call).names(), reply);
        } else {
            reply.bulk(call.get(at));
        }
    });
}

/// What a call does with its keys, where that depends on the arguments: SET reads the old value only with GET, BITFIELD
/// writes unless all it does is GET, DELEX reads on a condition.
fn flags_in(keys: &KeySpec, call: &Args<'_>) -> KeyFlags {
    if !keys.flags.has(KeyFlags::VARIABLE) {
        return keys.flags;
    }
    let is_get = |at: usize| call.get(at).eq_ignore_ascii_case(b"GET");
    if call.get(0).eq_ignore_ascii_case(b"BITFIELD") {
        let only_reads = (2..call.len()).step_by(3).all(is_get);
        return KeyFlags::ACCESS.and(if only_reads {
            KeyFlags::RO
        } else {
            KeyFlags::RW.and(KeyFlags::UPDATE)
        });
    }
    if call.get(0).eq_ignore_ascii_case(b"DELEX") {
        return KeyFlags::DELETE.and(if call.len() > 2 {
            KeyFlags::RW.and(KeyFlags::ACCESS)
        } else {
            KeyFlags::RM
        });
    }
    let compares = |at: usize| {
        let words = ["IFEQ", "IFNE", "IFDEQ", "IFDNE"];
        words
            .iter()
            .any(|word| call.get(at).eq_ignore_ascii_case(word.as_bytes()))
    };
    if (3..call.len()).any(|at| is_get(at) || compares(at)) {
        KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.and(KeyFlags::UPDATE)
    }
}

/// The command or subcommand (`container|sub`) of that name, as COMMAND INFO and COMMAND DOCS take it.
pub fn find(name: &[u8]) -> Option<&'static CommandSpec> {
    match name.iter().position(|c| *c == b'|') {
        Some(at) => super::lookup(&name[..at])?.subcommand(&name[at + 1..]),
        None => super::lookup(name),
    }
}
