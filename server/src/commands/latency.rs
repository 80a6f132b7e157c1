//! LATENCY LATEST, HISTORY, RESET, GRAPH, DOCTOR, HISTOGRAM.

use std::fmt::Write as _;

use slotcore_engine::cmd::{Args, Reply};

use super::arguments::quoted;
use super::shown::Shown;
use super::{Flow, ServerCtx};
use crate::metrics::latency_events::{Sample, Series};
use crate::metrics::{CommandCount, LatencyKind};

/// Columns of a graph: the newest samples that fit a terminal.
const GRAPH_COLUMNS: usize = 80;
/// Rows of a graph.
const GRAPH_ROWS: u64 = 4;
/// Heights told apart within one row.
const ROW_LEVELS: [char; 3] = ['_', 'o', '#'];

/// `LATENCY LATEST`
pub(super) fn latest(shown: &Shown<'_>, out: &mut dyn Reply) -> Flow {
    let events = shown.metrics.latency.iter();
    out.array(events.len());
    for (kind, series) in events {
        let last = series.samples().last().copied().unwrap_or(Sample { at_s: 0, ms: 0 });
        out.array(4);
        out.bulk(kind.name().as_bytes());
        out.int(last.at_s as i64);
        out.int(i64::from(last.ms));
        out.int(i64::from(series.max_ms()));
    }
    Flow::Done
}

/// `LATENCY HISTORY event`
pub(super) fn history(shown: &Shown<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let series = LatencyKind::from_name(args.get(2)).and_then(|kind| shown.metrics.latency.get(kind));
    let samples = series.map_or(&[][..], Series::samples);
    out.array(samples.len());
    for sample in samples {
        out.array(2);
        out.int(sample.at_s as i64);
        out.int(i64::from(sample.ms));
    }
    Flow::Done
}

/// `LATENCY RESET [event...]`: says how many kinds of events were forgotten.
pub(super) fn reset(ctx: &mut ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let named = args.len() > 2;
    let chosen = |kind: LatencyKind| !named || args.iter_from(2).any(|name| name == kind.name().as_bytes());
    let events = &mut ctx.metrics.latency;
    let count = LatencyKind::ALL
        .into_iter()
        .filter(|&kind| chosen(kind) && events.reset(kind))
        .count();
    out.int(count as i64);
    Flow::Done
}

/// `LATENCY HISTOGRAM [command...]`: a container's name stands for its subcommands.
pub(super) fn histogram(shown: &Shown<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let named = |command: &CommandCount, name: &[u8]| {
        let container = command.name.split('|').next().unwrap_or_default().as_bytes();
        name.eq_ignore_ascii_case(command.name.as_bytes()) || name.eq_ignore_ascii_case(container)
    };
    let chosen = |command: &&CommandCount| {
        command.run_time.count() > 0 && (args.len() == 2 || args.iter_from(2).any(|name| named(command, name)))
    };
    let commands: Vec<&CommandCount> = shown.metrics.commands.iter().filter(chosen).collect();
    out.map(commands.len());
    for command in commands {
        let mut steps = Vec::new();
        command
            .run_time
            .doubling(&mut |bound_us, count| steps.push((bound_us, count)));
        out.bulk(command.name.as_bytes());
        out.map(2);
        out.bulk(b"calls");
        out.int(command.run_time.count() as i64);
        out.bulk(b"histogram_usec");
        out.map(steps.len());
        for (bound_us, count) in steps {
            out.int(bound_us as i64);
            out.int(count as i64);
        }
    }
    Flow::Done
}

/// `LATENCY GRAPH event`
pub(super) fn graph(shown: &Shown<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let name = args.get(2);
    match LatencyKind::from_name(name).and_then(|kind| shown.metrics.latency.get(kind)) {
        Some(series) => out.verbatim(drawn(&quoted(name), series, shown.wall_s()).as_bytes()),
        None => out.error(&format!("ERR No samples available for event '{}'", quoted(name))),
    }
    Flow::Done
}

/// The newest samples as columns of `#` under a `_`, `o` or `#`, each labelled with its age from top to bottom.
fn drawn(name: &str, series: &Series, now_s: u64) -> String {
    let samples = &series.samples()[series.samples().len().saturating_sub(GRAPH_COLUMNS)..];
    let high = samples.iter().map(|sample| sample.ms).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.ms).min().unwrap_or(0);
    let levels = GRAPH_ROWS * ROW_LEVELS.len() as u64;
    // The lowest sample takes the first level and the highest the last; when all are equal, all take the first.
    let level = |sample: &Sample| u64::from(sample.ms - low) * (levels - 1) / u64::from(high - low).max(1);
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n",
        series.max_ms()
    );
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    for row in (0..GRAPH_ROWS).rev() {
        let base = row * ROW_LEVELS.len() as u64;
        text.extend(samples.iter().map(|sample| match level(sample).checked_sub(base) {
            None => ' ',
            Some(above) => ROW_LEVELS.get(above as usize).copied().unwrap_or('|'),
        }));
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = samples
        .iter()
        .map(|sample| age(now_s.saturating_sub(sample.at_s)))
        .collect();
    for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        text.extend(ages.iter().map(|age| age.chars().nth(line).unwrap_or(' ')));
        text.push('\n');
    }
    text
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `LATENCY DOCTOR`
pub(super) fn doctor(shown: &Shown<'_>, out: &mut dyn Reply) -> Flow {
    let settings = shown.config.settings();
    let threshold_ms = settings.latency_threshold_ms;
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        text.write_fmt(args)
            .and_then(|()| text.write_char('\n'))
            .expect("a String takes whatever is written to it");
    };
    let events = shown.metrics.latency.iter();
    if events.len() == 0 && threshold_ms == 0 {
        line(format_args!(
            "Latency monitoring is off. Switch it on with CONFIG SET latency-monitor-threshold <milliseconds>."
        ));
    } else if events.len() == 0 {
        line(format_args!("No latency spike of {threshold_ms} ms or more was seen."));
    }
    for (kind, series) in events {
        let samples = series.samples();
        let mean = samples.iter().map(|sample| u64::from(sample.ms)).sum::<u64>() / (samples.len() as u64).max(1);
        let (name, count, worst) = (kind.name(), samples.len(), series.max_ms());
        line(format_args!(
            "{name}: {count} latency spikes (average {mean}ms). Worst all time event {worst}ms."
        ));
        line(format_args!("  {}", advice(kind)));
    }
    let slow = settings.slow_log_slower_than_us;
    if threshold_ms > 0 && (slow < 0 || slow > i64::from(threshold_ms) * 1000) {
        let us = u64::from(threshold_ms) * 1000;
        line(format_args!(
            "The slow log misses what is counted here: CONFIG SET slowlog-log-slower-than {us}."
        ));
    }
    out.verbatim(text.as_bytes());
    Flow::Done
}

fn advice(kind: LatencyKind) -> &'static str {
    match kind {
        LatencyKind::Command => "SLOWLOG GET names the commands. Prefer SCAN to KEYS, and ranges to whole collections.",
        LatencyKind::FastCommand => {
            "Fast commands were slow: the machine was busy or paused. Look at its load, steal time and swapping."
        }
        LatencyKind::ExpireCycle => "Many keys expire at once. Spread their expiries.",
        LatencyKind::LogWrite => "The disk was slow to make writes durable. Look at its load (iostat -x 1).",
    }
}
