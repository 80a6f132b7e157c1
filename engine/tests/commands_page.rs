//! docs/commands.md is what the command table says. SLOTCORE_UPDATE=1 writes it anew.

use slotcore_engine::cmd::{CommandSpec, Group, commands};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

/// Every command and subcommand of Redis 7.2 outside Sentinel, a line each.
const OF_REDIS: &str = include_str!("cmd_command/redis-7.2.txt");

const HEAD: &str = "# Commands

Made of the command table (`engine/src/cmd/table`) by `SLOTCORE_UPDATE=1 cargo test -p slotcore-engine --test commands_page`;
a test compares it. Replies, errors and options are those of Redis 7.2 unless the last column says otherwise; *since* is the
version of Redis that had the command first.

What spans several cores of the any-slot port, and what a cluster client sees, is in [protocol.md](protocol.md).
";

/// `object|encoding` as people write it.
fn shown(full_name: &str) -> String {
    full_name.replace('|', " ").to_uppercase()
}

/// A command as a line of its group's table; its subcommands follow it.
fn lines(spec: &CommandSpec, out: &mut String) {
    let note = match spec.deprecated {
        Some((since, instead)) => format!("Out of use since {since}: {instead}. "),
        None => String::new(),
    };
    let (name, note) = (shown(spec.full_name), format!("{note}{}", spec.differs));
    writeln!(
        out,
        "| `{name}` | {} | {} | {} | {} |",
        spec.since,
        spec.complexity,
        spec.summary.replace('|', "\\|"),
        note.trim_end()
    )
    .unwrap();
    let mut below: Vec<_> = spec.subcommands.iter().collect();
    below.sort_by_key(|sub| sub.full_name);
    below.into_iter().for_each(|sub| lines(sub, out));
}

fn page() -> String {
    let all = || commands().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    let known: BTreeSet<&str> = all().map(|spec| spec.full_name).collect();
    // What is only told that it has no meaning here is not counted.
    let here = all().filter(|spec| !spec.differs.starts_with("Always refused"));
    let here: BTreeSet<&str> = here.map(|spec| spec.full_name).collect();
    let of_redis: BTreeSet<&str> = OF_REDIS.lines().collect();
    let count = |set: &BTreeSet<&str>, top: bool| set.iter().filter(|name| !top || !name.contains('|')).count();
    let both: BTreeSet<&str> = here.intersection(&of_redis).copied().collect();
    let mut out = HEAD.to_owned();
    writeln!(
        out,
        "\nOf the {} commands of Redis 7.2 ({} with subcommands) {} ({}) are here, and {} more.",
        count(&of_redis, true),
        of_redis.len(),
        count(&both, true),
        both.len(),
        here.len() - both.len()
    )
    .unwrap();
    for group in Group::ALL {
        let mut specs: Vec<_> = commands().filter(|spec| spec.group == group).collect();
        specs.sort_by_key(|spec| spec.full_name);
        if specs.is_empty() {
            continue;
        }
        let (first, rest) = group.name().split_at(1);
        let title = first.to_uppercase() + rest;
        writeln!(out, "\n## {title}\n\n| command | since | time | what it does | notes |").unwrap();
        writeln!(out, "|---|---|---|---|---|").unwrap();
        specs.into_iter().for_each(|spec| lines(spec, &mut out));
    }
    let missing: Vec<_> = of_redis
        .difference(&known)
        .map(|name| format!("`{}`", shown(name)))
        .collect();
    writeln!(out, "\n## Not here\n\nCommands of Redis 7.2: {}.", missing.join(", ")).unwrap();
    out
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a test that writes the page it checks, when asked"
)]
fn the_page_says_what_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md");
    let page = page();
    if std::env::var_os("SLOTCORE_UPDATE").is_some_and(|v| v == "1") {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let stale = found.lines().zip(page.lines()).find(|(found, made)| found != made);
    assert!(
        found == page,
        "docs/commands.md is out of date (SLOTCORE_UPDATE=1 writes it anew), first at {stale:?}"
    );
}

/// A row says how it differs in whole sentences, which stand in a table.
#[test]
fn differences_are_sentences() {
    for spec in commands().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
        let differs = spec.differs;
        assert!(
            differs.is_empty() || (differs.ends_with('.') && !differs.contains(['|', '\n'])),
            "{}: {differs}",
            spec.full_name
        );
    }
}
