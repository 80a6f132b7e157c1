//! COMMAND and its subcommands. What there is to say of a command, the engine's table knows; here is which ones are meant.

use slotcore_engine::cmd::{self, Args, CommandSpec, Reply, introspect};

use super::Flow;
use super::arguments::{SYNTAX, is, refuse};

/// `COMMAND`
pub(super) fn all(out: &mut dyn Reply) -> Flow {
    out.array(cmd::commands().count());
    cmd::commands().for_each(|spec| introspect::command_info(spec, out));
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
        match introspect::find(name) {
            Some(spec) => introspect::command_info(spec, out),
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
        args.iter_from(2).filter_map(introspect::find).collect()
    };
    out.map(specs.len());
    specs.iter().for_each(|spec| introspect::command_docs(spec, out));
    Flow::Done
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
pub(super) fn list(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let chosen: &dyn Fn(&CommandSpec) -> bool = match args.len() {
        2 => &|_| true,
        5 if is(args.get(2), "filterby") => {
            let (filter, value) = (args.get(3), args.get(4).to_ascii_lowercase());
            if is(filter, "module") {
                &|_| false
            } else if is(filter, "aclcat") {
                &move |spec| spec.categories.names().any(|name| is(&value, &name[1..]))
            } else if is(filter, "pattern") {
                &move |spec| cmd::matches(&value, spec.full_name.as_bytes())
            } else {
                return refuse(out, SYNTAX);
            }
        }
        _ => return refuse(out, SYNTAX),
    };
    let mut names = Vec::new();
    for spec in cmd::commands() {
        names.extend(
            [spec]
                .into_iter()
                .chain(spec.subcommands)
                .filter(|spec| chosen(spec))
                .map(|spec| spec.full_name),
        );
    }
    out.array(names.len());
    names.iter().for_each(|name| out.bulk(name.as_bytes()));
    Flow::Done
}

/// `COMMAND GETKEYS command [argument...]`, and COMMAND GETKEYSANDFLAGS.
pub(super) fn get_keys(args: Args<'_>, with_flags: bool, out: &mut dyn Reply) -> Flow {
    let mut call = Vec::new();
    let mut spans = Vec::with_capacity(args.len() - 2);
    for word in args.iter_from(2) {
        // A command as a whole is far below 4 GiB: the query buffer limit sees to that.
        spans.push((call.len() as u32, word.len() as u32));
        call.extend_from_slice(word);
    }
    introspect::command_getkeys(&Args::new(&call, &spans), with_flags, out);
    Flow::Done
}
