//! `docs/instructions.md`: the counts that are kept, and what has changed since.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Instructions by command.
pub type Counts = BTreeMap<String, u64>;

const TEXT: &str = "\
# Instructions of commands

Instructions from a command's bytes to its reply's bytes, counted by callgrind: parsing, looking up, for writes the form
in the log and back, executing, encoding the reply. Sockets, Raft and disk are not in them. 50-byte values, 16 requests a
turn, keys that exist. Written by `cargo run --release -p slotcore-bench -- profile --update`; without `--update` the
same command prints what has changed, and with `--functions` where the instructions are.

| command | instructions |
| --- | --- |
";

/// The page with `counts`.
pub fn render(counts: &Counts) -> String {
    let mut page = TEXT.to_owned();
    for (command, instructions) in counts {
        let _ = writeln!(page, "| {command} | {instructions} |");
    }
    page
}

/// The counts of a page.
pub fn parse(page: &str) -> Counts {
    let row = |line: &str| {
        let mut fields = line.split('|').map(str::trim).skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
    };
    page.lines().filter_map(row).collect()
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
        let before = counts(&[("get", 400), ("set", 1000)]);
        assert_eq!(parse(&render(&before)), before);
        let table = difference(&before, &counts(&[("get", 404), ("set", 900), ("zadd", 7)]));
        assert!(table.contains("| get | 400 | 404 | +1.0 % |"), "{table}");
        assert!(table.contains("| set | 1000 | 900 | -10.0 % |"), "{table}");
        assert!(table.contains("| zadd | | 7 | new |"), "{table}");
    }
}
