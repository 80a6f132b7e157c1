//! [`Report`]: what a load run gave, as a table for people and as JSON for comparison later.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde::Serialize;
use slotcore_rt::process::kernel_release;

use super::client::Outcome;

/// Where and with what figures were taken: without it they mean nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Commit of the working tree the program was started in, `+` behind it when there were changes; empty outside one.
    pub commit: String,
    /// As `uname -r`.
    pub kernel: String,
    /// Model of the processor.
    pub processor: String,
    /// Processors of the machine.
    pub processors: usize,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let git = |args: &[&str]| {
            let run = Command::new("git")
                .args(args)
                .output()
                .ok()
                .filter(|run| run.status.success());
            run.map(|run| String::from_utf8_lossy(&run.stdout).trim().to_owned())
        };
        let changed = git(&["status", "--porcelain", "-uno"]).is_some_and(|files| !files.is_empty());
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
        if changed {
            commit.push('+');
        }
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let of = |name: &'static str| info.lines().filter(move |line| line.starts_with(name));
        Self {
            commit,
            kernel: kernel_release(),
            processor: of("model name")
                .next()
                .and_then(|line| line.split_once(':'))
                .map(|(_, name)| name.trim().to_owned())
                .unwrap_or_default(),
            processors: of("processor").count(),
        }
    }
}

/// The figures of one workload. Latencies in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name, or the request itself.
    pub workload: String,
    /// Replies received.
    pub requests: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Replies per second.
    pub rate: f64,
    /// Half of the latencies were below.
    pub p50_us: f64,
    /// 99 % were below.
    pub p99_us: f64,
    /// 99.9 % were below.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Mean.
    pub mean_us: f64,
    /// Error replies.
    pub errors: u64,
    /// Text of the first one.
    pub first_error: Option<String>,
    /// Replies that were null: reads that met no key.
    pub nulls: u64,
    /// Percent of the time the client had work; near 100 the client was the limit.
    pub client_busy_percent: f64,
    /// Microseconds of work of the client for each request.
    pub client_us_per_request: f64,
    /// The distribution of latencies: percent and the microseconds below which so many were.
    pub percentiles_us: Vec<(f64, f64)>,
}

/// Percentiles of the JSON result.
const PERCENTILES: &[f64] = &[
    1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0,
];

impl Row {
    /// The figures of `outcome`.
    pub fn new(workload: &str, outcome: &Outcome) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |percent: f64| us(outcome.latency_ns.value_at_quantile(percent / 100.0));
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let busy_us = outcome.busy.as_secs_f64() * 1e6;
        Self {
            workload: workload.to_owned(),
            requests: outcome.replies,
            seconds,
            rate: outcome.replies as f64 / seconds,
            p50_us: at(50.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: us(outcome.latency_ns.max()),
            mean_us: outcome.latency_ns.mean() / 1e3,
            errors: outcome.tally.errors,
            first_error: outcome.tally.first_error.clone(),
            nulls: outcome.tally.nulls,
            client_busy_percent: 100.0 * (outcome.busy.as_secs_f64() / seconds),
            client_us_per_request: busy_us / outcome.replies.max(1) as f64,
            percentiles_us: PERCENTILES.iter().map(|&percent| (percent, at(percent))).collect(),
        }
    }
}

/// A result file: one run of `slotcore-bench load`.
#[derive(Clone, Debug, Serialize)]
pub struct Report<O> {
    /// Where it ran.
    pub machine: Machine,
    /// What was asked for.
    pub options: O,
    /// What it gave, in the order of the run.
    pub rows: Vec<Row>,
}

impl<O: Serialize> Report<O> {
    /// The result file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts can be written as JSON")
    }
}

/// The table of `rows`, in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| workload | requests/s | p50 us | p99 us | p99.9 us | max us | errors | null | client busy | client us/request |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {} | {:.0} % | {:.2} |",
            row.workload,
            row.rate,
            row.p50_us,
            row.p99_us,
            row.p999_us,
            row.max_us,
            row.errors,
            row.nulls,
            row.client_busy_percent,
            row.client_us_per_request,
        );
    }
    text
}
