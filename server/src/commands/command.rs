//! COMMAND and its subcommands: everything is read from the engine's command table.

use slotcore_engine::cmd::{self, Args, CommandSpec, KeySpec, Reply};

use super::Flow;
use super::arguments::{SYNTAX, is, refuse};
use crate::glob;

/// `COMMAND`
pub(super) fn all(out: &mut dyn Reply) -> Flow {
    out.array(cmd::commands().count());
    cmd::commands().for_each(|spec| describe(spec, out));
    Flow::Done
}

/// `COMMAND COUNT`
pub(super) fn count(out: &mut dyn Reply) -> Flow {
    out.int(cmd::commands().count() as i64);
    Flow::Done
}

/// `COMMAND INFO [name...]`: a subcommand is named with a bar (`config|get`).
pub(super) fn info(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if args.len() == 2 {
        return all(out);
    }
    out.array(args.len() - 2);
    for name in args.iter_from(2) {
        match named(name) {
            Some(spec) => describe(spec, out),
            None => out.null_array(),
        }
    }
    Flow::Done
}

/// `COMMAND DOCS [name...]`
pub(super) fn docs(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let specs: Vec<&CommandSpec> = if args.len() == 2 {
        cmd::commands().collect()
    } else {
        args.iter_from(2).filter_map(named).collect()
    };
    out.map(specs.len());
    for spec in specs {
        document(spec, out);
    }
    Flow::Done
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
pub(super) fn list(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let chosen: &dyn Fn(&CommandSpec) -> bool = match args.len() {
        2 => &|_| true,
        5 if is(args.get(2), "filterby") => {
            let (filter, value) = (args.get(3), args.get(4));
            if is(filter, "module") {
                &|_| false
            } else if is(filter, "aclcat") {
                &move |spec| spec.categories.names().any(|name| is(value, &name[1..]))
            } else if is(filter, "pattern") {
                &move |spec| glob::matches(value, spec.full_name.as_bytes(), glob::Case::Ignore)
            } else {
                return refuse(out, SYNTAX);
            }
        }
        _ => return refuse(out, SYNTAX),
    };
    let mut names = Vec::new();
    // Without a filter Redis names the top-level commands only; with one, subcommands as well.
    for spec in cmd::commands() {
        let below = spec.subcommands.iter().filter(|_| args.len() > 2);
        names.extend(
            [spec]
                .into_iter()
                .chain(below)
                .filter(|spec| chosen(spec))
                .map(|spec| spec.full_name),
        );
    }
    out.array(names.len());
    names.iter().for_each(|name| out.bulk(name.as_bytes()));
    Flow::Done
}

/// `COMMAND GETKEYS command [argument...]`
pub(super) fn get_keys(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    with_keys(args, out, &mut |_, key, out| out.bulk(key))
}

/// `COMMAND GETKEYSANDFLAGS command [argument...]`
pub(super) fn get_keys_and_flags(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    with_keys(args, out, &mut |spec, key, out| {
        out.array(2);
        out.bulk(key);
        write_flags(spec, out);
    })
}

fn with_keys(args: Args<'_>, out: &mut dyn Reply, write: &mut dyn FnMut(&KeySpec, &[u8], &mut dyn Reply)) -> Flow {
    let words: Vec<&[u8]> = args.iter_from(2).collect();
    let buf = words.concat();
    let mut spans = Vec::with_capacity(words.len());
    let mut at = 0u32;
    for word in &words {
        // A command's arguments together are far below 4 GiB: proto-max-bulk-len and the query buffer limit see to that.
        spans.push((at, word.len() as u32));
        at += word.len() as u32;
    }
    let inner = Args::new(&buf, &spans);
    let spec = match cmd::resolve(&inner) {
        Ok(spec) => spec,
        Err(error) if error.contains("wrong number of arguments") => {
            return refuse(out, "ERR Invalid number of arguments specified for command");
        }
        Err(_) => return refuse(out, "ERR Invalid command specified"),
    };
    let mut found = Vec::new();
    cmd::for_each_key(spec, &inner, |key_spec, at| found.push((key_spec, at)));
    if found.is_empty() {
        return refuse(out, "ERR The command has no key arguments");
    }
    out.array(found.len());
    for (key_spec, at) in found {
        write(key_spec, inner.get(at), out);
    }
    Flow::Done
}

fn named(name: &[u8]) -> Option<&'static CommandSpec> {
    match name.iter().position(|&byte| byte == b'|') {
        None => cmd::lookup(name),
        Some(bar) => cmd::lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

/// The ten elements of one command, subcommands included.
fn describe(spec: &CommandSpec, out: &mut dyn Reply) {
    out.array(10);
    out.bulk(spec.full_name.as_bytes());
    out.int(i64::from(spec.arity));
    out.set(spec.flags.names().count());
    spec.flags.names().for_each(|name| out.simple(name));
    for number in [spec.first_key, spec.last_key, spec.key_step] {
        out.int(i64::from(number));
    }
    out.set(spec.categories.names().count());
    spec.categories.names().for_each(|name| out.simple(name));
    out.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    out.set(spec.key_specs.len());
    spec.key_specs.iter().for_each(|key_spec| describe_keys(key_spec, out));
    out.set(spec.subcommands.len());
    spec.subcommands.iter().for_each(|subcommand| describe(subcommand, out));
}

fn describe_keys(spec: &KeySpec, out: &mut dyn Reply) {
    out.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        out.bulk(b"notes");
        out.bulk(spec.notes.as_bytes());
    }
    out.bulk(b"flags");
    write_flags(spec, out);
    out.bulk(b"begin_search");
    out.map(2);
    out.bulk(b"type");
    out.bulk(b"index");
    out.bulk(b"spec");
    out.map(1);
    out.bulk(b"index");
    out.int(i64::from(spec.index));
    out.bulk(b"find_keys");
    out.map(2);
    out.bulk(b"type");
    out.bulk(b"range");
    out.bulk(b"spec");
    out.map(3);
    for (name, value) in [("lastkey", spec.last), ("keystep", spec.step), ("limit", 0)] {
        out.bulk(name.as_bytes());
        out.int(i64::from(value));
    }
}

fn write_flags(spec: &KeySpec, out: &mut dyn Reply) {
    out.set(spec.flags.names().count());
    spec.flags.names().for_each(|name| out.simple(name));
}

/// What COMMAND DOCS says of one command. Arguments are left out: the table does not hold them, and clients treat them as
/// optional.
fn document(spec: &CommandSpec, out: &mut dyn Reply) {
    let mut texts = vec![
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
    ];
    if !spec.complexity.is_empty() {
        texts.push(("complexity", spec.complexity));
    }
    out.bulk(spec.full_name.as_bytes());
    let pairs = texts.len() + if spec.deprecated.is_some() { 3 } else { 0 } + usize::from(!spec.subcommands.is_empty());
    out.map(pairs);
    for (name, text) in texts {
        out.bulk(name.as_bytes());
        out.bulk(text.as_bytes());
    }
    if let Some((since, replaced_by)) = spec.deprecated {
        out.bulk(b"doc_flags");
        out.set(1);
        out.simple("deprecated");
        for (name, text) in [("deprecated_since", since), ("replaced_by", replaced_by)] {
            out.bulk(name.as_bytes());
            out.bulk(text.as_bytes());
        }
    }
    if !spec.subcommands.is_empty() {
        out.bulk(b"subcommands");
        out.map(spec.subcommands.len());
        spec.subcommands.iter().for_each(|subcommand| document(subcommand, out));
    }
}
