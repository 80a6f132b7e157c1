//! [`Report`]: what a load run gave, as a table for people and as JSON for comparison later.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::client::Outcome;
use super::recorder::Second;
use crate::machine::{Machine, ServerFacts};

/// The figures of one workload. Latencies in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Requests that a node of the cluster sent on to another.
    pub moved: u64,
    /// Percent of the time the client had work; near 100 the client was the limit.
    pub client_busy_percent: f64,
    /// Microseconds of work of the client for each request.
    pub client_us_per_request: f64,
    /// The distribution of latencies: percent and the microseconds below which so many were.
    pub percentiles_us: Vec<(f64, f64)>,
    /// The run by the second.
    pub series: Vec<Second>,
}

/// Points of the percentile curve for each halving of what lies above.
const POINTS_PER_HALVING: u32 = 3;

/// Percent and microseconds, ever denser towards 100 %, as HdrHistogram draws it.
fn percentile_curve(outcome: &Outcome) -> Vec<(f64, f64)> {
    let histogram = &outcome.latency_ns;
    let mut curve: Vec<(f64, f64)> = Vec::new();
    for step in histogram.iter_quantiles(POINTS_PER_HALVING) {
        let point = (
            100.0 * step.quantile_iterated_to(),
            step.value_iterated_to() as f64 / 1e3,
        );
        // The last steps all stand for the longest.
        if curve.last().is_none_or(|last| last.1 != point.1) || point.0 >= 100.0 {
            curve.push(point);
        }
    }
    curve
}

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
            moved: outcome.moved,
            client_busy_percent: 100.0 * (outcome.busy.as_secs_f64() / seconds),
            client_us_per_request: busy_us / outcome.replies.max(1) as f64,
            percentiles_us: percentile_curve(outcome),
            series: outcome.seconds.clone(),
        }
    }

    /// An error that says so when replies were errors.
    ///
    /// # Errors
    /// A text with the first of them.
    pub fn refuse_errors(&self) -> Result<(), String> {
        let Some(first) = &self.first_error else {
            return Ok(());
        };
        let hint = if first.starts_with("MOVED") {
            " (the server is a cluster: --cluster)"
        } else {
            ""
        };
        Err(format!(
            "{}: {} of {} requests were answered with an error, the first: {first}{hint}",
            self.workload, self.errors, self.requests,
        ))
    }
}

/// Tells a result file of `load` from others.
pub const KIND: &str = "slotcore-bench load";
/// Changed when a field changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// A result file: one run of `slotcore-bench load`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report<O> {
    /// [`KIND`].
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// Where it ran.
    pub machine: Machine,
    /// What it ran against.
    pub server: ServerFacts,
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
        "| workload | requests/s | p50 us | p99 us | p99.9 us | max us | errors | null | moved | client busy | client us/request |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {} | {} | {:.0} % | {:.2} |",
            row.workload,
            row.rate,
            row.p50_us,
            row.p99_us,
            row.p999_us,
            row.max_us,
            row.errors,
            row.nulls,
            row.moved,
            row.client_busy_percent,
            row.client_us_per_request,
        );
    }
    text
}
