//! Results as Markdown: the tables of `docs/performance.md` and of the README.

use std::fmt::Write as _;

use super::result::{Comparison, Figure, Footprint, Line, Table};

/// What stands above figures of a quick run.
pub const QUICK: &str = "**A quick run: the figures mean nothing.**";

/// A column: its head, and what it says of a line; nothing where the figure is unknown.
type Column<'a> = (&'static str, Box<dyn Fn(&Line) -> String + 'a>);

/// The comparison with its title, where and how it was taken, its tables and notes.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = format!(
        "### {}\n\n{} `slotcore-bench compare {}`, version {}; {}; {}; {}.\n",
        comparison.title,
        comparison.about,
        comparison.suite,
        comparison.version,
        match comparison.rounds {
            1 => "one round".to_owned(),
            rounds => format!("medians of {rounds} rounds"),
        },
        comparison.placement,
        comparison.machine.line()
    );
    if comparison.quick {
        let _ = writeln!(text, "\n{QUICK}");
    }
    for table in &comparison.tables {
        if !table.title.is_empty() {
            let _ = write!(text, "\n{}:\n", table.title);
        }
        let _ = write!(text, "\n{}", table_markdown(table));
    }
    if !comparison.notes.is_empty() {
        let _ = write!(text, "\n{}\n", comparison.notes.join(" "));
    }
    text.push('\n');
    text
}

/// One table.
pub fn table_markdown(table: &Table) -> String {
    markdown_of(&rows(table))
}

/// Cells as a table, the head first.
pub fn markdown_of(rows: &[Vec<String>]) -> String {
    rows.iter().enumerate().fold(String::new(), |mut text, (at, row)| {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if at == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
        text
    })
}

/// The cells of a table, the head first.
pub fn rows(table: &Table) -> Vec<Vec<String>> {
    if !table.footprints.is_empty() {
        return footprint_rows(table);
    }
    let columns = columns(table);
    let mut rows = vec![columns.iter().map(|column| column.0.to_owned()).collect::<Vec<_>>()];
    for line in &table.lines {
        rows.push(columns.iter().map(|column| column.1(line)).collect());
    }
    rows
}

fn columns(table: &Table) -> Vec<Column<'_>> {
    let mut columns: Vec<Column<'_>> = vec![
        ("workload", Box::new(|line| line.workload.clone())),
        ("server", Box::new(|line| line.server.clone())),
    ];
    if table.lines.iter().any(|line| line.client != table.lines[0].client) {
        columns.push(("client", Box::new(|line| line.client.clone())));
    }
    columns.push(("requests/s", Box::new(|line| number(line.rate.median))));
    columns.push(("+- %", Box::new(|line| number(line.rate.spread_percent()))));
    let has_baseline = table.baseline.is_some();
    if has_baseline {
        columns.push((
            "ratio",
            Box::new(|line| ratio(table, line, |line| Some(line.rate.median))),
        ));
    }
    columns.push(("p50 us", Box::new(|line| number(line.p50_us.median))));
    columns.push(("p99 us", Box::new(|line| number(line.p99_us.median))));
    columns.push(("p99.9 us", Box::new(|line| optional(line.p999_us, number))));
    columns.push(("CPU us/cmd", Box::new(|line| optional(line.cpu_us, hundredths))));
    if has_baseline {
        let cpu = |line: &Line| line.cpu_us.map(|figure| figure.median);
        columns.push(("ratio", Box::new(move |line| ratio(table, line, cpu))));
    }
    columns.push((
        "client busy %",
        Box::new(|line| number(line.client_busy_percent.median)),
    ));
    columns.push(("client us/cmd", Box::new(|line| hundredths(line.client_us.median))));
    if table.lines.iter().any(|line| line.floor_percent.is_some()) {
        columns.push((
            "% of floor",
            Box::new(|line| line.floor_percent.map_or(String::new(), number)),
        ));
    }
    columns
}

/// `line` as a part of the baseline's line under the same workload and client; nothing for the baseline itself.
fn ratio(table: &Table, line: &Line, of: impl Fn(&Line) -> Option<f64>) -> String {
    let same = |other: &&Line| {
        table.baseline.as_deref() == Some(&other.server)
            && other.workload == line.workload
            && other.client == line.client
    };
    let baseline = table.lines.iter().find(same);
    match (
        of(line),
        baseline.filter(|base| base.server != line.server).and_then(&of),
    ) {
        (Some(value), Some(base)) if base > 0.0 => format!("**{:.2}**", value / base),
        _ => String::new(),
    }
}

fn footprint_rows(table: &Table) -> Vec<Vec<String>> {
    let head = [
        "server",
        "memory, bytes/key",
        "ratio",
        "written, bytes/byte",
        "restart s",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let memory = |footprint: &Footprint| footprint.memory_per_key.map(|figure| figure.median);
    let base = table
        .footprints
        .iter()
        .find(|footprint| table.baseline.as_deref() == Some(&footprint.server));
    for footprint in &table.footprints {
        let ratio = match (
            memory(footprint),
            base.filter(|base| base.server != footprint.server).and_then(memory),
        ) {
            (Some(value), Some(base)) if base > 0.0 => format!("**{:.2}**", value / base),
            _ => String::new(),
        };
        rows.push(vec![
            footprint.server.clone(),
            optional(footprint.memory_per_key, number),
            ratio,
            optional(footprint.written_per_byte, hundredths),
            optional(footprint.restart_s, hundredths),
        ]);
    }
    rows
}

fn optional(figure: Option<Figure>, show: fn(f64) -> String) -> String {
    figure.map_or(String::new(), |figure| show(figure.median))
}

fn number(value: f64) -> String {
    format!("{value:.0}")
}

fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(median: f64) -> Figure {
        Figure {
            median,
            low: median,
            high: median,
        }
    }

    fn line(server: &str, rate: f64, cpu_us: f64) -> Line {
        Line {
            workload: "SET".into(),
            server: server.into(),
            client: "load".into(),
            rate: figure(rate),
            cpu_us: Some(figure(cpu_us)),
            ..Line::default()
        }
    }

    #[test]
    fn every_row_has_the_columns_of_the_head_and_ratios_are_to_the_baseline() {
        let mut table = Table {
            baseline: Some("redis".into()),
            lines: vec![line("ours", 300.0, 1.0), line("redis", 100.0, 2.0)],
            ..Table::default()
        };
        let all = rows(&table);
        assert!(all.iter().all(|row| row.len() == all[0].len()));
        assert_eq!(&all[1][2..5], ["300", "0", "**3.00**"]);
        assert!(all[1].contains(&"**0.50**".to_owned()) && all[2][4].is_empty());
        assert!(!all[0].contains(&"% of floor".to_owned()) && !all[0].contains(&"client".to_owned()));
        table.lines[0].floor_percent = Some(50.0);
        table.lines[1].client = "other".into();
        let text = table_markdown(&table);
        let columns = |line: &str| line.matches('|').count();
        assert!(
            text.lines()
                .all(|line| columns(line) == columns(text.lines().next().unwrap())),
            "{text}"
        );
        assert!(text.contains("% of floor") && text.contains("| client |"), "{text}");
    }

    #[test]
    fn footprints_have_a_table_of_their_own() {
        let footprint = |server: &str, memory: f64| Footprint {
            server: server.into(),
            memory_per_key: Some(figure(memory)),
            ..Footprint::default()
        };
        let table = Table {
            baseline: Some("redis".into()),
            footprints: vec![footprint("ours", 80.0), footprint("redis", 160.0)],
            ..Table::default()
        };
        assert_eq!(rows(&table)[1], ["ours", "80", "**0.50**", "", ""]);
    }
}
