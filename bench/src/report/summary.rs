//! The short table of the README: what the other tables say, a line for each thing that people ask for first.

use super::read::Results;
use crate::compare::result::{Comparison, Figure, Line, Table};
use crate::compare::table::markdown_of;

/// A line: what it is, ours and what it did, the peer and what it did.
type Row = (String, String, f64, String, f64);

/// The table; none without a single figure for it.
pub fn markdown(results: &Results) -> Option<String> {
    let suite = |name: &str| results.comparisons.iter().find(|comparison| comparison.suite == name);
    let mut rows = Vec::new();
    for (number, table) in tables(suite("redis-default")) {
        // Reads do not differ by how writes are kept.
        let lines = ours(table).filter(|line| number == 0 || line.command == "set");
        for line in lines {
            let name = format!(
                "{}, pipeline {}: requests/s",
                line.command.to_uppercase(),
                line.pipeline
            );
            rows.extend(beside(table, line, name, |line| Some(line.rate)));
        }
    }
    for (_, table) in tables(suite("latency")) {
        for line in ours(table) {
            rows.extend(beside(table, line, format!("{}: p99, us", line.workload), |l| {
                Some(l.p99_us)
            }));
        }
    }
    for (_, table) in tables(suite("footprint")) {
        let memory = |server: &str| {
            let of_server = table.footprints.iter().find(|one| one.server == server);
            of_server.and_then(|one| one.memory_per_key)
        };
        let first = table.footprints.iter().find(|one| one.server.starts_with(OURS));
        let (Some(ours), Some(peer)) = (first.map(|one| &one.server), &table.baseline) else {
            continue;
        };
        if let (Some(mine), Some(theirs)) = (memory(ours), memory(peer)) {
            let name = format!("{}: bytes of memory each", table.title.to_lowercase());
            rows.push((name, ours.clone(), mine.median, peer.clone(), theirs.median));
        }
    }
    for (_, table) in tables(suite("replicated")) {
        for line in ours(table) {
            let name = format!("SET, {}: writes/s", line.workload);
            rows.extend(beside(table, line, name, |line| Some(line.rate)));
        }
    }
    if rows.is_empty() {
        return None;
    }
    let head = ["", "Slotcore", "", "peer", "", "ratio"].map(str::to_owned).to_vec();
    let cells = rows.into_iter().map(|(name, ours, mine, peer, theirs)| {
        let mode = ours.trim_start_matches(OURS).trim().to_owned();
        let ratio = format!("**{:.2}**", mine / theirs);
        vec![name, mode, format!("{mine:.0}"), peer, format!("{theirs:.0}"), ratio]
    });
    Some(markdown_of(&std::iter::once(head).chain(cells).collect::<Vec<_>>()))
}

/// What the names of our servers begin with.
const OURS: &str = "Slotcore";

fn tables(comparison: Option<&Comparison>) -> impl Iterator<Item = (usize, &Table)> {
    comparison
        .into_iter()
        .flat_map(|comparison| comparison.tables.iter().enumerate())
}

/// Lines of the first of our servers.
fn ours(table: &Table) -> impl Iterator<Item = &Line> {
    let first = table.lines.iter().find(|line| line.server.starts_with(OURS));
    table
        .lines
        .iter()
        .filter(move |line| first.is_some_and(|first| first.server == line.server))
}

/// `line` beside that of the baseline; none without one.
fn beside(table: &Table, line: &Line, name: String, of: impl Fn(&Line) -> Option<Figure>) -> Option<Row> {
    let base = table.lines.iter().find(|base| {
        table.baseline.as_deref() == Some(&base.server) && base.workload == line.workload && base.client == line.client
    })?;
    let (mine, theirs) = (of(line)?.median, of(base)?.median);
    (theirs > 0.0).then(|| (name, line.server.clone(), mine, base.server.clone(), theirs))
}
