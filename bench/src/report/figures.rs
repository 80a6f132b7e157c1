//! [`Figure`]s: which pictures the results give.

use super::plot::{Axis, Bars, Lines, Plot, Scale};
use super::read::Results;
use crate::compare::result::{Comparison, Line, Table};
use crate::load::recorder::Second;
use crate::load::report::Row;

/// Half a second to either side of a moment at which a server said it was at work.
const BACKGROUND_HALF_S: f64 = 0.25;

/// A picture and what it shows.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its file, without ending.
    pub name: String,
    /// Name of the suite or of the file it belongs to.
    pub of: String,
    /// What it shows.
    pub caption: String,
    /// The picture.
    pub plot: Plot,
}

/// All pictures, in the order of the page.
pub fn of(results: &Results) -> Vec<Figure> {
    let mut figures = Vec::new();
    for comparison in &results.comparisons {
        for (number, table) in comparison.tables.iter().enumerate() {
            let mut of_table = Vec::new();
            match comparison.suite.as_str() {
                "redis-default" => over_pipeline(table, &mut of_table),
                "default-set" | "data-types" => beside_baseline(table, &mut of_table),
                "cores" | "nodes" => by_workload(table, &mut of_table),
                "one-client" => percentiles(table, &mut of_table),
                "latency" => {
                    percentiles(table, &mut of_table);
                    over_time(table, &mut of_table);
                }
                "replicated" => over(table, "clients", |line| line.connections, &mut of_table),
                "footprint" => footprints(table, &mut of_table),
                "clients" => clients(table, &mut of_table),
                _ => {}
            }
            figures.extend(of_table.into_iter().map(|(name, caption, plot)| Figure {
                name: file_name(&format!("{} {number} {name}", comparison.suite)),
                of: comparison.suite.clone(),
                caption: titled(comparison, table, &caption),
                plot,
            }));
        }
    }
    for (file, report) in &results.loads {
        figures.extend(report.rows.iter().flat_map(|row| of_load(file, row)));
    }
    if let Some(instructions) = &results.instructions {
        let mut parts: Vec<String> = Vec::new();
        for part in instructions.commands.iter().flat_map(|command| &command.parts) {
            if !parts.contains(&part.0) {
                parts.push(part.0.clone());
            }
        }
        let bars = instructions.commands.iter().map(|command| {
            let of = |part: &String| command.parts.iter().find(|known| known.0 == *part);
            let lengths = parts.iter().map(|part| of(part).map_or(0.0, |known| known.1)).collect();
            (command.command.to_uppercase(), lengths)
        });
        figures.push(Figure {
            name: "instructions".into(),
            of: "instructions".into(),
            caption: "Instructions of a command by what they are for, without sockets, Raft and disk".into(),
            plot: Plot::Bars(Bars {
                label: "instructions".into(),
                bars: bars.collect(),
                parts,
                others: Vec::new(),
                mark: None,
            }),
        });
    }
    figures
}

fn titled(comparison: &Comparison, table: &Table, caption: &str) -> String {
    if table.title.is_empty() || comparison.tables.len() == 1 {
        return caption.to_owned();
    }
    format!("{caption}. {}", table.title)
}

/// Letters, digits and dashes.
fn file_name(text: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let dashed: String = text.chars().map(kept).collect();
    let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

type Drawn = Vec<(String, String, Plot)>;

/// Names of the table's lines by `of`, each once, in their order.
fn distinct(table: &Table, of: impl Fn(&Line) -> &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in &table.lines {
        if !names.iter().any(|name| name == of(line)) {
            names.push(of(line).to_owned());
        }
    }
    names
}

fn axis(label: &str, scale: Scale) -> Axis {
    Axis {
        label: label.to_owned(),
        scale,
        ticks: Vec::new(),
    }
}

/// A line for each server: its points are the table's lines that `keep`, placed by `x`, measured by `y`.
fn by_server(
    table: &Table,
    keep: impl Fn(&Line) -> bool,
    x: impl Fn(&Line) -> f64,
    y: impl Fn(&Line) -> Option<f64>,
) -> Vec<(String, Vec<(f64, f64)>)> {
    let points = |server: &String| {
        let of_server = table.lines.iter().filter(|line| line.server == *server && keep(line));
        of_server.filter_map(|line| Some((x(line), y(line)?))).collect()
    };
    let servers = distinct(table, |line| &line.server);
    servers
        .iter()
        .map(|server| (server.clone(), points(server)))
        .filter(|series: &(String, Vec<_>)| !series.1.is_empty())
        .collect()
}

/// A bar with one part.
fn alone((name, length): (String, f64)) -> (String, Vec<f64>) {
    (name, vec![length])
}

/// Bars with one part each.
fn bars(label: String, bars: impl Iterator<Item = (String, Vec<f64>)>) -> Bars {
    Bars {
        label,
        parts: vec![String::new()],
        bars: bars.collect(),
        others: Vec::new(),
        mark: None,
    }
}

/// A bar for each server, those of others in another colour.
fn beside_others(label: &str, figures: impl Iterator<Item = (String, f64)>) -> Bars {
    let mut bars = bars(label.to_owned(), figures.map(alone));
    let names = bars.bars.iter().map(|bar| &bar.0).enumerate();
    bars.others = names
        .filter(|(_, name)| !name.starts_with("Slotcore"))
        .map(|(at, _)| at)
        .collect();
    bars
}

/// Rates and processor time of each command over the pipeline.
fn over_pipeline(table: &Table, out: &mut Drawn) {
    over(table, "pipeline", |line| line.pipeline, out);
}

/// Rates and processor time of each command over what `of` tells of a line.
fn over(table: &Table, name: &str, of: fn(&Line) -> u32, out: &mut Drawn) {
    let place = |line: &Line| f64::from(of(line));
    let mut ticks: Vec<u32> = table.lines.iter().map(of).collect();
    ticks.sort_unstable();
    ticks.dedup();
    let x = Axis {
        ticks: ticks.iter().map(|&tick| (f64::from(tick), tick.to_string())).collect(),
        ..axis(name, Scale::Log)
    };
    for command in distinct(table, |line| &line.command) {
        let upper = command.to_uppercase();
        let rate = |line: &Line| Some(line.rate.median);
        let cpu = |line: &Line| line.cpu_us.map(|figure| figure.median);
        for (what, label, scale, series) in [
            (
                "requests per second",
                "requests/s",
                Scale::Linear,
                by_server(table, |l| l.command == command, place, rate),
            ),
            (
                "server CPU time per command",
                "us",
                // What counts is the ratio, which a line near 0 does not show.
                Scale::Log,
                by_server(table, |l| l.command == command, place, cpu),
            ),
        ] {
            let plot = Plot::Lines(Lines {
                x: x.clone(),
                y: axis(label, scale),
                series,
                bands: Vec::new(),
            });
            out.push((
                format!("{command} {what}"),
                format!("{upper}: {what} over {name}"),
                plot,
            ));
        }
    }
}

fn beside_baseline(table: &Table, out: &mut Drawn) {
    let Some(baseline) = &table.baseline else { return };
    let mut pipelines: Vec<u32> = table.lines.iter().map(|line| line.pipeline).collect();
    pipelines.sort_unstable();
    pipelines.dedup();
    let cpu = |line: &Line| line.cpu_us.map(|figure| figure.median);
    let rate = |line: &Line| Some(line.rate.median);
    type Measure<'a> = (&'a str, &'a dyn Fn(&Line) -> Option<f64>);
    let measures: [Measure<'_>; 2] = [("requests per second", &rate), ("server CPU time per command", &cpu)];
    for pipeline in pipelines {
        for (what, of) in measures {
            let ratio = |line: &Line| {
                let base = table.lines.iter().find(|base| {
                    base.server == *baseline && base.workload == line.workload && base.client == line.client
                });
                let name = line.workload.split(' ').next().unwrap_or_default().to_owned();
                Some((name, of(line)? / of(base?)?))
            };
            let ours = table
                .lines
                .iter()
                .filter(|line| line.pipeline == pipeline && line.server.starts_with("Slotcore"));
            let plot = Plot::Bars(Bars {
                mark: Some(1.0),
                ..bars(format!("times {baseline}"), ours.filter_map(ratio).map(alone))
            });
            let caption = format!("Slotcore's {what} in times of {baseline}, pipeline {pipeline}");
            out.push((format!("P {pipeline} {what}"), caption, plot));
        }
    }
}

/// Bars of all servers, for each workload.
fn by_workload(table: &Table, out: &mut Drawn) {
    type Measure = (&'static str, &'static str, fn(&Line) -> Option<f64>);
    let measures: [Measure; 2] = [
        ("server CPU time per command", "us", |line| {
            line.cpu_us.map(|figure| figure.median)
        }),
        ("requests per second", "requests/s", |line| Some(line.rate.median)),
    ];
    for (what, label, of) in measures {
        for workload in distinct(table, |line| &line.workload) {
            let lines = table.lines.iter().filter(|line| line.workload == workload);
            let figures = lines.filter_map(|line| Some((line.server.clone(), of(line)?)));
            let plot = Plot::Bars(beside_others(label, figures));
            out.push((format!("{workload} {what}"), format!("{workload}: {what}"), plot));
        }
    }
}

/// Marks of a percentile axis: where 50 %, 90 %, 99 % and so on are when the distance to 100 % is what counts.
fn percentile_axis(curves: &[(String, Vec<(f64, f64)>)]) -> Axis {
    let furthest = curves
        .iter()
        .flat_map(|curve| &curve.1)
        .map(|point| point.0)
        .fold(2.0, f64::max);
    let marks = [
        (1.0, "0"),
        (2.0, "50"),
        (10.0, "90"),
        (100.0, "99"),
        (1e3, "99.9"),
        (1e4, "99.99"),
        (1e5, "99.999"),
    ];
    Axis {
        ticks: marks
            .iter()
            .filter(|mark| mark.0 <= furthest * 2.0)
            .map(|&(value, name)| (value, name.to_owned()))
            .collect(),
        ..axis("% of requests below", Scale::Log)
    }
}

/// A curve with the distance to 100 % made visible: 99 % stands at 1 / 0.01. The end itself lies nowhere.
fn towards_all(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let inner = curve.iter().filter(|point| point.0 < 100.0);
    inner.map(|point| (100.0 / (100.0 - point.0), point.1)).collect()
}

fn percentile_plot(curves: Vec<(String, Vec<(f64, f64)>)>) -> Plot {
    Plot::Lines(Lines {
        x: percentile_axis(&curves),
        y: axis("latency, us", Scale::Log),
        series: curves,
        bands: Vec::new(),
    })
}

fn percentiles(table: &Table, out: &mut Drawn) {
    for workload in distinct(table, |line| &line.workload) {
        let lines = table
            .lines
            .iter()
            .filter(|line| line.workload == workload && !line.curve.is_empty());
        let curves: Vec<_> = lines
            .map(|line| (line.server.clone(), towards_all(&line.curve)))
            .collect();
        if !curves.is_empty() {
            let caption = format!("{workload}: latency by percentile");
            out.push((format!("{workload} percentiles"), caption, percentile_plot(curves)));
        }
    }
}

fn time_plot(series: Vec<(String, Vec<(f64, f64)>)>, background_s: &[f64]) -> Plot {
    let bands = background_s
        .iter()
        .map(|at| (at - BACKGROUND_HALF_S, at + BACKGROUND_HALF_S));
    Plot::Lines(Lines {
        x: axis("seconds", Scale::Linear),
        y: axis("latency, us", Scale::Log),
        series,
        bands: bands.collect(),
    })
}

fn over_seconds(series: &[Second], of: fn(&Second) -> f64) -> Vec<(f64, f64)> {
    // A second without replies has no latency.
    let heard = series.iter().filter(|second| second.rate > 0.0);
    heard.map(|second| (second.at_s, of(second))).collect()
}

fn over_time(table: &Table, out: &mut Drawn) {
    for workload in distinct(table, |line| &line.workload) {
        let lines: Vec<&Line> = table
            .lines
            .iter()
            .filter(|line| line.workload == workload && !line.series.is_empty())
            .collect();
        let mut series = Vec::new();
        for line in &lines {
            series.push((format!("{} p50", line.server), over_seconds(&line.series, |s| s.p50_us)));
            series.push((format!("{} p99", line.server), over_seconds(&line.series, |s| s.p99_us)));
        }
        let background: Vec<f64> = lines
            .iter()
            .flat_map(|line| line.background_s.iter().copied())
            .collect();
        if !series.is_empty() {
            let caption = format!("{workload}: latency over time; shaded: a server was at work in the background");
            out.push((format!("{workload} time"), caption, time_plot(series, &background)));
        }
    }
}

fn footprints(table: &Table, out: &mut Drawn) {
    type Measure = (
        &'static str,
        &'static str,
        fn(&crate::compare::result::Footprint) -> Option<f64>,
    );
    let measures: [Measure; 3] = [
        ("Memory per key", "bytes", |f| {
            f.memory_per_key.map(|figure| figure.median)
        }),
        ("Bytes written for each byte of key and value", "bytes", |f| {
            f.written_per_byte.map(|figure| figure.median)
        }),
        ("Restart after a kill", "seconds", |f| {
            f.restart_s.map(|figure| figure.median)
        }),
    ];
    for (caption, label, of) in measures {
        let figures = table
            .footprints
            .iter()
            .filter_map(|one| Some((one.server.clone(), of(one)?)));
        let plot = Plot::Bars(beside_others(label, figures));
        out.push((caption.to_owned(), caption.to_owned(), plot));
    }
}

fn clients(table: &Table, out: &mut Drawn) {
    let bar = |line: &Line| (format!("{}, {}", line.workload, line.client), line.client_us.median);
    let plot = Plot::Bars(bars(
        "us of client CPU per request".into(),
        table.lines.iter().map(bar).map(alone),
    ));
    out.push(("cost".into(), "What a request costs its client".into(), plot));
}

fn of_load(file: &str, row: &Row) -> Vec<Figure> {
    let figure = |what: &str, caption: String, plot| Figure {
        name: file_name(&format!("{file} {} {what}", row.workload)),
        of: file.to_owned(),
        caption,
        plot,
    };
    let curve = vec![(row.workload.clone(), towards_all(&row.percentiles_us))];
    let caption = format!("{}: latency by percentile", row.workload);
    let mut figures = vec![figure("percentiles", caption, percentile_plot(curve))];
    if row.series.len() > 1 {
        type Measure = (&'static str, fn(&Second) -> f64);
        let lines: [Measure; 4] = [
            ("p50", |s| s.p50_us),
            ("p99", |s| s.p99_us),
            ("p99.9", |s| s.p999_us),
            ("max", |s| s.max_us),
        ];
        let series = lines.map(|(name, of)| (name.to_owned(), over_seconds(&row.series, of)));
        let caption = format!("{}: latency over time", row.workload);
        figures.push(figure("time", caption, time_plot(series.to_vec(), &[])));
    }
    figures
}
