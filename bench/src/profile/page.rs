//! `docs/instructions.md`: the counts that are kept, a column for each build, and what has changed since.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Instructions by command.
pub type Counts = BTreeMap<String, u64>;

/// Builds whose counts are kept: cargo's profiles of those names. The same code gives other counts in another build.
pub const BUILDS: [&str; 2] = ["release", "ci"];

/// What the page holds: counts of each of [`BUILDS`], in their order.
pub type Page = [Counts; BUILDS.len()];

const TEXT: &str = "\
# Instructions of commands

Instructions from a command's bytes to its reply's bytes, counted by callgrind: parsing, looking up, for writes the form
in the log and back, executing, encoding the reply. Sockets, Raft and disk are not in them. 50-byte values, 16 requests a
turn, keys that exist.

Written by `cargo run --release -p slotcore-bench -- profile --update`, the other column by `--profile ci` in place of
`--release`: that build is the gate's, which prints what has changed. Without `--update` the command does, and with
`--functions` it tells where the instructions are.

";

/// The page with these counts.
pub fn render(page: &Page) -> String {
    let mut text = TEXT.to_owned();
    let _ = writeln!(
        text,
        "| command | {} |\n| --- |{}",
        BUILDS.join(" | "),
        " --- |".repeat(BUILDS.len())
    );
    let mut commands: Vec<&String> = page.iter().flat_map(Counts::keys).collect();
    commands.sort_unstable();
    commands.dedup();
    for command in commands {
        let counts = page.iter().map(|counts| counts.get(command));
        let cells = counts.map(|count| count.map_or(String::new(), u64::to_string));
        let _ = writeln!(text, "| {command} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// The counts of a page.
pub fn parse(text: &str) -> Page {
    let mut page = Page::default();
    for line in text.lines() {
        let mut fields = line.split('|').map(str::trim).skip(1);
        let command = fields.next().unwrap_or_default().to_owned();
        for (counts, field) in page.iter_mut().zip(fields) {
            // The head, and what was not counted, have no number.
            if let Ok(count) = field.parse() {
                counts.insert(command.clone(), count);
            }
        }
    }
    page
}

/// A table of `after` beside `before`.
pub fn difference(before: &Counts, after: &Counts) -> String {
    let mut table = String::from("| command | before | now | change |\n| --- | --- | --- | --- |\n");
    for (command, &now) in after {
        let _ = match before.get(command) {
            Some(&old) => {
                let percent = 100.0 * (now as f64 / old.max(1) as f64 - 1.0);
                writeln!(table, "| {command} | {old} | {now} | {percent:+.1} % |")
            }
            None => writeln!(table, "| {command} | | {now} | new |"),
        };
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_back_and_differences_are_shown() {
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|&(name, n)| (name.to_owned(), n)).collect::<Counts>();
        let before = [counts(&[("get", 400), ("set", 1000)]), counts(&[("set", 1100)])];
        assert_eq!(parse(&render(&before)), before);
        let table = difference(&before[0], &counts(&[("get", 404), ("set", 900), ("zadd", 7)]));
        assert!(table.contains("| get | 400 | 404 | +1.0 % |"), "{table}");
        assert!(table.contains("| set | 1000 | 900 | -10.0 % |"), "{table}");
        assert!(table.contains("| zadd | | 7 | new |"), "{table}");
    }
}
